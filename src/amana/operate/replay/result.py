"""What a replay found."""

from typing import Any

import msgspec

DIFFERENCES_MAX = 100
"""Of each table; the count goes on."""


class Difference(msgspec.Struct, frozen=True):
    """One column of one row that is not what the log says; `(no row)` where one side has none.

    `position` is that of the event that last touched the row, None where none did or it has none yet.
    """

    table: str
    key: str
    column: str
    live: str
    rebuilt: str
    position: int | None

    def told(self) -> str:
        """A line for a person."""
        since = "no event told of it" if self.position is None else f"last touched at position {self.position}"
        return f"{self.table} {self.key}: {self.column} is {self.live}, the log says {self.rebuilt} ({since})"


class Replayed(msgspec.Struct):
    """What was replayed and what differs. `tables` counts rows that differ, `live` those that were compared, `rebuilt`
    those that the log comes to where nothing was. `log` is where events were read from; `later` counts those that came
    after an export and were read from the outboxes.

    `contradictions` are events that do not follow from those before them; `positions` and `roots` say which log it was.
    """

    schema: str = ""
    log: str = ""
    compared: bool = True
    positions: dict[str, int] = {}
    roots: dict[str, str] = {}
    later: dict[str, int] = {}
    tails: dict[str, int] = {}
    live: dict[str, int] = {}
    rebuilt: dict[str, int] = {}
    tables: dict[str, int] = {}
    differences: list[Difference] = []
    differences_of_roots: dict[str, str] = {}
    contradictions: int = 0
    snapshot: str = ""
    until: str | None = None
    totals: list[dict[str, Any]] = []
    events: int = 0
    events_per_s: int = 0
    fold_seconds: float = 0.0
    seconds: float = 0.0

    @property
    def differing(self) -> int:
        """How many rows, events and roots are not as they must be."""
        return sum(self.tables.values()) + self.contradictions + len(self.differences_of_roots)

    @property
    def ok(self) -> bool:
        """Nothing differs."""
        return not self.differing
