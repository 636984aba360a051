"""Quotas, in a world whose time passes when told to: nobody gets more than the bound, and nobody less than is theirs."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.gateway.quota_world import World, a_key

from amana.domain.reasons import Reason
from amana.gateway.caller import INTERNAL
from amana.gateway.keys import Quota, StoredKey, quota_of
from amana.gateway.quota import KEYS_MAX, LEASE_NS, Quotas

Open = Callable[..., World]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """One process."""
    async with opened() as made:
        yield made


@asynccontextmanager
async def opened(processes: int = 1, **more: int) -> AsyncIterator[World]:
    made = World(processes, **more)
    try:
        yield made
    finally:
        await made.close()


# How many


async def flood(world: World, stored: StoredKey, demand: list[int], milliseconds: int) -> list[int]:
    """Every process is asked so often in each millisecond; what each admitted."""
    admitted = [0] * len(world.processes)
    for _ in range(milliseconds):
        for n, requests in enumerate(demand):
            admitted[n] += world.admitted(n, stored, requests)
        await world.pass_ms()
    return admitted


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
    assert few >= 50
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
    assert len(quotas._shares) == KEYS_MAX
    while quotas.asks:
        await world.pass_ms(30)
    assert {key for keys in world.redis.calls for key in keys} == {
        f"amana:quota:1:key{n}" for n in range(10, KEYS_MAX + 10)
    }


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
    with pytest.raises(ValueError, match="a quota's (rate|burst) is"):
        quota_of(rate, burst)
    assert quota_of(7) == Quota(7, 7)


# Redis away


async def test_while_redis_is_away_each_process_grants_its_part_and_never_nothing() -> None:
    stored = a_key(100)
    async with opened(4) as world:
        await flood(world, stored, [2] * 4, 1_000)
        world.redis.away = True
        await flood(world, stored, [2] * 4, 1_000)
        assert all(quotas.away for quotas in world.processes)
        for _ in range(5):
            admitted = await flood(world, stored, [2] * 4, 1_000)
            assert admitted == [25] * 4


async def test_a_process_that_never_saw_redis_grants_its_part_of_the_burst_first() -> None:
    stored = a_key(100)
    async with opened(4) as world:
        world.redis.away = True
        admitted = await flood(world, stored, [2] * 4, 1_000)
    assert all(25 + 24 <= count <= 25 + 25 for count in admitted)


async def test_a_key_seen_first_while_redis_is_away_is_served() -> None:
    async with opened(replicas=50) as world:
        world.redis.away = True
        await flood(world, a_key(100), [1], 100)
        other = a_key(1, key_id="bbbbbbbbbbbb")
        assert world.admitted(0, other, 5) == 1
        exceeded = world.processes[0].take(other)
        assert exceeded is not None
        assert exceeded.retry_after_s == 50


async def test_once_redis_is_back_it_is_asked_again_and_what_was_granted_meanwhile_counts(world: World) -> None:
    stored = a_key(100)
    await flood(world, stored, [2], 1_000)
    world.redis.away = True
    await flood(world, stored, [2], 3_000)
    world.redis.away = False
    await world.pass_ms(30)
    assert not world.processes[0].away
    assert world.redis.buckets["amana:quota:1:aaaaaaaaaaaa"][0] <= 5_000_000
    assert 90 <= sum(await flood(world, stored, [2], 1_000)) <= 110


async def test_a_redis_that_comes_and_goes_gives_no_more_than_twice_the_rate() -> None:
    stored = a_key(100)
    async with opened(2) as world:
        await flood(world, stored, [2, 2], 2_000)
        total = 0
        for _ in range(10):
            world.redis.away = not world.redis.away
            total += sum(await flood(world, stored, [2, 2], 500))
    assert 400 <= total <= 2 * 5 * 100


async def test_without_redis_quotas_are_local() -> None:
    now_ns = 1
    quotas = Quotas(None, clock_ns=lambda: now_ns)
    stored = a_key(3, 2)
    assert [quotas.take(stored) is None for _ in range(3)] == [True, True, False]
    now_ns += 333_333_334
    assert [quotas.take(stored) is None for _ in range(2)] == [True, False]
    quotas.give_back(stored)
    assert quotas.take(stored) is None
    await quotas.close()


async def test_a_clock_that_jumps_gives_a_burst_at_the_most_and_stops_nothing() -> None:
    now_ns = 10**18
    quotas = Quotas(None, clock_ns=lambda: now_ns)
    stored = a_key(10, 5)
    assert sum(quotas.take(stored) is None for _ in range(100)) == 5
    for jump_ns in (3_600_000_000_000, -7_200_000_000_000):
        now_ns += jump_ns
        assert sum(quotas.take(stored) is None for _ in range(100)) == (5 if jump_ns > 0 else 0)
        now_ns += 500_000_000
        assert sum(quotas.take(stored) is None for _ in range(100)) == 5
    await quotas.close()
