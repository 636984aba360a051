"""The audit database: one method per SQL statement, each one round trip.

`Store` gives out connections; `Rows` is the statements on one of them. Nothing here changes or removes a row, and the
role could not (only `progress`, which says how far a source is, is ever updated).
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import NamedTuple
from uuid import UUID

from amana.audit.arrivals import Arrivals
from amana.audit.checkpoint import SignedStep
from amana.audit.leaf import Leaf
from amana.audit.merkle import Node, Range
from amana.infra.postgres import Connection, Pool, Record, reading
from amana.infra.sql import load_queries

SQL = load_queries("amana.audit")


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """A signed checkpoint: size in leaves, root (32 bytes), the note as published."""

    size: int
    root: bytes
    note: str
    signed_at: datetime


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event and its place in the log."""

    stream: str
    position: int
    event_id: UUID
    occurred_at: datetime
    received_at: datetime
    body: bytes


class StoredLeaf(NamedTuple):
    """A leaf as it stands in the database, whatever may have been done to it there."""

    leaf: Leaf
    leaf_hash: bytes


class Rows:
    """The statements, on one connection."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def add_leaves(self, stream: str, leaves: Sequence[Leaf]) -> set[int]:
        """Stores leaves whose positions are free. Returns the positions stored.

        In order of position, so that two writers of the same leaves wait for each other and never deadlock.
        """
        in_order = sorted(leaves, key=attrgetter("position"))
        columns = [list(column) for column in zip(*in_order, strict=True)]
        stored = await self.connection.fetch(SQL["add_leaves"], stream, *columns)
        return {row["position"] for row in stored}

    async def differing(self, stream: str, leaves: Sequence[Leaf]) -> list[int]:
        """The positions, of those given, at which other bytes are stored."""
        positions, bodies = [leaf.position for leaf in leaves], [leaf.body for leaf in leaves]
        return _column(await self.connection.fetch(SQL["differing"], stream, positions, bodies))

    async def elsewhere(self, stream: str, leaves: Sequence[Leaf]) -> list[tuple[int, str]]:
        """Which of these stored leaves are events that stand at another place too: (position, `stream/position`)."""
        columns = list(zip(*((leaf.tenant, leaf.event_id, leaf.position) for leaf in leaves), strict=True))
        rows = await self.connection.fetch(SQL["elsewhere"], stream, *columns)
        return [(row["position"], f"{row['stream']}/{row['elsewhere']}") for row in rows]

    async def missing(self, stream: str, start: int, stop: int) -> int:
        """How many positions from `start` to before `stop` are not stored."""
        return int(await self.connection.fetchval(SQL["missing"], stream, start, stop))

    async def highest_position(self, stream: str) -> int:
        """The highest position stored, -1 for none."""
        return int(await self.connection.fetchval(SQL["highest_position"], stream))

    async def first_missing(self, stream: str, start: int) -> int:
        """The first position from `start` on that is not stored."""
        return int(await self.connection.fetchval(SQL["first_missing"], stream, start))

    async def note_source_last(self, stream: str, last: int) -> None:
        """Remembers the highest position that the source has given."""
        await self.connection.execute(SQL["note_source_last"], stream, last)

    async def source_last(self, stream: str) -> int | None:
        """The highest position that the source had given when last asked; None if it never answered."""
        value: int | None = await self.connection.fetchval(SQL["source_last"], stream)
        return value

    async def lock_sealing(self, stream: str) -> None:
        """Waits to be the only sealer of the stream, until the transaction ends."""
        await self.connection.execute(SQL["lock_sealing"], stream)

    async def newest_checkpoint(self, stream: str) -> StoredCheckpoint | None:
        """The largest checkpoint."""
        row = await self.connection.fetchrow(SQL["newest_checkpoint"], stream)
        return StoredCheckpoint(**row) if row else None

    async def hashes_from(self, stream: str, start: int, limit: int) -> list[bytes]:
        """Leaf hashes from position `start` up to the first gap, at most `limit`."""
        rows = await self.connection.fetch(SQL["hashes_from"], stream, start, limit)
        return [row["leaf_hash"] for at, row in enumerate(rows, start) if row["position"] == at]

    async def add_nodes(self, stream: str, nodes: Sequence[tuple[Node, bytes]]) -> None:
        """Stores full subtrees."""
        await self.connection.execute(
            SQL["add_nodes"],
            stream,
            [node.level for node, _ in nodes],
            [node.number for node, _ in nodes],
            [hash_ for _, hash_ in nodes],
        )

    async def add_checkpoint(self, stream: str, step: SignedStep) -> None:
        """Stores a signed checkpoint with the hashes of the leaves that it added."""
        await self.connection.execute(SQL["add_checkpoint"], stream, step.size, step.root, step.note, step.leaf_hashes)

    async def leaf_hashes_in(self, stream: str, ranges: Sequence[Range]) -> dict[int, bytes]:
        """The leaf hashes stored in `ranges`, by position."""
        rows = await self.connection.fetch(
            SQL["leaf_hashes_in"], stream, [first for first, _ in ranges], [stop for _, stop in ranges]
        )
        return {row["position"]: row["leaf_hash"] for row in rows}

    async def bodies_in(self, stream: str, first: int, stop: int) -> list[bytes]:
        """The bytes of the leaves at positions from `first` to before `stop`, in order; gaps are left out."""
        return [row["bytes"] for row in await self.connection.fetch(SQL["bodies_in"], stream, first, stop)]

    async def nodes_in(self, stream: str, ranges: Sequence[tuple[int, Range]]) -> dict[Node, bytes]:
        """The full subtrees stored in ranges of (level, (first number, number past the last))."""
        rows = await self.connection.fetch(
            SQL["nodes_in"],
            stream,
            [level for level, _ in ranges],
            [first for _, (first, _) in ranges],
            [stop for _, (_, stop) in ranges],
        )
        return {Node(row["level"], row["number"]): row["hash"] for row in rows}

    async def find_event(self, tenant: int, event_id: UUID) -> StoredEvent | None:
        """A tenant's event by its id."""
        row = await self.connection.fetchrow(SQL["find_event"], tenant, event_id)
        return _event(row) if row else None

    async def lock_appending(self, stream: str) -> None:
        """Waits to be the only one who gives positions in the stream, until the transaction ends."""
        await self.connection.execute(SQL["lock_appending"], stream)

    async def known_events(self, events: Sequence[tuple[int, UUID]]) -> set[UUID]:
        """Which of the events, each a tenant and an id, are stored."""
        tenants, ids = [tenant for tenant, _ in events], [event_id for _, event_id in events]
        return {row["event_id"] for row in await self.connection.fetch(SQL["known_events"], tenants, ids)}

    async def checkpoints_after(self, stream: str, size: int, limit: int) -> list[SignedStep]:
        """Checkpoints over `size`, smallest first."""
        rows = await self.connection.fetch(SQL["checkpoints_after"], stream, size, limit)
        return [SignedStep(*row) for row in rows]

    async def leaves_from(self, stream: str, start: int, stop: int, limit: int) -> list[StoredLeaf]:
        """Whole leaves at positions from `start` to before `stop`, in order, at most `limit`; gaps are left out."""
        rows = await self.connection.fetch(SQL["leaves_from"], stream, start, stop, limit)
        return [StoredLeaf(Leaf(*columns), leaf_hash) for *columns, leaf_hash in rows]

    async def where_is_hash(self, stream: str, leaf_hash: bytes) -> int | None:
        """Where the leaf with this hash is now. Reads the whole stream."""
        position: int | None = await self.connection.fetchval(SQL["where_is_hash"], stream, leaf_hash)
        return position


class Store:
    """Connections to the audit database. All raise `DatabaseUnavailable` when it does not answer."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.arrivals = Arrivals()

    @asynccontextmanager
    async def rows(self) -> AsyncIterator[Rows]:
        """Statements that need no transaction around them."""
        async with reading(self._pool) as connection:
            yield Rows(connection)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Rows]:
        """Statements that hold together."""
        async with reading(self._pool) as connection, connection.transaction():
            yield Rows(connection)


def _event(row: Record) -> StoredEvent:
    stream, position, event_id, occurred_at, received_at, body = row
    return StoredEvent(stream, position, event_id, occurred_at, received_at, body)


def _column(rows: Iterable[Record]) -> list[int]:
    return [row[0] for row in rows]
