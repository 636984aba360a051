"""Whose share is whose: the shares that one process has of the quotas of keys, and of tenants whose keys share one."""

from collections.abc import Callable
from typing import TypeVar

from amana.domain.reasons import Reason
from amana.gateway.caller import INTERNAL
from amana.gateway.keys import Quota, StoredKey
from amana.gateway.quota_share import Share

KEYS_MAX = 10_000
"""Keys, and tenants, whose buckets are remembered; the one seen first is forgotten first."""

Name = TypeVar("Name", str, int)


class Shares:
    """`by_key` has them by key id. `forget` hears of a share that is given up, or begins anew with another quota."""

    def __init__(
        self, default: Quota, replicas: int, clock_ns: Callable[[], int], forget: Callable[[Share], None]
    ) -> None:
        self.by_key: dict[str, Share] = {}
        self._by_tenant: dict[int, Share] = {}
        self._default = default
        self._replicas = replicas
        self._clock_ns = clock_ns
        self._forget = forget

    def of(self, stored: StoredKey) -> Share:
        """The share of a key that is new here, or was looked up again: its quota may be another now."""
        quota: Quota | None = stored.quota or self._default
        if not quota or not quota.rate or INTERNAL in stored.scopes:
            quota = None
        share = self.by_key.get(stored.key_id)
        if share is None:
            share = Share(f"{stored.tenant}:{stored.key_id}", Reason.QUOTA_EXCEEDED)
            self._remember(self.by_key, stored.key_id, share)
        self._allot(share, quota)
        share.tenants = self._share_of_tenant(stored)
        share.stored = stored
        return share

    def _share_of_tenant(self, stored: StoredKey) -> Share | None:
        quota = None if INTERNAL in stored.scopes else stored.tenant_quota
        share = self._by_tenant.get(stored.tenant)
        if share is None and quota is not None:
            share = Share(f"tenant:{stored.tenant}", Reason.TENANT_QUOTA_EXCEEDED)
            self._remember(self._by_tenant, stored.tenant, share)
        if share is not None:
            self._allot(share, quota)
        return None if quota is None else share

    def _remember(self, shares: dict[Name, Share], name: Name, share: Share) -> None:
        if len(shares) >= KEYS_MAX:
            self._forget(shares.pop(next(iter(shares))))
        shares[name] = share

    def _allot(self, share: Share, quota: Quota | None) -> None:
        if share.quota != quota:
            share.allot(quota, self._clock_ns(), self._replicas)
            self._forget(share)
