"""A replay from end to end.

    fold the log up to now  →  one snapshot of the main database: the live rows, the last positions, and the events that
    have none yet  →  fold the log up to those positions, then those events  →  compare

Traffic goes on meanwhile, so the comparison is cut at that snapshot and not at a time or position. A change and its
event are one transaction, so the snapshot sees both or neither; what it sees is exactly: the positions up to the last
one in it (positions are only ever added), and the committed events that the relay had not reached (`*_tail` in
`log.sql`), in the order in which it will take them. The snapshot is held for as long as it takes to copy the live rows,
not for the folding, which is the long part.
"""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import UUID

from amana.infra.postgres import Connection
from amana.infra.settings import Settings
from amana.operate.replay.compare import compare, compare_past, of_the_log, require_past, wanted_rows
from amana.operate.replay.folding import Folding
from amana.operate.replay.log import SQL as LOG
from amana.operate.replay.log import Stream
from amana.operate.replay.options import CannotReplay, Log, Options
from amana.operate.replay.result import Replayed
from amana.operate.replay.scratch import Scratch, connected, pipe
from amana.operate.replay.snapshot import read_snapshot, write_snapshot
from amana.operate.replay.story import Line, Story
from amana.operate.replay.telling import Telling


class Replay:
    """One replay under way."""

    def __init__(
        self, main: Connection, streams: list[Stream], scratch: Scratch, options: Options, shards: int
    ) -> None:
        self.main = main
        self.streams = streams
        self.scratch = scratch
        self.options = options
        self.shards = shards
        self.folding = Folding(scratch, options, shards)
        self.result = Replayed(schema=scratch.schema if options.keep else "")

    async def run(self, telling: Telling) -> Replayed:
        """Everything. Raises `CannotReplay` and `DatabaseUnavailable`."""
        begun = time.monotonic()
        await require_past(self.main, self.options)
        if self.options.from_snapshot is not None:
            await read_snapshot(self.options.from_snapshot, self.scratch, self.streams, self.options, self.shards)
        start = sum(stream.tree.size for stream in self.streams)
        await self._fold_up_to({stream.name: await stream.last() for stream in self.streams}, telling)
        last = await self._cut(telling)
        for stream in self.streams:
            await stream.wait_for(last[stream.name], self.options.settle_s)
        await self._fold_up_to(last, telling)
        await self._write_snapshot()
        for stream in self.streams:
            await self.folding.fold_tail(stream.name)
        await self.folding.finish()
        await self._compare(telling)
        if self.options.export is not None:
            await self.scratch.export(self.options.export, self.options.tables)
        self._sum_up(start, time.monotonic() - begun)
        return self.result

    async def _fold_up_to(self, last: dict[str, int], telling: Telling) -> None:
        for stream in self.streams:
            await stream.expect_signed(last[stream.name])
            with telling.folding(stream.name, stream.tree.size, last[stream.name] + 1) as done:
                await self.folding.fold(stream, last[stream.name], done)

    async def _cut(self, telling: Telling) -> dict[str, int]:
        """Copies the live rows and the tails of one snapshot; the last position of each stream in it."""
        main, target = self.main, self.scratch.connection
        async with main.transaction(isolation="repeatable_read", readonly=True):
            await main.execute(LOG["stay"])
            last = {stream.name: int(await main.fetchval(LOG[f"{stream.name}_last"])) for stream in self.streams}
            for stream in self.streams:
                self.result.tails[stream.name] = await pipe(main, LOG[f"{stream.name}_tail"], target, "tail")
            for name, query, arguments in wanted_rows(self.options):
                telling.copying(name)
                self.result.live[name] = await pipe(main, query, target, f"live_{name}", *arguments)
        return last

    async def _write_snapshot(self) -> None:
        """Where it was asked for. Of a log that is not the signed one, or contradicts itself, there is none."""
        place = self.options.write_snapshot
        if place is None or self.folding.contradictions or any(stream.differs for stream in self.streams):
            return
        await self.folding.finish()
        self.result.snapshot = await write_snapshot(place, self.scratch, self.streams, self.shards)

    async def _compare(self, telling: Telling) -> None:
        if self.options.until is None:
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


def require_places(settings: Settings, options: Options) -> None:
    """Raises `CannotReplay` where the settings do not say where the log is."""
    if options.log is Log.AUDIT and not settings.owner_audit_database_url:
        raise CannotReplay("where the audit log is is not set: AMANA_OWNER_AUDIT_DATABASE_URL, or take --log outbox")


async def replay(settings: Settings, options: Options, telling: Telling) -> Replayed:
    """Rebuilds and compares. Needs the owners' URLs, or roles that may read both databases and make a schema.

    Raises `CannotReplay` and `DatabaseUnavailable`.
    """
    async with opened(settings, options) as under_way:
        return await under_way.run(telling)


async def tell_story(settings: Settings, options: Options, subject: UUID) -> list[Line]:
    """What happened to one customer, account, loan, hold or decision. Raises `CannotReplay`, `DatabaseUnavailable`."""
    require_places(settings, options)
    url = settings.owner_audit_database_url if options.log is Log.AUDIT else settings.owner_database_url
    story = Story(subject, settings.ledger_shards)
    async with connected(url) as connection:
        for name in options.streams:
            await story.read(Stream(name, options.log, connection))
    return story.in_order()


@asynccontextmanager
async def opened(settings: Settings, options: Options) -> AsyncIterator[Replay]:
    """A replay that is ready to run, with its scratch schema."""
    require_places(settings, options)
    async with AsyncExitStack() as stack:
        main = await stack.enter_async_context(connected(settings.owner_database_url))
        log = main
        if options.log is Log.AUDIT:
            log = await stack.enter_async_context(connected(settings.owner_audit_database_url, "audit"))
        streams = [Stream(name, options.log, log) for name in options.streams]
        scratch_url = options.scratch_url or settings.owner_database_url
        scratch = await stack.enter_async_context(Scratch.made(scratch_url, keep=options.keep))
        yield Replay(main, streams, scratch, options, settings.ledger_shards)
