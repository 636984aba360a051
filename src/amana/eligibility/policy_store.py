"""One method per SQL statement about policies. Rows become values here and nowhere else."""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec

from amana.domain.policy_life import PolicyLife, PolicyState, state_of
from amana.eligibility.records import PolicyStep, PolicyVersion, ProductKey
from amana.infra.postgres import Connection, Record
from amana.infra.sql import load_queries

SQL = load_queries("amana.eligibility", "policies.sql")

LIFE = PolicyLife.__struct_fields__


class Product(msgspec.Struct, kw_only=True):
    """A product's row while it is locked: what a step changes of it is written at the end of the step.

    `versions` and `events` count; `told` is the version whose start was told last, `told_from` that start.
    """

    tenant: int
    product: str
    versions: int
    events: int
    told: int | None
    told_from: datetime | None


class Version(NamedTuple):
    """A version's life, where it is, and the time by the database's clock at which it is there."""

    life: PolicyLife
    state: PolicyState
    now: datetime


class Due(NamedTuple):
    """A start that is over and was not told."""

    version: int
    hash: str
    valid_from: datetime


async def find_live_versions(connection: Connection, keys: Collection[ProductKey]) -> dict[ProductKey, int]:
    """The versions that decide now; a product without one is not in the answer."""
    rows = await connection.fetch(SQL["find_live_versions"], [tenant for tenant, _ in keys], [name for _, name in keys])
    return {(row["tenant"], row["product"]): row["version"] for row in rows}


async def find_policy(connection: Connection, tenant: int, product: str, version: int) -> PolicyVersion | None:
    """One version's document."""
    row = await connection.fetchrow(SQL["find_policy"], tenant, product, version)
    return None if row is None else PolicyVersion(**row)


async def find_restored(connection: Connection, tenant: int, product: str, digest: str) -> int | None:
    """The newest version that had the document of this hash when it was live."""
    version: int | None = await connection.fetchval(SQL["find_restored"], tenant, product, digest)
    return version


async def list_versions(connection: Connection, tenant: int, product: str, before: int, limit: int) -> list[Version]:
    """The newest `limit` versions below `before`, the newest first."""
    rows = await connection.fetch(SQL["list_versions"], tenant, product, before, limit)
    return [_version(row) for row in rows]


async def find_version(connection: Connection, tenant: int, product: str, version: int) -> Version | None:
    """One version."""
    found = await list_versions(connection, tenant, product, version + 1, 1)
    return found[0] if found and found[0].life.version == version else None


async def lock_product(connection: Connection, tenant: int, product: str) -> Product | None:
    """The product's row, locked until the transaction ends; None where it has no policy."""
    row = await connection.fetchrow(SQL["lock_product"], tenant, product)
    return None if row is None else Product(**row)


async def add_product(connection: Connection, tenant: int, product: str) -> None:
    """Makes the row of a product that has none."""
    await connection.execute(SQL["add_product"], tenant, product)


async def lock_due_products(connection: Connection, limit: int) -> list[Product]:
    """At most `limit` products with a start to tell, locked."""
    return [Product(**row) for row in await connection.fetch(SQL["lock_due_products"], limit)]


async def set_product(connection: Connection, product: Product) -> None:
    """Writes what a step changed of its product."""
    await connection.execute(SQL["set_product"], *msgspec.structs.astuple(product))


async def bound_transaction(connection: Connection) -> None:
    """Ends the transaction where it takes longer than 2 s."""
    await connection.execute(SQL["bound_transaction"])


async def find_step(connection: Connection, tenant: int, id_: UUID) -> PolicyStep | None:
    """What was done under this id."""
    row = await connection.fetchrow(SQL["find_step"], tenant, id_)
    return None if row is None else PolicyStep(**row)


async def insert_policy(
    connection: Connection, product: Product, digest: str, document: bytes, restores: int | None
) -> None:
    """Adds the product's newest version."""
    key = product.tenant, product.product, product.versions
    await connection.execute(SQL["insert_policy"], *key, digest, document, restores)


async def insert_step(connection: Connection, tenant: int, id_: UUID, step: PolicyStep, actor: str) -> None:
    """Records a step."""
    about = step.product, step.version, step.step
    when = step.taken_at, step.asked_from, step.valid_from
    await connection.execute(SQL["insert_step"], tenant, id_, *about, actor, *when)


async def list_due(connection: Connection, product: Product, at_least: datetime | None = None) -> list[Due]:
    """The product's starts that are over and were not told, in their order; it is `at_least` so late."""
    key = product.tenant, product.product, product.told, product.told_from, at_least
    return [Due(*row) for row in await connection.fetch(SQL["list_due"], *key)]


def _version(row: Record) -> Version:
    life = PolicyLife(**{name: row[name] for name in LIFE})
    return Version(life, state_of(life, row["live"], row["now"]), row["now"])
