"""Where a bench runs: real servers, services as `amana serve` runs them, a lender with its key.

Servers from wheels in a temporary directory or, with AMANA_OWNER_DATABASE_URL and its siblings, given ones; there the
bench makes a database of its own and drops it afterwards.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from amana.bench.connection import LoadFailed
from amana.bench.generator import Plan, run_load
from amana.bench.load import Result
from amana.bench.machine import tree_cpu_s
from amana.gateway import provision
from amana.gateway.keys import Quota
from amana.infra.databases import drop_database, with_database
from amana.infra.embedded.ports import LOOPBACK, listeners
from amana.infra.embedded.process import Process, ServerError
from amana.infra.postgres import DatabaseUnavailable, Pool, open_pool, reading
from amana.infra.settings import Settings
from amana.infra.sql import load_queries
from amana.operate.stack import Say, Stack, together

QUIET = "warning"
"""The log level of the services: what a line for each request costs is not what is asked here."""
CHECK_TIMEOUT_MS = 900_000
SET_TIMEOUT_S, SET_POLL_S = 60.0, 0.1
"""Until when all processes of a service listen, and how often that is looked at."""
SERVER_SETTINGS = (
    *("server_version", "fsync", "synchronous_commit", "full_page_writes", "data_checksums", "shared_buffers"),
    *("max_wal_size", "wal_compression", "checkpoint_timeout", "autovacuum", "max_connections", "commit_delay"),
)

SQL = load_queries("amana.bench")

Run = Callable[[Plan, Callable[[int], None]], Awaitable[Result]]
"""Runs a plan: `generator.run_load`, or another load generator."""


class Measured(msgspec.Struct, frozen=True):
    """A run and what it took of the machine: `cpu_us` in µs for each item, by the name of the server; a server that is
    not ours to look at is not in it."""

    result: Result
    cpu_us: dict[str, float]

    def to_json(self, item: str = "transfer") -> dict[str, Any]:
        """For the report's `runs`."""
        result = self.result
        generator = round(result.cpu_us_per_request * result.requests / max(1, result.accepted), 1)
        told: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(result, samples=[]))
        return told | {f"cpu_us_per_{item}": self.cpu_us | {"generator": generator}}


class Site:
    """See the module. `service` is the one that is measured; `beside` are other processes whose CPU is looked at.
    `invariants` says how often each was broken."""

    def __init__(self, stack: Stack, pool: Pool, tenant: int, key: str, service: str) -> None:
        self.stack = stack
        self.tenant = tenant
        self.key = key
        self.service = service
        self.beside: dict[str, Process] = {}
        self.invariants: dict[str, int] = {}
        self._pool = pool

    async def measure(
        self, *plans: Plan, progress: Callable[[int], None] = lambda _: None, run: Run = run_load
    ) -> list[Measured]:
        """Runs the plans side by side; what came of each, with the CPU of all of them shared by all their items."""
        before = self._cpu_s()
        try:
            results = await asyncio.gather(*(run(plan, progress) for plan in plans))
        except LoadFailed as error:
            raise LoadFailed(f"{error}. {self._how_the_service_is()}") from error
        if refused := next((result.refused for result in results if not result.accepted), None):
            raise LoadFailed(f"nothing was accepted: {refused}. {self._how_the_service_is()}")
        items, after = sum(result.accepted for result in results) or 1, self._cpu_s()
        cpu_us = {name: round((after[name] - before[name]) / items * 1e6, 1) for name in before if name in after}
        return [Measured(result, cpu_us) for result in results]

    async def server_settings(self) -> dict[str, str]:
        """The settings of PostgreSQL that a figure depends on."""
        return {row["name"]: row["value"] for row in await self.fetch("server_settings", list(SERVER_SETTINGS))}

    async def fetch(self, query: str, *arguments: Any) -> list[dict[str, Any]]:
        """The rows of a block of this package's SQL."""
        async with reading(self._pool) as connection:
            return [dict(row) for row in await connection.fetch(SQL[query], *arguments)]

    def plan_at(self, port: int, work: Any, connections: int, warm_s: float, seconds: float, **more: Any) -> Plan:
        """A run of `work` against a loopback port; `more` as in `Plan`."""
        return Plan(
            host=LOOPBACK,
            port=port,
            key=self.key,
            work=work,
            connections=connections,
            warm_s=warm_s,
            seconds=seconds,
            **more,
        )

    def _how_the_service_is(self) -> str:
        service = self.stack.services[self.service]
        ended = f"The service ended ({service.how_it_ended()}). " if service.exit_code is not None else ""
        return ended + service.log_end()

    def _cpu_s(self) -> dict[str, float]:
        """CPU seconds of each process of ours that runs: the service that is measured, and others by their names."""
        servers = {"postgres": self.stack.postgres, "valkey": self.stack.valkey, "broker": self.stack.broker}
        processes = {name: server.process for name, server in servers.items() if server and server.process}
        processes |= {**self.stack.services, **self.beside}
        mine = self.processes_of(self.service)
        found = {name: tree_cpu_s(one.pid) for name, one in processes.items() if one.pid and name not in mine}
        return found | {"service": sum(tree_cpu_s(processes[name].pid or 0) for name in mine)}

    def processes_of(self, service: str) -> list[str]:
        """The names of the processes that a service runs in."""
        return [name for name in self.stack.services if name.partition(".")[0] == service]


