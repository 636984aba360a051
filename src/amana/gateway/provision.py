"""Makes tenants and keys, with the owner's rights: for the command line, the demo and the tests.

Not on any request's path: each call opens one connection and closes it.
"""

import os
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import NamedTuple

from amana.domain.ids import TENANT_PLATFORM
from amana.gateway.caller import INTERNAL
from amana.gateway.keys import ENTROPY_BYTES, Key, Quota, hash_secret, key_from, parse_key
from amana.gateway.store import SQL, stored_quota
from amana.infra.postgres import Connection, Record, open_pool, reading

ALL_SCOPES = (
    "accounts:read",
    "accounts:write",
    "audit:accesses",
    "audit:read",
    "customers:identity",
    "customers:write",
    "decisions:appeal",
    "decisions:override",
    "eligibility:check",
    "loans:read",
    "loans:write",
    "metrics:read",
    "notifications:read",
    "notifications:send",
    "policies:approve",
    "policies:write",
    "privacy:hold",
    "privacy:read",
    "privacy:write",
    "tape:import",
    "transfers:force",
    "transfers:write",
)
"""Every scope that a lender's key may carry (`internal` is not among them)."""

NAME_LENGTH_MAX = 200

_SLUG = re.compile(r"[a-z][a-z0-9-]{1,62}")
_NUMBER = re.compile(r"[0-9]{1,9}")  # no slug begins with a digit


class Tenant(NamedTuple):
    """A lender: its number, the name for scripts, the name for people, and the quota of all its keys, if it has one."""

    tenant: int
    slug: str
    name: str
    quota: Quota | None


class ListedKey(NamedTuple):
    """What may be shown of a key. In UTC; `revoked_at` is None while it lives, `quota` where the default holds."""

    key_id: str
    scopes: list[str]
    created_at: datetime
    revoked_at: datetime | None
    quota: Quota | None


def new_internal_key() -> str:
    """The text of a new key for calls between services: for `AMANA_INTERNAL_KEY`."""
    return key_from(os.urandom(ENTROPY_BYTES)).text()


async def ensure_internal_key(owner_dsn: str, key: str) -> None:
    """Stores `key` (its text) as the platform's internal key, unless it is stored already.

    A text that is not spelled like a key raises ValueError.
    """
    parsed = parse_key(key)
    if parsed is None:
        raise ValueError("the internal key is not spelled amana_<key id>_<secret>")
    async with _connected(owner_dsn) as connection:
        await _insert(connection, parsed, TENANT_PLATFORM, [INTERNAL])


async def create_tenant(owner_dsn: str, slug: str, name: str) -> int:
    """The number of the tenant called `slug`, made if absent; `name` is kept from the first time.

    A slug or name that can't be one raises ValueError.
    """
    tenant, _ = await ensure_tenant(owner_dsn, slug, name)
    return tenant.tenant


async def ensure_tenant(owner_dsn: str, slug: str, name: str, quota: Quota | None = None) -> tuple[Tenant, bool]:
    """As `create_tenant`: the tenant, and whether it was made now; `quota` too is only for a new one."""
    if not _SLUG.fullmatch(slug):
        raise ValueError("a slug is 2 to 63 of a-z, 0-9 and -, beginning with a letter")
    if not name.strip() or len(name) > NAME_LENGTH_MAX:
        raise ValueError(f"a name has 1 to {NAME_LENGTH_MAX} characters and is not blank")
    async with _connected(owner_dsn) as connection:
        made = await connection.fetchrow(SQL["insert_tenant"], slug, name, *_columns(quota))
        found = made or await connection.fetchrow(SQL["find_tenant"], slug)
    assert found, "a tenant is never deleted"
    return _tenant(found), made is not None


async def list_tenants(owner_dsn: str) -> list[Tenant]:
    """Every lender, by number."""
    async with _connected(owner_dsn) as connection:
        return [_tenant(row) for row in await connection.fetch(SQL["list_tenants"])]


async def find_tenant(owner_dsn: str, called: str) -> Tenant:
    """The tenant with this slug or, in decimal digits, this number. ValueError when there is none."""
    async with _connected(owner_dsn) as connection:
        if _NUMBER.fullmatch(called):
            row = await connection.fetchrow(SQL["find_tenant_by_number"], int(called))
        else:
            row = await connection.fetchrow(SQL["find_tenant"], called)
    if row is None:
        raise ValueError(f"there is no tenant {called}")
    return _tenant(row)


