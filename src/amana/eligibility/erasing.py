"""Erases customers: restricted at once, destroyed when no law keeps them any longer.

    remembered beside the keys  →  BEGIN, restricted, event  →  COMMIT  →  the ledger and the last decision: due when?
    due:  the key destroyed  →  BEGIN, everything personal taken out, event  →  COMMIT

Each step is idempotent, and whoever finds one undone goes on from there: the request again, or the job. What is
remembered beside the keys comes first, because a main database that is restored forgets: `remind` says it again. From
the moment at which the key is destroyed nobody reads the customer any more, in this database or in a backup of it.

While a legal hold stands the key is not destroyed, whatever was planned: that is held where the keys are, in the
transaction that would destroy it. A release has the customer looked at again at once.

A change of the customer that races with this takes its turn at the row, and is refused once that is restricted.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import msgspec

from amana.domain.money import Currency
from amana.domain.privacy import ErasureReason, Processing, end_of_retention
from amana.domain.reasons import Reason
from amana.domain.transfer import Refused
from amana.eligibility import customer_store, erasure_store
from amana.eligibility.customers import forget, same_person
from amana.eligibility.erasure_store import Erasure
from amana.eligibility.flow import Flow
from amana.eligibility.privacy_events import customer_erased, customer_restricted, erasure_planned
from amana.eligibility.records import Key
from amana.gateway.caller import Caller
from amana.infra import clock
from amana.infra.http import UpstreamUnavailable
from amana.infra.outbox import append
from amana.infra.postgres import Connection, in_transaction, reading
from amana.vault import remembered
from amana.vault.remembered import Remembered
from amana.wire.loans import StandingItem

LOOK_AGAIN_S = 86_400
"""While something is owed, a decision is being reversed or a legal hold stands: how often that is asked."""
TRY_AGAIN_S = 60
"""After the ledger, or the keys, could not be asked."""
REMIND_PAGE = 500
FIRST: Key = (0, UUID(int=0))


class Asked(NamedTuple):
    """A request as it stands, whether a legal hold keeps the customer, and whether they were to be erased before."""

    erasure: Erasure
    held: bool
    replayed: bool = False


class Eraser(NamedTuple):
    """Erases customers that `retention` after their last decision or loan no law keeps any longer."""

    flow: Flow
    retention: timedelta


async def request(eraser: Eraser, caller: Caller, customer: UUID, id_: UUID, reason: ErasureReason) -> Asked | Refused:
    """Restricts the customer and, where that is due, erases them. A customer is erased once: again, and by another id,
    the first request is the answer. Raises `DatabaseUnavailable`, also where no keys can be had.
    """
    flow, where = eraser.flow, (caller.tenant, customer)
    async with reading(flow.pool) as connection:
        same_id = await erasure_store.find_erasure_by_id(connection, caller.tenant, id_)
        processing = (await erasure_store.find_processing(connection, [where])).get(where)
        before = await erasure_store.find_erasure(connection, where)
    if same_id is not None and (differs := _differing(same_id, customer, reason)) is not None:
        return Refused(Reason.ID_CONFLICT, {"field": differs})
    if processing is None:
        return Refused(Reason.CUSTOMER_NOT_FOUND)
    known = await remembered.remember(flow.vault, where, id_, reason, caller.key_id)
    if known is None:
        return Refused(Reason.ID_CONFLICT, {"field": "customer"})
    await restrict(flow, known, caller.trace)
    await advance(eraser, where)
    async with reading(flow.pool) as connection:
        found = await erasure_store.find_erasure(connection, where)
    assert found is not None, "just written"
    return Asked(found, await _is_held(flow, found), replayed=before is not None)


async def find(flow: Flow, where: Key) -> Asked | None:
    """The request to erase a customer. Raises `DatabaseUnavailable`, also where no keys can be had."""
    async with reading(flow.pool) as connection:
        found = await erasure_store.find_erasure(connection, where)
    return None if found is None else Asked(found, await _is_held(flow, found))


async def restrict(flow: Flow, known: Remembered, trace: str = "") -> None:
    """Restricts the customer of a request, where that is not so. Raises `DatabaseUnavailable`."""
    where = known.tenant, known.customer
    erasure = Erasure(
        tenant=known.tenant,
        erasure_id=known.erasure_id,
        customer=known.customer,
        reason=ErasureReason(known.reason),
        requested_by=known.requested_by,
        requested_at=known.requested_at,
    )

    async def work(connection: Connection) -> None:
        if not await customer_store.lock_customers(connection, [where]):
            return  # a restored database that never heard of them
        await erasure_store.insert_erasure(connection, erasure)
        version = await erasure_store.restrict_customer(connection, where)
        if version is not None:
            await append(connection, [customer_restricted(erasure, version, clock.now(), trace)])

    await in_transaction(flow.pool, work)
    await forget(flow, {where} | await same_person(flow.pool, [where]))


async def advance(eraser: Eraser, where: Key) -> None:
    """Finds out when a restricted customer is due, and erases them if that is now. Where the ledger does not answer it
    is tried again later. Raises `DatabaseUnavailable`.
    """
    flow = eraser.flow
    try:
        due_at = await _due_at(eraser, where)
    except UpstreamUnavailable:
        async with reading(flow.pool) as connection:
            await erasure_store.postpone_erasure(connection, where, TRY_AGAIN_S)
        return

    async def work(connection: Connection) -> bool:
        locked = await erasure_store.lock_erasure(connection, where, due_at)
        if locked is None:
            return False
        erasure, is_due = locked
        if erasure.destroyed_at is not None:
            return False
        due = None if due_at is None else max(due_at, erasure.requested_at)
        is_new = erasure.version == 0 or erasure.due_at != due
        version = erasure.version + is_new
        await erasure_store.plan_erasure(connection, where, version, due, LOOK_AGAIN_S)
        if is_new:
            planned = msgspec.structs.replace(erasure, version=version, due_at=due)
            await append(connection, [erasure_planned(planned, clock.now())])
        return is_due

    if await in_transaction(flow.pool, work):
        await destroy(flow, where)


async def destroy(flow: Flow, where: Key) -> None:
    """Destroys the key, and takes everything personal out of the rows; not while a legal hold stands. Raises
    `DatabaseUnavailable`.
    """
    if not await flow.vault.destroy(*where):
        async with reading(flow.pool) as connection:
            await erasure_store.postpone_held(connection, where, LOOK_AGAIN_S)
        return

    async def work(connection: Connection) -> None:
        if not await customer_store.lock_customers(connection, [where]):
            return
        erasure = await erasure_store.find_erasure(connection, where)
        version = await erasure_store.erase_customer(connection, where)
        if version is not None and erasure is not None:
            await append(connection, [customer_erased(erasure, version, clock.now())])

    others = await same_person(flow.pool, [where])
    await in_transaction(flow.pool, work)
    await forget(flow, {where} | others)


async def remind(flow: Flow) -> int:
    """Says again what one of the two databases forgot because it was restored; how many customers that were.

    Raises `DatabaseUnavailable`.
    """
    count, after = 0, FIRST
    while page := await remembered.page(flow.vault, after, REMIND_PAGE):
        count += await _remind_main(flow, page)
        after = page[-1].tenant, page[-1].customer
    after = FIRST
    while erased := await _erased_after(flow, after):
        count += await _remind_keys(flow, erased)
        after = erased[-1].tenant, erased[-1].customer
    return count


async def _remind_main(flow: Flow, page: Sequence[Remembered]) -> int:
    async with reading(flow.pool) as connection:
        found = await erasure_store.find_processing(connection, [(known.tenant, known.customer) for known in page])
    count = 0
    for known in page:
        where = known.tenant, known.customer
        processing = found.get(where, Processing.ERASED)  # of who is not here there is nothing to take out
        if processing is Processing.OPEN:
            await restrict(flow, known)
        if processing is not Processing.ERASED and known.destroyed_at is not None:
            await destroy(flow, where)
        count += processing is Processing.OPEN or (
            processing is Processing.RESTRICTED and known.destroyed_at is not None
        )
    return count


async def _remind_keys(flow: Flow, erased: Sequence[Erasure]) -> int:
    keys = await flow.vault.keys([(one.tenant, one.customer) for one in erased])
    alive = [one for one in erased if keys.get((one.tenant, one.customer)) is not None]
    count = 0
    for one in alive:
        where = one.tenant, one.customer
        await remembered.remember(flow.vault, where, one.erasure_id, one.reason, one.requested_by)
        count += await flow.vault.destroy(*where)
    return count


async def _erased_after(flow: Flow, after: Key) -> list[Erasure]:
    async with reading(flow.pool) as connection:
        return await erasure_store.page_erased(connection, after, REMIND_PAGE)


async def _due_at(eraser: Eraser, where: Key) -> datetime | None:
    """When no law keeps the customer any longer; None while something is owed, or a decision is being reversed.

    Raises `UpstreamUnavailable`.
    """
    tenant, customer = where
    item = StandingItem(customer=customer)
    standings = [
        standing for currency in Currency for standing in await eraser.flow.ledger.standings(tenant, currency, [item])
    ]
    async with reading(eraser.flow.pool) as connection:
        last = await erasure_store.last_decided(connection, where)
        reversing = await erasure_store.is_reversing(connection, where)
    return end_of_retention(last, standings, eraser.retention, reversing=reversing)


async def _is_held(flow: Flow, erasure: Erasure) -> bool:
    return erasure.destroyed_at is None and await flow.vault.is_held(erasure.tenant, erasure.customer)


def _differing(first: Erasure, customer: UUID, reason: ErasureReason) -> str | None:
    if first.customer != customer:
        return "customer"
    return "reason" if first.reason != reason else None
