"""The token bucket: what it holds at a moment, in whole numbers. Pure; `quota_lease.lua` has the same rules.

Time is nanoseconds of a clock that is read elsewhere. Levels are counted in parts of a token so small that no refill is
rounded: a bucket that is read often holds what one that is read seldom does.
"""

SECOND_NS = 1_000_000_000


class TokenBucket:
    """Refills by `rate` tokens a second up to `burst`; full at first. One of `replicas` equal parts of such a bucket.

    A part holds at least one token when full, so that nobody's share is nothing.
    """

    __slots__ = ("_at_ns", "_full", "_level", "_rate", "_token")

    def __init__(self, rate: int, burst: int, now_ns: int, replicas: int = 1) -> None:
        self._rate = rate
        self._token = SECOND_NS * replicas
        self._full = max(self._token, SECOND_NS * burst)
        self._level = self._full
        self._at_ns = now_ns

    def tokens(self, now_ns: int) -> int:
        """The whole tokens in it; negative where more was spent than there was."""
        self._refill(now_ns)
        return self._level // self._token

    def take(self, now_ns: int) -> bool:
        """Takes one token, if there is one."""
        self._refill(now_ns)
        if self._level < self._token:
            return False
        self._level -= self._token
        return True

    def put(self, tokens: int) -> None:
        """Gives tokens back."""
        self._level = min(self._full, self._level + tokens * self._token)

    def drain(self, now_ns: int, tokens: int) -> None:
        """Takes `tokens`, or all that there are. A negative number takes none."""
        self._refill(now_ns)
        self._level = max(0, self._level - max(0, tokens) * self._token)

    def set_level(self, now_ns: int, millionths: int) -> None:
        """Says what it holds now, in millionths of a token."""
        self._level = min(self._full, millionths * (self._token // 1_000_000))
        self._at_ns = now_ns

    def wait_ns(self, now_ns: int, tokens: int = 1) -> int:
        """How long until it holds `tokens` (at most a full bucket's), if nobody takes any."""
        self._refill(now_ns)
        missing = min(self._full, tokens * self._token) - self._level
        return max(0, -(-missing // self._rate))

    def _refill(self, now_ns: int) -> None:
        """Adds what came since. A clock that was set back adds nothing, and counts on from there."""
        self._level = min(self._full, self._level + max(0, now_ns - self._at_ns) * self._rate)
        self._at_ns = now_ns
