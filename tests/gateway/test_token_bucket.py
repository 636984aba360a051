"""The token bucket's arithmetic: exact, however it is read, and the same in Lua."""

from collections.abc import Iterator
from fractions import Fraction
from importlib.resources import files
from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from amana.gateway.token_bucket import SECOND_NS, TokenBucket
from amana.infra.settings import Settings

rates = st.one_of(st.integers(1, 20), st.integers(1, 1_000_000))
bursts = st.one_of(st.integers(1, 20), st.integers(1, 10_000_000))
pauses_ns = st.one_of(st.integers(-SECOND_NS, 3 * SECOND_NS), st.integers(-(10**15), 10**15))


class SlowTokenBucket:
    """Fractions of a token, and nothing clever."""

    def __init__(self, rate: int, burst: int, now_ns: int, replicas: int) -> None:
        self.rate = Fraction(rate, replicas)
        self.full = max(Fraction(1), Fraction(burst, replicas))
        self.level = self.full
        self.at_ns = now_ns

    def wait(self, now_ns: int) -> None:
        if now_ns > self.at_ns:
            self.level = min(self.full, self.level + self.rate * Fraction(now_ns - self.at_ns, SECOND_NS))
        self.at_ns = now_ns

    def take(self) -> bool:
        if self.level < 1:
            return False
        self.level -= 1
        return True


@given(rates, bursts, st.integers(1, 50), st.lists(st.tuples(pauses_ns, st.integers(0, 5)), max_size=30))
def test_a_bucket_holds_what_a_slow_one_holds(
    rate: int, burst: int, replicas: int, steps: list[tuple[int, int]]
) -> None:
    now_ns = 10**18
    bucket, slow = TokenBucket(rate, burst, now_ns, replicas), SlowTokenBucket(rate, burst, now_ns, replicas)
    for pause_ns, takes in steps:
        now_ns += pause_ns
        slow.wait(now_ns)
        assert bucket.tokens(now_ns) == slow.level // 1
        assert [bucket.take(now_ns) for _ in range(takes)] == [slow.take() for _ in range(takes)]


@given(rates, bursts, st.integers(1, 50), st.integers(0, 100), st.integers(1, 5))
def test_after_the_wait_there_are_so_many_tokens_and_a_moment_before_there_are_not(
    rate: int, burst: int, replicas: int, drained: int, wanted: int
) -> None:
    bucket = TokenBucket(rate, burst, 0, replicas)
    bucket.drain(0, drained)
    possible = min(wanted, bucket.tokens(10**18))
    bucket = TokenBucket(rate, burst, 0, replicas)
    bucket.drain(0, drained)
    wait_ns = bucket.wait_ns(0, possible)
    assert wait_ns == 0 or bucket.tokens(wait_ns - 1) < possible
    assert bucket.tokens(wait_ns) >= possible


def test_what_is_given_back_never_overfills_and_what_is_drained_never_owes() -> None:
    bucket = TokenBucket(10, 5, 0)
    bucket.put(3)
    assert bucket.tokens(0) == 5
    bucket.drain(0, -2)
    assert bucket.tokens(0) == 5
    bucket.drain(0, 7)
    assert bucket.tokens(0) == 0
    bucket.put(2)
    assert bucket.tokens(0) == 2


def test_a_share_of_little_is_one_token_and_comes_in_time() -> None:
    bucket = TokenBucket(1, 1, 0, replicas=4)
    assert [bucket.take(0), bucket.take(0)] == [True, False]
    assert bucket.wait_ns(0) == 4 * SECOND_NS
    assert bucket.take(4 * SECOND_NS)


# The same in Lua. Its clock is the server's: a test moves the moment that a bucket was written instead.


class Lua:
    """One bucket on a real server."""

    def __init__(self, url: str) -> None:
        self.client: Any = redis.Redis.from_url(url)
        self.key = "amana:quota:0:bucket-tests"
        source = files("amana.gateway").joinpath("quota_lease.lua").read_text(encoding="utf-8")
        self._lease = self.client.register_script(source)

    def lease(self, rate: int, burst: int, taken: int = 0, wanted: int = 0) -> tuple[int, int]:
        """(granted, level in millionths)."""
        granted, level = self._lease([self.key], [rate, burst, taken, wanted])
        return granted, level

    def kept(self) -> tuple[int, int]:
        """(level, when in microseconds), as they are stored."""
        level, at_us = self.client.hmget(self.key, "level", "at_us")
        return int(level), int(at_us)


