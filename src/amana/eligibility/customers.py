"""Changes of what is known of customers: locked, computed purely, written with their events in one transaction.

    keys, tokens of numbers  →  BEGIN, rows locked and opened, changed purely, sealed, events  →  COMMIT

After the commit the cached assessments of everybody whose facts changed are dropped: of the customers themselves and,
where what makes a person or a block changed, of the other numbers of the same person.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple, TypeAlias
from uuid import UUID

from amana.domain.customer import Change, Known, changed
from amana.domain.privacy import Processing, refuse_processing
from amana.domain.reasons import Reason
from amana.domain.record import CustomerRecord
from amana.domain.transfer import Refused
from amana.eligibility import customer_store
from amana.eligibility.customer_store import Written
from amana.eligibility.events import customer_facts_recorded
from amana.eligibility.flow import Flow
from amana.eligibility.records import Customer, Kept, Key
from amana.eligibility.sealed import numbers_of, open_record, seal_record
from amana.gateway.caller import Caller
from amana.infra import clock
from amana.infra.outbox import OutboxRow, append
from amana.infra.postgres import Connection, DatabaseUnavailable, Pool, RunAgain, in_transaction, reading
from amana.infra.sealing import SealingKey
from amana.vault.numbers import Number, tokens

FORGET_AT_ONCE = 8
"""Cached customers dropped at a time: a share of the cache's connections, for checks need one within 50 ms."""


class Recorded(NamedTuple):
    """The version of a customer's facts; `is_new` unless nothing new was said."""

    facts_version: int
    is_new: bool


Result: TypeAlias = Recorded | Refused
Item: TypeAlias = tuple[UUID, Change]


async def record(flow: Flow, caller: Caller, items: Sequence[Item]) -> list[Result]:
    """Makes the changes in their order, all in one transaction; a result for each. The same again is no new version.

    A change that is refused leaves its neighbours alone. Raises `DatabaseUnavailable`, also where no keys can be had.
    """
    if not items:
        return []
    touched: set[Key] = set()
    wanted = {(caller.tenant, customer) for customer, _ in items}
    seals = await _seals(flow, caller.tenant, wanted, items)

    async def work(connection: Connection) -> list[Result]:
        kept = await customer_store.lock_customers(connection, wanted)
        before = {key: _opened(seals.keys[key], key, row) for key, row in kept.items()}
        planned = _plan(caller, items, before, seals)
        relinked = [key for key, known in planned.known.items() if _is_another_person(before.get(key), known)]
        touched.update(await linked(connection, relinked))
        await _write(connection, kept, planned, seals)
        touched.update(await linked(connection, relinked))
        touched.update(planned.known)
        return planned.results

    results = await in_transaction(flow.pool, work)
    await forget(flow, touched)
    return results


class Found(NamedTuple):
    """A customer, and their record with all that identifies them."""

    customer: Customer
    record: CustomerRecord


async def find(flow: Flow, tenant: int, customer: UUID, *, restricted: bool) -> Found | Refused:
    """What is known of a customer as it stands, opened. `restricted`: also of one who is to be erased.

    Raises `DatabaseUnavailable`, also where no keys can be had.
    """
    where = (tenant, customer)
    async with reading(flow.pool) as connection:
        found = (await customer_store.find_customers(connection, [where])).get(where)
    if found is None:
        return Refused(Reason.CUSTOMER_NOT_FOUND)
    refused = refuse_processing(found.processing)
    if refused is not None and not (restricted and found.processing is Processing.RESTRICTED):
        return refused
    key = (await flow.vault.keys([where])).get(where) if any(found.sealed) else None
    record = open_record(key, where, found.record, found.sealed)
    return Refused(Reason.CUSTOMER_ERASED) if record is None else Found(found, record)


async def linked(connection: Connection, keys: Collection[Key]) -> set[Key]:
    """The other customers who are the same person as any of these."""
    found = await customer_store.find_customers(connection, keys) if keys else {}
    return {(tenant, id_) for (tenant, _), customer in found.items() for id_ in customer.linked}


async def same_person(pool: Pool, keys: Collection[Key]) -> set[Key]:
    """As `linked`, for whoever can do without: empty where the database does not answer."""
    with suppress(DatabaseUnavailable):
        async with reading(pool) as connection:
            return await linked(connection, keys)
    return set()


