"""What was asked for, and what can't be done about it."""

from collections.abc import Collection, Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from amana.domain.projection.folds import Group
from amana.infra.settings import Settings
from amana.operate.replay.tables import STREAM_OF, TABLES

ROWS_IN_MEMORY = 1_000_000
"""Rows in hand before they are put down in the scratch schema. A row takes less than 1 KiB, so less than 1 GiB."""
SETTLE_S = 60.0
"""How long the audit log may take to hold what the main database has given a position."""


class CannotReplay(Exception):
    """What was asked for can't be done; the message is for the person at the keyboard."""


class Log(StrEnum):
    """Where events come from."""

    AUDIT = "audit"
    OUTBOX = "outbox"


class Options(NamedTuple):
    """What was asked for. `only` names tables; empty is all of them.

    An export or an audit service comes in place of `log`: then `keys` are verifier keys that are trusted, `checkpoints`
    files of notes that somebody kept. Without `compare` there need be no live tables.
    """

    log: Log = Log.AUDIT
    only: Collection[str] = ()
    until: datetime | None = None
    from_snapshot: Path | None = None
    write_snapshot: Path | None = None
    scratch_url: str = ""
    keep: bool = False
    export: Path | None = None
    rows_in_memory: int = ROWS_IN_MEMORY
    settle_s: float = SETTLE_S
    from_export: Path | None = None
    from_audit: str = ""
    keys: Sequence[str] = ()
    checkpoints: Sequence[Path] = ()
    compare: bool = True

    @property
    def is_named(self) -> bool:
        """Whether the log is an export or a service that was named, and so may be that of another platform."""
        return self.from_export is not None or bool(self.from_audit)

    @property
    def place(self) -> str:
        """Where events come from, in words."""
        return self.from_audit or (str(self.log) if self.from_export is None else f"export {self.from_export}")

    def needs_no_stack(self, settings: Settings, *, story: bool) -> bool:
        """Whether these settings are enough, so that nobody has to look for a stack that runs here."""
        if not self.is_named or (self.compare and not story):
            return False
        has_scratch = bool(story or self.scratch_url or settings.owner_database_url)
        return has_scratch and bool((settings.internal_key and settings.api_key) or not self.from_audit)

    @property
    def tables(self) -> list[str]:
        """The tables to compare, in their order."""
        return [name for name in TABLES if not self.only or name in self.only]

    @property
    def groups(self) -> frozenset[Group]:
        """The groups that must be folded for them."""
        return frozenset(TABLES[name].group for name in self.tables)

    @property
    def streams(self) -> list[str]:
        """The streams that they come from, in the order of their names."""
        return sorted({STREAM_OF[group] for group in self.groups})

    def require_sense(self) -> None:
        """Raises `CannotReplay` for what does not go together."""
        if self.until is not None and (self.from_snapshot or self.write_snapshot):
            raise CannotReplay("--until replays from the first event: it goes with no snapshot")
        if self.write_snapshot is not None and self.only:
            raise CannotReplay("--write-snapshot holds every table: it does not go with --only")
        for path, name in ((self.from_snapshot, "--from-snapshot"), (self.write_snapshot, "--write-snapshot")):
            place = path if name == "--from-snapshot" else path and path.parent
            if place is not None and not place.exists():
                raise CannotReplay(f"{name}: {place} does not exist")
        if self.export is not None and not self.export.is_dir():
            raise CannotReplay(f"--export: {self.export} is no folder")
        self._require_place()

    def _require_place(self) -> None:
        named = "--from-audit" if self.from_audit else "--from-export"
        if self.from_export is not None and self.from_audit:
            raise CannotReplay("--from-export and --from-audit are two logs: name one")
        if not self.is_named:
            if self.keys or self.checkpoints:
                raise CannotReplay("--key, --keys and --checkpoints go with --from-export or --from-audit")
            return
        if not self.keys:
            raise CannotReplay(f"{named} needs a verifier key that you trust: --key or --keys (`amana audit key show`)")
        if self.from_export is not None and not self.from_export.is_dir():
            raise CannotReplay(f"--from-export: {self.from_export} is no folder")
        if self.from_audit and not _is_address(self.from_audit):
            raise CannotReplay(f"--from-audit is an address such as http://127.0.0.1:7803, not {self.from_audit}")


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False


def named_tables(only: str) -> tuple[str, ...]:
    """`loans,accounts` as names. Raises `CannotReplay` for a name that there is not."""
    names = tuple(name.strip() for name in only.split(",") if name.strip())
    for name in names:
        if name not in TABLES:
            raise CannotReplay(f"--only: there is no table {name!r}; there are {', '.join(TABLES)}")
    return names
