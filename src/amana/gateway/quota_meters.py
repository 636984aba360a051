"""What quotas measure, per service. `amana_quota_local` of 1 says that Redis is away and each process on its own."""

from prometheus_client import Counter, Gauge

from amana.domain.reasons import Reason

REFUSED = Counter(
    "amana_quota_refused_total",
    "Requests over a quota, of their key or of their tenant: of the bucket that all share, or of the local one.",
    ("service", "reason"),
)
LEASES = Counter("amana_quota_leases_total", "Slices asked for, each for one key or tenant.", ("service",))
FAILURES = Counter("amana_quota_failures_total", "Calls for slices that Redis did not answer.", ("service",))
FALLBACKS = Counter("amana_quota_fallbacks_total", "Times that quotas became local.", ("service",))
LOCAL = Gauge("amana_quota_local", "1 while quotas are local because Redis does not answer.", ("service",))


class Meters:
    """The metrics of one service."""

    def __init__(self, service: str) -> None:
        self._refused = {
            (reason, local): REFUSED.labels(service, whose + ("local" if local else "shared"))
            for reason, whose in ((Reason.QUOTA_EXCEEDED, ""), (Reason.TENANT_QUOTA_EXCEEDED, "tenant_"))
            for local in (False, True)
        }
        self._leases = LEASES.labels(service)
        self._failures = FAILURES.labels(service)
        self._fallbacks = FALLBACKS.labels(service)
        self._local = LOCAL.labels(service)

    def refused(self, reason: Reason, *, local: bool) -> None:
        """A request was refused for `reason`; `local` says by which bucket."""
        self._refused[reason, local].inc()

    def answered(self, buckets: int) -> None:
        """Redis answered a call for so many buckets."""
        self._leases.inc(buckets)
        self._local.set(0)

    def no_answer(self, *, first: bool) -> None:
        """It did not; `first` after having answered."""
        self._failures.inc()
        self._local.set(1)
        if first:
            self._fallbacks.inc()
