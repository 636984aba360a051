"""What `amana tenant` and `amana key` do; each function gives the lines to show. `dsn` is the owner role's.

A tenant is named by its slug or its number. What a person typed wrong is a ValueError whose message says so.
"""

from collections.abc import Sequence
from datetime import datetime

from amana.gateway import provision
from amana.gateway.keys import Quota, parse_key, quota_of


async def make_tenant(dsn: str, slug: str, name: str, rate: int | None = None, burst: int | None = None) -> list[str]:
    """Makes the lender called `slug`; an existing one is left as it is, and that is said. With a rate its keys share a
    quota."""
    tenant, made = await provision.ensure_tenant(dsn, slug, name, _shared_quota(rate, burst))
    return [f"tenant {tenant.tenant} ({tenant.slug}) {'was made' if made else 'exists already'}"]


async def tenants(dsn: str) -> list[str]:
    """A line for each lender: number, slug, name, and the quota that its keys share, where it has one."""
    found = await provision.list_tenants(dsn)
    return [_told_tenant(one) for one in found] or ["there is no tenant yet"]


async def give_tenant_quota(dsn: str, tenant: str, rate: int | None, burst: int | None) -> list[str]:
    """Gives a lender a quota that all its keys share; without a rate, none."""
    quota = _shared_quota(rate, burst)
    found = await provision.find_tenant(dsn, tenant)
    await provision.set_tenant_quota(dsn, found.tenant, quota)
    return [f"the keys of tenant {found.tenant} ({found.slug}) share {_told_shared(quota)}; within 5 s everywhere"]


async def make_key(
    dsn: str, tenant: str, scopes: Sequence[str], rate: int | None = None, burst: int | None = None
) -> list[str]:
    """The text of a new key, and nothing else: it is copied from here. Without a rate the default quota holds."""
    quota = _quota(rate, burst)
    found = await provision.find_tenant(dsn, tenant)
    return [await provision.create_key(dsn, found.tenant, scopes, quota)]


async def keys(dsn: str, tenant: str) -> list[str]:
    """A line for each key of a tenant: id, when it was made and revoked, quota, scopes. Never a secret."""
    found = await provision.find_tenant(dsn, tenant)
    listed = await provision.list_keys(dsn, found.tenant)
    return [_told(one) for one in listed] or [f"tenant {found.tenant} ({found.slug}) has no keys"]


async def revoke(dsn: str, key: str) -> list[str]:
    """Revokes a key, given by its id or its whole text, whose secret is not looked at."""
    key_id = _id_in(key)
    if not await provision.revoke_key(dsn, key_id):
        raise ValueError(f"the key {key_id} was revoked already")
    return [f"the key {key_id} is revoked; within 5 s no service takes it"]


async def give_quota(dsn: str, key: str, rate: int | None, burst: int | None) -> list[str]:
    """Gives a key, named by its id or its whole text, a quota of its own; without a rate, the default."""
    quota = _quota(rate, burst)
    key_id = _id_in(key)
    await provision.set_quota(dsn, key_id, quota)
    return [f"the key {key_id} has {_told_quota(quota)}; it holds everywhere within 5 s"]


def _id_in(key: str) -> str:
    whole = parse_key(key)
    return whole.key_id if whole else key.removeprefix("amana_")


def _quota(rate: int | None, burst: int | None) -> Quota | None:
    if rate is None:
        if burst is not None:
            raise ValueError("a burst needs a rate")
        return None
    return quota_of(rate, burst)


def _shared_quota(rate: int | None, burst: int | None) -> Quota | None:
    """A tenant has no default: no quota is none."""
    quota = _quota(rate, burst)
    return quota if quota and quota.rate else None


def _told_tenant(tenant: provision.Tenant) -> str:
    shared = f"  (its keys share {_told_shared(tenant.quota)})" if tenant.quota else ""
    return f"{tenant.tenant:>4}  {tenant.slug:<20}  {tenant.name}{shared}"


def _told_shared(quota: Quota | None) -> str:
    return _told_quota(quota) if quota else "no quota"


def _told_quota(quota: Quota | None) -> str:
    if quota is None:
        return "the default quota"
    return f"a quota of {quota.rate}/s, burst {quota.burst}" if quota.rate else "no quota"


def _told(key: provision.ListedKey) -> str:
    state = f"revoked {_minute(key.revoked_at)}" if key.revoked_at else "live"
    what = f"{_told_quota(key.quota)}  {' '.join(key.scopes)}"
    return f"{key.key_id}  created {_minute(key.created_at)}  {state:<25}  {what}"


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}Z"
