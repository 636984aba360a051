"""The outbox: events written in the transaction that causes them, read back in the order the relay gave them.

A service calls `append` inside its business transaction, after it has locked what the events are about; that is what
keeps the events of one aggregate in order (see `amana.infra.sequencer`). `read_events` serves `GET /v1/events`.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from amana.infra.arrays import integers, texts, uuids
from amana.infra.postgres import Connection, Pool, reading
from amana.infra.sql import load_queries

EVENTS_PAGE_MAX = 1_000
"""Events in one page of `GET /v1/events`."""
EVENTS_PAGE_BYTES_MAX = 4 * 1024 * 1024
"""Bytes of bodies in one page, past its first event."""
FEW_MAX = 100
"""Events that are written by one statement. More go by COPY, which takes a round trip more and less for each row."""
WAITING_MAX = 2_000
"""Events without a position that are looked at to find the oldest of them."""

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


class Pruned(NamedTuple):
    """What was asked for begins before `oldest`: events of `stream` before that were pruned, and the audit log has
    them."""

    stream: str
    oldest: int


class StreamEnd(NamedTuple):
    """How far a stream is: the highest position given (`last`) and the highest that is published with all before it.
    Events before `oldest` were pruned; 0 where none were.

    Everything that was committed before `settled_at` has a position up to `last`, by the database's clock, which said
    `now` just before. None where too much waits for a position to say so.
    """

    stream: str
    last: int
    published: int
    oldest: int
    now: datetime
    settled_at: datetime | None


async def append(connection: Connection, rows: Sequence[OutboxRow]) -> None:
    """Write `rows` in their order, in the caller's transaction. None is no round trip, up to `FEW_MAX` are one.

    Call it after the locks on the aggregates are held. A caller that draws its events before its locks loses the order.
    """
    if len(rows) > FEW_MAX:
        await connection.copy_records_to_table("outbox", records=rows, columns=OutboxRow._fields)
    elif rows:
        tenants, ids, aggregates, types, bodies = zip(*rows, strict=True)
        await connection.execute(
            SQL["append_few"], integers(tenants), uuids(ids), uuids(aggregates), texts(types), bodies
        )


async def read_events(pool: Pool, after: int, limit: int) -> EventPage | Pruned:
    """The events after position `after` (-1 for all), at most `limit` (1 to `EVENTS_PAGE_MAX`) and about 4 MiB of them.

    A page has no gap: what begins in what was pruned is `Pruned`, also while the prune is under way.

    `pool` sees the schema whose stream is read. Raises `DatabaseUnavailable`.
    """
    assert 1 <= limit <= EVENTS_PAGE_MAX, f"limit of a page of events: {limit}"
    async with reading(pool) as connection:
        rows = await connection.fetch(SQL["events_after"], after, limit, EVENTS_PAGE_BYTES_MAX)
        # Read after the events, so that `last` is never below a position in the page, and that no event went from the
        # page of which `first_kept` does not know: it is raised before the first one goes.
        end = await connection.fetchrow(SQL["stream_end"])
    assert end is not None, "the migration of this schema inserted no row into stream"
    if after + 1 < end["first_kept"]:
        return Pruned(end["stream"], end["first_kept"])
    return EventPage(end["stream"], [(row["position"], row["body"]) for row in rows], end["last_position"])


async def read_end(pool: Pool) -> StreamEnd:
    """How far a stream is. Raises `DatabaseUnavailable`."""
    async with reading(pool) as connection:
        end = await connection.fetchrow(SQL["stream_settled"], WAITING_MAX)
    assert end is not None, "the migration of this schema inserted no row into stream"
    settled_at = None if end["large"] or end["number"] >= WAITING_MAX else _settled_at(end["now"], end["oldest"])
    return StreamEnd(end["stream"], end["last_position"], end["published"], end["first_kept"], end["now"], settled_at)


def _settled_at(now: datetime, oldest: UUID | None) -> datetime | None:
    """`oldest` is the id of an event: a UUIDv7 tells when it was made, before it was committed; no other id does."""
    if oldest is None:
        return now
    return min(now, datetime.fromtimestamp((oldest.int >> 80) / 1000, UTC)) if oldest.version == 7 else None
