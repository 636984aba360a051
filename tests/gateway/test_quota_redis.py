"""Quotas on a real server, and what becomes of them when that server refuses, hangs, forgets or may not write."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis.asyncio
from tests.gateway.quota_world import a_key
from tests.gateway.test_keys import ring_on

from amana.gateway import provision
from amana.gateway.keyring import AHEAD_S, FRESH_S
from amana.gateway.keys import Quota, StoredKey
from amana.gateway.quota import Quotas
from amana.infra.cache import Cache
from amana.infra.embedded.ports import find_free
from amana.infra.embedded.valkey import Valkey
from amana.infra.settings import Settings
from amana.infra.telemetry import render_metrics

ROOT = Path(__file__).parents[2]
WAIT_S = 20.0
RATE = 100
BUCKET = "amana:quota:1:aaaaaaaaaaaa"


async def until(true: Callable[[], bool]) -> None:
    """Waits until `true()` is."""
    async with asyncio.timeout(WAIT_S):
        while not true():  # noqa: ASYNC110 (what is waited for has no event)
            await asyncio.sleep(0.01)


# Three processes


async def test_three_processes_together_admit_the_rate_the_burst_and_a_slice_each(settings: Settings) -> None:
    burst = 20
    words = [sys.executable, "-m", "tests.gateway.quota_process", settings.redis_url, str(RATE), str(burst), "3"]
    running = [await asyncio.create_subprocess_exec(*words, cwd=ROOT, stdout=asyncio.subprocess.PIPE) for _ in range(3)]
    said = [(await process.communicate())[0].decode().split() for process in running]
    began_s, ended_s = min(float(line[0]) for line in said), max(float(line[1]) for line in said)
    admitted = [int(line[2]) for line in said]
    assert [line[3] for line in said] == ["0"] * 3, "Redis was lost, which this test is not about"
    assert sum(admitted) <= burst + RATE * (ended_s - began_s) + 3 * 2 * burst / 4
    assert sum(admitted) >= RATE * 3 / 2
    assert min(admitted) >= max(admitted) / 5


# A server of the test's own


class Server:
    """A Valkey that a test may stop, and quotas on it with a clock that stands still until it is moved."""

    def __init__(self, folder: Path) -> None:
        self.valkey = Valkey(folder / "valkey", find_free(1)[0], folder / "valkey.log", "secret")
        self.now_ns = 10**15
        self.quotas = self.more()
        self.client: Any = redis.asyncio.Redis.from_url(self.valkey.url)

    def more(self, *, deadline_ms: int = 500, replicas: int = 2) -> Quotas:
        """Another process' quotas."""
        cache = Cache(self.valkey.url, deadline_ms=deadline_ms, rest_ms=50)
        return Quotas(cache, service="quota-tests", replicas=replicas, clock_ns=lambda: self.now_ns, away_pause_s=0.06)

    def signal(self, number: signal.Signals) -> None:
        assert self.valkey.process.pid is not None
        os.kill(self.valkey.process.pid, number)

    def admitted(self, stored: StoredKey, requests: int) -> int:
        return sum(self.quotas.take(stored) is None for _ in range(requests))

    async def settled(self) -> None:
        await until(lambda: not self.quotas.asks)

    async def grants_its_part(self, stored: StoredKey) -> None:
        """Away, with two replicas: half of the rate and no more, a second at a time."""
        await until(lambda: self.quotas.away)
        self.admitted(stored, 2 * RATE)
        for _ in range(3):
            self.now_ns += 1_000_000_000
            assert self.admitted(stored, 2 * RATE) == RATE / 2
            await asyncio.sleep(0)

    async def is_back(self, stored: StoredKey) -> None:
        """The bucket in Redis counts again, without anybody's doing."""
        await until(lambda: not self.quotas.away)
        await self.settled()
        self.now_ns += 3_000_000_000
        assert self.quotas.take(stored) is None
        await self.settled()
        assert not self.quotas.away
        assert await self.client.exists(BUCKET)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    server = Server(tmp_path)
    await server.valkey.start()
    try:
        yield server
    finally:
        if server.valkey.process.pid is not None:
            server.signal(signal.SIGCONT)
        await server.quotas.close()
        await server.client.aclose()
        await server.valkey.stop()


