"""The ground of a bench of events: an outbox that is filled, a relay, a broker of its own, and what arrived there.

The broker is never a given one, because its topics get events that nobody else should read.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID

import msgspec

from amana.bench.connection import LoadFailed
from amana.bench.site import Site, open_stack, owner_pool
from amana.domain.event_types import VERSIONS
from amana.domain.events import Aggregate, Event, MovementData, SideData, event_bytes
from amana.domain.ids import uuid7
from amana.infra import clock
from amana.infra.kafka import Consumer
from amana.infra.outbox import OutboxRow, append
from amana.infra.postgres import Pool, open_pool
from amana.infra.publisher import topic_of
from amana.infra.settings import Settings
from amana.operate.stack import Say, Stack

STREAM, RELAY = "transactions", "relay"
TYPE, AGGREGATE = "HoldCaptured", "hold"
HOLDS = 5_000
"""What the events are about: each has its versions in order."""
COPY_MAX = 5_000
"""Events in one statement."""
TOLD = ("service", "postgres", "broker")
"""Whose CPU is told."""
UNCAPPED = 1_000_000
QUIET_S = 30.0
"""So long without a message while some are due ends a check."""
LOST, ALTERED, DISORDERED = "events_lost", "events_altered", "events_out_of_order"


class _Told(msgspec.Struct):
    aggregate: Aggregate


_decoder = msgspec.json.Decoder(_Told)


class Outbox(Site):
    """See the module. `committed` counts the events of the whole run; nobody else writes to the stream."""

    def __init__(self, stack: Stack, pool: Pool, writer: Pool, seed: int) -> None:
        super().__init__(stack, pool, 0, "", RELAY)
        assert stack.broker is not None, "the broker is the bench's own"
        self.beside["broker"] = stack.broker.process
        self.bootstrap = stack.broker.bootstrap
        self.invariants = dict.fromkeys((LOST, ALTERED, DISORDERED), 0)
        self.committed = 0
        self._writer = writer
        self._chance = random.Random(seed)  # noqa: S311  a load, no secret
        self._holds = [uuid7(clock.unix_ms(), self._chance.getrandbits(74)) for _ in range(HOLDS)]
        self._versions = dict.fromkeys(self._holds, 0)
        self._bodies: dict[bytes, int] = {}
        self._seen: dict[bytes, int] = {}
        self._arrived: set[int] = set()
        self._consumer = Consumer(self.bootstrap, "amana-bench", [topic_of(STREAM)])

    def make(self, count: int) -> list[OutboxRow]:
        """So many events, to be committed in this order."""
        now = datetime.now(UTC)
        return [self._event(now) for _ in range(count)]

    def make_apart(self, count: int) -> list[OutboxRow]:
        """The same, for elsewhere: these are not to be committed."""
        kept = dict(self._versions)
        made = self.make(count)
        self._versions = kept
        return made

    async def start_relay(self) -> None:
        """Starts a relay, unless one runs."""
        relay = self.stack.services.get(RELAY)
        if relay is None or relay.pid is None:
            await self.stack.start_service(RELAY)

    async def commit(self, rows: list[OutboxRow]) -> None:
        """Writes them in one transaction."""
        self._bodies.update((str(row.event_id).encode(), hash(row.body)) for row in rows)
        async with self._writer.acquire() as connection, connection.transaction():
            for first in range(0, len(rows), COPY_MAX):
                await append(connection, rows[first : first + COPY_MAX])
        self.committed += len(rows)

    async def published(self) -> int:
        """How many of the committed events the broker has acknowledged."""
        (stands,) = await self.fetch("stream_stands")
        return int(stands["published"])

    def cpu_s(self) -> dict[str, float]:
        """CPU seconds so far of the relay, the broker and, where it is ours to look at, PostgreSQL."""
        found = self._cpu_s()
        return {RELAY if name == "service" else name: found[name] for name in TOLD if name in found}

    async def check(self) -> dict[str, int]:
        """Reads what is new in the topic. How often each invariant was broken in all, and how many came twice."""
        came = 0
        async with aclosing(self._consumer.batches(asyncio.Event(), 5_000, 200)) as batches:
            while len(self._arrived) < self.committed:
                try:
                    async with asyncio.timeout(QUIET_S):
                        batch = await anext(batches)
                except TimeoutError:
                    break
                for message in batch:
                    self._note(int(message.headers["position"]), message.headers["event_id"], message.value)
                came += len(batch)
                await self._consumer.commit(batch)
        self.invariants[LOST] = self.committed - len(self._arrived)
        return self.invariants | {"messages": came}

    async def close(self) -> None:
        """Frees the consumer."""
        await self._consumer.close()

    def _note(self, position: int, event_id: bytes, body: bytes) -> None:
        if position in self._arrived:
            return
        self._arrived.add(position)
        self.invariants[ALTERED] += self._bodies.get(event_id) != hash(body)
        about = _decoder.decode(body).aggregate
        self.invariants[DISORDERED] += about.version != self._seen.get(about.id.bytes, 0) + 1
        self._seen[about.id.bytes] = about.version

    def _event(self, now: datetime) -> OutboxRow:
        hold = self._chance.choice(self._holds)
        self._versions[hold] = version = self._versions[hold] + 1
        event = Event(
            event_id=uuid7(clock.unix_ms(), clock.random_74_bits()),
            tenant=1,
            type=TYPE,
            version=VERSIONS[TYPE],
            occurred_at=now,
            aggregate=Aggregate(AGGREGATE, hold, version),
            actor=str(self._holds[0]),
            trace="0" * 32,
            data=self._movement(hold, version, now),
        )
        return OutboxRow(1, event.event_id, hold, TYPE, event_bytes(event))

    def _movement(self, hold: UUID, version: int, now: datetime) -> MovementData:
        amount = self._chance.randrange(1_000, 1_000_000)
        return MovementData(
            amount=amount,
            code="general",
            credit=SideData(self._chance.choice(self._holds), 0, amount * version, 0, 0, version),
            currency="NGN",
            debit=SideData(self._chance.choice(self._holds), 0, 0, amount, amount * version, version),
            effective_on=now.date(),
            hold=hold,
            released=amount,
            transfer=uuid7(clock.unix_ms(), self._chance.getrandbits(74)),
        )


@asynccontextmanager
async def open_outbox(given: Settings, seed: int, say: Say) -> AsyncIterator[Outbox]:
    """PostgreSQL and a broker of its own, with an empty outbox; no service runs yet."""
    given = msgspec.structs.replace(given, kafka_bootstrap="", relay_events_per_s=UNCAPPED)
    async with open_stack(given, (), say) as stack, owner_pool(stack) as pool:
        writer = await open_pool(stack.settings.owner_database_url, STREAM, 2)
        outbox = Outbox(stack, pool, writer, seed)
        try:
            if await outbox.published():
                raise LoadFailed("the outbox is not empty")
            yield outbox
        finally:
            await outbox.close()
            writer.terminate()
