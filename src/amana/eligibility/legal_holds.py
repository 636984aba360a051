"""Places and releases legal holds on customers.

    the newest row of the outbox  →  the hold, beside the keys  →  BEGIN, its event  →  COMMIT  →  noted as told

A hold stands from the moment at which it is beside the keys: whoever destroys a key looks there, in the same
transaction. Its event follows. Whoever finds one untold tells it: the request again, or the job; and once, because it
has its id before, and whether the outbox has that is asked under the lock on the customer. With the event of a release
the customer is looked at again: what was due meanwhile is done now.
"""

from typing import NamedTuple
from uuid import UUID

from amana.domain.ids import uuid7
from amana.domain.privacy import HoldReason, Processing, ReleaseReason
from amana.domain.reasons import Reason
from amana.domain.transfer import Refused
from amana.eligibility import customer_store, erasure_store
from amana.eligibility.flow import Flow
from amana.eligibility.privacy_events import legal_hold_told
from amana.gateway.caller import Caller
from amana.infra import clock
from amana.infra.outbox import append
from amana.infra.postgres import Connection, in_transaction, reading
from amana.vault import legal_holds
from amana.vault.legal_holds import LegalHold, Telling

TELL_MAX = 50
"""Holds that are told in one turn of the job."""


class Done(NamedTuple):
    """A hold as it stands, and whether that was so before."""

    hold: LegalHold
    replayed: bool


async def place(flow: Flow, caller: Caller, customer: UUID, id_: UUID, reason: HoldReason, by: str) -> Done | Refused:
    """Places a hold. The same id and fields again give the hold as it is now, released or not.

    Raises `DatabaseUnavailable`, also where the vault is away: then it is not known to stand before it was asked again.
    """
    where = caller.tenant, customer
    async with reading(flow.pool) as connection:
        processing = (await erasure_store.find_processing(connection, [where])).get(where)
    if processing is None:
        return Refused(Reason.CUSTOMER_NOT_FOUND)
    if processing is Processing.ERASED:
        return Refused(Reason.CUSTOMER_ERASED)
    telling = await _telling(flow)
    placed = await legal_holds.place(flow.vault, where, id_, reason, caller.key_id, by, telling)
    if placed.hold is None:
        return Refused(Reason.CUSTOMER_ERASED)
    if refused := _conflict(placed.hold, customer=customer, reason=reason, by=by):
        return refused
    await tell(flow, placed.hold, caller.trace)
    return Done(placed.hold, replayed=not placed.is_new)


async def release(
    flow: Flow, caller: Caller, customer: UUID, id_: UUID, reason: ReleaseReason, by: str
) -> Done | Refused:
    """Releases a hold of the customer. The same fields again give the same release.

    Raises `DatabaseUnavailable`, also where the vault is away.
    """
    found = await legal_holds.find(flow.vault, caller.tenant, id_)
    if found is None or found.customer != customer:
        return Refused(Reason.NOT_FOUND)
    await tell(flow, found, caller.trace)
    telling = await _telling(flow)
    is_new = await legal_holds.release(flow.vault, caller.tenant, id_, reason, caller.key_id, by, telling)
    released = await legal_holds.find(flow.vault, caller.tenant, id_)
    assert released is not None and released.released_at is not None, "its placing was told, so it could be released"
    for field, first, asked in (("reason", released.release_reason, reason), ("by", released.released_for, by)):
        if first != asked:
            return Refused(Reason.ID_CONFLICT, {"field": field})
    await tell(flow, released, caller.trace)
    return Done(released, replayed=not is_new)


async def tell(flow: Flow, hold: LegalHold, trace: str = "") -> None:
    """Writes the event of what last happened to a hold, where that is not told yet. Raises `DatabaseUnavailable`."""
    if hold.told == hold.steps:
        return
    where = hold.tenant, hold.customer

    async def work(connection: Connection) -> None:
        await customer_store.lock_customers(connection, [where])
        if await erasure_store.was_told(connection, hold.told_after, hold.told_as):
            return
        if hold.released_at is not None:
            await erasure_store.postpone_erasure(connection, where, 0)
        await append(connection, [legal_hold_told(hold, trace)])

    await in_transaction(flow.pool, work)
    await legal_holds.note_told(flow.vault, hold)


async def tell_untold(flow: Flow) -> int:
    """Tells what a process that died did not, at most `TELL_MAX`; how many. Raises `DatabaseUnavailable`."""
    untold = await legal_holds.untold(flow.vault, TELL_MAX)
    for hold in untold:
        await tell(flow, hold)
    return len(untold)


async def _telling(flow: Flow) -> Telling:
    """The event of a step that is about to be taken."""
    async with reading(flow.pool) as connection:
        return Telling(uuid7(clock.unix_ms(), clock.random_74_bits()), await erasure_store.last_seq(connection))


def _conflict(hold: LegalHold, *, customer: UUID, reason: HoldReason, by: str) -> Refused | None:
    """A refusal that names the field in which a hold of the same id differs from what is asked."""
    for field, first, asked in (
        ("customer", hold.customer, customer),
        ("reason", hold.reason, reason),
        ("by", hold.placed_for, by),
    ):
        if first != asked:
            return Refused(Reason.ID_CONFLICT, {"field": field})
    return None