@asynccontextmanager
async def open_stack(
    given: Settings, services: Sequence[str], say: Say, data_dir: Path | None = None
) -> AsyncIterator[Stack]:
    """Starts servers and `services`; at the end of the block stops them. What is in no `data_dir` is removed."""
    settings = own_databases(given)
    async with Stack.open(data_dir, given=settings, servers_only=True, say=say) as stack:
        try:
            await together([stack.start_service(service) for service in services])
            yield stack
        finally:
            if given.owner_database_url:
                await stack.stop_services()
                with suppress(DatabaseUnavailable):  # then the server's own trouble is what is told
                    await drop_database(stack.settings.owner_database_url)
                    await drop_database(stack.settings.owner_audit_database_url)
                    await drop_database(stack.settings.owner_metrics_database_url)
                    await drop_database(stack.settings.owner_keys_database_url)


async def start_set(stack: Stack, service: str, processes: int) -> None:
    """Starts a service in so many processes at one port; all of them take connections when it returns."""
    await stack.start_service(service)
    for number in range(2, processes + 1):
        await stack.start_service(service, f"{service}.{number}")
    port, until_s = getattr(stack.ports, service), time.monotonic() + SET_TIMEOUT_S
    while processes > 1 and listeners(port) < processes:
        if time.monotonic() > until_s:
            raise ServerError(f"of {processes} processes of {service} only {listeners(port)} listen")
        await asyncio.sleep(SET_POLL_S)


@asynccontextmanager
async def owner_pool(stack: Stack) -> AsyncIterator[Pool]:
    """Connections with the owner's rights, for what a bench asks around its runs."""
    pool = await open_pool(stack.settings.owner_database_url, "public", 2, CHECK_TIMEOUT_MS)
    try:
        yield pool
    finally:
        pool.terminate()


async def new_lender(stack: Stack, scopes: Sequence[str], quota: Quota | None = None) -> tuple[int, str]:
    """A tenant and a key of its own."""
    dsn = stack.settings.owner_database_url
    tenant = await provision.create_tenant(dsn, f"bench-{os.getpid()}", "The bench")
    return tenant, await provision.create_key(dsn, tenant, scopes, quota)


def differ(stored: int, acknowledged: int, unsure: int) -> int:
    """How many are stored and were not acknowledged, or the other way round; `unsure` ones may be stored or not."""
    surplus = stored - acknowledged
    return max(-surplus, surplus - unsure, 0)


def own_databases(given: Settings) -> Settings:
    """The same servers and roles, with databases that nobody else uses, and keys too: whose key signs the log of real
    events must never sign another log, and a broker that has seen such a checkpoint is held against it."""
    given = msgspec.structs.replace(
        given, log_level=QUIET, audit_key_file="", audit_archive_dir="", privacy_key_file=""
    )
    if not given.owner_database_url:
        return given
    main = f"amana_bench_{os.getpid()}"
    homes = {part: f"amana_bench_{part}_{os.getpid()}" for part in ("audit", "keys", "metrics")}
    moved = {
        name: with_database(url, next((home for part, home in homes.items() if part in name), main))
        for name, url in msgspec.structs.asdict(given).items()
        if name.endswith("_database_url") and url
    }
    moved.setdefault("owner_audit_database_url", with_database(given.owner_database_url, homes["audit"]))
    return msgspec.structs.replace(given, **moved)
