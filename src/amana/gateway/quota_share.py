"""One process' share of a key's quota or a tenant's: the slice it may spend, what it owes, how large the next is."""

from amana.domain.reasons import Reason
from amana.gateway.keys import Quota, StoredKey
from amana.gateway.token_bucket import TokenBucket

SLICE_NS = 50_000_000
"""A slice is what the process spends in this time."""
PACE_NS_MIN = 10_000_000
"""The shortest time from which a pace is told: a moment's rush is not one."""
LEASE_NS = 200_000_000
"""How long a slice may be spent; then it is given back with the next call, and lost where none comes."""
PART_OF_BURST = 4
"""A slice, and the credit of a process, are at most this part of the burst."""


class Share:
    """What one process knows of one bucket. `debt` counts what was taken on credit, less what was unused."""

    __slots__ = (
        "asked_debt",
        "credit",
        "debt",
        "low",
        "name",
        "own",
        "quota",
        "reason",
        "seen",
        "since",
        "stored",
        "tenants",
        "tokens",
        "until_ns",
    )

    seen: TokenBucket
    """The bucket that all share, as it would be now had nobody else taken anything since the last answer."""
    own: TokenBucket
    """This process' part of it, for when Redis is away."""

    def __init__(self, name: str, reason: Reason) -> None:
        self.name = f"amana:quota:{name}"
        self.reason = reason
        """Why a request is refused for which it has no token."""
        self.stored: StoredKey | None = None
        """The key that it was made for, as it was looked up last; a tenant's has none."""
        self.tenants: Share | None = None
        """Of a key: that of its tenant, where that has a quota."""
        self.quota: Quota | None = None
        self.tokens = self.low = self.debt = self.asked_debt = self.credit = self.until_ns = 0
        self.since: tuple[int, int] = 0, 0
        """When it asked last, and what it had then: `tokens - debt`, from which every request takes one."""

    def allot(self, quota: Quota | None, now_ns: int, replicas: int) -> None:
        """From now on `quota` holds. Both buckets are full, until they are known better."""
        self.quota = quota
        if quota is None:
            self.tokens = 0
            return
        self.seen = TokenBucket(quota.rate, quota.burst, now_ns)
        self.own = TokenBucket(quota.rate, quota.burst, now_ns, replicas)
        self.credit = -(-quota.burst // PART_OF_BURST)
        self.since = now_ns - PACE_NS_MIN, self.tokens - self.debt

    def ask(self, now_ns: int) -> tuple[int, int]:
        """The debt to pay and the tokens to lease: a slice at the present pace, less what is left of the last one.

        One request makes no pace: a slow key leaves no tokens lying where the next request may not come.
        What is given back is no longer ours from here on; a debt is ours until it is paid.
        """
        if now_ns >= self.until_ns:
            self.give_up_slice()
        debt = self.debt
        asked_at_ns, had = self.since
        taken = had - (self.tokens - debt)
        self.debt = self.asked_debt = max(0, debt)
        self.since = now_ns, self.tokens - self.debt
        pace = max(0, taken - 1) * SLICE_NS // max(PACE_NS_MIN, now_ns - asked_at_ns)
        return debt, max(0, min(pace, self.credit) - self.tokens)

    def answered(self, asked_at_ns: int, now_ns: int, granted: int, level: int) -> int:
        """What the bucket, asked at `asked_at_ns`, holds now is `level` millionths of a token. Gives what was paid."""
        paid, self.asked_debt = self.asked_debt, 0
        at_ns, had = self.since
        self.since = at_ns, had + paid + granted
        self.debt -= paid
        self.tokens += granted
        self.low = self.tokens // 2
        self.until_ns = asked_at_ns + LEASE_NS
        self.seen.set_level(now_ns, level)
        return paid

    def give_up_slice(self) -> None:
        """What is left of the slice goes back with the next call."""
        self.debt -= self.tokens
        self.tokens = 0
