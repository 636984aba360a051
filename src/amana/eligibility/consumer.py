"""Drops cached assessments when the ledger moves: any event of transactions that names a customer.

The other numbers of the same person go too, because they owe together.

What is lost here costs nothing but freshness: an assessment's age is judged whenever it is read.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import TypeAlias
from uuid import UUID

import msgspec

from amana.eligibility.cache import AssessmentCache
from amana.eligibility.records import Key
from amana.infra.kafka import Bootstrap, Consumer, Message
from amana.infra.telemetry import logger

TOPIC = "amana.transactions.events"
GROUP = "eligibility"

_log = logger(__name__)


class _Data(msgspec.Struct):
    customer: UUID | None = None


class _Event(msgspec.Struct):
    tenant: int
    data: _Data


_decoder = msgspec.json.Decoder(_Event)


Persons: TypeAlias = Callable[[Collection[Key]], Awaitable[set[Key]]]
"""Who else is the same person as any of these; nobody where that can't be asked."""


async def nobody_else(_keys: Collection[Key]) -> set[Key]:
    """Knows no persons: every customer is one."""
    return set()


class Invalidation:
    """Forgets the customers of events, each event once.

    Positions of a partition grow, except where a second relay sends again what was sent: those are passed over.
    """

    def __init__(self, cache: AssessmentCache, persons: Persons = nobody_else) -> None:
        self._cache = cache
        self._persons = persons
        self._highest: dict[tuple[bytes, int], int] = {}

    async def handle(self, messages: Sequence[Message]) -> set[tuple[int, UUID]]:
        """Forgets whom the new ones of `messages` name, and who is the same person; the (tenant, customer) pairs."""
        named = {found for message in messages if self._is_new(message) if (found := _customer(message)) is not None}
        for tenant, customer in named:
            await self._cache.forget(tenant, customer)
        others = await self._persons(named) - named if named else set()
        for tenant, customer in others:
            await self._cache.forget(tenant, customer)
        return named | others

    def _is_new(self, message: Message) -> bool:
        if "position" not in message.headers:
            return True
        place = (message.headers.get("stream", b""), message.partition)
        position = int(message.headers["position"])
        if position <= self._highest.get(place, -1):
            return False
        self._highest[place] = position
        return True


async def run(
    bootstrap: Bootstrap, cache: AssessmentCache, stop: asyncio.Event, persons: Persons = nobody_else
) -> None:
    """Consumes until `stop` is set; a broker that is away is waited for."""
    invalidation = Invalidation(cache, persons)
    consumer = Consumer(bootstrap, GROUP, [TOPIC])
    try:
        async for batch in consumer.batches(stop):
            await invalidation.handle(batch)
            await consumer.commit(batch)
    finally:
        await consumer.close()


def _customer(message: Message) -> tuple[int, UUID] | None:
    try:
        event = _decoder.decode(message.value)
    except msgspec.DecodeError as error:
        # Not an event of ours. Nothing hangs on it: what is cached ages by itself.
        _log.warning("unreadable event", partition=message.partition, offset=message.offset, detail=str(error))
        return None
    return None if event.data.customer is None else (event.tenant, event.data.customer)
