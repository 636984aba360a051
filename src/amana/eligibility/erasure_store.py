"""One method per SQL statement about erasing customers. Rows become values here and nowhere else."""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from amana.domain.privacy import ErasureReason, Processing
from amana.eligibility.records import Key
from amana.infra.postgres import Connection, Record
from amana.infra.sql import load_queries

SQL = load_queries("amana.eligibility", "privacy.sql")


class Erasure(msgspec.Struct, frozen=True, kw_only=True):
    """A request to erase a customer. `due_at` is None until it is known when no law keeps them any longer.

    `version` counts what was planned: 0 before anything was. `requested_by` is a key's id.
    """

    tenant: int
    erasure_id: UUID
    customer: UUID
    reason: ErasureReason
    requested_by: str
    requested_at: datetime
    version: int = 0
    due_at: datetime | None = None
    destroyed_at: datetime | None = None


async def find_erasure(connection: Connection, where: Key) -> Erasure | None:
    """The request to erase a customer."""
    row = await connection.fetchrow(SQL["find_erasure"], *where)
    return None if row is None else _erasure(row)


async def find_erasure_by_id(connection: Connection, tenant: int, erasure_id: UUID) -> Erasure | None:
    """The request under an id."""
    row = await connection.fetchrow(SQL["find_erasure_by_id"], tenant, erasure_id)
    return None if row is None else _erasure(row)


async def lock_erasure(connection: Connection, where: Key, due_at: datetime | None) -> tuple[Erasure, bool] | None:
    """The request to erase a customer, locked, and whether `due_at` has come by the database's clock."""
    row = await connection.fetchrow(SQL["lock_erasure"], *where, due_at)
    return None if row is None else (_erasure(row), bool(row["is_due"]))


async def insert_erasure(connection: Connection, erasure: Erasure) -> None:
    """Writes a request down, unless it is there."""
    await connection.execute(
        SQL["insert_erasure"],
        erasure.tenant,
        erasure.erasure_id,
        erasure.customer,
        erasure.reason,
        erasure.requested_by,
        erasure.requested_at,
    )


async def restrict_customer(connection: Connection, where: Key) -> int | None:
    """Restricts a customer whose row is locked: the version of the facts; None where that was so."""
    version: int | None = await connection.fetchval(SQL["restrict_customer"], *where)
    return version


async def last_decided(connection: Connection, where: Key) -> datetime | None:
    """When the newest decision about a customer was made."""
    found: datetime | None = await connection.fetchval(SQL["last_decided"], *where)
    return found


async def is_reversing(connection: Connection, where: Key) -> bool:
    """Whether a decision about a customer is being reversed."""
    return bool(await connection.fetchval(SQL["is_reversing"], *where))


async def plan_erasure(
    connection: Connection, where: Key, version: int, due_at: datetime | None, look_again_s: int
) -> None:
    """Writes down when a customer is to be erased; where that is not known, when it is looked at again."""
    await connection.execute(SQL["plan_erasure"], *where, version, due_at, look_again_s)


async def postpone_erasure(connection: Connection, where: Key, seconds: int) -> None:
    """Looks at a request again later."""
    await connection.execute(SQL["postpone_erasure"], *where, seconds)


async def postpone_held(connection: Connection, where: Key, seconds: int) -> None:
    """Looks again later at a customer who is due and held, unless somebody set another time meanwhile."""
    await connection.execute(SQL["postpone_held"], *where, seconds)


async def last_seq(connection: Connection) -> int:
    """The newest row of the outbox; 0 for none."""
    return int(await connection.fetchval(SQL["last_seq"]))


async def was_told(connection: Connection, after: int, event_id: UUID) -> bool:
    """Whether an event is in the outbox, after a row of it."""
    return bool(await connection.fetchval(SQL["was_told"], after, event_id))


async def due_erasures(connection: Connection, limit: int) -> list[Key]:
    """The customers whose requests are to be looked at now."""
    return [(row["tenant"], row["customer"]) for row in await connection.fetch(SQL["due_erasures"], limit)]


async def page_erased(connection: Connection, after: Key, limit: int) -> list[Erasure]:
    """Requests that are done, by customer, from after the one named."""
    rows = await connection.fetch(SQL["page_erased"], *after, limit)
    return [_erasure(row) for row in rows]


async def find_processing(connection: Connection, keys: Collection[Key]) -> dict[Key, Processing]:
    """What may be done with these customers' data; who has no record is not in the answer."""
    tenants, ids = [tenant for tenant, _ in keys], [id_ for _, id_ in keys]
    rows = await connection.fetch(SQL["find_processing"], tenants, ids)
    return {(row["tenant"], row["customer"]): Processing(row["processing"]) for row in rows}


async def erase_customer(connection: Connection, where: Key) -> int | None:
    """Takes everything personal out of a customer's rows: the version of the facts; None where that was so."""
    version: int | None = await connection.fetchval(SQL["erase_customer"], *where)
    await connection.execute(SQL["erase_words"], *where)
    await connection.execute(SQL["erase_blocks"], *where)
    await connection.execute(SQL["end_erasure"], *where)
    return version


async def list_decisions(
    connection: Connection, where: Key, before: tuple[datetime, UUID], limit: int
) -> Sequence[tuple[UUID, str]]:
    """(id, who asked) of the decisions about a customer, newest first, from before an instant and id."""
    rows = await connection.fetch(SQL["list_decisions"], *where, *before, limit)
    return [(row["decision_id"], row["asked_by"]) for row in rows]


async def holds_clear_text(connection: Connection) -> bool:
    """Whether rows that an older version wrote may hold personal data in clear."""
    return bool(await connection.fetchval(SQL["holds_clear_text"]))


def _erasure(row: Record) -> Erasure:
    known = {name: value for name, value in row.items() if name in Erasure.__struct_fields__}
    return msgspec.convert(known, Erasure)
