"""Drops cached assessments when the ledger moves: any event of transactions that names a customer.

The other numbers of the same person go too, because they owe together.

What is lost here costs nothing but freshness: an assessment's age is judged whenever it is read. So this consumer is of
the light form (`infra.consuming.light`): its effect is in a cache, beside which no progress could be written down, and
an event that can't be read leaves nothing behind but a line in the log.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import TypeAlias
from uuid import UUID

import msgspec

from amana.eligibility.cache import AssessmentCache
from amana.eligibility.records import Key
from amana.infra.consuming.light import Highest, run_light
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
    """Forgets the customers of events, each event once."""

    def __init__(self, cache: AssessmentCache, persons: Persons = nobody_else) -> None:
        self._cache = cache
        self._persons = persons
        self._highest = Highest()

    async def handle(self, messages: Sequence[Message]) -> set[tuple[int, UUID]]:
        """Forgets whom the new ones of `messages` name, and who is the same person; the (tenant, customer) pairs."""
        new = self._highest.new(messages)
        named = {found for message in new if (found := _customer(message)) is not None}
        for tenant, customer in named:
            await self._cache.forget(tenant, customer)
        others = await self._persons(named) - named if named else set()
        for tenant, customer in others:
            await self._cache.forget(tenant, customer)
        self._highest.note(new)
        return named | others


async def run(
    bootstrap: Bootstrap, cache: AssessmentCache, stop: asyncio.Event, persons: Persons = nobody_else
) -> None:
    """Consumes until `stop` is set; a broker that is away is waited for."""
    invalidation = Invalidation(cache, persons)
    await run_light(GROUP, Consumer(bootstrap, GROUP, [TOPIC]), invalidation.handle, stop)


def _customer(message: Message) -> tuple[int, UUID] | None:
    try:
        event = _decoder.decode(message.value)
    except msgspec.DecodeError as error:
        # Not an event of ours. Nothing hangs on it: what is cached ages by itself.
        _log.warning("unreadable event", partition=message.partition, offset=message.offset, detail=str(error))
        return None
    return None if event.data.customer is None else (event.tenant, event.data.customer)
