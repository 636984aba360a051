"""What the crash tests break: a PostgreSQL of their own, and processes of the transactions service on it."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec

from amana.gateway import provision
from amana.infra.embedded import orphans
from amana.infra.embedded.ports import LOOPBACK, exchange, find_free
from amana.infra.embedded.process import Process
from amana.infra.http import HttpClient, Reply
from amana.infra.postgres import CONNECTION_TROUBLE
from amana.infra.settings import Settings, to_environ
from amana.operate.stack import Stack

NOWHERE = Settings(redis_url="redis://127.0.0.1:1/0", kafka_bootstrap="127.0.0.1:1")
"""The ledger needs neither cache nor broker, so none is started."""
SCOPES = ("transfers:write", "transfers:force", "accounts:write", "accounts:read")
TIMEOUT_MS = 30_000
"""Longer than the service takes to answer, whatever happens to its database: see `test_pauses`."""
START_TIMEOUT_S = 30.0
WAIT_S = 20.0
POLL_S = 0.02


AWAY = (*CONNECTION_TROUBLE, asyncpg.PostgresError)
"""What a connection of ours may meet while PostgreSQL is away."""

ASYNCPG_FORGOT = "<Future finished exception=ConnectionDoesNotExistError("


class Ledger:
    """One process of the transactions service."""

    def __init__(self, site: "Site", settings: Settings) -> None:
        [self.port] = find_free(1)
        self.url = f"http://{LOOPBACK}:{self.port}"
        self.log = site.stack.home.log(f"transactions-{self.port}")
        own = msgspec.structs.replace(settings, listen_port=self.port, log_level="warning")
        command = [sys.executable, "-m", "amana.cli", "serve", "transactions"]
        self.process = Process("transactions", command, self.log, environ={**os.environ, **to_environ(own)})

    async def start(self) -> None:
        """Starts it (again) and waits until it is ready."""
        self.process.start()
        request = f"GET /readyz HTTP/1.1\r\nHost: {LOOPBACK}:{self.port}\r\nConnection: close\r\n\r\n".encode()

        async def ready() -> bool:
            return (await exchange(self.port, request)).startswith(b"HTTP/1.1 200")

        await self.process.wait_ready(ready, START_TIMEOUT_S)

    def signal(self, number: signal.Signals) -> None:
        """Sends it a signal."""
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    async def kill(self) -> None:
        """`kill -9`, and waits until it is gone."""
        self.signal(signal.SIGKILL)
        await until(lambda: self.process.pid is None)

    def errors(self) -> list[str]:
        """What it logged as an error: the reason of a 500 that must not be.

        asyncpg forgets a future of its own when the server dies during a COPY; the error itself is raised and dealt
        with.
        """
        lines = self.log.read_text().splitlines()
        return [line for line in lines if '"severity_text":"error"' in line and ASYNCPG_FORGOT not in line]


class Site:
    """A PostgreSQL of our own, and ledgers on it."""

    def __init__(self, stack: Stack, http: HttpClient) -> None:
        self.stack = stack
        self.http = http
        self._ledgers: list[Ledger] = []
        self._ordinary: list[Ledger] = []

    @classmethod
    @asynccontextmanager
    async def open(cls, shards: int = 1) -> AsyncIterator["Site"]:
        """Starts PostgreSQL, migrated; no ledger yet. Stops everything at the end."""
        async with (
            Stack.open(given=msgspec.structs.replace(NOWHERE, ledger_shards=shards), servers_only=True) as stack,
            HttpClient() as http,
        ):
            site = cls(stack, http)
            try:
                yield site
            finally:
                for ledger in site._ledgers:
                    await ledger.process.stop()

    def ledger(self, **settings: Any) -> Ledger:
        """A further ledger, not started yet, with settings of its own."""
        ledger = Ledger(self, msgspec.structs.replace(self.stack.settings, **settings))
        self._ledgers.append(ledger)
        return ledger

    async def serving(self, count: int) -> list[Ledger]:
        """`count` ledgers, always the same ones, all running."""
        while len(self._ordinary) < count:
            self._ordinary.append(self.ledger())
        wanted = self._ordinary[:count]
        await asyncio.gather(*(ledger.start() for ledger in wanted if ledger.process.pid is None))
        return wanted

    async def lender(self) -> "Lender":
        """A lender that nobody else uses."""
        dsn = self.stack.settings.owner_database_url
        tenant = await provision.create_tenant(dsn, f"c{uuid4().hex[:12]}", "A lender of the crash tests")
        return Lender(self, tenant, await provision.create_key(dsn, tenant, SCOPES))

    @asynccontextmanager
    async def database(self, role: str = "owner") -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
        """A connection of the owner, or of a service's role."""
        connection = await asyncpg.connect(getattr(self.stack.settings, f"{role}_database_url"))
        try:
            yield connection
        finally:
            await connection.close()

    # What can happen to PostgreSQL

    @property
    def postmaster(self) -> int:
        """Its process id."""
        assert self.stack.postgres is not None and self.stack.postgres.process is not None
        pid = self.stack.postgres.process.pid
        assert pid is not None
        return pid

    async def crash_postgres(self, number: signal.Signals) -> None:
        """SIGQUIT is an immediate shutdown, SIGKILL an end without any; then it is started again and recovers."""
        assert self.stack.postgres is not None and self.stack.postgres.process is not None
        process = self.stack.postgres.process
        os.kill(self.postmaster, number)
        await until(lambda: process.pid is None)
        await self.stack.postgres.restart()

    async def kill_backend(self, choose: int) -> bool:
        """SIGKILL of a session of the ledger: PostgreSQL ends all others and recovers. False when there was none."""
        async with self.database() as connection:
            rows = await connection.fetch(
                "SELECT pid FROM pg_stat_activity WHERE usename = 'amana_transactions' ORDER BY pid"
            )
        if not rows:
            return False
        os.kill(rows[choose % len(rows)]["pid"], signal.SIGKILL)
        await self.recovered()
        return True

    async def recovered(self) -> None:
        """Waits until PostgreSQL accepts connections."""
        async with asyncio.timeout(WAIT_S):
            while True:
                try:
                    async with self.database() as connection:
                        await connection.fetchval("SELECT 1")
                        return
                except AWAY:
                    await asyncio.sleep(POLL_S)

    def signal_postgres(self, number: signal.Signals) -> None:
        """A signal (SIGSTOP, SIGCONT) to all of its processes."""
        children = Path(f"/proc/{self.postmaster}/task/{self.postmaster}/children").read_text().split()
        for pid in [self.postmaster, *map(int, children)]:
            if orphans.started_at(pid):
                os.kill(pid, number)


