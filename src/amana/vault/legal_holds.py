"""Legal holds on customers, beside the keys: while one stands no key of the customer is destroyed.

Placing one and destroying a key take turns, so a hold that was placed is kept by whoever destroys, in any process and
after any crash. That a step happened is told as an event elsewhere; what was not told yet is known here.
"""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from amana.infra.postgres import Connection
from amana.vault.vault import SQL, Key, Vault


class LegalHold(NamedTuple):
    """A hold; what is of its release is None while it stands. `placed_by` and `released_by` are keys' ids, `placed_for`
    and `released_for` who had it done. `told` steps have their event; the last step's is `told_as`, and comes after the
    row `told_after` of the outbox.
    """

    tenant: int
    hold_id: UUID
    customer: UUID
    reason: str
    placed_by: str
    placed_for: str
    placed_at: datetime
    release_reason: str | None
    released_by: str | None
    released_for: str | None
    released_at: datetime | None
    told: int
    told_as: UUID
    told_after: int

    @property
    def steps(self) -> int:
        """1 while it stands, 2 once it is released."""
        return 1 + (self.released_at is not None)


class Telling(NamedTuple):
    """The event by which a step is told: its id, and the row of the outbox that it comes after."""

    event_id: UUID
    after: int


class Placed(NamedTuple):
    """The hold under an id, None where the customer's key was destroyed before; and whether it was placed just now."""

    hold: LegalHold | None
    is_new: bool


async def place(
    vault: Vault, where: Key, hold_id: UUID, reason: str, placed_by: str, placed_for: str, telling: Telling
) -> Placed:
    """Places a hold, unless one has the id: that may be another customer's. Raises `KeysUnavailable`."""
    tenant, customer = where

    async def work(connection: Connection) -> Placed:
        await connection.execute(SQL["lock_customer"], tenant, customer)
        found = await connection.fetchrow(SQL["find_hold"], tenant, hold_id)
        if found is not None:
            return Placed(LegalHold(**found), is_new=False)
        if await connection.fetchval(SQL["is_destroyed"], tenant, customer):
            return Placed(None, is_new=False)
        new = tenant, hold_id, customer, reason, placed_by, placed_for, *telling
        is_new = await connection.fetchval(SQL["insert_hold"], *new) is not None
        row = await connection.fetchrow(SQL["find_hold"], tenant, hold_id)
        assert row is not None, "a hold is never deleted"
        return Placed(LegalHold(**row), is_new)

    return await vault.transaction(work)


async def release(
    vault: Vault, tenant: int, hold_id: UUID, reason: str, released_by: str, released_for: str, telling: Telling
) -> bool:
    """Releases a hold that stands and whose placing was told; whether it was one. Raises `KeysUnavailable`."""

    async def work(connection: Connection) -> bool:
        released = tenant, hold_id, reason, released_by, released_for, *telling
        return await connection.fetchval(SQL["release_hold"], *released) is not None

    return await vault.transaction(work)


async def find(vault: Vault, tenant: int, hold_id: UUID) -> LegalHold | None:
    """The hold under an id. Raises `KeysUnavailable`."""
    async with vault.connection() as connection:
        row = await connection.fetchrow(SQL["find_hold"], tenant, hold_id)
    return None if row is None else LegalHold(**row)


async def page(
    vault: Vault, tenant: int, customer: UUID | None, after: UUID, limit: int, *, released: bool
) -> list[LegalHold]:
    """A tenant's holds in the order of their ids, from after one: of one customer or of all, with those that were
    `released` or without. Raises `KeysUnavailable`."""
    async with vault.connection() as connection:
        rows = await connection.fetch(SQL["list_holds"], tenant, customer, released, after, limit)
    return [LegalHold(**row) for row in rows]


async def untold(vault: Vault, limit: int) -> list[LegalHold]:
    """Holds of which a step was not told yet. Raises `KeysUnavailable`."""
    async with vault.connection() as connection:
        rows = await connection.fetch(SQL["untold_holds"], limit)
    return [LegalHold(**row) for row in rows]


async def note_told(vault: Vault, hold: LegalHold) -> None:
    """All that happened to a hold was told. Raises `KeysUnavailable`."""
    async with vault.connection() as connection:
        await connection.execute(SQL["note_told"], hold.tenant, hold.hold_id, hold.steps)


async def held_after(connection: Connection, after: Key, limit: int) -> list[Key]:
    """Customers whom a hold keeps, in the order of their keys, from after the one named."""
    rows = await connection.fetch(SQL["held_customers"], *after, limit)
    return [(row["tenant"], row["customer"]) for row in rows]