async def test_a_burst_is_paid_and_what_is_over_it_refused(server: Server) -> None:
    stored = a_key(1, 40)
    admitted = 0
    for _ in range(30):
        admitted += server.admitted(stored, 10)
        await server.settled()
    assert 40 <= admitted <= 40 + 10 + 5  # a credit, and what the seconds of a slow machine bring
    level = int(await server.client.hget(BUCKET, "level"))
    assert level < 1_000_000


async def test_two_processes_spend_one_bucket(server: Server) -> None:
    stored, other = a_key(1, 40), server.more()
    for _ in range(10):
        server.admitted(stored, 10)
        await server.settled()
    assert other.take(stored) is None  # on credit: it does not know yet
    await until(lambda: not other.asks)
    assert sum(other.take(stored) is None for _ in range(20)) <= 5
    await other.close()


async def test_a_server_that_refuses_leaves_each_process_its_part_and_is_taken_up_again(server: Server) -> None:
    stored = a_key(RATE)
    assert server.quotas.take(stored) is None
    await server.settled()
    await server.valkey.stop()
    server.admitted(stored, 5)
    await server.grants_its_part(stored)
    await server.valkey.start()
    await server.is_back(stored)


async def test_no_request_waits_for_a_server_that_hangs(server: Server) -> None:
    """Hung is not refused: connections stand, and nothing comes back."""
    stored = a_key(RATE)
    assert server.quotas.take(stored) is None
    await server.settled()
    server.signal(signal.SIGSTOP)
    began_s = time.perf_counter()
    assert server.admitted(stored, RATE // 4) == RATE // 4  # on credit
    assert time.perf_counter() - began_s < 0.4  # a wait for the server would take its deadline of 0.5
    await server.grants_its_part(stored)
    server.signal(signal.SIGCONT)
    await server.is_back(stored)


async def test_a_server_that_may_not_write_is_as_good_as_away(server: Server) -> None:
    """A replica after a failover: READONLY."""
    stored = a_key(RATE)
    await server.client.execute_command("REPLICAOF", "127.0.0.1", "1")
    server.admitted(stored, 5)
    await server.grants_its_part(stored)
    await server.client.execute_command("REPLICAOF", "NO", "ONE")
    await server.is_back(stored)


async def test_a_server_without_memory_is_as_good_as_away(server: Server) -> None:
    stored = a_key(RATE)
    await server.client.config_set("maxmemory-policy", "noeviction")
    await server.client.config_set("maxmemory", "1")
    server.admitted(stored, 5)
    await server.grants_its_part(stored)
    await server.client.config_set("maxmemory", "0")
    await server.is_back(stored)


async def test_a_server_that_forgot_everything_gives_a_burst_and_no_error(server: Server) -> None:
    stored = a_key(1, 40)
    for _ in range(20):
        server.admitted(stored, 10)
        await server.settled()
    await server.client.flushall()
    await server.client.script_flush()
    server.now_ns += 2_000_000_000
    assert server.admitted(stored, 1) == 1
    await server.settled()
    assert not server.quotas.away
    assert int(await server.client.hget(BUCKET, "level")) <= 40_000_000


async def test_many_keys_are_settled_in_bounded_calls_one_after_the_other(server: Server) -> None:
    keys = [a_key(10, key_id=f"key{n}") for n in range(1_000)]
    assert all(server.quotas.take(stored) is None for stored in keys)
    await server.settled()
    assert await server.client.dbsize() == len(keys)
    calls = (await server.client.info("commandstats"))["cmdstat_evalsha"]["calls"]
    assert 10 <= calls <= 12  # one more where the script was not known


async def test_a_slow_server_costs_no_request_anything(server: Server) -> None:
    """Each call takes most of the deadline of 50 ms that services give it."""

    class Slow(Cache):
        async def run_on(self, *arguments: Any) -> Any:
            await asyncio.sleep(0.04)
            return await super().run_on(*arguments)

    quotas = Quotas(Slow(server.valkey.url, deadline_ms=2_000))
    stored = a_key(200)
    for _ in range(50):
        assert quotas.take(stored) is None
        await asyncio.sleep(0.01)
    assert not quotas.away
    await quotas.close()


async def test_what_happens_is_counted(server: Server) -> None:
    def value(name: str, more: str = "") -> float:
        start = f'amana_quota_{name}{{{more}service="quota-tests"}} '
        return float(next(line for line in render_metrics().decode().splitlines() if line.startswith(start)).split()[1])

    names = ("leases_total", "failures_total", "fallbacks_total")
    before = [value(name) for name in names]
    refused = value("refused_total", 'reason="shared",'), value("refused_total", 'reason="local",')
    stored = a_key(1, 4)
    server.admitted(stored, 3)
    await server.settled()
    assert value("refused_total", 'reason="shared",') == refused[0] + 2
    await server.valkey.stop()
    server.now_ns += 10_000_000_000
    server.admitted(stored, 1)
    await until(lambda: value("failures_total") >= before[1] + 2)
    server.admitted(stored, 20)
    assert value("refused_total", 'reason="local",') > refused[1]
    assert [value("leases_total"), value("fallbacks_total"), value("local")] == [before[0] + 1, before[2] + 1, 1]
    await server.valkey.start()
    await until(lambda: value("local") == 0)


# Where quotas are kept


async def test_a_quota_is_kept_with_its_key_and_a_change_holds_within_five_seconds(settings: Settings) -> None:
    owner = settings.owner_database_url
    tenant = await provision.create_tenant(owner, "quota-tests", "Quota tests")
    text = await provision.create_key(owner, tenant, ["loans:read"], Quota(5, 9))
    key_id = text.split("_")[1]
    async with ring_on(settings.eligibility_database_url) as (ring, clock):
        for quota in (Quota(0, 0), Quota(7, 7), None):
            found = await ring.caller_for(f"Bearer {text}")
            assert found
            await provision.set_quota(owner, key_id, quota)
            clock.now_s += FRESH_S
            found = await ring.caller_for(f"Bearer {text}")
            assert found and found.quota == quota
    assert AHEAD_S < FRESH_S <= 5
    assert [key.quota for key in await provision.list_keys(owner, tenant) if key.key_id == key_id] == [None]


async def test_a_tenants_quota_is_found_with_each_of_its_keys_and_a_change_holds_as_soon(settings: Settings) -> None:
    owner, slug = settings.owner_database_url, f"shared-{uuid4().hex[:12]}"
    tenant, made = await provision.ensure_tenant(owner, slug, "Shared quota", Quota(3, 4))
    assert made and tenant.quota == Quota(3, 4)
    texts = [await provision.create_key(owner, tenant.tenant, ["loans:read"], quota) for quota in (Quota(9, 9), None)]
    async with ring_on(settings.eligibility_database_url) as (ring, clock):
        for quota in (Quota(3, 4), Quota(7, 7), None):
            await provision.set_tenant_quota(owner, tenant.tenant, quota)
            clock.now_s += FRESH_S
            found = [await ring.caller_for(f"Bearer {text}") for text in texts]
            assert [(key.quota, key.tenant_quota) for key in found if key] == [(Quota(9, 9), quota), (None, quota)]
            assert (await provision.find_tenant(owner, slug)).quota == quota


@pytest.mark.parametrize("tenant", [0, 999_999_999])
async def test_the_platform_and_who_is_not_there_are_given_no_quota(settings: Settings, tenant: int) -> None:
    with pytest.raises(ValueError, match=f"there is no lender {tenant}"):
        await provision.set_tenant_quota(settings.owner_database_url, tenant, Quota(1, 1))


async def test_a_key_that_is_not_or_no_longer_lives_is_given_no_quota(settings: Settings) -> None:
    owner = settings.owner_database_url
    tenant = await provision.create_tenant(owner, "quota-tests", "Quota tests")
    key_id = (await provision.create_key(owner, tenant, ["loans:read"])).split("_")[1]
    await provision.revoke_key(owner, key_id)
    for named in (key_id, "aaaaaaaaaaaa"):
        with pytest.raises(ValueError, match=f"there is no live key with the id {named}"):
            await provision.set_quota(owner, named, Quota(1, 1))