@pytest.fixture
def lua(settings: Settings) -> Iterator[Lua]:
    lua = Lua(settings.redis_url)
    lua.client.delete(lua.key)
    yield lua
    lua.client.delete(lua.key)
    lua.client.close()


moves_us = st.one_of(st.integers(-5_000_000, 5_000_000), st.integers(-(10**14), 10**14))
leases = st.tuples(moves_us, st.integers(-20, 20), st.integers(0, 20))
histories = st.lists(leases, min_size=1, max_size=8)


def test_the_bucket_in_lua_holds_what_a_slow_one_holds(lua: Lua) -> None:
    @given(rates, bursts, histories)
    def holds(rate: int, burst: int, steps: list[tuple[int, int, int]]) -> None:
        lua.client.delete(lua.key)
        lua.lease(rate, burst)
        full = burst * 1_000_000
        for move_us, taken, wanted in steps:
            before, at_us = lua.kept()
            lua.client.hset(lua.key, "at_us", at_us - move_us)
            granted, level = lua.lease(rate, burst, taken, wanted)
            now_us = lua.kept()[1]
            refilled = min(full, max(before, -100 * full) + max(0, now_us - (at_us - move_us)) * rate)
            left = min(full, refilled - taken * 1_000_000)
            expected = min(wanted, -(-max(0, left // 1_000_000) // 2))
            assert (granted, level) == (expected, left - expected * 1_000_000)
            assert lua.kept()[0] == level

    holds()


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_server_whose_clock_jumps_by_an_hour_neither_stops_a_key_nor_gives_more_than_a_burst(
    lua: Lua, hours: int
) -> None:
    lua.lease(10, 20, taken=20)
    level, at_us = lua.kept()
    assert level == 0
    lua.client.hset(lua.key, "at_us", at_us - hours * 3_600_000_000)
    _, level = lua.lease(10, 20)
    assert level == (20_000_000 if hours > 0 else 0)
    lua.client.hset(lua.key, "at_us", lua.kept()[1] - 500_000)
    assert lua.lease(10, 20)[1] >= 5_000_000


@pytest.mark.parametrize(
    "foreign",
    [
        ("SET", "bytes"),
        ("HSET", "level", "x", "at_us", "y"),
        ("HSET", "level", "nan", "at_us", "0"),
        ("HSET", "level", "5"),
        ("HSET", "level", "1e300", "at_us", "0"),
        ("LPUSH", "a", "b"),
    ],
)
def test_what_is_no_bucket_is_a_full_one(lua: Lua, foreign: tuple[str, ...]) -> None:
    command, *values = foreign
    lua.client.execute_command(command, lua.key, *values)
    assert lua.lease(10, 20, taken=1, wanted=4) == (4, 15_000_000)


def test_a_bucket_said_to_owe_more_than_can_be_owed_is_soon_good_again(lua: Lua) -> None:
    lua.client.hset(lua.key, mapping={"level": "-1e300", "at_us": "0"})
    assert lua.lease(10, 20)[1] == 20_000_000
    lua.client.hset(lua.key, "level", "-1e300")
    assert lua.lease(10, 20)[1] >= -2_000_000_000


def test_a_bucket_is_kept_until_it_is_full_again_and_a_minute_more(lua: Lua) -> None:
    lua.lease(10, 20, taken=20)
    assert 60_000 < lua.client.pttl(lua.key) <= 62_000


def test_a_smaller_quota_holds_from_the_next_lease_on(lua: Lua) -> None:
    assert lua.lease(100, 1_000)[1] == 1_000_000_000
    assert lua.lease(10, 20)[1] == 20_000_000
    assert 20_000_000 <= lua.lease(100, 1_000)[1] < 100_000_000
