"""The cache's server: what one call writes and reads, of any size and any bytes."""

from uuid import uuid4

from redis.asyncio import Redis

from amana.infra.cache import Cache
from amana.infra.settings import Settings


async def test_many_values_are_written_by_one_command_each_for_its_time(settings: Settings) -> None:
    cache, start = Cache(settings.redis_url, deadline_ms=5_000), uuid4().hex
    values = [(f"{start} {at}", bytes([at % 256]) * at * 40) for at in range(300)]
    keys = [key for key, _ in values]
    async with Redis.from_url(settings.redis_url) as server:
        before = (await server.info("commandstats")).get("cmdstat_evalsha", {"calls": 0})["calls"]
        assert await cache.put_many(values, 60_000)
        after = (await server.info("commandstats"))["cmdstat_evalsha"]["calls"]
        left_ms = [await server.pttl(key) for key in keys]
    assert 1 <= after - before <= 2  # the first time the server has to be told the script
    assert 50_000 < min(left_ms) <= max(left_ms) <= 60_000
    assert await cache.get_many([*keys, f"{start} none"]) == [*(value for _, value in values), None]
    assert await cache.put_many([(keys[0], b"again")], 60_000) and await cache.get_many(keys[:1]) == [b"again"]
    await cache.close()


async def test_nothing_to_write_is_written(settings: Settings) -> None:
    cache = Cache(settings.redis_url, deadline_ms=5_000)
    assert await cache.put_many([], 1_000)
    await cache.close()
    assert not await Cache("").put_many([("key", b"value")], 1_000)
