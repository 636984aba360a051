"""Which policy decides: published versions, the shipped defaults, and their compiled forms.

A tenant that has published nothing for a product gets the policy that ships under that name: recorded as its version 1,
published by the system, at first use. What a version says never changes, so compiled forms are kept; which version is
live is read afresh for every decision that is recorded, and may be a second old where the cache answers.
"""

import time
from collections.abc import Callable, Collection
from functools import cache
from importlib.resources import files
from typing import NamedTuple, TypeVar

from amana.domain.decision import CompiledPolicy, compile_policy
from amana.domain.policy import Policy, policy_bytes, policy_from, policy_hash
from amana.eligibility import store
from amana.eligibility.events import SYSTEM, policy_published
from amana.eligibility.records import PolicyVersion, ProductKey
from amana.infra import clock
from amana.infra.outbox import append
from amana.infra.postgres import Connection, Pool, reading

K = TypeVar("K")
V = TypeVar("V")

SHIPPED = ("airtime", "bnpl", "nano")
POINTER_FRESH_S = 1.0
"""How long the cached path may go on with the version that it knows."""
COMPILED_MAX = 10_000
PUBLISH_TRIES = 5
"""A publication is run again when another took its number; each time the other one has committed."""


class Publication(NamedTuple):
    """The version that is live after publishing; `replayed` when the same document was live before."""

    version: int
    hash: str
    replayed: bool


class Policies:
    """The policies of every tenant."""

    def __init__(self, pool: Pool, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._pool = pool
        self._clock_s = clock_s
        self._compiled: dict[tuple[int, str, int], CompiledPolicy] = {}
        self._pointers: dict[ProductKey, tuple[int, float]] = {}

    async def live(self, connection: Connection, keys: Collection[ProductKey]) -> dict[ProductKey, CompiledPolicy]:
        """The policies that decide now, by (tenant, product); a product that nobody knows is not in the answer.

        One round trip when all are compiled. `connection` is not in a transaction.
        """
        asked_at_s = self._clock_s()
        versions = await store.find_live_versions(connection, keys)
        for tenant, product in set(keys) - versions.keys():
            if product in SHIPPED:
                published = await publish(connection, tenant, shipped(product), SYSTEM, "", only_if_absent=True)
                versions[tenant, product] = published.version
        for key, version in versions.items():
            _keep(self._pointers, key, (version, asked_at_s))
        return {key: await self.version(connection, *key, version) for key, version in versions.items()}

    async def recent(self, tenant: int, product: str) -> CompiledPolicy | None:
        """The live policy as of at most a second ago: no round trip while it is known."""
        version, read_at_s = self._pointers.get((tenant, product), (0, float("-inf")))
        compiled = self._compiled.get((tenant, product, version))
        if compiled is not None and self._clock_s() < read_at_s + POINTER_FRESH_S:
            return compiled
        async with reading(self._pool) as connection:
            return (await self.live(connection, [(tenant, product)])).get((tenant, product))

    async def version(self, connection: Connection, tenant: int, product: str, version: int) -> CompiledPolicy:
        """A published version, compiled. That it exists is the caller's knowledge."""
        compiled = self._compiled.get((tenant, product, version))
        if compiled is None:
            found = await store.find_policy(connection, tenant, product, version)
            assert found is not None, f"policy {product} version {version} of tenant {tenant} is not there"
            compiled = compile_policy(policy_from(found.document), version, found.hash)
            _keep(self._compiled, (tenant, product, version), compiled)
        return compiled

    async def publish(self, tenant: int, policy: Policy, actor: str, trace: str) -> Publication:
        """Makes a policy that passed `check_policy` the live one of its product."""
        async with reading(self._pool) as connection:
            published = await publish(connection, tenant, policy, actor, trace)
        self._pointers.pop((tenant, policy.product), None)
        return published

    async def find(self, tenant: int, product: str, version: int | None) -> PolicyVersion | None:
        """The document of a version, or of the live one."""
        async with reading(self._pool) as connection:
            if version is None:
                live = (await self.live(connection, [(tenant, product)])).get((tenant, product))
                version = 0 if live is None else live.version
            return await store.find_policy(connection, tenant, product, version)


async def publish(
    connection: Connection, tenant: int, policy: Policy, actor: str, trace: str, *, only_if_absent: bool = False
) -> Publication:
    """Adds a version and makes it live, with its event, in one transaction. The live document again is no new version.

    Publishing an older document again is how one rolls back: it becomes the next version, under the hash it had.
    """
    document = policy_bytes(policy)
    digest = policy_hash(document)
    for _ in range(PUBLISH_TRIES):
        async with connection.transaction():
            live = await store.lock_live_policy(connection, tenant, policy.product)
            found = None if live is None else await store.find_policy(connection, tenant, policy.product, live)
            if found is not None and (only_if_absent or found.hash == digest):
                return Publication(found.version, found.hash, replayed=True)
            version = 1 if live is None else live + 1
            if await store.insert_policy(connection, tenant, policy.product, version, digest, document, actor):
                await store.set_live_policy(connection, tenant, policy.product, version)
                event = policy_published(
                    tenant, policy.product, version, policy.name, digest, clock.now(), actor, trace
                )
                await append(connection, [event])
                return Publication(version, digest, replayed=False)
    raise AssertionError("each try lost to another publication")


@cache
def shipped(product: str) -> Policy:
    """A policy that comes with Amana."""
    return policy_from(files("amana").joinpath("policies", f"{product}.json").read_bytes())


def _keep(kept: dict[K, V], key: K, value: V) -> None:
    """Adds the newest; a dict keeps insertion order, so the first is the oldest."""
    if len(kept) >= COMPILED_MAX and key not in kept:
        kept.pop(next(iter(kept)))
    kept[key] = value