async def forget(flow: Flow, keys: Iterable[Key]) -> None:
    """Drops what is cached of these customers."""
    left = list(keys)
    for at in range(0, len(left), FORGET_AT_ONCE):
        await asyncio.gather(*(flow.cache.forget(*key) for key in left[at : at + FORGET_AT_ONCE]))


class _Seals(NamedTuple):
    """The keys of customers, None where one was destroyed; and what stands for each of the numbers they are said to
    have."""

    keys: dict[Key, SealingKey | None]
    tokens: dict[Number, UUID]


async def _seals(flow: Flow, tenant: int, wanted: Collection[Key], items: Sequence[Item]) -> _Seals:
    keys = await flow.vault.ensure(wanted)
    numbers = [
        number
        for customer, change in items
        if change.record is not None and keys[tenant, customer] is not None
        for number in numbers_of((tenant, customer), change.record)
    ]
    return _Seals(keys, await tokens(flow.vault, set(numbers)))


def _opened(key: SealingKey | None, where: Key, kept: Kept) -> Known:
    """What is known of a customer; of one whose key is gone, that they were erased."""
    record = open_record(key, where, kept.profile, kept.sealed)
    if key is None or record is None:
        gone = CustomerRecord(kyc_tier=kept.profile.kyc_tier)
        return Known(version=kept.version, record=gone, processing=Processing.ERASED)
    return Known(version=kept.version, record=record, said=kept.said, processing=kept.processing)


def _written(key: Key, known: Known, seals: _Seals) -> Written:
    sealing = seals.keys[key]
    assert sealing is not None, "who was erased is refused before"
    own = {number.kind: seals.tokens[number] for number in numbers_of(key, known.record)}
    return Written(key, known, seal_record(sealing, key, known.record), own.get("bvn"), own.get("nin"))


class _Planned(NamedTuple):
    """What a list of changes comes to: a result each, what is known at the end of whom, whose record was said again."""

    results: list[Result]
    known: dict[Key, Known]
    re_recorded: set[Key]
    events: list[OutboxRow]


def _plan(caller: Caller, items: Sequence[Item], before: Mapping[Key, Known], seals: _Seals) -> _Planned:
    planned, now = _Planned([], {}, set(), []), clock.now()
    for customer, change in items:
        key = (caller.tenant, customer)
        known = planned.known.get(key) or before.get(key)
        erased = seals.keys[key] is None
        after = Refused(Reason.CUSTOMER_ERASED) if erased else changed(known, change)
        if isinstance(after, Refused):
            planned.results.append(after)
            continue
        planned.results.append(Recorded(after.version, after is not known))
        if after is known:
            continue
        planned.known[key] = after
        if known is None or after.record != known.record:
            planned.re_recorded.add(key)
        planned.events.append(
            customer_facts_recorded(*key, after.version, after.record, now, caller.key_id, caller.trace, after.said)
        )
    return planned


async def _write(connection: Connection, kept: Mapping[Key, Kept], planned: _Planned, seals: _Seals) -> None:
    first = [_written(key, known, seals) for key, known in planned.known.items() if key not in kept]
    again = [
        (_written(key, known, seals) if key in planned.re_recorded else _as_it_was(key, known, kept[key]), key)
        for key, known in planned.known.items()
        if key in kept
    ]
    if first and await customer_store.insert_customers(connection, first) < len(first):
        raise RunAgain("another request recorded a customer first")
    if again:
        written = [(item, key in planned.re_recorded) for item, key in again]
        await customer_store.update_customers(connection, written)
    await append(connection, planned.events)


def _as_it_was(key: Key, known: Known, kept: Kept) -> Written:
    return Written(key, known, kept.sealed, kept.bvn_token, kept.nin_token)


def _is_another_person(before: Known | None, after: Known) -> bool:
    """Whether what others' facts depend on changed: what makes a person, and the record's block, which binds them."""
    records = [known.record for known in (before, after) if known is not None]
    if all(record.bvn is None and record.nin is None for record in records):
        return False
    return len({(record.bvn, record.nin, record.blocked) for record in records}) > 1 or before is None
