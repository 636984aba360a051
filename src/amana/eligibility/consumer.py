"""Keeps the projection of standings level with the ledger, and drops cached assessments when the ledger moves.

    apply    rows of whom an event concerns are stale: with the consumer's progress, in one transaction
    forget   what is cached of them goes, after that: whoever computes it again can't see a row that is not stale yet

An event concerns the customer whom it names, or whose exposure account it moves; and the other numbers of the same
person, because they owe together. To be stale twice, or in another order, is the same. Where an event can't be applied
soon (the database is away, or slow), what is cached goes before as well: no answer waits for that.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import lru_cache, partial
from typing import NamedTuple, TypeAlias
from uuid import UUID

import msgspec

from amana.eligibility import customers, projection_store
from amana.eligibility.cache import AssessmentCache
from amana.eligibility.projection import STREAM
from amana.eligibility.records import Key
from amana.gateway.source import Source
from amana.infra.consuming.light import Highest
from amana.infra.consuming.records import Fact, Order, Unreadable
from amana.infra.consuming.runtime import Runtime
from amana.infra.consuming.taking import TAKE_MAX, Taker
from amana.infra.kafka import Bootstrap, Message
from amana.infra.postgres import Connection, DatabaseUnavailable, Pool, reading
from amana.infra.publisher import topic_of
from amana.infra.tasks import end
from amana.infra.telemetry import logger

NAME = "standings"
TOPIC = topic_of(STREAM)
REMEMBERED_BYTES_MAX = 4_096
"""A larger event is read twice."""
APPLIED_WITHIN_S = 0.5
"""An event that is not applied by then is not waited for: what is cached goes first."""

_log = logger(__name__)


class _Side(msgspec.Struct):
    account: UUID


class _Data(msgspec.Struct):
    customer: UUID | None = None
    debit: _Side | None = None
    credit: _Side | None = None


class _Aggregate(msgspec.Struct):
    id: UUID
    version: int


class _Event(msgspec.Struct):
    tenant: int
    data: _Data
    aggregate: _Aggregate | None = None


_decoder = msgspec.json.Decoder(_Event)


class Concerned(NamedTuple):
    """Whom an event names, and which accounts it moves."""

    named: frozenset[Key]
    accounts: frozenset[Key]


def read_event(message: Message) -> Fact | None:
    """The codec: whom an event concerns; None where it concerns nobody. Raises `Unreadable`."""
    try:
        event, concerned = _read(message.value)
    except msgspec.DecodeError as error:
        raise Unreadable("not_an_event", str(error)) from error
    if event.aggregate is None:
        raise Unreadable("not_an_event", "an event without an aggregate")
    if not any(concerned):
        return None
    return Fact(concerned, event.tenant, event.aggregate.id, event.aggregate.version, Order.ALONE)


async def apply(connection: Connection, events: Sequence[Concerned]) -> None:
    """The handler: the rows of whom a batch concerns are stale, by one statement."""
    named, accounts = _union(events)
    await projection_store.make_stale(connection, named, accounts)


Others: TypeAlias = Callable[[Concerned], Awaitable[set[Key]]]
"""Whom accounts are of, and who is the same person as any of them; nobody where that can't be asked."""


async def nobody_else(_concerned: Concerned) -> set[Key]:
    """Knows no persons and no accounts: every customer is one."""
    return set()


async def others(pool: Pool, concerned: Concerned) -> set[Key]:
    """The owners of the moved accounts, as far as they have rows, and all numbers of every person concerned."""
    owners = set[Key]()
    if concerned.accounts:
        try:
            async with reading(pool) as connection:
                owners = await projection_store.find_owners(connection, concerned.accounts)
        except DatabaseUnavailable as error:
            _log.info("owners of accounts not found", error=type(error).__name__)
    return owners | await customers.same_person(pool, concerned.named | owners)


class Invalidation:
    """Forgets whom events concern, each event once."""

    def __init__(self, cache: AssessmentCache, others: Others = nobody_else) -> None:
        self._cache = cache
        self._others = others
        self._highest = Highest()

    async def handle(self, messages: Sequence[Message]) -> set[Key]:
        """Forgets whom the new ones of `messages` concern, and who is the same person; the (tenant, customer) pairs."""
        new = self._highest.new(messages)
        forgotten = await self.forget(new)
        self._highest.note(new)
        return forgotten

    async def forget(self, messages: Sequence[Message]) -> set[Key]:
        """The same of all of `messages`, which count as new when they come again."""
        named, accounts = _union(found for message in messages if (found := _lenient(message)) is not None)
        for key in named:
            await self._cache.forget(*key)
        known = await self._others(Concerned(named, accounts)) - named if named or accounts else set[Key]()
        for key in known:
            await self._cache.forget(*key)
        return set(named) | known


class Applying(Taker):
    """Takes events: applies them, then forgets."""

    def __init__(self, pool: Pool, invalidation: Invalidation) -> None:
        super().__init__(NAME, pool, read_event, apply)
        self._invalidation = invalidation

    async def take(self, messages: Sequence[Message]) -> None:
        """As `Taker.take`, with what is cached forgotten after. Messages that were taken before are forgotten of too:
        whoever took them may have ended just then."""
        taking = asyncio.ensure_future(super().take(messages))
        try:
            done, _ = await asyncio.wait((taking,), timeout=APPLIED_WITHIN_S)
            if not done:
                await self._invalidation.forget(messages)
            await taking
        except Exception:
            await self._invalidation.forget(messages)
            raise
        finally:
            await end([taking])
        await self._invalidation.handle(messages)


def make_runtime(bootstrap: Bootstrap, pool: Pool, cache: AssessmentCache, source: Source) -> Runtime:
    """The consumer of the ledger's events."""
    return Runtime(Applying(pool, Invalidation(cache, partial(others, pool))), bootstrap, [TOPIC], [source])


def _read(value: bytes) -> tuple[_Event, Concerned]:
    """The event, and whom it concerns. It is asked for twice: to be applied, and for what is cached to be forgotten."""
    return _remembered(value) if len(value) <= REMEMBERED_BYTES_MAX else _concerned(value)


def _concerned(value: bytes) -> tuple[_Event, Concerned]:
    event = _decoder.decode(value)
    data = event.data
    named = frozenset[Key]() if data.customer is None else frozenset({(event.tenant, data.customer)})
    sides = (side for side in (data.debit, data.credit) if side is not None)
    return event, Concerned(named, frozenset((event.tenant, side.account) for side in sides))


_remembered = lru_cache(maxsize=TAKE_MAX)(_concerned)
"""Of one batch."""


def _union(events: Iterable[Concerned]) -> Concerned:
    every = list(events)
    empty = frozenset[Key]()
    return Concerned(empty.union(*(one.named for one in every)), empty.union(*(one.accounts for one in every)))


def _lenient(message: Message) -> Concerned | None:
    try:
        return _read(message.value)[1]
    except msgspec.DecodeError as error:
        # Not an event of ours. What is cached ages by itself.
        _log.warning("unreadable event", partition=message.partition, offset=message.offset, detail=str(error))
        return None