async def set_tenant_quota(owner_dsn: str, tenant: int, quota: Quota | None) -> None:
    """Gives a lender a quota that all its keys share, or none; it holds everywhere within 5 s. ValueError where there
    is no such lender."""
    async with _connected(owner_dsn) as connection:
        if await connection.fetchval(SQL["set_tenant_quota"], tenant, *_columns(quota)) is None:
            raise ValueError(f"there is no lender {tenant}")


async def create_key(owner_dsn: str, tenant: int, scopes: Sequence[str], quota: Quota | None = None) -> str:
    """A new key of the lender `tenant`. Its text is shown here once and never again: only a hash is stored.

    Without a `quota` the default holds. A scope that is not in `ALL_SCOPES`, or a tenant that does not exist, raises
    ValueError.
    """
    _require_scopes(scopes)
    if tenant == TENANT_PLATFORM:
        raise ValueError("tenant 0 is the platform itself: keys are made for lenders")
    key = key_from(os.urandom(ENTROPY_BYTES))
    async with _connected(owner_dsn) as connection, connection.transaction():
        if await connection.fetchrow(SQL["find_tenant_by_number"], tenant) is None:
            raise ValueError(f"there is no tenant {tenant}")
        stored = await _insert(connection, key, tenant, sorted(set(scopes)), quota)
    assert stored, "two keys drew the same 60-bit id"
    return key.text()


async def list_keys(owner_dsn: str, tenant: int) -> list[ListedKey]:
    """A tenant's keys, live and revoked, the oldest first."""
    async with _connected(owner_dsn) as connection:
        rows = await connection.fetch(SQL["list_keys"], tenant)
    return [
        ListedKey(key_id, scopes, created_at, revoked_at, stored_quota(rate, burst))
        for key_id, scopes, created_at, revoked_at, rate, burst in rows
    ]


async def revoke_key(owner_dsn: str, key_id: str) -> bool:
    """Revokes a key; False when it was revoked before. ValueError when there is none with this id."""
    async with _connected(owner_dsn) as connection:
        if await connection.fetchval(SQL["revoke_key"], key_id) is not None:
            return True
        if await connection.fetchrow(SQL["when_revoked"], key_id) is None:
            raise ValueError(f"there is no key with the id {key_id}")
        return False


async def set_quota(owner_dsn: str, key_id: str, quota: Quota | None) -> None:
    """Gives a live key this quota, or the default; it holds everywhere within 5 s. ValueError where there is none."""
    async with _connected(owner_dsn) as connection:
        if await connection.fetchval(SQL["set_quota"], key_id, *_columns(quota)) is None:
            raise ValueError(f"there is no live key with the id {key_id}")


def _tenant(row: Record) -> Tenant:
    return Tenant(row["tenant"], row["slug"], row["name"], stored_quota(row["quota_rate"], row["quota_burst"]))


def _columns(quota: Quota | None) -> tuple[int | None, int | None]:
    return (quota.rate, quota.burst) if quota else (None, None)


def _require_scopes(scopes: Sequence[str]) -> None:
    if INTERNAL in scopes:
        raise ValueError(f"the scope {INTERNAL} is reserved for Amana's own services")
    if unknown := sorted(set(scopes) - set(ALL_SCOPES)):
        raise ValueError(f"there is no scope {unknown[0]}; the scopes are {', '.join(ALL_SCOPES)}")
    if not scopes:
        raise ValueError(f"a key needs a scope, of {', '.join(ALL_SCOPES)}")


async def _insert(connection: Connection, key: Key, tenant: int, scopes: list[str], quota: Quota | None = None) -> bool:
    row = await connection.fetchval(
        SQL["insert_key"], key.key_id, tenant, hash_secret(key.secret), scopes, *_columns(quota)
    )
    return row is not None


@asynccontextmanager
async def _connected(owner_dsn: str) -> AsyncIterator[Connection]:
    pool = await open_pool(owner_dsn, "gateway", connections=1)
    try:
        async with reading(pool) as connection:
            yield connection
    finally:
        await pool.close()
