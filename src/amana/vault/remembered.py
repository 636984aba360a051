"""Who is to be erased, or was: remembered beside the keys, where no restore of the main database reaches."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from amana.vault.vault import SQL, Key, Vault


class Remembered(NamedTuple):
    """A request to erase a customer; `destroyed_at` once their key is destroyed."""

    tenant: int
    customer: UUID
    erasure_id: UUID
    reason: str
    requested_by: str
    requested_at: datetime
    destroyed_at: datetime | None


async def remember(vault: Vault, where: Key, erasure_id: UUID, reason: str, requested_by: str) -> Remembered | None:
    """Remembers a request; the first one for the customer is the answer, None where the id is another customer's.

    Raises `KeysUnavailable`.
    """
    async with vault.connection() as connection:
        await connection.execute(SQL["insert_erasure"], *where, erasure_id, reason, requested_by)
        row = await connection.fetchrow(SQL["find_erasure"], *where)
    return None if row is None else Remembered(**row)


async def page(vault: Vault, after: Key, limit: int) -> list[Remembered]:
    """Requests in the order of their customers, from after the one named. Raises `KeysUnavailable`."""
    async with vault.connection() as connection:
        rows = await connection.fetch(SQL["page_erasures"], *after, limit)
    return [Remembered(**row) for row in rows]


async def page_destroyed(vault: Vault, after: Key, within_s: float, limit: int) -> list[Key]:
    """Who was erased within the last seconds, in the order of their keys. Raises `KeysUnavailable`."""
    async with vault.connection() as connection:
        rows = await connection.fetch(SQL["page_destroyed"], *after, within_s, limit)
    return [(row["tenant"], row["customer"]) for row in rows]
