"""A consumer of made-up events: things with versions. Doubles and disorder would show in its table of effects."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files
from operator import attrgetter
from typing import Any
from uuid import UUID, uuid4

import msgspec

from amana.infra.consuming.records import Fact, Order, Unreadable
from amana.infra.consuming.taking import Taker
from amana.infra.kafka import Message
from amana.infra.postgres import Connection, Pool, open_pool

STREAM = "things"
CONSUMER = "test"


class Thing(msgspec.Struct):
    """An event: a thing reached a version."""

    thing: UUID
    version: int
    order: Order = Order.ALONE


def message(
    position: int, thing: UUID, version: int = 1, order: Order = Order.ALONE, value: bytes | None = None
) -> Message:
    """The event as the relay sends it."""
    body = msgspec.json.encode(Thing(thing, version, order)) if value is None else value
    headers = {"stream": STREAM.encode(), "position": b"%d" % position}
    return Message("amana.things.events", position % 4, position, str(thing).encode(), body, headers)


def read_thing(received: Message) -> Fact | None:
    """The codec. An empty value is nothing to do."""
    if not received.value:
        return None
    try:
        event = msgspec.json.decode(received.value, type=Thing)
    except msgspec.MsgspecError as error:
        raise Unreadable("not_an_event", str(error)) from error
    position = int(received.headers["position"])
    return Fact((position, event), 1, event.thing, event.version, event.order)


class World:
    """A scratch schema with a consumer's tables and its effects. `breaks` are positions that the handler fails on."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.breaks: set[int] = set()
        self.handled = 0

    def taker(self, **bounds: int) -> Taker:
        """A consumer; several are processes of the same one."""
        return Taker(CONSUMER, self.pool, read_thing, self.handle, **bounds)

    async def handle(self, connection: Connection, events: Sequence[tuple[int, Thing]]) -> None:
        """The handler: a row for each event, and then perhaps a bug."""
        self.handled += 1
        rows = [(position, event.thing, event.version) for position, event in events]
        await connection.copy_records_to_table("effects", records=rows, columns=("position", "thing", "version"))
        for position, _ in events:
            if position in self.breaks:
                raise RuntimeError(f"position {position} breaks it")

    async def effects(self) -> list[int]:
        """The positions that had an effect, in the order in which they had it."""
        return [row["position"] for row in await self.pool.fetch("SELECT position FROM effects ORDER BY number")]

    async def below(self) -> int:
        """The first position not taken."""
        return int(await self.pool.fetchval("SELECT below FROM consumer_progress"))

    async def letters(self) -> list[tuple[int, str, str]]:
        """Position, state and reason of every letter, by position."""
        rows = await self.pool.fetch(
            "SELECT coalesce(position, -1) AS position, state, reason FROM consumer_letters ORDER BY 1, letter"
        )
        return [(row["position"], row["state"], row["reason"]) for row in rows]

    async def letter_at(self, position: int) -> Any:
        """The letter of a position."""
        return await self.pool.fetchrow("SELECT * FROM consumer_letters WHERE position = $1", position)


@asynccontextmanager
async def open_tables(dsn: str) -> AsyncIterator[Pool]:
    """A new scratch schema with the tables of schema `notifications`; dropped at the end."""
    schema = f"scratch_{uuid4().hex[:12]}"
    migrations = sorted(files("amana").joinpath("migrations/notifications").iterdir(), key=attrgetter("name"))
    parts = [migration.read_text(encoding="utf-8").partition("\nGRANT ")[0] for migration in migrations]
    tables = "\n".join(parts).replace("notifications.", f"{schema}.")
    pool = await open_pool(dsn, schema, connections=6)
    try:
        await pool.execute(f"CREATE SCHEMA {schema}")
        await pool.execute(tables)
        yield pool
    finally:
        await pool.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
        await pool.close()


@asynccontextmanager
async def open_world(dsn: str) -> AsyncIterator[World]:
    """A consumer of things whose stream begins at 0."""
    async with open_tables(dsn) as pool:
        await pool.execute("CREATE TABLE effects (number serial, position bigint, thing uuid, version bigint)")
        world = World(pool)
        await world.taker().begin(STREAM, 0)
        yield world


async def at_once(*work: Any) -> None:
    """Runs all side by side."""
    await asyncio.gather(*work)
