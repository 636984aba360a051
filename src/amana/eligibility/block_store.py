"""One method per SQL statement about blocks. Why they were placed and lifted is sealed here and opened elsewhere."""

from uuid import UUID

from amana.eligibility.records import Block
from amana.infra.postgres import Connection
from amana.infra.sql import load_queries

SQL = load_queries("amana.eligibility", "customers.sql")


async def find_block(connection: Connection, tenant: int, block_id: UUID) -> Block | None:
    """One block."""
    row = await connection.fetchrow(SQL["find_block"], tenant, block_id)
    return None if row is None else Block(**row)


async def list_blocks(connection: Connection, tenant: int, customer: UUID, limit: int) -> list[Block]:
    """The newest blocks of a customer, at most `limit`."""
    return [Block(**row) for row in await connection.fetch(SQL["list_blocks"], tenant, customer, limit)]


async def insert_block(connection: Connection, tenant: int, block: Block) -> bool:
    """Places a block; False when its id is taken by now. The clock of `block` is not kept: the database's is."""
    added = await connection.fetchval(
        SQL["insert_block"],
        tenant,
        block.block_id,
        block.customer,
        block.code,
        block.words_sealed,
        block.until,
        block.placed_by,
    )
    return added is not None


async def lift_blocks(
    connection: Connection, tenant: int, customer: UUID, code: str, lift_id: UUID, actor: str, words: bytes
) -> list[UUID]:
    """Lifts what is in force under a code; the ids of what was lifted."""
    rows = await connection.fetch(SQL["lift_blocks"], tenant, customer, code, lift_id, actor, words)
    return sorted(row["block_id"] for row in rows)


async def find_lifted(
    connection: Connection, tenant: int, customer: UUID, code: str, lift_id: UUID
) -> list[tuple[UUID, bytes | None]]:
    """(block, why, sealed) of all that an earlier lift of this id lifted."""
    rows = await connection.fetch(SQL["find_lifted"], tenant, customer, code, lift_id)
    return [(row["block_id"], row["lift_words_sealed"]) for row in rows]
