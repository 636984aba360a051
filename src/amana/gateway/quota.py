"""Quotas: how many requests a key may make, over all processes, without asking anybody while a request waits.

A key's token bucket is in Redis. A process leases a slice of it and spends that; it asks for the next one before the
slice is used up, all its keys in one call, at most every 20 ms unless somebody is about to run dry. What no slice
covers is taken on credit, as long as the bucket had that much when it was last seen, and paid with the next call. So
over any time T all processes together admit at most

    burst + rate x T + a slice and a credit for each process (a quarter of the burst each)

While Redis does not answer, each process grants from a bucket of its own, `rate / replicas`: never without bound, and
never nothing. What was granted there is paid afterwards, up to that share of the burst.
"""

import asyncio
import random
import time
from collections.abc import Callable

from amana.domain.reasons import Reason
from amana.gateway.caller import INTERNAL
from amana.gateway.keys import Quota, StoredKey, quota_of
from amana.gateway.quota_meters import Meters
from amana.gateway.quota_share import Share
from amana.gateway.token_bucket import SECOND_NS
from amana.infra.breaker import pause
from amana.infra.cache import REST_MS, Cache
from amana.infra.settings import Settings
from amana.wire.problems import Refused

DEADLINE_MS = 200
"""How long a call to Redis may take. No request waits for it, so it has longer than a cache's."""
ROUND_PAUSE_S = 0.02
AWAY_PAUSE_S = REST_MS / 1000 * 1.1
"""How long Redis is left alone after a failure: a little longer than the cache rests."""
JITTER = 0.25
KEYS_MAX = 10_000
"""Keys whose buckets are remembered; the one seen first is forgotten first."""
ROUND_KEYS_MAX = 100
"""Keys of one call: a millisecond or two of a process' time. Where more ask, the next call follows at once."""

_PACKAGE = "amana.gateway"


class QuotaExceeded(Refused):
    """Too many requests for the key's quota. `retry_after_s` is at least 1."""

    def __init__(self, quota: Quota, wait_ns: int) -> None:
        super().__init__(Reason.QUOTA_EXCEEDED, figures={"rate_per_s": quota.rate, "burst": quota.burst})
        self.retry_after_s = max(1, -(-wait_ns // SECOND_NS))
        self._quota = quota

    def headers(self) -> dict[str, str]:
        """`RateLimit` and `RateLimit-Policy` of draft-ietf-httpapi-ratelimit-headers-11.

        The bucket as a window: `q` requests, full again after `w` seconds. It opens a token at a time and not for
        everybody at once, so `t` needs no jitter.
        """
        window_s = -(-self._quota.burst // self._quota.rate)
        return {
            "ratelimit-policy": f'"default";q={self._quota.burst};w={window_s}',
            "ratelimit": f'"default";r=0;t={self.retry_after_s}',
        }


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
        self._default = quota_of(default_rate)
        self._replicas = replicas
        self._clock_ns = clock_ns
        self._away_pause_s = away_pause_s
        self._meters = Meters(service)
        self._shares: dict[str, Share] = {}
        self._asking: dict[Share, None] = {}  # a set that keeps its order
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
        share = self._shares.get(stored.key_id)
        if share is None or share.stored is not stored:
            share = self._share(stored)
        if share.tokens and self._clock_ns() < share.until_ns:
            share.tokens -= 1
            if share.tokens == share.low:
                self._ask(share)
            return None
        return None if share.quota is None else self._uncovered(share, share.quota)

    def give_back(self, stored: StoredKey) -> None:
        """Uncounts a request that was taken and will be counted again on another way."""
        share = self._shares.get(stored.key_id)
        if share is not None and share.quota is not None:
            share.debt -= 1
            if self.away:
                share.own.put(1)

    @property
    def asks(self) -> bool:
        """Whether a key has something to pay or to ask for, or waits for an answer."""
        return bool(self._asking) or self._called

    async def close(self) -> None:
        """Ends the calls to Redis. What was leased is lost; what is owed is forgiven. Safe to call twice."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if self._cache is not None:
            await self._cache.close()

    def _share(self, stored: StoredKey) -> Share:
        """The share of a key that is new here, was looked up again, or has another quota now."""
        quota: Quota | None = stored.quota or self._default
        if not quota or not quota.rate or INTERNAL in stored.scopes:
            quota = None
        share = self._shares.get(stored.key_id)
        if share is None:
            if len(self._shares) >= KEYS_MAX:
                self._asking.pop(self._shares.pop(next(iter(self._shares))), None)
            share = self._shares[stored.key_id] = Share(stored)
        if share.quota != quota:
            share.allot(quota, self._clock_ns(), self._replicas)
            self._asking.pop(share, None)
        share.stored = stored
        return share

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
        self._meters.refused_shared.inc()
        return QuotaExceeded(quota, share.seen.wait_ns(now_ns, share.debt + 1))

    def _alone(self, share: Share, quota: Quota, now_ns: int) -> QuotaExceeded | None:
        self._ask(share)
        if share.own.take(now_ns):
            share.debt = min(share.debt + 1, -(-quota.burst // self._replicas))
            return None
        self._meters.refused_local.inc()
        return QuotaExceeded(quota, share.own.wait_ns(now_ns))

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
        """One call to Redis for the keys that have something to pay or to ask for. It happens by itself."""
        assert self._cache is not None, "without a cache nobody asks"
        asked_at_ns = self._clock_ns()
        shares = list(self._asking)[:ROUND_KEYS_MAX]
        arguments: list[str | bytes | int] = []
        for share in shares:
            assert share.quota is not None, "a key without a quota asks for nothing"
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
