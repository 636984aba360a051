"""Where a bench runs: real servers, one service as `amana serve` runs it, a lender with its key and its accounts.

Servers from wheels in a temporary directory or, with AMANA_OWNER_DATABASE_URL and its siblings, given ones; there the
bench makes a database of its own and drops it afterwards.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from amana.bench.connection import LoadFailed
from amana.bench.generator import Plan, run_load
from amana.bench.load import Result
from amana.bench.machine import tree_cpu_s
from amana.bench.movements import CURRENCY, Movements, account_ids
from amana.gateway import provision
from amana.infra.embedded.ports import LOOPBACK
from amana.infra.http import HttpClient
from amana.infra.migrate import drop_database, with_database
from amana.infra.postgres import DatabaseUnavailable, Pool, open_pool, reading
from amana.infra.settings import Settings
from amana.infra.sql import load_queries
from amana.operate.stack import Say, Stack

QUIET = "warning"
"""The log level of the service: what a line for each request costs is not what is asked here."""
SCOPES = ("accounts:read", "accounts:write", "transfers:write")
SERVICE = "transactions"
LIST_MAX = 5_000
OPEN_TIMEOUT_MS = 60_000
CREDIT_LIMIT = 10**12
"""Kobo. On every account, so that the limit is checked for each transfer; no run comes near it."""
CHECK_TIMEOUT_MS = 900_000
SERVER_SETTINGS = (
    *("server_version", "fsync", "synchronous_commit", "full_page_writes", "data_checksums", "shared_buffers"),
    *("max_wal_size", "wal_compression", "checkpoint_timeout", "autovacuum", "max_connections", "commit_delay"),
)
INVARIANTS = ("balances_not_zero", "counters_not_folded", "limits_broken")
STORED = "acknowledged_and_stored_differ"

SQL = load_queries("amana.bench")


class Measured(msgspec.Struct, frozen=True):
    """A run and what it took of the machine, in µs for each item; None for a server that is not ours to look at."""

    result: Result
    service_us: float | None
    postgres_us: float | None

    def to_json(self) -> dict[str, Any]:
        """For the report's `runs`."""
        cpu = {
            "service": self.service_us,
            "postgres": self.postgres_us,
            "generator": round(self.result.cpu_us_per_request * self.result.requests / max(1, self.result.accepted), 1),
        }
        told: dict[str, Any] = msgspec.to_builtins(self.result)
        return told | {"cpu_us_per_transfer": cpu}