class Lender:
    """One tenant and its key, for calls of one certain ledger."""

    def __init__(self, site: Site, tenant: int, key: str) -> None:
        self.site, self.tenant = site, tenant
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    async def send(self, ledger: Ledger, path: str, body: bytes | None = None, timeout_ms: int = TIMEOUT_MS) -> Reply:
        """POST with a body, GET without. Raises `UpstreamUnavailable`."""
        method = "GET" if body is None else "POST"
        return await self.site.http.request(
            method, ledger.url + path, body=body, headers=self._headers, timeout_ms=timeout_ms
        )

    async def post(self, ledger: Ledger, path: str, body: Any) -> tuple[int, dict[str, Any]]:
        """(status, decoded answer)."""
        reply = await self.send(ledger, path, msgspec.json.encode(body))
        return reply.status, msgspec.json.decode(reply.body)

    async def get(self, ledger: Ledger, path: str) -> dict[str, Any]:
        """The decoded answer, which must be a 200."""
        reply = await self.send(ledger, path)
        assert reply.status == 200, (path, reply)
        answer: dict[str, Any] = msgspec.json.decode(reply.body)
        return answer

    async def transfer(self, ledger: Ledger, **item: Any) -> tuple[int, dict[str, Any]]:
        """(status, result of the one item); the whole answer where that is a problem."""
        status, answer = await self.post(ledger, "/v1/transfers", {"transfers": [item]})
        return status, answer["results"][0] if status == 200 else answer

    async def account(self, ledger: Ledger, id_: UUID | None = None, **more: Any) -> UUID:
        """A new account; on the debit side and without bounds unless `more` says so."""
        item = {"id": id_ or uuid4(), "owner": uuid4(), "currency": "NGN", "normal_side": "debit"} | more
        _, answer = await self.post(ledger, "/v1/accounts", {"accounts": [item]})
        assert answer["results"][0]["status"] == "opened", answer
        return UUID(answer["results"][0]["id"])

    async def balance(self, ledger: Ledger, account: UUID) -> int:
        """The balance of an account."""
        return int((await self.get(ledger, f"/v1/accounts/{account}"))["balance"])


async def until(true: Callable[[], bool], timeout_s: float = WAIT_S) -> None:
    """Waits until `true()` is."""
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, f"not true after {timeout_s:g} s"
        await asyncio.sleep(POLL_S)


def money(debit: UUID, credit: UUID, amount: int, **more: Any) -> dict[str, Any]:
    """An item of a list of transfers."""
    return {"id": uuid4(), "debit_account": debit, "credit_account": credit, "amount": amount, "currency": "NGN"} | more
