"""Changes of what is known of customers: locked, computed purely, written with their events in one transaction.

After the commit the cached assessments of everybody whose facts changed are dropped: of the customers themselves and,
where what makes a person or a block changed, of the other numbers of the same person.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple, TypeAlias
from uuid import UUID

from amana.domain.customer import Change, Known, changed
from amana.domain.transfer import Refused
from amana.eligibility import customer_store
from amana.eligibility.events import customer_facts_recorded
from amana.eligibility.flow import Flow
from amana.eligibility.records import Customer, Key
from amana.gateway.caller import Caller
from amana.infra import clock
from amana.infra.outbox import OutboxRow, append
from amana.infra.postgres import Connection, DatabaseUnavailable, Pool, RunAgain, in_transaction, reading

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

    A change that is refused leaves its neighbours alone. Raises `DatabaseUnavailable`.
    """
    if not items:
        return []
    touched: set[Key] = set()

    async def work(connection: Connection) -> list[Result]:
        keys = {(caller.tenant, customer) for customer, _ in items}
        before = await customer_store.lock_customers(connection, keys)
        planned = _plan(caller, items, before)
        relinked = [key for key, known in planned.known.items() if _is_another_person(before.get(key), known)]
        touched.update(await linked(connection, relinked))
        await _write(connection, before, planned)
        touched.update(await linked(connection, relinked))
        touched.update(planned.known)
        return planned.results

    results = await in_transaction(flow.pool, work)
    await forget(flow, touched)
    return results


async def find(flow: Flow, tenant: int, customer: UUID) -> Customer | None:
    """What is known of a customer as it stands."""
    async with reading(flow.pool) as connection:
        return (await customer_store.find_customers(connection, [(tenant, customer)])).get((tenant, customer))


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


class _Planned(NamedTuple):
    """What a list of changes comes to: a result each, what is known at the end of whom, whose record was said again."""

    results: list[Result]
    known: dict[Key, Known]
    re_recorded: set[Key]
    events: list[OutboxRow]


def _plan(caller: Caller, items: Sequence[Item], before: Mapping[Key, Known]) -> _Planned:
    planned, now = _Planned([], {}, set(), []), clock.now()
    for customer, change in items:
        key = (caller.tenant, customer)
        known = planned.known.get(key) or before.get(key)
        after = changed(known, change)
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


async def _write(connection: Connection, before: Mapping[Key, Known], planned: _Planned) -> None:
    first = [(key, known) for key, known in planned.known.items() if key not in before]
    again = [(key, known, key in planned.re_recorded) for key, known in planned.known.items() if key in before]
    if first and await customer_store.insert_customers(connection, first) < len(first):
        raise RunAgain("another request recorded a customer first")
    if again:
        await customer_store.update_customers(connection, again)
    await append(connection, planned.events)


def _is_another_person(before: Known | None, after: Known) -> bool:
    """Whether what others' facts depend on changed: what makes a person, and the record's block, which binds them."""
    records = [known.record for known in (before, after) if known is not None]
    if all(record.bvn is None and record.nin is None for record in records):
        return False
    return len({(record.bvn, record.nin, record.blocked) for record in records}) > 1 or before is None
