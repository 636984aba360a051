"""Quotas while Redis is away, in a world whose time passes when told to: never without bound, and never nothing."""

from tests.gateway.quota_world import a_key, flood, opened

from amana.gateway.quota import Quotas


async def test_while_redis_is_away_each_process_grants_its_part_and_never_nothing() -> None:
    stored = a_key(100)
    async with opened(4) as world:
        await flood(world, stored, [2] * 4, 1_000)
        world.redis.away = True
        first = await flood(world, stored, [2] * 4, 1_000)
        assert all(quotas.away for quotas in world.processes)
        assert sum(first) <= 100 + 100
        for _ in range(5):
            admitted = await flood(world, stored, [2] * 4, 1_000)
            assert admitted == [25] * 4


async def test_what_a_process_spent_of_all_counts_when_redis_goes_away() -> None:
    stored = a_key(100)
    async with opened(4) as world:
        await flood(world, stored, [2, 0, 0, 0], 2_000)
        world.redis.away = True
        assert (await flood(world, stored, [2, 0, 0, 0], 1_000))[0] <= 25 + 5


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


async def test_once_redis_is_back_it_is_asked_again_and_what_was_granted_meanwhile_counts() -> None:
    async with opened() as world:
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
