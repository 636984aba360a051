"""Blocks on customers: placed and lifted, each a version of the customer's facts and an event in one transaction."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeVar
from uuid import UUID

import msgspec

from amana.domain.reasons import Reason
from amana.domain.transfer import Refused
from amana.eligibility import customer_store
from amana.eligibility.customers import forget, same_person
from amana.eligibility.events import customer_block_lifted, customer_blocked
from amana.eligibility.flow import Flow
from amana.eligibility.records import Block
from amana.gateway.caller import Caller
from amana.infra import clock
from amana.infra.outbox import append
from amana.infra.postgres import Connection, RunAgain, in_transaction, reading
from amana.wire.blocks import BLOCKS_MAX

T = TypeVar("T")


class Placed(msgspec.Struct, frozen=True):
    """A block as it stands, and whether it was placed before."""

    block: Block
    replayed: bool


class Lifted(msgspec.Struct, frozen=True):
    """The blocks that a lift lifted, and whether it did so before."""

    blocks: list[UUID]
    replayed: bool


async def place(
    flow: Flow, caller: Caller, customer: UUID, id_: UUID, code: str, reason: str, until: datetime | None
) -> Placed | Refused:
    """Places a block. The same id and fields again give the block as it stands now, over or not.

    A new one that is over before it begins is refused as `validation`.
    """
    asked = _block(caller, customer, id_, code, reason, until)

    async def work(connection: Connection) -> Placed | Refused:
        if not await customer_store.lock_customers(connection, [(caller.tenant, customer)]):
            return Refused(Reason.CUSTOMER_NOT_FOUND)
        found = await customer_store.find_block(connection, caller.tenant, id_)
        if found is not None:
            return _same(asked, found) or Placed(found, replayed=True)
        if until is not None and until <= asked.placed_at:
            return Refused(Reason.VALIDATION, {"field": "until"})
        version = await customer_store.bump_facts_version(connection, caller.tenant, customer)
        if not await customer_store.insert_block(connection, caller.tenant, asked):
            raise RunAgain("another request placed a block under this id first")
        await append(connection, [customer_blocked(caller.tenant, asked, version, clock.now(), caller.trace)])
        placed = await customer_store.find_block(connection, caller.tenant, id_)
        assert placed is not None, "just placed"
        return Placed(placed, replayed=False)

    return await _for_person(flow, caller, customer, work)


async def lift(flow: Flow, caller: Caller, customer: UUID, code: str, id_: UUID, reason: str) -> Lifted | Refused:
    """Lifts what is in force under `code`. The same id and reason again give the same blocks."""
    key = (caller.tenant, customer, code)

    async def work(connection: Connection) -> Lifted | Refused:
        if not await customer_store.lock_customers(connection, [(caller.tenant, customer)]):
            return Refused(Reason.CUSTOMER_NOT_FOUND)
        before = await customer_store.find_lifted(connection, *key, id_)
        if before:
            if {said for _, said in before} != {reason}:
                return Refused(Reason.ID_CONFLICT, {"field": "reason"})
            return Lifted([block for block, _ in before], replayed=True)
        blocks = await customer_store.lift_blocks(connection, *key, id_, caller.key_id, reason)
        if not blocks:
            return Refused(Reason.BLOCK_NOT_FOUND)
        version = await customer_store.bump_facts_version(connection, caller.tenant, customer)
        event = customer_block_lifted(
            caller.tenant, customer, version, code, blocks, clock.now(), caller.key_id, caller.trace
        )
        await append(connection, [event])
        return Lifted(blocks, replayed=False)

    return await _for_person(flow, caller, customer, work)


async def newest(flow: Flow, tenant: int, customer: UUID) -> list[Block] | Refused:
    """The customer's newest blocks, those that bind no longer too."""
    async with reading(flow.pool) as connection:
        if not await customer_store.find_customers(connection, [(tenant, customer)]):
            return Refused(Reason.CUSTOMER_NOT_FOUND)
        return await customer_store.list_blocks(connection, tenant, customer, BLOCKS_MAX)


async def _for_person(
    flow: Flow, caller: Caller, customer: UUID, work: Callable[[Connection], Awaitable[T | Refused]]
) -> T | Refused:
    """Runs `work`; unless it was refused, drops what is cached of every number of the person."""
    result = await in_transaction(flow.pool, work)
    if not isinstance(result, Refused):
        key = (caller.tenant, customer)
        await forget(flow, {key} | await same_person(flow.pool, [key]))
    return result


def _block(caller: Caller, customer: UUID, id_: UUID, code: str, reason: str, until: datetime | None) -> Block:
    """A block that is not placed yet; the database's clock says when it was."""
    return Block(
        block_id=id_,
        customer=customer,
        code=code,
        reason=reason,
        until=until,
        placed_by=caller.key_id,
        placed_at=clock.now(),
        lift_id=None,
        lifted_by=None,
        lifted_at=None,
        lift_reason=None,
        in_force=True,
    )


def _same(asked: Block, found: Block) -> Refused | None:
    """A refusal that names the field in which a block of the same id differs from what is asked."""
    for field in ("customer", "code", "reason", "until"):
        if getattr(asked, field) != getattr(found, field):
            return Refused(Reason.ID_CONFLICT, {"field": field})
    return None
