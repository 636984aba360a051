"""A replay from end to end.

    fold the log up to now  →  one snapshot of the main database: the live rows, the last positions, and the events that
    have none yet  →  fold the log up to those positions, then those events  →  compare

Traffic goes on meanwhile, so the comparison is cut at that snapshot and not at a time or position. A change and its
event are one transaction, so the snapshot sees both or neither; what it sees is exactly: the positions up to the last
one in it (positions are only ever added), and the committed events that the relay had not reached (`*_tail` in
`log.sql`), in the order in which it will take them. The snapshot is held for as long as it takes to copy the live rows,
not for the folding, which is the long part.

An export has an end, and what came after it is read from the outboxes. Without live tables there is nothing to cut: the
log is folded up to its end, and what it comes to is told or kept.
"""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import UUID

from amana.infra.postgres import Connection
from amana.infra.settings import Settings
from amana.operate.replay.compare import compare, compare_past, of_the_log, require_past, tell_rebuilt, wanted_rows
from amana.operate.replay.folding import Folding
from amana.operate.replay.log import Stream
from amana.operate.replay.opening import open_sources, require_places
from amana.operate.replay.options import CannotReplay, Options
from amana.operate.replay.result import Replayed
from amana.operate.replay.scratch import Scratch, connected, pipe
from amana.operate.replay.snapshot import read_snapshot, write_snapshot
from amana.operate.replay.sources import SQL as LOG
from amana.operate.replay.sources import Outbox
from amana.operate.replay.story import Line, Story
from amana.operate.replay.telling import Telling


