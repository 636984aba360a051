"""Who read a customer's data: every read of it is an event of the service's own stream, durable before it is answered.

A route that shows such data declares `opt={"personal": True}` and calls `ReadLog.record` with what it is about to
show. The record is written into the service's outbox, in the database that the data came from, so a read waits for no
other service, and nothing is shown whose reading can't be recorded. Reads that arrive together are written together:
one COMMIT for up to `BATCH_MAX`, one batch at a time, so they hold one connection of the pool at most.

A record holds the key, the route and ids; never what the answer said, nor a text that the client chose. An answer that
shows nothing (not found, refused) has none. Where a COMMIT was lost and may have gone through, the batch is written
again under new ids: a read may then be recorded twice, never not at all.
"""

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from amana.domain.event_types import VERSIONS
from amana.domain.events import Aggregate, Event, event_bytes
from amana.domain.ids import uuid7
from amana.gateway.caller import Caller
from amana.infra import clock
from amana.infra.collector import Collector
from amana.infra.outbox import OutboxRow, append
from amana.infra.postgres import Connection, DatabaseUnavailable, Pool, in_transaction

BATCH_MAX = 200
"""Reads in one transaction."""
WAITING_MAX = 5_000
"""Reads that wait for theirs to be written; one tenant's are at most half of them. Beyond it: 503 `overloaded`."""
NAMED_MAX = 500
"""Customers in one event. A list that shows more is several events, so that each fits its bytes."""


class Read(NamedTuple):
    """One answer that is about to be given: what is told of it, and the customers whom it is about."""

    caller: Caller
    at: datetime
    data: dict[str, Any]
    customers: list[str]


class ReadLog:
    """Records the reads of one process, as events of `type_`, in the outbox that `pool` sees."""

    def __init__(self, pool: Pool, type_: str) -> None:
        self._pool = pool
        self._type = type_
        self._collector: Collector[Read, None] = Collector(
            self._write,
            batch_max=BATCH_MAX,
            batches_in_flight=1,
            queue_max=WAITING_MAX,
            group=lambda read: read.caller.tenant,
        )

    async def record(
        self, caller: Caller, route: str, customers: Collection[UUID], rows: int, **asked: UUID | None
    ) -> None:
        """Returns when it is durable that `caller` is shown `rows` things about `customers` by `route`, its template.

        `asked` is what was asked for by its id: `account`, `decision_id`, `loan`, `transfer`. Raises `Overloaded` and
        `DatabaseUnavailable`: then nothing may be shown.
        """
        data: dict[str, Any] = {"route": route, "rows": rows}
        data |= {name: str(id_) for name, id_ in asked.items() if id_ is not None}
        await self._collector.submit(Read(caller, clock.now(), data, sorted({str(each) for each in customers})))

    async def drain(self) -> None:
        """Waits until all that was taken is written: for a clean stop."""
        await self._collector.drain()

    async def _write(self, reads: list[Read]) -> list[Exception | None]:
        async def work(connection: Connection) -> None:
            await append(connection, [row for read in reads for row in read_rows(self._type, read)])

        try:
            await in_transaction(self._pool, work)
        except DatabaseUnavailable as error:
            # Whatever became of the records, nothing is shown: whoever asked may ask again.
            raise DatabaseUnavailable(str(error)) from error
        return [None for _ in reads]


def read_rows(type_: str, read: Read) -> Iterator[OutboxRow]:
    """The events of one read, new at each call: one, but for very long lists."""
    for start in range(0, max(1, len(read.customers)), NAMED_MAX):
        yield _row(type_, read, {**read.data, "customers": read.customers[start : start + NAMED_MAX]})


def _row(type_: str, read: Read, data: dict[str, Any]) -> OutboxRow:
    caller, id_ = read.caller, uuid7(clock.unix_ms(), clock.random_74_bits())
    event = Event(
        event_id=id_,
        tenant=caller.tenant,
        type=type_,
        version=VERSIONS[type_],
        occurred_at=read.at,
        aggregate=Aggregate("read", id_, 1),
        actor=caller.key_id,
        trace=caller.trace,
        data=data,
    )
    return OutboxRow(caller.tenant, id_, id_, type_, event_bytes(event))
