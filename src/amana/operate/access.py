"""What `amana tenant` and `amana key` do; each function gives the lines to show. `dsn` is the owner role's.

A tenant is named by its slug or its number. What a person typed wrong is a ValueError whose message says so.
"""

from collections.abc import Sequence
from datetime import datetime

from amana.gateway import provision
from amana.gateway.keys import Quota, parse_key, quota_of


async def make_tenant(dsn: str, slug: str, name: str) -> list[str]:
    """Makes the lender called `slug`; an existing one is left as it is, and that is said."""
    tenant, made = await provision.ensure_tenant(dsn, slug, name)
    return [f"tenant {tenant.tenant} ({tenant.slug}) {'was made' if made else 'exists already'}"]


async def tenants(dsn: str) -> list[str]:
    """A line for each lender: number, slug, name."""
    found = await provision.list_tenants(dsn)
    return [f"{one.tenant:>4}  {one.slug:<20}  {one.name}" for one in found] or ["there is no tenant yet"]


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
