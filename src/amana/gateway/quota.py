"""Quotas: how many requests a key, and all keys of a tenant together, may make, over all processes, without asking
anybody while a request waits.

A token bucket is in Redis. A process leases a slice of it and spends that; it asks for the next one before the
slice is used up, all its buckets in one call, at most every 20 ms unless somebody is about to run dry. What no slice
covers is taken on credit, as long as the bucket had that much when it was last seen, and paid with the next call. So
over any time T all processes together admit at most

    burst + rate x T + a slice and a credit for each process (a quarter of the burst each)

While Redis does not answer, each process grants from a bucket of its own, `rate / replicas`: never without bound, and
never nothing. What was granted there is paid afterwards, up to that share of the burst.

Where a tenant has a quota, a request takes a token of its key's bucket and one of its tenant's: both must have one.
"""

import asyncio
import random
import time
from collections.abc import Callable

from amana.gateway.keys import Quota, StoredKey, quota_of
from amana.gateway.quota_exceeded import QuotaExceeded
from amana.gateway.quota_meters import Meters
from amana.gateway.quota_share import Share
from amana.gateway.quota_shares import Shares
from amana.infra.breaker import pause
from amana.infra.cache import REST_MS, Cache
from amana.infra.settings import Settings

DEADLINE_MS = 200
"""How long a call to Redis may take. No request waits for it, so it has longer than a cache's."""
ROUND_PAUSE_S = 0.02
AWAY_PAUSE_S = REST_MS / 1000 * 1.1
"""How long Redis is left alone after a failure: a little longer than the cache rests."""
JITTER = 0.25
ROUND_KEYS_MAX = 100
"""Keys of one call: a millisecond or two of a process' time. Where more ask, the next call follows at once."""

_PACKAGE = "amana.gateway"


