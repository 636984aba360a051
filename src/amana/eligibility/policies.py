"""Which policy decides: approved versions, the shipped defaults, and their compiled forms.

A tenant that has published nothing for a product gets the policy that ships under that name: published by the system,
at first use. What a version says never changes, so compiled forms are kept; which version is live is read afresh for
every decision that is recorded, and may be a second old where the cache answers. The steps of a policy's life are in
`lifecycle`.
"""

import asyncio
import time
from collections.abc import Callable, Collection
from functools import cache
from importlib.resources import files
from typing import TypeVar

from amana.domain.decision import CompiledPolicy, compile_policy
from amana.domain.policy import Policy, policy_from
from amana.eligibility import policy_store as store
from amana.eligibility.lifecycle import publish_shipped
from amana.eligibility.policy_store import Version
from amana.eligibility.records import PolicyVersion, ProductKey
from amana.infra.postgres import Connection, DatabaseUnavailable, Pool, reading
from amana.infra.telemetry import logger

_log = logger(__name__)

K = TypeVar("K")
V = TypeVar("V")

SHIPPED = ("airtime", "bnpl", "nano")
POINTER_FRESH_S = 1.0
"""How long the cached path may go on with the version that it knows."""
ASK_EVERY_S = 0.4
"""How often the database is asked which versions are live, so that the cached path need not ask."""
STALE_MAX_S = 60.0
"""How long the cached path goes on with the version that it knows while the database is away."""
COMPILED_MAX = 10_000

_NEVER = 0, float("-inf")
"""No version, read at no time."""


class Policies:
    """The policies of every tenant."""

    def __init__(self, pool: Pool, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._pool = pool
        self._clock_s = clock_s
        self._compiled: dict[tuple[int, str, int], CompiledPolicy] = {}
        self._pointers: dict[ProductKey, tuple[int, float]] = {}
        self.away = False
        """Whether the database did not answer when it was last asked which versions are live."""

    async def live(self, connection: Connection, keys: Collection[ProductKey]) -> dict[ProductKey, CompiledPolicy]:
        """The policies that decide now, by (tenant, product); a product that nobody knows is not in the answer.

        One round trip when all are compiled. `connection` is not in a transaction.
        """
        asked_at_s = self._clock_s()
        versions = await store.find_live_versions(connection, keys)
        for tenant, product in set(keys) - versions.keys():
            if product in SHIPPED:
                versions[tenant, product] = await publish_shipped(connection, tenant, shipped(product))
        for key, version in versions.items():
            _keep(self._pointers, key, (version, asked_at_s))
        return {key: await self.version(connection, *key, version) for key, version in versions.items()}

    async def recent(self, tenant: int, product: str) -> CompiledPolicy | None:
        """The live policy as of at most a second ago: no round trip while it is known."""
        version, read_at_s = self._pointers.get((tenant, product), _NEVER)
        compiled = self._compiled.get((tenant, product, version))
        if compiled is not None and self._clock_s() < read_at_s + POINTER_FRESH_S:
            return compiled
        async with reading(self._pool) as connection:
            return (await self.live(connection, [(tenant, product)])).get((tenant, product))

    def known(self, tenant: int, product: str) -> tuple[CompiledPolicy, bool] | None:
        """The live policy as this process knows it, and whether that is at most a second old; older only while the
        database is away. None: ask `recent`."""
        version, read_at_s = self._pointers.get((tenant, product), _NEVER)
        compiled = self._compiled.get((tenant, product, version))
        age_s = self._clock_s() - read_at_s
        if compiled is None or age_s >= (STALE_MAX_S if self.away else POINTER_FRESH_S):
            return None
        return compiled, age_s < POINTER_FRESH_S

    async def keep_recent(self) -> None:
        """Asks again and again which versions are live, until cancelled."""
        while True:
            await asyncio.sleep(ASK_EVERY_S)
            try:
                async with asyncio.timeout(POINTER_FRESH_S):
                    async with reading(self._pool) as connection:
                        await self.live(connection, list(self._pointers))
                self.away = False
            except (DatabaseUnavailable, TimeoutError):
                self.away = True
            except Exception as error:
                _log.error("live policies not read", exc_info=error)

    async def version(self, connection: Connection, tenant: int, product: str, version: int) -> CompiledPolicy:
        """A version, compiled. That it exists is the caller's knowledge."""
        compiled = self._compiled.get((tenant, product, version))
        if compiled is None:
            found = await store.find_policy(connection, tenant, product, version)
            assert found is not None, f"policy {product} version {version} of tenant {tenant} is not there"
            compiled = compile_policy(policy_from(found.document), version, found.hash)
            _keep(self._compiled, (tenant, product, version), compiled)
        return compiled

    def forget(self, tenant: int, product: str) -> None:
        """Asks the database again which version is live, even where the answer is not a second old."""
        self._pointers.pop((tenant, product), None)

    async def find(self, tenant: int, product: str, version: int | None) -> tuple[Version, PolicyVersion] | None:
        """A version with its document; without a number, the live one."""
        async with reading(self._pool) as connection:
            if version is None:
                live = (await self.live(connection, [(tenant, product)])).get((tenant, product))
                version = 0 if live is None else live.version
            found = await store.find_version(connection, tenant, product, version)
            document = await store.find_policy(connection, tenant, product, version)
        return None if found is None or document is None else (found, document)

    async def versions(self, tenant: int, product: str, before: int, limit: int) -> list[Version]:
        """At most `limit` versions below `before`, the newest first; what ships counts as published."""
        async with reading(self._pool) as connection:
            await self.live(connection, [(tenant, product)])
            return await store.list_versions(connection, tenant, product, before, limit)


@cache
def shipped(product: str) -> Policy:
    """A policy that comes with Amana."""
    return policy_from(files("amana").joinpath("policies", f"{product}.json").read_bytes())


def _keep(kept: dict[K, V], key: K, value: V) -> None:
    """Adds the newest; a dict keeps insertion order, so the first is the oldest."""
    if len(kept) >= COMPILED_MAX and key not in kept:
        kept.pop(next(iter(kept)))
    kept[key] = value
