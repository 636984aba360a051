"""A source of events in a scratch schema: things with versions, changed under their row locks."""

import asyncio
import os
import signal
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeAlias
from uuid import UUID, uuid4

import asyncpg
from tests.kafka.server import ApacheKafka

from amana.infra import clock
from amana.infra.embedded.broker import Broker
from amana.infra.outbox import OutboxRow, append
from amana.infra.postgres import Connection, Pool, open_pool

OwnBroker: TypeAlias = Broker | ApacheKafka

TABLES = Path(__file__).with_name("tables.sql").read_text(encoding="utf-8")


WAIT_S = 30


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Look until `holds`, for `WAIT_S` at most."""
    async with asyncio.timeout(WAIT_S):
        while not await holds():  # noqa: ASYNC110 (what is waited for happens in a server)
            await asyncio.sleep(0.02)


def event(thing: UUID, version: int) -> OutboxRow:
    """An event whose body says what changed and to which version."""
    event_id = UUID(int=clock.unix_ms() << 80 | 7 << 76 | 2 << 62 | clock.random_74_bits() & (1 << 62) - 1)
    return OutboxRow(1, event_id, thing, "thing.changed", f"{thing} {version}".encode())


async def change(connection: Connection, thing: UUID) -> int:
    """Lock `thing`, raise its version, append the event: what every service does. The caller's transaction."""
    await connection.execute("SELECT FROM thing WHERE id = $1 FOR UPDATE", thing)
    version = await connection.fetchval("UPDATE thing SET version = version + 1 WHERE id = $1 RETURNING version", thing)
    await append(connection, [event(thing, version)])
    return int(version)


class Source:
    """A scratch schema: `stream` is its name and its stream's; `pool` sees it."""

    def __init__(self, stream: str, dsn: str, pool: Pool) -> None:
        self.stream = stream
        self.dsn = dsn
        self.pool = pool

    async def connect(self) -> Connection:
        """A connection of the test's own, for transactions that it interleaves by hand."""
        return await asyncpg.connect(self.dsn, server_settings={"search_path": self.stream})

    async def things(self, count: int) -> list[UUID]:
        """New things, at version 0."""
        ids = [uuid4() for _ in range(count)]
        await self.pool.execute("INSERT INTO thing (id) SELECT unnest($1::uuid[])", ids)
        return ids

    async def write(self, count: int, thing: UUID | None = None) -> UUID:
        """`count` events in one transaction, versions 1 to `count` of one thing."""
        thing = thing or uuid4()
        async with self.pool.acquire() as connection:
            await append(connection, [event(thing, version + 1) for version in range(count)])
        return thing

    async def bodies(self) -> list[str]:
        """The bodies of all sequenced events, in order of position; positions are checked to be dense."""
        rows = await self.pool.fetch("SELECT position, body FROM positions JOIN outbox USING (seq) ORDER BY 1")
        assert [row["position"] for row in rows] == list(range(len(rows)))
        return [row["body"].decode() for row in rows]

    async def stands(self) -> asyncpg.Record:
        """The stream row."""
        row = await self.pool.fetchrow("SELECT * FROM stream")
        assert row is not None
        return row


@asynccontextmanager
async def open_source(dsn: str) -> AsyncIterator[Source]:
    """A new scratch schema with its tables; dropped at the end."""
    stream = f"scratch_{uuid4().hex[:12]}"
    pool = await open_pool(dsn, stream, connections=12)
    try:
        await pool.execute(f"CREATE SCHEMA {stream}")
        await pool.execute(TABLES)
        await pool.execute("INSERT INTO stream (stream, since) VALUES ($1, '1:1:')", stream)
        yield Source(stream, dsn, pool)
    finally:
        await pool.execute(f"DROP SCHEMA IF EXISTS {stream} CASCADE")
        await pool.close()


def assert_each_thing_in_order(bodies: Sequence[str]) -> None:
    """Versions of each thing are 1, 2, 3 ...: nothing lost, nothing twice, nothing out of order."""
    versions: dict[str, list[int]] = defaultdict(list)
    for body in bodies:
        thing, version = body.split()
        versions[thing].append(int(version))
    for thing, seen in versions.items():
        assert seen == list(range(1, len(seen) + 1)), f"{thing}: {seen}"


async def kill_and_restart(broker: OwnBroker) -> None:
    """SIGKILL, then an empty broker at the same address."""
    pid = broker.process.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)

    async def gone() -> bool:
        return broker.process.pid is None

    await until(gone)
    if isinstance(broker, ApacheKafka):
        broker.forget()
    await broker.start()
