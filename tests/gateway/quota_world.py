"""Quotas in a world whose time passes when told to: processes, and a Redis that does what `quota_lease.lua` does.

`test_token_bucket.py` holds the script to the same arithmetic.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from amana.gateway.keys import Quota, StoredKey
from amana.gateway.quota import Quotas
from amana.infra.cache import Cache

MS_NS = 1_000_000
ROUND_MS = 20


def a_key(
    rate: int | None = None,
    burst: int = 0,
    *,
    key_id: str = "aaaaaaaaaaaa",
    scope: str = "loans:read",
    tenant: int = 1,
    shared: Quota | None = None,
) -> StoredKey:
    """A key with this quota, or without one of its own; `shared` is what all keys of its tenant have together."""
    quota = None if rate is None else Quota(rate, burst or rate)
    return StoredKey(key_id, tenant, bytes(32), frozenset({scope}), quota, shared)


class FakeRedis(Cache):
    """Token buckets by key. `away` is a server that does not answer."""

    def __init__(self, world: "World") -> None:
        super().__init__("")
        self.world = world
        self.buckets: dict[str, tuple[int, int]] = {}
        self.away = False
        self.calls: list[list[str]] = []

    async def run_on(
        self, package: str, script: str, keys: Sequence[str], arguments: Sequence[str | bytes | int]
    ) -> Any:
        self.calls.append(list(keys))
        if self.away:
            return None
        answer: list[int] = []
        for n, key in enumerate(keys):
            rate, burst, taken, wanted = map(int, arguments[4 * n : 4 * n + 4])
            answer += self._lease(key, rate, burst * 1_000_000, taken * 1_000_000, wanted)
        return answer

    def _lease(self, key: str, rate: int, full: int, taken: int, wanted: int) -> tuple[int, int]:
        now_us = self.world.now_ns // 1_000
        level, at_us = self.buckets.get(key, (full, now_us))
        level = min(full, max(level, -100 * full) + (now_us - at_us) * rate)
        level = min(full, level - taken)
        granted = min(wanted, -(-max(0, level // 1_000_000) // 2))
        self.buckets[key] = level - granted * 1_000_000, now_us
        return granted, level - granted * 1_000_000


class World:
    """`processes` share one Redis and one clock; each settles every 20 ms or so while it has something to settle."""

    def __init__(self, processes: int = 1, *, default_rate: int = 0, replicas: int | None = None) -> None:
        self.now_ns = 5_000_000_000
        self.redis = FakeRedis(self)
        self.processes = [
            Quotas(self.redis, default_rate=default_rate, replicas=replicas or processes, clock_ns=lambda: self.now_ns)
            for _ in range(processes)
        ]
        self._next_ms = [0] * processes
        self._passed_ms = 0

    async def pass_ms(self, milliseconds: int = 1) -> None:
        """Lets time pass, and calls to Redis happen."""
        for _ in range(milliseconds):
            self.now_ns += MS_NS
            self._passed_ms += 1
            for n, quotas in enumerate(self.processes):
                if quotas.asks and self._passed_ms >= self._next_ms[n]:
                    await quotas.settle()
                    self._next_ms[n] = self._passed_ms + ROUND_MS + (self._passed_ms * 7 + n * 3) % 6

    def admitted(self, process: int, stored: StoredKey, requests: int) -> int:
        """How many of so many requests at once are admitted."""
        return sum(self.processes[process].take(stored) is None for _ in range(requests))

    async def close(self) -> None:
        for quotas in self.processes:
            await quotas.close()


@asynccontextmanager
async def opened(processes: int = 1, **more: int) -> AsyncIterator[World]:
    made = World(processes, **more)
    try:
        yield made
    finally:
        await made.close()


async def flood(world: World, stored: StoredKey, demand: list[int], milliseconds: int) -> list[int]:
    """Every process is asked so often in each millisecond; what each admitted."""
    admitted = [0] * len(world.processes)
    for _ in range(milliseconds):
        for n, requests in enumerate(demand):
            admitted[n] += world.admitted(n, stored, requests)
        await world.pass_ms()
    return admitted
