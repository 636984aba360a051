"""Who read what of the audit log: every read is an event of the log's own stream `accesses`, sealed like any other.

A read that is about one person, or that shows events, is answered after its record is durable; of other reads the
record may follow within `WRITE_EVERY_S`. Records wait in one bounded queue and are written in batches; where it is full
because the database is away, nothing more is read. A record holds the key, the route and what was asked for: ids,
types, times; never what the answer said.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

from amana.audit.leaf import ACCESSES, read_leaf
from amana.audit.store import Store
from amana.domain.event_types import VERSIONS
from amana.domain.events import Aggregate, Event, event_bytes
from amana.domain.ids import uuid7
from amana.gateway.caller import Caller
from amana.infra import clock
from amana.infra.collector import Overloaded
from amana.infra.postgres import DatabaseUnavailable

WAITING_MAX = 10_000
BATCH_MAX = 500
WRITE_EVERY_S = 0.5
FLUSH_TRIES_MAX = 5
"""Batches that failed when the service stops; each try has the time-outs of the pool."""

IDS = ("customer", "account", "decision", "loan", "transfer", "hold")
"""What was asked for by id is found by it: the record has it under the index's own name."""
_INDEXED_AS = {"decision": "decision_id"}


class _Record(NamedTuple):
    """One read, as it waits to be written."""

    event: Event
    written: asyncio.Event


class AccessLog:
    """Writes the records of one process. `flush` has to be called now and then, and at the end."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: list[_Record] = []
        self._writing = asyncio.Lock()
        self._in_doubt = False

    async def record(
        self, caller: Caller, route: str, asked: Mapping[str, Any], rows: int | None, *, at_once: bool
    ) -> None:
        """Notes a read; with `at_once` returns after that is durable. `rows` is how much it shows, None for a stream.

        `asked` is the query by parameter; what is None was not asked. Raises `Overloaded` and `DatabaseUnavailable`:
        then nothing may be shown.
        """
        if len(self._waiting) >= WAITING_MAX:
            raise Overloaded
        record = _Record(_event(caller, route, asked, rows), asyncio.Event())
        self._waiting.append(record)
        while at_once and not record.written.is_set():
            await self.flush()

    async def flush(self) -> None:
        """Writes what waits, a batch at most. Raises `DatabaseUnavailable`; then it goes on waiting."""
        async with self._writing:
            batch = self._waiting[:BATCH_MAX]
            if not batch:
                return
            try:
                await self._write(batch)
            except BaseException:  # also a reader who went away in the middle of it
                self._in_doubt = True
                raise
            self._in_doubt = False
            self._store.arrivals.ring(ACCESSES)
            del self._waiting[: len(batch)]
            for record in batch:
                record.written.set()

    async def close(self) -> None:
        """Writes all that waits; the database may fail a few times. Raises `DatabaseUnavailable` when it stays away."""
        failed = 0
        while self._waiting:
            try:
                await self.flush()
            except DatabaseUnavailable:
                failed += 1
                if failed == FLUSH_TRIES_MAX:
                    raise

    async def _write(self, batch: list[_Record]) -> None:
        async with self._store.transaction() as rows:
            await rows.lock_appending(ACCESSES)
            events = [record.event for record in batch]
            if self._in_doubt:  # the last COMMIT may have gone through
                known = await rows.known_events([(event.tenant, event.event_id) for event in events])
                events = [event for event in events if event.event_id not in known]
            first = await rows.highest_position(ACCESSES) + 1
            leaves = [read_leaf(position, event_bytes(event)) for position, event in enumerate(events, first)]
            stored = await rows.add_leaves(ACCESSES, leaves) if leaves else set()
            assert len(stored) == len(leaves), "somebody wrote to the stream without its lock"


def _event(caller: Caller, route: str, asked: Mapping[str, Any], rows: int | None) -> Event:
    """`AuditRead`. Everything in it is a text, so that what the bytes may hold is never in question."""
    given = {name: _text(value) for name, value in asked.items() if value is not None and name not in IDS}
    data: dict[str, Any] = {"route": route, "asked": given, "rows": rows}
    data |= {_INDEXED_AS.get(name, name): str(asked[name]) for name in IDS if asked.get(name) is not None}
    access = uuid7(clock.unix_ms(), clock.random_74_bits())
    return Event(
        event_id=access,
        tenant=caller.tenant,
        type="AuditRead",
        version=VERSIONS["AuditRead"],
        occurred_at=clock.now(),
        aggregate=Aggregate("access", access, 1),
        actor=caller.key_id,
        trace=caller.trace,
        data=data,
    )


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " ".join(_text(part) for part in value)
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
