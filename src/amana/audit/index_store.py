"""The search index in the database: one method per SQL statement, each one round trip.

`Index` gives out connections; `IndexRows` is the statements on one of them.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import NamedTuple

from amana.audit.postings import Posting, Span, segment_of
from amana.audit.store import StoredEvent
from amana.infra.postgres import Connection, Pool, reading
from amana.infra.sql import load_queries

SQL = load_queries("amana.audit", "index.sql")


class Extent(NamedTuple):
    """The positions of a stream that are indexed: from `floor` to before `size`."""

    floor: int
    size: int


NOTHING = Extent(0, 0)


class Standing(NamedTuple):
    """How a stream stands: what of it is indexed, and how many of its leaves are sealed and were received."""

    extent: Extent
    sealed: int
    received: int


class IndexRows:
    """The statements, on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def open_indexing(self, stream: str) -> None:
        """Makes the stream's row if there is none."""
        await self._connection.execute(SQL["open_indexing"], stream)

    async def lock_indexing(self, stream: str) -> int | None:
        """How far the stream is indexed, to extend it until the transaction ends; None while somebody else does."""
        size: int | None = await self._connection.fetchval(SQL["lock_indexing"], stream)
        return size

    async def bodies_from(self, stream: str, start: int, limit: int) -> list[bytes]:
        """The bytes of the leaves from position `start` up to the first gap, at most `limit`."""
        rows = await self._connection.fetch(SQL["bodies_from"], stream, start, limit)
        return [row["bytes"] for at, row in enumerate(rows, start) if row["position"] == at]

    async def make_postings(self, segment: int) -> None:
        """Makes the partition that a segment is in, if there is none."""
        await self._connection.execute(SQL["make_postings"], segment)

    async def add_postings(self, postings: Sequence[Posting]) -> None:
        """Adds places to their rows, each after those that are there."""
        await self._connection.execute(SQL["add_postings"], *map(list, zip(*postings, strict=True)))

    async def widen_segments(self, spans: Sequence[Span]) -> None:
        """Notes the times in segments."""
        await self._connection.execute(SQL["widen_segments"], *map(list, zip(*spans, strict=True)))

    async def widen_blocks(self, spans: Sequence[Span]) -> None:
        """Notes the times in blocks."""
        await self._connection.execute(SQL["widen_blocks"], *map(list, zip(*spans, strict=True)))

    async def note_indexed(self, stream: str, size: int) -> None:
        """The stream is indexed up to before `size`."""
        await self._connection.execute(SQL["note_indexed"], stream, size)

    async def indexed_to(self, streams: Sequence[str]) -> dict[str, Extent]:
        """How far each stream is indexed."""
        found = {
            row["stream"]: Extent(row["floor"], row["size"])
            for row in await self._connection.fetch(SQL["indexed_to"], streams)
        }
        return {stream: found.get(stream, NOTHING) for stream in streams}

    async def standings(self, streams: Sequence[str]) -> dict[str, Standing]:
        """How each stream stands."""
        return {
            row["stream"]: Standing(Extent(row["floor"], row["size"]), row["sealed"], max(row["received"], row["size"]))
            for row in await self._connection.fetch(SQL["standings"], streams)
        }

    async def segments_of_time(self, first: int, stop: int, since: datetime, until: datetime) -> tuple[int, int] | None:
        """The first segment and the one past the last, of those from `first` to before `stop`, that hold a time."""
        row = await self._connection.fetchrow(SQL["segments_of_time"], first, stop, since, until)
        return None if row is None or row["first"] is None else (row["first"], row["last"] + 1)

    async def segments_within(self, segments: Sequence[int], since: datetime, until: datetime) -> set[int]:
        """Those of `segments` that lie wholly in a time."""
        rows = await self._connection.fetch(SQL["segments_within"], segments, since, until)
        return {row["segment"] for row in rows}

    async def count_postings(self, keys: Sequence[int], first: int, stop: int, up_to: int) -> dict[int, int]:
        """In how many segments from `first` to before `stop` each key has places; counted no further than `up_to`."""
        rows = await self._connection.fetch(SQL["count_postings"], keys, first, stop, up_to)
        return {row["key"]: row["count"] for row in rows}

    async def postings_towards(
        self, keys: Sequence[int], first: int, stop: int, limit: int, newest_first: bool
    ) -> list[Posting]:
        """At most `limit` rows of each key from `first` to before `stop`, from the side that is asked for."""
        name = "postings_down" if newest_first else "postings_up"
        return [Posting(*row) for row in await self._connection.fetch(SQL[name], keys, first, stop, limit)]

    async def postings_at(self, keys: Sequence[int], segments: Sequence[int]) -> list[Posting]:
        """The rows of the keys in the segments."""
        return [Posting(*row) for row in await self._connection.fetch(SQL["postings_at"], keys, segments)]

    async def blocks_of_time(self, segments: Sequence[int], since: datetime, until: datetime) -> set[int]:
        """The blocks of `segments` that can hold a time."""
        rows = await self._connection.fetch(SQL["blocks_of_time"], segments, since, until)
        return {row["block"] for row in rows}

    async def events_at(
        self, tenant: int, stream: str, positions: Sequence[int], since: datetime, until: datetime
    ) -> list[StoredEvent]:
        """The tenant's events of a time at `positions`, in their order in the stream."""
        rows = await self._connection.fetch(SQL["events_at"], tenant, stream, positions, since, until)
        return [StoredEvent(*row) for row in rows]


class Index:
    """Connections for the search index. All raise `DatabaseUnavailable` when the database does not answer.

    The pool is one for batches: no plan of these statements may look at how large a table is.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    @asynccontextmanager
    async def rows(self) -> AsyncIterator[IndexRows]:
        """Statements that need no transaction around them."""
        async with reading(self._pool) as connection:
            yield IndexRows(connection)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[IndexRows]:
        """Statements that hold together."""
        async with reading(self._pool) as connection, connection.transaction():
            yield IndexRows(connection)


def bounds(stream: str, extent: Extent) -> tuple[int, int]:
    """The first of the stream's indexed segments and the one past the last."""
    return segment_of(stream, extent.floor), segment_of(stream, extent.size - 1) + 1 if extent.size else 0
