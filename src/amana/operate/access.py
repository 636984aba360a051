"""What `amana tenant` and `amana key` do; each function gives the lines to show. `dsn` is the owner role's.

A tenant is named by its slug or its number. What a person typed wrong is a ValueError whose message says so.
"""

from collections.abc import Sequence
from datetime import datetime

from amana.gateway import provision
from amana.gateway.keys import parse_key


async def make_tenant(dsn: str, slug: str, name: str) -> list[str]:
    """Makes the lender called `slug`; an existing one is left as it is, and that is said."""
    tenant, made = await provision.ensure_tenant(dsn, slug, name)
    return [f"tenant {tenant.tenant} ({tenant.slug}) {'was made' if made else 'exists already'}"]


async def tenants(dsn: str) -> list[str]:
    """A line for each lender: number, slug, name."""
    found = await provision.list_tenants(dsn)
    return [f"{one.tenant:>4}  {one.slug:<20}  {one.name}" for one in found] or ["there is no tenant yet"]


async def make_key(dsn: str, tenant: str, scopes: Sequence[str]) -> list[str]:
    """The text of a new key, and nothing else: it is copied from here."""
    found = await provision.find_tenant(dsn, tenant)
    return [await provision.create_key(dsn, found.tenant, scopes)]


async def keys(dsn: str, tenant: str) -> list[str]:
    """A line for each key of a tenant: id, when it was made and revoked, scopes. Never a secret."""
    found = await provision.find_tenant(dsn, tenant)
    listed = await provision.list_keys(dsn, found.tenant)
    return [_told(one) for one in listed] or [f"tenant {found.tenant} ({found.slug}) has no keys"]


async def revoke(dsn: str, key: str) -> list[str]:
    """Revokes a key, given by its id or its whole text, whose secret is not looked at."""
    whole = parse_key(key)
    key_id = whole.key_id if whole else key.removeprefix("amana_")
    if not await provision.revoke_key(dsn, key_id):
        raise ValueError(f"the key {key_id} was revoked already")
    return [f"the key {key_id} is revoked; within 5 s no service takes it"]


def _told(key: provision.ListedKey) -> str:
    state = f"revoked {_minute(key.revoked_at)}" if key.revoked_at else "live"
    return f"{key.key_id}  created {_minute(key.created_at)}  {state:<25}  {' '.join(key.scopes)}"


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}Z"
