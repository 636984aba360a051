"""The metrics database goes away under load, refused and then silent, and audit is killed meanwhile: nobody who asks or
moves money notices, and the trail comes back whole by itself."""

import asyncio
import os
import signal
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import msgspec
import pytest
from tests.chaos.proxy import Proxy
from tests.chaos.site import NOWHERE
from tests.e2e.lenders import Lender, new_lender

from amana.infra.embedded.ports import LOOPBACK
from amana.infra.http import HttpClient
from amana.operate.stack import Stack

CALLERS = 4
THINK_S = 0.02
PHASE_S = 2.0
CAUGHT_UP_WITHIN_S = 30.0
SLOWER_MS = 50.0
"""What the median may differ by on a busy machine; a request that waited for metrics would take a second and more."""
WAITED_S = 1.9
"""The shortest of the bounds that anything on metrics has."""


class Load:
    """Requests to borrow and transfers, as they were answered."""

    def __init__(self, lender: Lender) -> None:
        self._lender = lender
        self.statuses: dict[int, int] = {}
        self.decided = 0
        self.moved = 0

    async def run(self, seconds: float) -> list[float]:
        """Loads both services for a while; how long each request took."""
        customer = await self._lender.customer()
        till, shop = await self._lender.account(), await self._lender.account(normal_side="credit")
        until, took = time.monotonic() + seconds, list[float]()

        async def caller() -> None:
            while time.monotonic() < until:
                began = time.monotonic()
                ask = {"id": uuid4(), "customer": customer, "product": "nano", "amount": 1_000, "currency": "NGN"}
                status, _ = await self._lender.post("eligibility", "/v1/eligibility/checks", ask)
                self.statuses[status] = self.statuses.get(status, 0) + 1
                self.decided += 1
                took.append(time.monotonic() - began)
                began = time.monotonic()
                move = {"id": uuid4(), "kind": "post", "debit_account": till, "credit_account": shop, "amount": 700}
                body = {"transfers": [{**move, "currency": "NGN"}]}
                status, answer = await self._lender.post("transactions", "/v1/transfers", body)
                self.statuses[status] = self.statuses.get(status, 0) + 1
                assert answer["results"][0]["reason"] is None, answer
                self.moved += 1
                took.append(time.monotonic() - began)
                await asyncio.sleep(THINK_S)

        await asyncio.gather(*(caller() for _ in range(CALLERS)))
        return took


@asynccontextmanager
async def silence(port: int) -> AsyncIterator[None]:
    """Takes connections on a port and never says a word."""
    server = await asyncio.start_server(lambda _reader, _writer: asyncio.sleep(60), LOOPBACK, port)
    try:
        yield
    finally:
        server.close()


@pytest.fixture
async def away() -> AsyncIterator[tuple[Stack, Proxy]]:
    """A stack whose metrics database is behind a proxy."""
    async with Stack.open(given=NOWHERE, servers_only=True, durable=False) as stack:
        parts = urlsplit(stack.settings.metrics_database_url)
        async with Proxy.before(stack.ports.postgres) as proxy:
            there = f"{parts.netloc.rpartition('@')[0]}@{LOOPBACK}:{proxy.port}"
            stack.settings = msgspec.structs.replace(
                stack.settings, metrics_database_url=parts._replace(netloc=there).geturl()
            )
            await stack.start_services()
            yield stack, proxy


async def test_nobody_notices_that_metrics_are_away_and_the_trail_comes_back_whole(
    away: tuple[Stack, Proxy],
) -> None:
    stack, proxy = away
    async with HttpClient() as http:
        load = Load(await new_lender(stack, http))
        with_metrics = await load.run(PHASE_S)
        proxy.hang_up()
        refused = await load.run(PHASE_S)
        async with silence(proxy.port):
            audit = stack.services["audit"]
            assert audit.pid is not None
            os.kill(audit.pid, signal.SIGKILL)
            silent = await load.run(PHASE_S)
            await stack.start_service("audit")
        await proxy.take_up()
        counted = await caught_up(stack, load)
    assert set(load.statuses) == {200}
    assert counted == (load.decided, load.moved)
    for phase in (refused, silent):
        assert statistics.quantiles(phase, n=100)[-1] < WAITED_S, "requests waited for metrics"
        slower_ms = (statistics.median(phase) - statistics.median(with_metrics)) * 1_000
        assert slower_ms < SLOWER_MS, f"{slower_ms:.0f} ms slower in the middle"


async def caught_up(stack: Stack, load: Load) -> tuple[int, int]:
    """(decisions, transfers) that the metrics count, once they are all there."""
    owner = await asyncpg.connect(stack.settings.owner_metrics_database_url)
    found = 0, 0
    try:
        for _ in range(int(CAUGHT_UP_WITHIN_S / 0.1)):
            row = await owner.fetchrow(
                "SELECT (SELECT sum(decisions)::int FROM timescale.decisions WHERE per = 'day') AS decisions,"
                " (SELECT sum(transfers)::int FROM timescale.transfers WHERE per = 'day' AND code = '') AS transfers"
            )
            assert row is not None
            found = row["decisions"] or 0, row["transfers"] or 0
            if found >= (load.decided, load.moved):
                break
            await asyncio.sleep(0.1)
    finally:
        await owner.close()
    return found
