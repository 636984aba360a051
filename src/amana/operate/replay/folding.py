"""Pages of events into rows: decoded, their rows brought back where they were put down, folded, written on."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from amana.domain.projection.folds import Part, UnknownEvent, fold_of, read
from amana.domain.projection.state import State
from amana.domain.projection.told import Told
from amana.operate.replay.log import PAGE_EVENTS, Page, Stream, each
from amana.operate.replay.options import CannotReplay, Options
from amana.operate.replay.scratch import SQL, Scratch
from amana.operate.replay.tables import TABLES

CONTRADICTIONS_MAX = 100
"""Kept; the count goes on."""
ROUNDS = 2
"""A row that is needed may name one more: a repayment its loan, the loan its exposure."""
KEPT = tuple(name for name, table in TABLES.items() if table.kept)


class Due(NamedTuple):
    """An event that is read, with what is to be made of it."""

    told: Told[Any]
    parts: tuple[Part, ...]
    position: int | None


class Folding:
    """The state of a replay, and the scratch schema that holds what is not in memory. `seconds` is spent folding."""

    def __init__(self, scratch: Scratch, options: Options, shards: int) -> None:
        self.state = State(shards, options.until)
        self.seconds = 0.0
        self.contradictions = 0
        self._scratch = scratch
        self._groups = options.groups
        self._rows_max = options.rows_in_memory

    async def fold(self, stream: Stream, last: int, done: Callable[[int], None]) -> None:
        """Folds a stream up to position `last`; tells `done` how far it is. Raises `CannotReplay`."""

        async def work(page: Page) -> None:
            await self._fold_page(stream.name, page)
            done(page[-1].position + 1)

        begun = time.monotonic()
        await each(stream.pages(last), work)
        self.seconds += time.monotonic() - begun

    async def fold_tail(self, stream: str) -> None:
        """Folds the events of a stream that have no position yet."""
        place, begun = 0, time.monotonic()
        while page := await self._scratch.connection.fetch(SQL["read_tail"], stream, place, PAGE_EVENTS):
            await self._fold_page(stream, [(None, row["type"], row["body"]) for row in page])
            place = page[-1]["place"]
        self.seconds += time.monotonic() - begun

    async def finish(self) -> None:
        """Puts every row down, for the comparison."""
        begun = time.monotonic()
        await self._scratch.put_down(self.state)
        self.seconds += time.monotonic() - begun

    async def _fold_page(self, stream: str, events: Sequence[tuple[int | None, str, bytes]]) -> None:
        state, due = self.state, list(self._read(stream, events))
        for _ in range(ROUNDS if self._scratch.spilled else 0):
            wanted = [need for event in due for part in event.parts for need in part.needs(event.told, state)]
            await self._scratch.bring_back(state, wanted)
        for event in due:
            for part in event.parts:
                part.apply(state, event.told, event.position)
        self.contradictions += len(state.contradictions) - min(self.contradictions, CONTRADICTIONS_MAX)
        del state.contradictions[CONTRADICTIONS_MAX:]
        await self._scratch.append(state)
        if sum(len(getattr(state, name)) for name in KEPT) > self._rows_max:
            await self._scratch.put_down(state)

    def _read(self, stream: str, events: Sequence[tuple[int | None, str, bytes]]) -> Iterator[Due]:
        """The events that change a wanted table, and that took place before the instant that is asked about."""
        until, groups = self.state.until, self._groups
        for position, type_, body in events:
            try:
                fold = fold_of(type_)
                parts = () if fold is None else tuple(part for part in fold.parts if part.group in groups)
                if fold is None or not parts:
                    continue
                told = read(type_, fold, body)
            except (UnknownEvent, msgspec.MsgspecError) as error:
                place = "an event without position" if position is None else f"position {position}"
                raise CannotReplay(f"{stream}, {place}, {type_}: {error}") from error
            if until is None or told.occurred_at < until:
                yield Due(told, parts, position)
