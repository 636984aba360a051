"""The scratch schema: made for one replay, filled by COPY, dropped afterwards.

Rows that change are in memory until there are more than `rows_in_memory` of them. Then all are put down here, and those
that the next events need are brought back page by page: memory is bounded whatever the size of the book.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from amana.domain.projection.state import State
from amana.infra.postgres import Connection, Record, open_pool, reading
from amana.infra.sql import load_queries
from amana.operate.replay.tables import TABLES, Table

SQL = load_queries("amana.operate.replay", "scratch.sql")
STATEMENT_TIMEOUT_MS = 24 * 3_600_000
"""For copying and comparing whole tables."""
PIPE_CHUNKS = 16
"""Pieces of a COPY between two databases that are in hand at a time, of about 64 KiB each."""


@asynccontextmanager
async def connected(dsn: str, schema: str = "public") -> AsyncIterator[Connection]:
    """One connection for long statements. Raises `DatabaseUnavailable`."""
    pool = await open_pool(dsn, schema, connections=1, statement_timeout_ms=STATEMENT_TIMEOUT_MS)
    try:
        async with reading(pool) as connection:
            yield connection
    finally:
        await pool.close()


class Scratch:
    """The schema and the rows that are put down in it. `spilled` names tables whose rows are not all in memory."""

    def __init__(self, connection: Connection, schema: str) -> None:
        self.connection = connection
        self.schema = schema
        self.spilled: set[str] = set()

    @classmethod
    @asynccontextmanager
    async def made(cls, dsn: str, *, keep: bool) -> AsyncIterator["Scratch"]:
        """A new schema in a database, with its tables; dropped at the end unless it is to be kept."""
        schema = f"amana_replay_{secrets.token_hex(6)}"
        async with connected(dsn) as keeper:
            await keeper.execute(await keeper.fetchval(SQL["create_schema"], schema))
            try:
                async with connected(dsn, schema) as connection:
                    await _make_tables(connection)
                    yield cls(connection, schema)
            finally:
                # By another connection: whatever ended the work may have ended the one that it was done on.
                if not keep:
                    await keeper.execute(await keeper.fetchval(SQL["drop_schema"], schema))

    async def bring_back(self, state: State, wanted: Iterable[tuple[str, tuple[Any, ...]]]) -> None:
        """Rows that were put down and that events now need."""
        keys: dict[str, set[tuple[Any, ...]]] = {}
        for name, key in wanted:
            if name in self.spilled and key not in getattr(state, name):
                keys.setdefault(name, set()).add(key)
        if not keys:
            return
        async with self.connection.transaction():
            await self.connection.execute(SQL["by_key"])
            for name, missing in keys.items():
                table, held = TABLES[name], getattr(state, name)
                columns = map(list, zip(*missing, strict=True))
                for row in await self.connection.fetch(SQL[f"find_{name}"], *columns):
                    held[tuple(row)[: len(table.keys)]] = table.row(*row)

    async def append(self, state: State) -> None:
        """Writes the rows that come once, and lets them go."""
        for table in TABLES.values():
            if not table.kept and (rows := getattr(state, table.name)):
                await self._copy(table.name, table, rows)
                rows.clear()

    async def put_down(self, state: State) -> None:
        """Writes every row in memory in place of what is here, and lets it go."""
        await self.append(state)
        for table in TABLES.values():
            if not table.kept or not (held := getattr(state, table.name)):
                continue
            rows = map(msgspec.structs.astuple, held.values())
            if table.name in self.spilled:
                async with self.connection.transaction():
                    await self._copy(f"waiting_{table.name}", table, rows)
                    await self.connection.execute(SQL["merge"], table.name, table.keys)
            else:
                await self._copy(table.name, table, rows)
                self.spilled.add(table.name)
            held.clear()

    async def _copy(self, place: str, table: Table, rows: Iterable[Sequence[Any]]) -> None:
        await self.connection.copy_records_to_table(place, records=rows, columns=table.columns)

    async def export(self, folder: Path, tables: Iterable[str]) -> None:
        """The rebuilt rows as CSV, a file for each table, in a folder that is there. Raises `OSError`."""
        for name in tables:
            await self.connection.copy_from_table(name, output=folder / f"{name}.csv", format="csv", header=True)

    async def differences(self, table: Table, most: int) -> list[Record]:
        """Rows that differ from their live twins."""
        return await self.connection.fetch(SQL["differences"], table.name, table.keys, most)

    async def doubles(self, table: Table, most: int) -> list[Record]:
        """Rows that the log tells more than once, of a table whose rows come once."""
        return await self.connection.fetch(SQL["doubles"], table.name, table.keys, most)


async def _make_tables(connection: Connection) -> None:
    await connection.execute(SQL["take_room"])
    for name, statement in SQL.items():
        if name.startswith("make_"):
            await connection.execute(statement)
    for name in (*TABLES, "past_accounts"):
        await connection.execute(SQL["twin"], name)


async def pipe(source: Connection, query: str, target: Connection, table: str, *arguments: object) -> int:
    """Copies the rows of a query into a table of another database, in binary; how many."""
    chunks: asyncio.Queue[bytes | None] = asyncio.Queue(PIPE_CHUNKS)

    async def read() -> str:
        told: str = await source.copy_from_query(query, *arguments, output=chunks.put, format="binary")
        await chunks.put(None)
        return told

    async def given() -> AsyncIterator[bytes]:
        while (chunk := await chunks.get()) is not None:
            yield chunk

    async with asyncio.TaskGroup() as both:
        reader = both.create_task(read())
        both.create_task(target.copy_to_table(table, source=given(), format="binary"))
    return int(reader.result().rpartition(" ")[2])
