"""All keys of a tenant share its quota, beside their own: both must admit."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.gateway.quota_world import World, a_key, flood, opened

from amana.domain.reasons import Reason
from amana.gateway.caller import INTERNAL
from amana.gateway.keys import Quota, StoredKey

SHARED = Quota(10, 40)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """One process."""
    async with opened() as made:
        yield made


async def test_keys_without_a_quota_share_their_tenants_over_all_processes() -> None:
    keys = [a_key(key_id=f"key{n}", shared=Quota(100, 100)) for n in range(3)]
    async with opened(3) as world:
        admitted = 0
        for _ in range(5_000):
            admitted += sum(world.admitted(n, key, 1) for n, key in enumerate(keys))
            await world.pass_ms()
    assert 100 + 5 * 100 * 0.95 <= admitted <= 100 + 5 * 100 + 3 * 50


@settings(max_examples=25, deadline=None)
@given(
    own=st.integers(1, 500),
    shared=st.integers(1, 500),
    demands=st.lists(st.lists(st.integers(0, 10), min_size=2, max_size=2), min_size=1, max_size=5),
)
def test_neither_the_keys_nor_the_tenants_bound_is_passed(own: int, shared: int, demands: list[list[int]]) -> None:
    keys = [a_key(own, key_id=f"key{n}", shared=Quota(shared, shared)) for n in range(2)]

    async def holds() -> None:
        admitted = [0, 0]
        async with opened(2) as world:
            for demand in demands:
                for _ in range(50):
                    for n, key in enumerate(keys):
                        admitted[n] += world.admitted(n, key, demand[n])
                    await world.pass_ms()
        seconds = len(demands) * 0.05
        for rate, count in ((own, admitted[0]), (own, admitted[1]), (shared, sum(admitted))):
            assert count <= rate + rate * seconds + 2 * 2 * -(-rate // 4) + 1

    asyncio.run(holds())


async def test_a_key_over_its_own_quota_spends_nothing_of_its_tenants(world: World) -> None:
    poor, rich = a_key(1, 2, key_id="poor", shared=SHARED), a_key(key_id="rich", shared=SHARED)
    exceeded = [world.processes[0].take(poor) for _ in range(30)][-1]
    assert exceeded is not None and exceeded.reason is Reason.QUOTA_EXCEEDED
    await flood(world, poor, [1], 200)
    assert sum(await flood(world, rich, [1], 60)) >= 30


async def test_a_request_over_the_tenants_quota_is_refused_for_it_and_spends_nothing_of_the_keys(world: World) -> None:
    first, second = a_key(50, key_id="first", shared=SHARED), a_key(50, key_id="second", shared=SHARED)
    await flood(world, first, [1], 500)
    exceeded = world.processes[0].take(second)
    assert exceeded is not None
    assert (exceeded.reason, exceeded.figures) == (Reason.TENANT_QUOTA_EXCEEDED, {"rate_per_s": 10, "burst": 40})
    assert exceeded.headers() == {"ratelimit-policy": '"tenant";q=40;w=4', "ratelimit": '"tenant";r=0;t=1'}
    await flood(world, second, [1], 500)  # nearly all of it refused
    free = a_key(50, key_id="second")  # its tenant has no quota any more, its own bucket is as good as full
    assert sum(await flood(world, free, [1], 60)) >= 40


async def test_other_tenants_and_the_platforms_own_key_pay_for_nobody(world: World) -> None:
    await flood(world, a_key(shared=SHARED), [1], 500)
    assert world.admitted(0, a_key(key_id="other", tenant=2, shared=SHARED), 10) == 10
    assert world.admitted(0, a_key(key_id="without", tenant=3), 1_000) == 1_000
    internal = a_key(key_id="internal", scope=INTERNAL, shared=SHARED)
    assert world.admitted(0, internal, 1_000) == 1_000


async def test_a_changed_quota_holds_for_all_keys_from_the_next_look_at_one_of_them_on(world: World) -> None:
    def keys(shared: Quota | None) -> list[StoredKey]:
        return [a_key(key_id=f"key{n}", shared=shared) for n in range(2)]

    old, new = keys(Quota(1_000, 1_000)), keys(Quota(10, 10))
    assert world.admitted(0, old[1], 1) == 1
    assert sum(await flood(world, old[0], [1], 500)) >= 450
    await flood(world, new[0], [1], 1_000)
    assert sum(await flood(world, old[1], [1], 1_000)) <= 11  # looked up before the change
    none = keys(None)
    assert world.admitted(0, none[0], 1_000) == 1_000
    assert world.admitted(0, old[1], 1) == 1  # it has heard of it too


async def test_without_a_quota_of_the_tenant_nothing_is_asked_for_it(world: World) -> None:
    await flood(world, a_key(100), [1], 100)
    assert {name for call in world.redis.calls for name in call} == {"amana:quota:1:aaaaaaaaaaaa"}


async def test_both_buckets_are_asked_for_in_one_call(world: World) -> None:
    await flood(world, a_key(100, shared=Quota(100, 100)), [1], 300)
    assert ["amana:quota:1:aaaaaaaaaaaa", "amana:quota:tenant:1"] in [sorted(call) for call in world.redis.calls]
    assert len(world.redis.calls) <= 300 / 20 + 1


async def test_a_request_given_back_is_given_back_to_both(world: World) -> None:
    stored = a_key(1, 40, shared=Quota(1, 40))
    for _ in range(200):
        assert world.processes[0].take(stored) is None
        world.processes[0].give_back(stored)
    assert world.admitted(0, stored, 10) == 10


async def test_while_redis_is_away_a_tenant_has_its_part_in_each_process_and_never_nothing() -> None:
    keys = [a_key(key_id=f"key{n}", shared=Quota(100, 100)) for n in range(2)]
    async with opened(2) as world:
        world.redis.away = True
        await flood(world, keys[0], [1, 1], 50)
        admitted = 0
        for _ in range(4_000):
            admitted += sum(world.admitted(process, key, 1) for process in range(2) for key in keys)
            await world.pass_ms()
    assert 4 * 100 * 0.95 <= admitted <= 100 + 4 * 100 + 10