class Replay:
    """One replay under way. `main` is where the live tables are, None where nothing is compared."""

    def __init__(
        self, main: "Connection | None", streams: list[Stream], scratch: Scratch, options: Options, shards: int
    ) -> None:
        self.main = main
        self.streams = streams
        self.scratch = scratch
        self.options = options
        self.shards = shards
        self.folding = Folding(scratch, options, shards)
        self.result = Replayed(
            schema=scratch.schema if options.keep else "", log=options.place, compared=main is not None
        )

    async def run(self, telling: Telling) -> Replayed:
        """Everything. Raises `CannotReplay`, `DatabaseUnavailable` and `UpstreamUnavailable`."""
        begun = time.monotonic()
        if self.main is not None:
            await require_past(self.main, self.options)
            await self._require_same_log(self.main)
        if self.options.from_snapshot is not None:
            await read_snapshot(self.options.from_snapshot, self.scratch, self.streams, self.options, self.shards)
        start = sum(stream.tree.size for stream in self.streams)
        await self._fold_up_to({stream.name: await stream.last() for stream in self.streams}, telling)
        if self.main is not None:
            last = await self._cut(self.main, telling)
            for stream in self.streams:
                await self._reach(stream, last[stream.name], self.main)
            await self._fold_up_to(last, telling)
            for stream in self.streams:
                await stream.confirm()
        await self._write_snapshot()
        for stream in self.streams:
            await self.folding.fold_tail(stream.name)
        await self.folding.finish()
        await self._compare(telling)
        if self.options.export is not None:
            await self.scratch.export(self.options.export, self.options.tables)
        self._sum_up(start, time.monotonic() - begun)
        return self.result

    async def _require_same_log(self, main: Connection) -> None:
        """Of an export or a service that was named: its last event is the one that the main database has there.

        Where that alone was pruned nobody knows, and every row will differ. Raises `CannotReplay`, also where what
        comes after it was pruned.
        """
        for stream in self.streams if self.options.is_named else ():
            outbox, last = Outbox(stream.name, main), await stream.last()
            if last > (given := await outbox.last()):
                longer = (
                    f"{last + 1:,} events of {stream.name}, and the main database has given {given + 1:,} positions"
                )
                raise CannotReplay(f"the {stream.source.place} has {longer}: it is of another log, or of a later one")
            if last + 1 == await outbox.oldest():
                continue
            theirs, ours = [await each.page(max(last, 0), 1) for each in (stream.source, outbox)]
            if theirs and ours and theirs[0].body != ours[0].body and theirs[0].position == ours[0].position:
                at = f"its event of {stream.name} at position {last} is not that of the main database"
                raise CannotReplay(f"the {stream.source.place} is of another log: {at}")

    async def _fold_up_to(self, last: dict[str, int], telling: Telling) -> None:
        for stream in self.streams:
            await stream.expect_signed(last[stream.name])
            with telling.folding(stream.name, stream.tree.size, last[stream.name] + 1) as done:
                await self.folding.fold(stream, last[stream.name], done)

    async def _cut(self, main: Connection, telling: Telling) -> dict[str, int]:
        """Copies the live rows and the tails of one snapshot; the last position of each stream in it."""
        target = self.scratch.connection
        async with main.transaction(isolation="repeatable_read", readonly=True):
            await main.execute(LOG["stay"])
            last = {stream.name: int(await main.fetchval(LOG[f"{stream.name}_last"])) for stream in self.streams}
            for stream in self.streams:
                self.result.tails[stream.name] = await pipe(main, LOG[f"{stream.name}_tail"], target, "tail")
            for name, query, arguments in wanted_rows(self.options):
                telling.copying(name)
                self.result.live[name] = await pipe(main, query, target, f"live_{name}", *arguments)
        return last

    async def _reach(self, stream: Stream, last: int, main: Connection) -> None:
        """Has a stream go as far as the main database; what came after an export is read from the outbox."""
        if stream.source.advice:
            return await stream.wait_for(last, self.options.settle_s)
        if (later := last + 1 - stream.tree.size) > 0:
            self.result.later[stream.name] = later
            stream.go_on_with(Outbox(stream.name, main))

    async def _write_snapshot(self) -> None:
        """Where it was asked for. Of a log that is not the signed one, or contradicts itself, there is none."""
        place = self.options.write_snapshot
        if place is None or self.folding.contradictions or any(stream.differs for stream in self.streams):
            return
        await self.folding.finish()
        self.result.snapshot = await write_snapshot(place, self.scratch, self.streams, self.shards)

    async def _compare(self, telling: Telling) -> None:
        if self.main is None:
            await tell_rebuilt(self.scratch, self.options, self.result)
        elif self.options.until is None:
            await compare(self.scratch, self.options, self.result, telling)
        else:
            await compare_past(self.scratch, self.options, self.result)
        self.result.contradictions = self.folding.contradictions
        self.result.differences += map(of_the_log, self.folding.state.contradictions)

    def _sum_up(self, start: int, seconds: float) -> None:
        result = self.result
        result.positions = {stream.name: stream.tree.size - 1 for stream in self.streams}
        result.roots = {stream.name: stream.tree.root().hex() for stream in self.streams}
        result.differences_of_roots = {stream.name: stream.differs for stream in self.streams if stream.differs}
        result.events = sum(stream.tree.size for stream in self.streams) - start + sum(result.tails.values())
        result.fold_seconds = round(self.folding.seconds, 3)
        result.events_per_s = round(result.events / max(self.folding.seconds, 0.001))
        result.seconds = round(seconds, 3)


async def replay(settings: Settings, options: Options, telling: Telling) -> Replayed:
    """Rebuilds and compares. Needs the owners' URLs, or roles that may read both databases and make a schema.

    Raises `CannotReplay`, `DatabaseUnavailable` and `UpstreamUnavailable`.
    """
    async with opened(settings, options, telling) as under_way:
        return await under_way.run(telling)


async def tell_story(settings: Settings, options: Options, subject: UUID, telling: Telling) -> list[Line]:
    """What happened to one customer, account, loan, hold or decision. Of an export no database is needed.

    Raises `CannotReplay`, `DatabaseUnavailable` and `UpstreamUnavailable`.
    """
    story = Story(subject, settings.ledger_shards)
    async with open_sources(settings, options, telling) as sources:
        for source in sources:
            await story.read(Stream(source))
    return story.in_order()


@asynccontextmanager
async def opened(settings: Settings, options: Options, telling: Telling) -> AsyncIterator[Replay]:
    """A replay that is ready to run, with its scratch schema."""
    require_places(settings, options)
    async with AsyncExitStack() as stack:
        main = None
        if options.compare:
            main = await stack.enter_async_context(connected(settings.owner_database_url))
        sources = await stack.enter_async_context(open_sources(settings, options, telling))
        scratch_url = options.scratch_url or settings.owner_database_url
        scratch = await stack.enter_async_context(Scratch.made(scratch_url, keep=options.keep))
        yield Replay(main, list(map(Stream, sources)), scratch, options, settings.ledger_shards)
