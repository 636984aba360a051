"""Blocks on customers: placed and lifted, each a version of the customer's facts and an event in one transaction."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeVar
from uuid import UUID

import msgspec

from amana.domain.privacy import Processing
from amana.domain.reasons import Reason
from amana.domain.transfer import Refused
from amana.eligibility import block_store, customer_store
from amana.eligibility.customers import forget, same_person
from amana.eligibility.events import customer_block_lifted, customer_blocked
from amana.eligibility.flow import Flow
from amana.eligibility.records import Block, Key
from amana.eligibility.sealed import LIFTED, PLACED, open_text, seal_text
from amana.gateway.caller import Caller
from amana.infra import clock
from amana.infra.outbox import append
from amana.infra.postgres import Connection, RunAgain, in_transaction, reading
from amana.infra.sealing import SealingKey
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
    where = (caller.tenant, customer)
    key = await _key(flow, where)
    if isinstance(key, Refused):
        return key
    asked = _block(caller, customer, id_, code, reason, until, seal_text(key, where, PLACED, id_, reason))

    async def work(connection: Connection) -> Placed | Refused:
        if refused := await _lock(connection, where):
            return refused
        found = _opened(key, where, await block_store.find_block(connection, caller.tenant, id_))
        if found is not None:
            return _same(asked, found) or Placed(found, replayed=True)
        if until is not None and until <= asked.placed_at:
            return Refused(Reason.VALIDATION, {"field": "until"})
        version = await customer_store.bump_facts_version(connection, caller.tenant, customer)
        if not await block_store.insert_block(connection, caller.tenant, asked):
            raise RunAgain("another request placed a block under this id first")
        await append(connection, [customer_blocked(caller.tenant, asked, version, clock.now(), caller.trace)])
        placed = _opened(key, where, await block_store.find_block(connection, caller.tenant, id_))
        assert placed is not None, "just placed"
        return Placed(placed, replayed=False)

    return await _for_person(flow, caller, customer, work)


async def lift(flow: Flow, caller: Caller, customer: UUID, code: str, id_: UUID, reason: str) -> Lifted | Refused:
    """Lifts what is in force under `code`. The same id and reason again give the same blocks."""
    where = (caller.tenant, customer)
    key = await _key(flow, where)
    if isinstance(key, Refused):
        return key
    words = seal_text(key, where, LIFTED, id_, reason)

    async def work(connection: Connection) -> Lifted | Refused:
        if refused := await _lock(connection, where):
            return refused
        before = await block_store.find_lifted(connection, *where, code, id_)
        if before:
            if {open_text(key, where, LIFTED, id_, said) for _, said in before} != {reason}:
                return Refused(Reason.ID_CONFLICT, {"field": "reason"})
            return Lifted([block for block, _ in before], replayed=True)
        blocks = await block_store.lift_blocks(connection, *where, code, id_, caller.key_id, words)
        if not blocks:
            return Refused(Reason.BLOCK_NOT_FOUND)
        version = await customer_store.bump_facts_version(connection, caller.tenant, customer)
        event = customer_block_lifted(
            caller.tenant, customer, version, code, blocks, clock.now(), caller.key_id, caller.trace
        )
        await append(connection, [event])
        return Lifted(blocks, replayed=False)

    return await _for_person(flow, caller, customer, work)


async def newest(flow: Flow, tenant: int, customer: UUID, *, restricted: bool) -> list[Block] | Refused:
    """The customer's newest blocks, those that bind no longer too. `restricted`: also of one who is to be erased."""
    where = (tenant, customer)
    async with reading(flow.pool) as connection:
        known = (await customer_store.find_customers(connection, [where])).get(where)
        if known is None:
            return Refused(Reason.CUSTOMER_NOT_FOUND)
        if known.processing is Processing.RESTRICTED and not restricted:
            return Refused(Reason.CUSTOMER_RESTRICTED)
        found = await block_store.list_blocks(connection, tenant, customer, BLOCKS_MAX)
    key = (await flow.vault.keys([where])).get(where) if found else None
    return [open_block(key, where, block) for block in found]


def open_block(key: SealingKey | None, where: Key, block: Block) -> Block:
    """The block with why it was placed and lifted; without a key, which was destroyed, without that."""
    lifted = None
    if block.lift_id is not None:
        lifted = open_text(key, where, LIFTED, block.lift_id, block.lift_words_sealed)
    placed = open_text(key, where, PLACED, block.block_id, block.words_sealed)
    return msgspec.structs.replace(block, reason=placed, lift_reason=lifted)


def _opened(key: SealingKey, where: Key, block: Block | None) -> Block | None:
    """As `open_block`; of another customer's block under this id, what needs no key."""
    return block if block is None or block.customer != where[1] else open_block(key, where, block)


async def _key(flow: Flow, where: Key) -> SealingKey | Refused:
    """The customer's key, before BEGIN. Raises `DatabaseUnavailable`."""
    key = (await flow.vault.ensure([where]))[where]
    return Refused(Reason.CUSTOMER_ERASED) if key is None else key


async def _lock(connection: Connection, where: Key) -> Refused | None:
    """Holds the customer's row; a refusal where there is none, or nothing is left of them."""
    kept = (await customer_store.lock_customers(connection, [where])).get(where)
    if kept is None:
        return Refused(Reason.CUSTOMER_NOT_FOUND)
    return Refused(Reason.CUSTOMER_ERASED) if kept.processing is Processing.ERASED else None


async def _for_person(
    flow: Flow, caller: Caller, customer: UUID, work: Callable[[Connection], Awaitable[T | Refused]]
) -> T | Refused:
    """Runs `work`; unless it was refused, drops what is cached of every number of the person."""
    result = await in_transaction(flow.pool, work)
    if not isinstance(result, Refused):
        key = (caller.tenant, customer)
        await forget(flow, {key} | await same_person(flow.pool, [key]))
    return result


def _block(
    caller: Caller, customer: UUID, id_: UUID, code: str, reason: str, until: datetime | None, words: bytes
) -> Block:
    """A block that is not placed yet; the database's clock says when it was."""
    return Block(
        block_id=id_,
        customer=customer,
        code=code,
        reason=reason,
        words_sealed=words,
        until=until,
        placed_by=caller.key_id,
        placed_at=clock.now(),
        lift_id=None,
        lifted_by=None,
        lifted_at=None,
        lift_words_sealed=None,
        in_force=True,
    )


def _same(asked: Block, found: Block) -> Refused | None:
    """A refusal that names the field in which a block of the same id differs from what is asked."""
    for field in ("customer", "code", "reason", "until"):
        if getattr(asked, field) != getattr(found, field):
            return Refused(Reason.ID_CONFLICT, {"field": field})
    return None