class Ground:
    """See the module. `accounts` are open; account 0 is the hot one."""

    def __init__(self, stack: Stack, pool: Pool, tenant: int, key: str, accounts: int, seed: int) -> None:
        self.stack = stack
        self.accounts = accounts
        self.seed = seed
        self.invariants = dict.fromkeys((*INVARIANTS, STORED), 0)
        self.stored = 0
        self._pool = pool
        self._tenant = tenant
        self._key = key
        self._opened_ms = time.time_ns() // 1_000_000
        self._stream = 0
        self._acknowledged = self._unsure = 0

    async def open_accounts(self) -> None:
        """Opens them through the API."""
        ids = account_ids(self.seed, self._opened_ms, self.accounts)
        headers = {"Authorization": f"Bearer {self._key}"}
        url = self.stack.urls[SERVICE] + "/v1/accounts"
        async with HttpClient() as http:
            for start in range(0, len(ids), LIST_MAX):
                items = [_account(id_) for id_ in ids[start : start + LIST_MAX]]
                body = msgspec.json.encode({"accounts": items})
                reply = await http.request("POST", url, body=body, headers=headers, timeout_ms=OPEN_TIMEOUT_MS)
                if reply.body.count(b'"status":"opened"') != len(items):
                    raise LoadFailed(f"accounts were not opened ({reply.status}): {reply.body[:300].decode()}")

    def plan(self, movements: Movements, connections: int, warm_s: float, seconds: float, **more: Any) -> Plan:
        """A run of `movements` against the service; `more` as in `Plan`."""
        return Plan(
            host=LOOPBACK,
            port=self.stack.ports.transactions,
            key=self._key,
            work=movements,
            connections=connections,
            warm_s=warm_s,
            seconds=seconds,
            **more,
        )

    def movements(self, **given: Any) -> Movements:
        """Transfers that were never sent before, among all accounts or those from `first` to `last`."""
        self._stream += 1
        asked = {"first": 0, "last": self.accounts} | given
        return Movements(
            seed=self.seed,
            stream=self._stream,
            opened_ms=self._opened_ms,
            began_ms=time.time_ns() // 1_000_000,
            accounts=self.accounts,
            **asked,
        )

    async def measure(self, *plans: Plan, progress: Callable[[int], None] = lambda _: None) -> list[Measured]:
        """Runs the plans side by side; what came of each, with the CPU of all of them shared by all their items."""
        service, postgres = self._service_cpu_s(), self._postgres_cpu_s()
        try:
            results = await asyncio.gather(*(run_load(plan, progress) for plan in plans))
        except LoadFailed as error:
            raise LoadFailed(f"{error}. {self._how_the_service_is()}") from error
        if refused := next((result.refused for result in results if not result.accepted), None):
            raise LoadFailed(f"nothing was accepted: {refused}. {self._how_the_service_is()}")
        items = sum(result.accepted for result in results) or 1
        self._acknowledged += sum(result.accepted for result in results)
        self._unsure += sum(result.unsure for result in results)
        service_us = round((self._service_cpu_s() - service) / items * 1e6, 1)
        ended = self._postgres_cpu_s()
        postgres_us = None if postgres is None or ended is None else round((ended - postgres) / items * 1e6, 1)
        return [Measured(result, service_us, postgres_us) for result in results]

    async def check(self) -> dict[str, int]:
        """Checks the invariants now; how often each is broken. All checks are summed up in `invariants`."""
        await self.count()
        async with reading(self._pool) as connection:
            found = {name: await connection.fetchval(SQL[name], self._tenant) for name in INVARIANTS}
        surplus = self.stored - self._acknowledged
        found[STORED] = max(-surplus, surplus - self._unsure, 0)
        for name, count in found.items():
            self.invariants[name] += count
        return found

    async def count(self) -> None:
        """Looks how many transfers are `stored` now."""
        (row,) = await self.fetch("transfers_stored", self._tenant)
        self.stored = row["count"]

    async def server_settings(self) -> dict[str, str]:
        """The settings of PostgreSQL that a figure depends on."""
        return {row["name"]: row["value"] for row in await self.fetch("server_settings", list(SERVER_SETTINGS))}

    async def fetch(self, query: str, *arguments: Any) -> list[dict[str, Any]]:
        """The rows of a block of this package's SQL."""
        async with reading(self._pool) as connection:
            return [dict(row) for row in await connection.fetch(SQL[query], *arguments)]

    def _how_the_service_is(self) -> str:
        service = self.stack.services[SERVICE]
        ended = f"The service ended ({service.how_it_ended()}). " if service.exit_code is not None else ""
        return ended + service.log_end()

    def _service_cpu_s(self) -> float:
        return tree_cpu_s(self.stack.services[SERVICE].pid or 0)

    def _postgres_cpu_s(self) -> float | None:
        server = self.stack.postgres
        return tree_cpu_s(server.process.pid) if server and server.process and server.process.pid else None


@asynccontextmanager
async def open_ground(
    given: Settings, accounts: int, seed: int, say: Say, data_dir: Path | None = None
) -> AsyncIterator[Ground]:
    """Starts everything and, at the end of the block, stops it; what is in no `data_dir` is removed."""
    settings = own_databases(given)
    async with Stack.open(data_dir, given=settings, servers_only=True, say=say) as stack:
        try:
            await stack.start_service(SERVICE)
            dsn = stack.settings.owner_database_url
            tenant = await provision.create_tenant(dsn, f"bench-{os.getpid()}", "The bench")
            key = await provision.create_key(dsn, tenant, SCOPES)
            pool = await open_pool(dsn, "public", connections=2, statement_timeout_ms=CHECK_TIMEOUT_MS)
            try:
                ground = Ground(stack, pool, tenant, key, accounts, seed)
                say(f"Opening {accounts:,} accounts")
                await ground.open_accounts()
                yield ground
            finally:
                pool.terminate()
        finally:
            if given.owner_database_url:
                await stack.stop_services()
                with suppress(DatabaseUnavailable):  # then the server's own trouble is what is told
                    await drop_database(stack.settings.owner_database_url)
                    await drop_database(stack.settings.owner_audit_database_url)


def own_databases(given: Settings) -> Settings:
    """The same servers and roles, with databases that nobody else uses."""
    if not given.owner_database_url:
        return msgspec.structs.replace(given, log_level=QUIET)
    main, audit = f"amana_bench_{os.getpid()}", f"amana_bench_audit_{os.getpid()}"
    moved = {
        name: with_database(url, audit if "audit" in name and not name.startswith("gateway") else main)
        for name, url in msgspec.structs.asdict(given).items()
        if name.endswith("_database_url") and url
    }
    moved.setdefault("owner_audit_database_url", with_database(given.owner_database_url, audit))
    return msgspec.structs.replace(given, log_level=QUIET, **moved)


def _account(id_: str) -> dict[str, Any]:
    return {"id": id_, "owner": id_, "currency": CURRENCY, "normal_side": "debit", "credit_limit": CREDIT_LIMIT}
