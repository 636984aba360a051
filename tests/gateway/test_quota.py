"""Quotas in a world whose time passes when told to: nobody gets more than the bound, nobody less than is theirs."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.gateway.quota_world import FakeRedis, World, a_key, flood, opened

from amana.domain.reasons import Reason
from amana.gateway.caller import INTERNAL
from amana.gateway.keys import Quota, quota_of
from amana.gateway.quota_share import LEASE_NS
from amana.gateway.quota_shares import KEYS_MAX


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """One process."""
    async with opened() as made:
        yield made


# How many


async def test_three_processes_that_are_flooded_admit_the_burst_and_the_rate_and_share_them() -> None:
    async with opened(3) as world:
        admitted = await flood(world, a_key(100), [2, 2, 2], 10_000)
    assert 1_080 <= sum(admitted) <= 100 + 10 * 100 + 3 * 50
    assert min(admitted) >= 0.8 * max(admitted)


async def test_a_process_with_few_requests_gets_them_all_while_another_takes_the_rest() -> None:
    stored = a_key(100)
    async with opened(2) as world:
        await flood(world, stored, [5, 0], 2_000)
        few = rest = 0
        for n in range(10_000):
            rest += world.admitted(0, stored, 5)
            few += world.admitted(1, stored, 1) if n % 100 == 0 else 0  # 10 a second
            await world.pass_ms()
    assert few == 100
    assert 900 <= few + rest <= 1_050


@given(
    rate=st.integers(1, 2_000),
    burst=st.integers(1, 2_000),
    demands=st.lists(st.lists(st.integers(0, 20), min_size=3, max_size=3), min_size=1, max_size=12),
)
def test_in_no_span_of_time_is_more_admitted_than_the_bound(rate: int, burst: int, demands: list[list[int]]) -> None:
    """The bound: a burst, the rate, and for each process a slice and a credit of a quarter of the burst."""

    async def holds() -> None:
        bound = burst + 3 * 2 * -(-burst // 4)
        stored = a_key(rate, burst)
        excess = lowest = 0.0
        async with opened(3) as world:
            for demand in demands:
                for _ in range(40):
                    excess += sum(await flood(world, stored, demand, 1))
                    assert excess - lowest <= bound
                    excess -= rate / 1_000
                    lowest = min(lowest, excess)

    asyncio.run(holds())


@pytest.mark.parametrize("processes", [1, 2, 5])
@pytest.mark.parametrize(("rate", "each_ms"), [(100, 11), (10, 110), (1_000, 2), (1, 1_100)])
async def test_who_keeps_to_the_rate_is_never_refused(processes: int, rate: int, each_ms: int) -> None:
    stored = a_key(rate, 2 * rate)
    async with opened(processes) as world:
        for n in range(300):
            assert world.processes[n % processes].take(stored) is None, n
            await world.pass_ms(each_ms)


async def test_after_a_rest_the_burst_is_there_again() -> None:
    stored = a_key(100)
    async with opened(2) as world:
        await flood(world, stored, [3, 3], 2_000)
        await world.pass_ms(1_200)
        admitted = sum(await flood(world, stored, [1, 1], 100))
    assert 100 <= admitted <= 100 + 10 + 2 * 50


async def test_a_burst_is_admitted_though_it_comes_at_once(world: World) -> None:
    stored = a_key(100, 1_000)
    assert world.admitted(0, stored, 250) == 250
    await world.pass_ms()
    assert sum(await flood(world, stored, [10], 200)) >= 700


async def test_a_slow_key_leaves_no_tokens_with_a_process_that_does_not_need_them() -> None:
    stored = a_key(10, 4)
    async with opened(4) as world:
        for process in range(4):
            assert world.admitted(process, stored, 1) == 1
            await world.pass_ms(25)
        assert world.redis.buckets["amana:quota:1:aaaaaaaaaaaa"][0] >= 0


# Slices


async def test_at_full_speed_a_process_asks_fifty_times_a_second_at_the_most(world: World) -> None:
    stored = a_key(50_000)
    assert await flood(world, stored, [40], 2_000) == [80_000]
    assert len(world.redis.calls) <= 2 * 50


async def test_a_slice_that_was_not_spent_in_time_is_given_back(world: World) -> None:
    stored = a_key(1_000)
    await flood(world, stored, [1], 100)
    in_redis = world.redis.buckets["amana:quota:1:aaaaaaaaaaaa"][0]
    await world.pass_ms(LEASE_NS // 1_000_000 + 1)
    world.redis.buckets["amana:quota:1:aaaaaaaaaaaa"] = in_redis, world.now_ns // 1_000
    assert world.processes[0].take(stored) is None
    await world.pass_ms(30)
    assert world.redis.buckets["amana:quota:1:aaaaaaaaaaaa"][0] > in_redis


async def test_a_request_given_back_is_counted_once(world: World) -> None:
    stored = a_key(1, 8)
    for _ in range(50):
        assert world.processes[0].take(stored) is None
        world.processes[0].give_back(stored)
    await world.pass_ms(30)
    assert world.redis.buckets["amana:quota:1:aaaaaaaaaaaa"][0] >= 7_999_999


async def test_all_keys_ask_in_one_call(world: World) -> None:
    for n in range(50):
        assert world.processes[0].take(a_key(10, key_id=f"key{n}")) is None
    await world.pass_ms()
    assert [len(keys) for keys in world.redis.calls] == [50]
    await world.pass_ms(100)
    assert len(world.redis.calls) == 1


async def test_no_more_than_so_many_keys_are_remembered(world: World) -> None:
    quotas = world.processes[0]
    for n in range(KEYS_MAX + 10):
        assert quotas.take(a_key(10, key_id=f"key{n}")) is None
    assert len(quotas._by_key) == KEYS_MAX
    while quotas.asks:
        await world.pass_ms(30)
    assert {key for keys in world.redis.calls for key in keys} == {
        f"amana:quota:1:key{n}" for n in range(10, KEYS_MAX + 10)
    }


async def test_a_quota_that_is_taken_away_while_redis_is_asked_does_no_harm() -> None:
    async with opened() as world:
        quotas = world.processes[0]

        class Meanwhile(FakeRedis):
            async def run_on(self, *arguments: Any) -> Any:
                assert quotas.take(a_key(0)) is None
                return await super().run_on(*arguments)

        for _ in range(20):
            assert quotas.take(a_key(100)) is None
        quotas._cache = Meanwhile(world)
        await quotas.settle()
        assert world.admitted(0, a_key(0), 200) == 200
        assert not quotas.asks


# Whose


async def test_a_key_without_a_quota_has_the_default_and_an_internal_one_none() -> None:
    async with opened(default_rate=5) as world:
        assert world.admitted(0, a_key(), 100) < 100
        assert world.admitted(0, a_key(0, key_id="bbbbbbbbbbbb"), 100) == 100
        assert world.admitted(0, a_key(scope=INTERNAL, key_id="cccccccccccc"), 100) == 100
        await world.pass_ms()
        assert world.redis.calls == [["amana:quota:1:aaaaaaaaaaaa"]]


async def test_without_a_default_a_key_without_a_quota_asks_nobody(world: World) -> None:
    assert world.admitted(0, a_key(), 1_000) == 1_000
    assert not world.processes[0].asks


async def test_one_key_does_not_pay_for_another(world: World) -> None:
    await flood(world, a_key(10), [5], 200)
    assert world.processes[0].take(a_key(10)) is not None
    assert world.processes[0].take(a_key(10, key_id="bbbbbbbbbbbb")) is None


async def test_a_changed_quota_holds_from_the_next_look_at_the_key_on(world: World) -> None:
    await flood(world, a_key(10), [1], 2_000)
    assert world.processes[0].take(a_key(10)) is not None
    before = sum(await flood(world, a_key(1_000), [1], 1_000))
    assert before >= 900
    assert sum(await flood(world, a_key(0), [1], 100)) == 100
    await flood(world, a_key(10), [1], 1_000)
    assert sum(await flood(world, a_key(10), [1], 1_000)) <= 11


async def test_a_refusal_says_what_and_when(world: World) -> None:
    stored = a_key(2, 5)
    await flood(world, stored, [1], 2_000)
    exceeded = world.processes[0].take(stored)
    assert exceeded is not None
    assert (exceeded.reason, exceeded.figures) == (Reason.QUOTA_EXCEEDED, {"rate_per_s": 2, "burst": 5})
    assert exceeded.retry_after_s == 1
    assert exceeded.headers() == {"ratelimit-policy": '"default";q=5;w=3', "ratelimit": '"default";r=0;t=1'}


@pytest.mark.parametrize(("rate", "burst"), [(-1, 1), (1_000_001, 1), (1, 0), (1, 10_000_001), (0, 1)])
def test_what_can_not_be_a_quota_is_refused(rate: int, burst: int) -> None:
    with pytest.raises(ValueError, match=r"a quota's (rate|burst) is"):
        quota_of(rate, burst)
    assert quota_of(7) == Quota(7, 7)
