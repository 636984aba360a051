"""`amana events retire`: a consumer that is gone for good holds back no prune any more. The owner's, never a service's.

Nothing shows from here whether a consumer that stands still is gone or only away, so a person says it, with a reason:
an event of the log's own stream, under a checkpoint, before its row goes. Refused is what can't be meant: one that is
level, that moved within the hour, or whose service is there.

Should its service come back, it begins at the end of the stream, as a new one does, and never sees what happened
meanwhile. What was projected from the stream is forgotten with the row, because nothing would tell that it is wrong.
"""

from datetime import datetime
from typing import NamedTuple

import msgspec

from amana.audit.announcing import HeldBack, announce, until_signed
from amana.audit.store import Store
from amana.domain.event_types_audit import ConsumerRetired, RetireReason
from amana.infra.postgres import Connection, Pool, in_transaction, open_pool, reading
from amana.infra.settings import Settings
from amana.infra.sql import load_queries

SERVICES = ("eligibility", "notifications")
"""Those whose consumers keep their progress in the main database."""
STATEMENT_TIMEOUT_MS = 60_000
TYPE = ConsumerRetired.__name__

SQL = load_queries("amana.operate.streams", "retire.sql")


class Consumer(NamedTuple):
    """A consumer of one stream, by the service that it belongs to."""

    service: str
    name: str
    stream: str


class Retired(NamedTuple):
    """Where it stood, of a stream whose last position is `last`; `letters` of its are open, and stay."""

    below: int
    last: int
    letters: int
    advanced_at: datetime


async def stands(settings: Settings, consumer: Consumer) -> Retired:
    """What would be retired; nothing is changed. Raises `HeldBack`, where it may not be, and `DatabaseUnavailable`."""
    pool = await open_pool(settings.owner_database_url, consumer.service, 1, STATEMENT_TIMEOUT_MS)
    try:
        return await _stands(pool, consumer, await _last(settings, consumer.stream))
    finally:
        await pool.close()


async def retire(settings: Settings, consumer: Consumer, reason: RetireReason, by: str, now: datetime) -> Retired:
    """Retires it, and says so in the log as done by `by`. Raises as `stands` does."""
    pool = await open_pool(settings.owner_database_url, consumer.service, 1, STATEMENT_TIMEOUT_MS)
    try:
        found = await _stands(pool, consumer, await _last(settings, consumer.stream))
        await _announce(settings, consumer, found, reason, by, now)

        async def work(connection: Connection) -> bool:
            return await _forget(connection, consumer, found.below)

        if not await in_transaction(pool, work):
            raise HeldBack(f"{consumer.name} moved just now: it is not gone, and its row was left as it is")
        return found
    finally:
        await pool.close()


async def _last(settings: Settings, stream: str) -> int:
    pool = await open_pool(settings.owner_database_url, stream, 1, STATEMENT_TIMEOUT_MS)
    try:
        async with reading(pool) as connection:
            return int(await connection.fetchval(SQL["last_position"]))
    finally:
        await pool.close()


async def _stands(pool: Pool, consumer: Consumer, last: int) -> Retired:
    service, name, stream = consumer
    async with reading(pool) as connection:
        row = await connection.fetchrow(SQL["stands"], name, stream, f"amana_{service}")
    if row is None:
        raise HeldBack(f"{service} has no consumer {name} of {stream}")
    if row["below"] > last:
        raise HeldBack(f"{name} has taken all of {stream}: it holds nobody back")
    if not row["is_quiet"]:
        raise HeldBack(f"{name} moved at {row['advanced_at']:%Y-%m-%dT%H:%M:%SZ}, within the last hour")
    if row["is_there"]:
        raise HeldBack(f"the service {service} is connected to the database: stop it, or let it catch up")
    return Retired(row["below"], last, row["letters"], row["advanced_at"])


async def _announce(
    settings: Settings, consumer: Consumer, found: Retired, reason: RetireReason, by: str, now: datetime
) -> None:
    audit = await open_pool(settings.owner_audit_database_url, "audit", 2, STATEMENT_TIMEOUT_MS)
    said = ConsumerRetired(consumer.service, consumer.name, consumer.stream, found.below, found.last, reason)
    try:
        async with Store(audit).transaction() as rows:
            position = await announce(rows, TYPE, msgspec.to_builtins(said), by, now)
        await until_signed(audit, position)
    finally:
        await audit.close()


async def _forget(connection: Connection, consumer: Consumer, below: int) -> bool:
    """Whether it stood there still."""
    service, name, stream = consumer
    if await connection.fetchval(SQL["retire"], name, stream, below) is None:
        return False
    await connection.execute(SQL["forget_taken"], name, stream)
    if service == "eligibility":
        await connection.execute(SQL["forget_standings"])
        await connection.execute(SQL["forget_watermark"], stream)
    return True
