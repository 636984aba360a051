"""Reads API keys from schema `gateway`."""

import asyncio

from amana.gateway.keys import Quota, StoredKey
from amana.infra.postgres import Pool, open_pool, reading
from amana.infra.sql import load_queries

POOL_CONNECTIONS = 2

SQL = load_queries("amana.gateway")


class KeyStore:
    """A small pool of its own, opened on first use. `dsn` is of any role that may read schema `gateway`."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._pool: Pool | None = None
        self._opening = asyncio.Lock()

    async def open(self) -> Pool:
        """The pool. Raises `DatabaseUnavailable` when the server does not answer; the next call tries again."""
        assert self._dsn, "no database of keys: AMANA_GATEWAY_DATABASE_URL is not set"
        async with self._opening:
            if self._pool is None:
                self._pool = await open_pool(self._dsn, "gateway", connections=POOL_CONNECTIONS)
            return self._pool

    async def close(self) -> None:
        """Closes the pool, if it was ever opened."""
        if self._pool is not None:
            pool, self._pool = self._pool, None
            await pool.close()

    async def find_key(self, key_id: str) -> StoredKey | None:
        """The live key with this id. One round trip. Raises `DatabaseUnavailable`."""
        async with reading(await self.open()) as connection:
            row = await connection.fetchrow(SQL["find_key"], key_id)
        if row is None:
            return None
        quota = stored_quota(row["quota_rate"], row["quota_burst"])
        of_tenant = stored_quota(row["tenant_rate"], row["tenant_burst"])
        return StoredKey(row["key_id"], row["tenant"], row["secret_hash"], frozenset(row["scopes"]), quota, of_tenant)


def stored_quota(rate: int | None, burst: int | None) -> Quota | None:
    """The quota in two columns, of which both are null or neither; None: a key's default, a tenant's none."""
    return None if rate is None or burst is None else Quota(rate, burst)
