"""A copy of all that is known of one customer, for them to read. That it was made is an event."""

from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from amana.domain.reasons import Reason
from amana.domain.transfer import Refused
from amana.eligibility import blocks, customers, erasure_store, explaining, store
from amana.eligibility.customers import Found
from amana.eligibility.erasure_store import Erasure
from amana.eligibility.explaining import Explained
from amana.eligibility.flow import Flow
from amana.eligibility.privacy_events import customer_exported
from amana.eligibility.records import Block
from amana.gateway.caller import Caller
from amana.infra import clock
from amana.infra.outbox import append
from amana.infra.postgres import Connection, in_transaction, reading

DECISIONS_PAGE = 50
"""Decisions in one answer, each with its facts: about 5 KB."""
LATEST = datetime(9999, 1, 1, tzinfo=UTC), UUID(int=2**128 - 1)


class Copy(NamedTuple):
    """What is known, with a page of decisions and who asked for each; `following` is what to go on before."""

    found: Found
    blocks: list[Block]
    erasure: Erasure | None
    decisions: list[tuple[Explained, str]]
    following: UUID | None


async def export(flow: Flow, caller: Caller, customer: UUID, before: UUID | None) -> Copy | Refused:
    """The copy, with decisions from before the one named. Raises `DatabaseUnavailable`, also where no keys can be had.

    A decision that is not about this customer is refused as `not_found`.
    """
    where = caller.tenant, customer
    start = await _start(flow, caller.tenant, customer, before)
    if isinstance(start, Refused):
        return start
    found = await customers.find(flow, *where, restricted=True)
    if isinstance(found, Refused):
        return found
    placed = await blocks.newest(flow, *where, restricted=True)
    if isinstance(placed, Refused):
        return placed
    async with reading(flow.pool) as connection:
        erasure = await erasure_store.find_erasure(connection, where)
        listed = await erasure_store.list_decisions(connection, where, start, DECISIONS_PAGE)
    told = [(await _explained(flow, caller.tenant, id_), by) for id_, by in listed]
    if before is None:

        async def work(connection: Connection) -> None:
            await append(connection, [customer_exported(where, clock.now(), caller.key_id, caller.trace)])

        await in_transaction(flow.pool, work)
    following = listed[-1][0] if len(listed) == DECISIONS_PAGE else None
    return Copy(found, placed, erasure, told, following)


async def _start(flow: Flow, tenant: int, customer: UUID, before: UUID | None) -> tuple[datetime, UUID] | Refused:
    if before is None:
        return LATEST
    async with reading(flow.pool) as connection:
        found = (await store.find_decisions(connection, [(tenant, before)])).get((tenant, before))
    if found is None or found.customer != customer:
        return Refused(Reason.NOT_FOUND)
    return found.decided_at, found.decision_id


async def _explained(flow: Flow, tenant: int, id_: UUID) -> Explained:
    explained = await explaining.explain(flow, tenant, id_, with_words=True)
    assert explained is not None, "a decision is never deleted"
    return explained
