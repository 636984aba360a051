"""What quotas measure, per service. `amana_quota_local` of 1 says that Redis is away and each process on its own."""

from prometheus_client import Counter, Gauge

REFUSED = Counter(
    "amana_quota_refused_total",
    "Requests over their key's quota: of the bucket that all share, or of the local one.",
    ("service", "reason"),
)
LEASES = Counter("amana_quota_leases_total", "Slices asked for, each for one key.", ("service",))
FAILURES = Counter("amana_quota_failures_total", "Calls for slices that Redis did not answer.", ("service",))
FALLBACKS = Counter("amana_quota_fallbacks_total", "Times that quotas became local.", ("service",))
LOCAL = Gauge("amana_quota_local", "1 while quotas are local because Redis does not answer.", ("service",))


class Meters:
    """The metrics of one service."""

    def __init__(self, service: str) -> None:
        self.refused_shared = REFUSED.labels(service, "shared")
        self.refused_local = REFUSED.labels(service, "local")
        self._leases = LEASES.labels(service)
        self._failures = FAILURES.labels(service)
        self._fallbacks = FALLBACKS.labels(service)
        self._local = LOCAL.labels(service)

    def answered(self, keys: int) -> None:
        """Redis answered a call for so many keys."""
        self._leases.inc(keys)
        self._local.set(0)

    def no_answer(self, *, first: bool) -> None:
        """It did not; `first` after having answered."""
        self._failures.inc()
        self._local.set(1)
        if first:
            self._fallbacks.inc()
