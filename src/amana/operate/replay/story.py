"""What happened to one thing, event by event, with what each event changed of it: how an incident is explained.

The whole log is read and only what names the thing is folded. Of other accounts in a movement the event itself says
how it left them, so they are taken from there.
"""

from collections.abc import Iterator
from copy import copy
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from amana.domain.account import fee_account_id, principal_account_id
from amana.domain.events import utc_text
from amana.domain.projection.folds import UnknownEvent, fold_of, read
from amana.domain.projection.ledger import KINDS
from amana.domain.projection.rows import AccountRow
from amana.domain.projection.state import State
from amana.domain.projection.told import Moved, Opened, Side, Told
from amana.operate.replay.log import Stream
from amana.operate.replay.options import CannotReplay
from amana.operate.replay.tables import TABLES

EVENTS_MAX = 10_000
"""Of one story."""
PASSED_OVER = frozenset({"position"})
NOBODY = UUID(int=0)


class Line(NamedTuple):
    """An event of a story. `changes` are what it changed, a text for each row."""

    occurred_at: datetime
    stream: str
    position: int
    type: str
    actor: str
    tenant: int
    changes: tuple[str, ...]

    def told(self) -> str:
        """For a person."""
        head = f"{utc_text(self.occurred_at)}  {self.stream} {self.position}  {self.type}  by {self.actor}"
        return "\n".join([f"{head}  (tenant {self.tenant})", *(f"    {change}" for change in self.changes)])


class Story:
    """The story of one thing, told from pages of events."""

    def __init__(self, subject: UUID, shards: int) -> None:
        self.lines: list[Line] = []
        self._state = State(shards)
        self._ids = {subject, principal_account_id(subject), fee_account_id(subject)}
        self._words = self._spelt()

    async def read(self, stream: Stream) -> None:
        """Adds what a stream says. Raises `CannotReplay`, also where a story is too long or the log not as signed."""
        last = await stream.last()
        await stream.expect_signed(last)
        async for page in stream.pages(last):
            for position, type_, body in page:
                if any(word in body for word in self._words):
                    self._add(stream.name, position, type_, body)
            if len(self.lines) > EVENTS_MAX:
                raise CannotReplay(f"more than {EVENTS_MAX:,} events name it: ask for less, such as one account")
        if stream.differs:
            raise CannotReplay(f"{stream.name}: the log is not the one that was signed: {stream.differs}")

    def in_order(self) -> list[Line]:
        """By time; of one stream by position."""
        return sorted(self.lines, key=lambda line: (line.occurred_at, line.stream, line.position))

    def _add(self, stream: str, position: int, type_: str, body: bytes) -> None:
        try:
            fold = fold_of(type_)
            if fold is None:
                return
            told = read(type_, fold, body)
        except (UnknownEvent, msgspec.MsgspecError) as error:
            raise CannotReplay(f"{stream}, position {position}, {type_}: {error}") from error
        state = self._state
        if isinstance(told.data, Moved):
            self._take_others(told)
        wanted = [need for part in fold.parts for need in part.needs(told, state)]
        before = {need: copy(getattr(state, need[0]).get(need[1])) for need in wanted}
        for part in fold.parts:
            part.apply(state, told, position)
        if isinstance(told.data, Opened) and told.data.owner in self._ids:
            self._ids.add(told.data.account)
            self._words = self._spelt()
        changes = tuple(self._changed(before))
        line = Line(told.occurred_at, stream, position, type_, told.actor, told.tenant, changes)
        self.lines.append(line)

    def _take_others(self, told: Told[Moved]) -> None:
        """How the accounts of a movement that are not the story's stood before it."""
        data, kind = told.data, KINDS[told.type]
        posted = data.amount if kind in ("post", "capture") else 0
        pending = data.amount if kind == "hold" else -data.released
        for side, debits, credits in (
            (data.debit, (pending, posted), (0, 0)),
            (data.credit, (0, 0), (pending, posted)),
        ):
            key = told.tenant, side.account
            if side.account not in self._ids or key not in self._state.accounts:
                self._state.accounts[key] = _before(told, side, debits, credits)

    def _changed(self, before: dict[tuple[str, tuple[Any, ...]], Any]) -> Iterator[str]:
        for (name, key), old in before.items():
            new = getattr(self._state, name).get(key)
            if new is None or (name == "accounts" and key[1] not in self._ids):
                continue
            columns = [column for column in TABLES[name].columns[len(key) :] if column not in PASSED_OVER]
            after = [f"{column} {_spell(getattr(new, column))}" for column in columns]
            if old is not None:
                after = [
                    f"{column} {_spell(getattr(old, column))} -> {_spell(getattr(new, column))}"
                    for column in columns
                    if getattr(old, column) != getattr(new, column)
                ]
            what = " ".join(_spell(part) for part in key[1:])
            yield f"{name} {what}: {', '.join(after) or 'as before'}"

    def _spelt(self) -> list[bytes]:
        return [str(id_).encode() for id_ in self._ids]


def _before(told: Told[Moved], side: Side, debits: tuple[int, int], credits: tuple[int, int]) -> AccountRow:
    """An account just before a movement, from what the movement says of it after; the rest is not known."""
    return AccountRow(
        *(told.tenant, side.account, 0, NOBODY, told.data.currency, "", "", None, None),
        *(told.occurred_at, told.occurred_at),
        debits_pending=side.debits_pending - debits[0],
        debits_posted=side.debits_posted - debits[1],
        credits_pending=side.credits_pending - credits[0],
        credits_posted=side.credits_posted - credits[1],
        version=side.version - 1,
    )


def _spell(value: object) -> str:
    return utc_text(value) if isinstance(value, datetime) else "-" if value is None else str(value)