class Quotas:
    """The quotas of one process. Without a `cache`, and while it does not answer, each process is on its own.

    `take` costs no await and no lock: everything happens on one event loop.
    """

    def __init__(
        self,
        cache: Cache | None,
        *,
        service: str = "",
        default_rate: int = 0,
        replicas: int = 1,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        away_pause_s: float = AWAY_PAUSE_S,
    ) -> None:
        self._cache = cache
        self._replicas = replicas
        self._clock_ns = clock_ns
        self._away_pause_s = away_pause_s
        self._meters = Meters(service)
        self._asking: dict[Share, None] = {}  # a set that keeps its order
        self._shares = Shares(quota_of(default_rate), replicas, clock_ns, self._has_nothing_to_ask)
        self._by_key = self._shares.by_key
        self._called = False
        self._hurry = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.away = cache is None

    @classmethod
    def of(cls, settings: Settings, service: str) -> "Quotas":
        """As the settings say; without a `redis_url` quotas are local."""
        cache = Cache(settings.redis_url, deadline_ms=DEADLINE_MS) if settings.redis_url else None
        return cls(cache, service=service, default_rate=settings.quota_default_rate, replicas=settings.quota_replicas)

    def take(self, stored: StoredKey) -> QuotaExceeded | None:
        """Counts one request of a key: None, or why it must be refused. Never waits; needs a running event loop."""
        share = self._by_key.get(stored.key_id)
        if share is None or share.stored is not stored:
            share = self._shares.of(stored)
        if share.tokens and self._clock_ns() < share.until_ns:
            share.tokens -= 1
            if share.tokens == share.low:
                self._ask(share)
            exceeded = None
        else:
            exceeded = None if share.quota is None else self._uncovered(share, share.quota)
        return exceeded if share.tenants is None or exceeded else self._taken_of_both(share, share.tenants)

    def give_back(self, stored: StoredKey) -> None:
        """Uncounts a request that was taken and will be counted again on another way."""
        share = self._by_key.get(stored.key_id)
        if share is not None:
            self._put_back(share)
            if share.tenants is not None:
                self._put_back(share.tenants)

    @property
    def asks(self) -> bool:
        """Whether a bucket has something to pay or to ask for, or waits for an answer."""
        return bool(self._asking) or self._called

    async def close(self) -> None:
        """Ends the calls to Redis. What was leased is lost; what is owed is forgiven. Safe to call twice."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if self._cache is not None:
            await self._cache.close()

    def _has_nothing_to_ask(self, share: Share) -> None:
        self._asking.pop(share, None)

    def _taken_of_both(self, share: Share, tenants: Share) -> QuotaExceeded | None:
        """One more of the tenant's; where it has none, what was taken of the key's goes back."""
        quota = tenants.quota
        if quota is None:
            return None  # taken away, which this key's next look-up will say too
        if tenants.tokens and self._clock_ns() < tenants.until_ns:
            tenants.tokens -= 1
            if tenants.tokens == tenants.low:
                self._ask(tenants)
            return None
        exceeded = self._uncovered(tenants, quota)
        if exceeded:
            self._put_back(share)
        return exceeded

    def _put_back(self, share: Share) -> None:
        if share.quota is not None:
            share.debt -= 1
            if self.away:
                share.own.put(1)

    def _uncovered(self, share: Share, quota: Quota) -> QuotaExceeded | None:
        """No slice covers the request: on credit, or from the process' own bucket while Redis is away."""
        now_ns = self._clock_ns()
        share.give_up_slice()
        if self.away:
            return self._alone(share, quota, now_ns)
        there = share.seen.tokens(now_ns)
        if share.debt < min(there, share.credit):
            share.debt += 1
            self._ask(share, hurry=2 * share.debt >= share.credit)
            return None
        if there > 0:
            self._ask(share, hurry=share.debt < there)
        self._meters.refused(share.reason, local=False)
        return QuotaExceeded(share.reason, quota, share.seen.wait_ns(now_ns, share.debt + 1))

    def _alone(self, share: Share, quota: Quota, now_ns: int) -> QuotaExceeded | None:
        self._ask(share)
        if share.own.take(now_ns):
            share.debt = min(share.debt + 1, -(-quota.burst // self._replicas))
            return None
        self._meters.refused(share.reason, local=True)
        return QuotaExceeded(share.reason, quota, share.own.wait_ns(now_ns))

    def _ask(self, share: Share, *, hurry: bool = False) -> None:
        """The share is in the next call, which comes at once if there was none just now."""
        if self._cache is None:
            return
        self._asking[share] = None
        if hurry and not self.away:
            self._hurry.set()
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._rounds())

    async def _rounds(self) -> None:
        while self._asking:
            await self.settle()
            self._hurry.clear()
            if len(self._asking) >= ROUND_KEYS_MAX and not self.away:
                continue
            pause_s = self._away_pause_s if self.away else ROUND_PAUSE_S
            await pause(pause_s * random.uniform(1, 1 + JITTER), self._hurry)  # noqa: S311 (jitter is no secret)

    async def settle(self) -> None:
        """One call to Redis for the buckets that have something to pay or to ask for. It happens by itself."""
        assert self._cache is not None, "without a cache nobody asks"
        asked_at_ns = self._clock_ns()
        shares = list(self._asking)[:ROUND_KEYS_MAX]
        arguments: list[str | bytes | int] = []
        for share in shares:
            assert share.quota is not None, "who has no quota asks for nothing"
            arguments += (share.quota.rate, share.quota.burst, *share.ask(asked_at_ns))
            del self._asking[share]
        self._called = True
        try:
            answer = await self._cache.run_on(_PACKAGE, "quota_lease.lua", [share.name for share in shares], arguments)
        finally:
            self._called = False
        if answer is None:
            self._went_away(shares)
        else:
            self._answered(asked_at_ns, shares, answer)

    def _answered(self, asked_at_ns: int, shares: list[Share], answer: list[int]) -> None:
        now_ns = self._clock_ns()
        was_away, self.away = self.away, False
        self._meters.answered(len(shares))
        for share, granted, level in zip(shares, answer[::2], answer[1::2], strict=True):
            if share.quota is None:
                continue  # taken away meanwhile
            paid = share.answered(asked_at_ns, now_ns, granted, level)
            share.own.drain(now_ns, granted + (0 if was_away else paid))
            if share.debt > 0:
                self._ask(share)

    def _went_away(self, shares: list[Share]) -> None:
        """No answer: from here on each process is on its own. What is owed will be asked for again."""
        for share in shares:
            if share.quota is not None:
                self._asking[share] = None
            if not self.away:
                share.own.drain(self._clock_ns(), share.debt)
        self._meters.no_answer(first=not self.away)
        self.away = True
