"""Makes tenants and keys, with the owner's rights: for the command line, the demo and the tests.

Not on any request's path: each call opens one connection and closes it.
"""

import os
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from amana.domain.ids import TENANT_PLATFORM
from amana.gateway.caller import INTERNAL
from amana.gateway.keys import ENTROPY_BYTES, Key, hash_secret, key_from, parse_key
from amana.gateway.store import SQL
from amana.infra.postgres import Connection, open_pool, reading

ALL_SCOPES = (
    "accounts:read",
    "accounts:write",
    "audit:read",
    "customers:write",
    "eligibility:check",
    "loans:read",
    "loans:write",
    "policies:write",
    "tape:import",
    "transfers:write",
)
"""Every scope that a lender's key may carry (`internal` is not among them)."""

_SLUG = re.compile(r"[a-z][a-z0-9-]{1,62}")


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
    """The tenant called `slug`, made if absent; `name` is kept from the first time."""
    if not _SLUG.fullmatch(slug) or not name.strip():
        raise ValueError("a slug is 2 to 63 of a-z, 0-9 and -, beginning with a letter; a name is not blank")
    async with _connected(owner_dsn) as connection:
        tenant = await connection.fetchval(SQL["insert_tenant"], slug, name)
        if tenant is None:
            tenant = await connection.fetchval(SQL["find_tenant"], slug)
    return int(tenant)


async def create_key(owner_dsn: str, tenant: int, scopes: Sequence[str]) -> str:
    """A new key of `tenant`. Its text is shown here once and never again: only a hash is stored.

    A scope that is not in `ALL_SCOPES` raises ValueError.
    """
    unknown = sorted(set(scopes) - set(ALL_SCOPES))
    if unknown or not scopes:
        raise ValueError(f"unknown scope {unknown[0]}" if unknown else "a key needs a scope")
    key = key_from(os.urandom(ENTROPY_BYTES))
    async with _connected(owner_dsn) as connection:
        stored = await _insert(connection, key, tenant, sorted(set(scopes)))
    assert stored, "two keys drew the same 60-bit id"
    return key.text()


async def revoke_key(owner_dsn: str, key_id: str) -> bool:
    """Revokes a key; False when there is none with this id or it was revoked before."""
    async with _connected(owner_dsn) as connection:
        return await connection.fetchval(SQL["revoke_key"], key_id) is not None


async def _insert(connection: Connection, key: Key, tenant: int, scopes: list[str]) -> bool:
    row = await connection.fetchval(SQL["insert_key"], key.key_id, tenant, hash_secret(key.secret), scopes)
    return row is not None


@asynccontextmanager
async def _connected(owner_dsn: str) -> AsyncIterator[Connection]:
    pool = await open_pool(owner_dsn, "gateway", connections=1)
    try:
        async with reading(pool) as connection:
            yield connection
    finally:
        await pool.close()
