"""The refusal of a request for which a quota has no more room."""

from amana.domain.reasons import Reason
from amana.gateway.keys import Quota
from amana.gateway.token_bucket import SECOND_NS
from amana.wire.problems import Refused


class QuotaExceeded(Refused):
    """Too many requests for a quota, of the key or the tenant as `reason` says. `retry_after_s` is at least 1."""

    def __init__(self, reason: Reason, quota: Quota, wait_ns: int) -> None:
        super().__init__(reason, figures={"rate_per_s": quota.rate, "burst": quota.burst})
        self.retry_after_s = max(1, -(-wait_ns // SECOND_NS))
        self._quota = quota

    def headers(self) -> dict[str, str]:
        """`RateLimit` and `RateLimit-Policy` of draft-ietf-httpapi-ratelimit-headers-11.

        The bucket as a window: `q` requests, full again after `w` seconds. It opens a token at a time and not for
        everybody at once, so `t` needs no jitter.
        """
        window_s = -(-self._quota.burst // self._quota.rate)
        policy = "tenant" if self.reason is Reason.TENANT_QUOTA_EXCEEDED else "default"
        return {
            "ratelimit-policy": f'"{policy}";q={self._quota.burst};w={window_s}',
            "ratelimit": f'"{policy}";r=0;t={self.retry_after_s}',
        }
