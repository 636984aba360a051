"""The outbox: events written in the transaction that causes them, read back in the order the relay gave them.

A service calls `append` inside its business transaction, after it has locked what the events are about; that is what
keeps the events of one aggregate in order (see `amana.infra.sequencer`). `read_events` serves `GET /v1/events`.
"""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from amana.infra.postgres import Connection, Pool, reading
from amana.infra.sql import load_queries

EVENTS_PAGE_MAX = 1_000
"""Events in one page of `GET /v1/events`."""
EVENTS_PAGE_BYTES_MAX = 4 * 1024 * 1024
"""Bytes of bodies in one page, past its first event."""

SQL = load_queries("amana.infra", "outbox.sql")


class OutboxRow(NamedTuple):
    """One event to append. `body` holds its canonical bytes; `aggregate_id` decides its Kafka partition."""

    tenant: int
    event_id: UUID
    aggregate_id: UUID
    type: str
    body: bytes


class EventPage(NamedTuple):
    """Sequenced events of `stream` as (position, body), in order, and the highest position given to any."""

    stream: str
    events: list[tuple[int, bytes]]
    last: int


async def append(connection: Connection, rows: Sequence[OutboxRow]) -> None:
    """Write `rows` in their order, in the caller's transaction: one COPY, one round trip. None is no round trip.

    Call it after the locks on the aggregates are held. A caller that draws its events before its locks loses the order.
    """
    if rows:
        await connection.copy_records_to_table("outbox", records=rows, columns=OutboxRow._fields)


async def read_events(pool: Pool, after: int, limit: int) -> EventPage:
    """The events after position `after` (-1 for all), at most `limit` (1 to `EVENTS_PAGE_MAX`) and about 4 MiB of them.

    `pool` sees the schema whose stream is read. Raises `DatabaseUnavailable`.
    """
    assert 1 <= limit <= EVENTS_PAGE_MAX, f"limit of a page of events: {limit}"
    async with reading(pool) as connection:
        rows = await connection.fetch(SQL["events_after"], after, limit, EVENTS_PAGE_BYTES_MAX)
        # Read after the events, so that `last` is never below a position in the page.
        end = await connection.fetchrow(SQL["stream_end"])
    assert end is not None, "the migration of this schema inserted no row into stream"
    return EventPage(end["stream"], [(row["position"], row["body"]) for row in rows], end["last_position"])


async def read_end(pool: Pool) -> tuple[str, int, int]:
    """A stream's name, the highest position given and the highest that is published with all before it.

    Raises `DatabaseUnavailable`.
    """
    async with reading(pool) as connection:
        end = await connection.fetchrow(SQL["stream_end"])
    assert end is not None, "the migration of this schema inserted no row into stream"
    return end["stream"], end["last_position"], end["published"]
