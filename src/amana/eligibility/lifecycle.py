"""The steps of a policy's life, each one transaction: draft, approve, withdraw, and telling what started.

    lock the product  →  read what was done under the id, the version, the time  →  refuse  →  write the step  →  events

The product's row is locked first and everything else is read in new statements after it, so the steps of a product
have one order: of two approvals at once, or an approval and a withdrawal, the later one sees what the earlier one did.
A transaction lasts 2 s at the most. Round trips: about 8. Nothing of this is on a check's path.

What decides is found by the clock (`live_policies`), so a start needs nobody to run. That it happened is told as events
by whoever comes first: the next step of the product, or the job in `jobs.py`, which looks every second. A start is told
once: `told` in the product's row moves under its lock.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from amana.domain.ids import uuid7
from amana.domain.policy import Policy, policy_bytes, policy_hash
from amana.domain.policy_life import refuse_approval, refuse_withdrawal, start_of
from amana.domain.reasons import Reason
from amana.domain.transfer import Refused
from amana.eligibility import policy_store as store
from amana.eligibility.events import SYSTEM
from amana.eligibility.policy_events import Said, Teller, approved, drafted, published, retired, withdrawn
from amana.eligibility.policy_store import Product, Version
from amana.eligibility.records import PolicyStep
from amana.gateway.caller import Caller
from amana.infra import clock
from amana.infra.outbox import OutboxRow, append
from amana.infra.postgres import Connection, Pool, in_transaction

DRAFTED, APPROVED, WITHDRAWN = "drafted", "approved", "withdrawn"
DUE_MAX = 20
"""Products whose starts are told in one transaction."""


class Done(NamedTuple):
    """What a step did, or had done when its id was used first."""

    step: PolicyStep
    replayed: bool = False


async def draft(pool: Pool, caller: Caller, id_: UUID, policy: Policy) -> Done | Refused:
    """Keeps a policy that passed `check_policy` as its product's newest version, for another key to approve."""
    document = policy_bytes(policy)
    digest = policy_hash(document)

    async def act(step: _Step) -> PolicyStep:
        restores = await store.find_restored(step.connection, caller.tenant, policy.product, digest)
        return await _draft(step, id_, document, restores)

    asked = {"kind": DRAFTED, "document": digest}
    return await _take(pool, caller, policy.product, id_, asked, act, is_new=True)


async def roll_back(pool: Pool, caller: Caller, id_: UUID, name: str, digest: str) -> Done | Refused:
    """Keeps the document of a version that was live as the newest version, for another key to approve.

    It is not checked again: it decided before. `name` is the product's.
    """

    async def act(step: _Step) -> PolicyStep | Refused:
        restores = await store.find_restored(step.connection, caller.tenant, name, digest)
        if restores is None:
            return Refused(Reason.NOT_FOUND)
        found = await store.find_policy(step.connection, caller.tenant, name, restores)
        assert found is not None, "a version is never deleted"
        return await _draft(step, id_, found.document, restores)

    return await _take(pool, caller, name, id_, {"kind": DRAFTED, "product": name, "hash": digest}, act)


async def approve(
    pool: Pool, caller: Caller, id_: UUID, name: str, version: int, valid_from: datetime | None
) -> Done | Refused:
    """Approves a draft of another key: it decides from now on, or from a future instant."""

    async def act(step: _Step) -> PolicyStep | Refused:
        found = await store.find_version(step.connection, caller.tenant, name, version)
        if found is None:
            return Refused(Reason.NOT_FOUND)
        if reason := refuse_approval(found.life, caller.key_id):
            return Refused(reason)
        return await _approve(step, id_, found, valid_from)

    asked = {"kind": APPROVED, "product": name, "version": version, "valid_from": valid_from}
    return await _take(pool, caller, name, id_, asked, act)


async def withdraw(pool: Pool, caller: Caller, id_: UUID, name: str, version: int) -> Done | Refused:
    """Takes back a draft, or a version that is to start later."""

    async def act(step: _Step) -> PolicyStep | Refused:
        found = await store.find_version(step.connection, caller.tenant, name, version)
        if found is None:
            return Refused(Reason.NOT_FOUND)
        if reason := refuse_withdrawal(found.life, found.now):
            return Refused(reason)
        done = _of(found, WITHDRAWN)
        await step.write(id_, done)
        step.tell(withdrawn(found.life))
        return done

    return await _take(pool, caller, name, id_, {"kind": WITHDRAWN, "product": name, "version": version}, act)


async def publish_shipped(connection: Connection, tenant: int, policy: Policy) -> int:
    """The version that decides: where none does yet, `policy`, published by the system now.

    `connection` is not in a transaction.
    """
    async with connection.transaction():
        key = tenant, policy.product
        await store.add_product(connection, *key)
        product = await store.lock_product(connection, *key)
        assert product is not None, "it was added"
        live = (await store.find_live_versions(connection, [key])).get(key)
        if live is None:  # what was told has started, also where the database's clock now says an earlier time
            live = product.told
        if live is not None:
            return live
        step = _Step(connection, product, SYSTEM, "")
        made = await _draft(step, _new_id(), policy_bytes(policy), None)
        found = await store.find_version(connection, *key, made.version)
        assert found is not None, "it was inserted"
        await _approve(step, _new_id(), found, None)
        await step.finish()
        return made.version


async def tell_starts(pool: Pool) -> int:
    """Tells the starts of at most `DUE_MAX` products that nobody told yet. How many products had one."""

    async def work(connection: Connection) -> int:
        await store.bound_transaction(connection)
        due = await store.lock_due_products(connection, DUE_MAX)
        for product in due:
            await _Step(connection, product, SYSTEM, "").finish()
        return len(due)

    return await in_transaction(pool, work)


async def _take(
    pool: Pool,
    caller: Caller,
    name: str,
    id_: UUID,
    asked: Mapping[str, object],
    act: Callable[["_Step"], Awaitable[PolicyStep | Refused]],
    *,
    is_new: bool = False,
) -> Done | Refused:
    """One step in one transaction, unless its id was used before. A product that `is_new` gets its row."""

    async def work(connection: Connection) -> Done | Refused:
        await store.bound_transaction(connection)
        if is_new:
            await store.add_product(connection, caller.tenant, name)
        product = await store.lock_product(connection, caller.tenant, name)
        known = await store.find_step(connection, caller.tenant, id_)
        if known is not None:
            return _again(known, asked)
        if product is None:
            return Refused(Reason.NOT_FOUND)
        step = _Step(connection, product, caller.key_id, caller.trace)
        done = await act(step)
        if isinstance(done, Refused):
            return done
        await step.finish()
        return Done(done)

    return await in_transaction(pool, work)


class _Step:
    """One step under way: the locked product, who takes it, and the events that it will write."""

    def __init__(self, connection: Connection, product: Product, actor: str, trace: str) -> None:
        self.connection = connection
        self.product = product
        self._teller = Teller(product.tenant, product.product, actor, trace, clock.now())
        self._events: list[OutboxRow] = []
        self.seen: datetime | None = None
        """The database's clock when a version was approved: what starts then has started."""

    def tell(self, said: Said) -> None:
        """Notes an event."""
        self.product.events += 1
        self._events.append(self._teller.row(said, self.product.events))

    async def write(self, id_: UUID, step: PolicyStep) -> None:
        """Records what was done."""
        await store.insert_step(self.connection, self.product.tenant, id_, step, self._teller.actor)

    async def finish(self) -> None:
        """Tells what has started by now, and writes what is left to write."""
        product = self.product
        for due in await store.list_due(self.connection, product, self.seen):
            before = product.told
            self.tell(published(product.product, due.version, due.hash, due.valid_from, before))
            if before is not None:
                old = await store.find_policy(self.connection, product.tenant, product.product, before)
                assert old is not None, "its start was told"
                self.tell(retired(product.product, before, old.hash, due.version))
            product.told, product.told_from = due.version, due.valid_from
        await store.set_product(self.connection, product)
        await append(self.connection, self._events)


async def _draft(step: _Step, id_: UUID, document: bytes, restores: int | None) -> PolicyStep:
    """Adds the product's newest version."""
    product, digest = step.product, policy_hash(document)
    product.versions += 1
    await store.insert_policy(step.connection, product, digest, document, restores)
    done = PolicyStep(
        step=DRAFTED,
        product=product.product,
        version=product.versions,
        hash=digest,
        restores=restores,
    )
    await step.write(id_, done)
    step.tell(drafted(product.product, product.versions, digest, restores))
    return done


async def _approve(step: _Step, id_: UUID, found: Version, asked_from: datetime | None) -> PolicyStep:
    """Approves a version; what is not refused any more."""
    step.seen = found.now
    start = start_of(asked_from, found.now, step.product.told_from)
    done = _of(found, APPROVED, asked_from, start)
    await step.write(id_, done)
    step.tell(approved(found.life, start))
    return done


def _of(
    found: Version, step: str, asked_from: datetime | None = None, valid_from: datetime | None = None
) -> PolicyStep:
    life = found.life
    return PolicyStep(
        step=step,
        product=life.product,
        version=life.version,
        hash=life.hash,
        restores=life.restores,
        taken_at=found.now,
        asked_from=asked_from,
        valid_from=valid_from,
    )


def _again(known: PolicyStep, asked: Mapping[str, object]) -> Done | Refused:
    """The first result again, or which field differs from the first request under this id."""
    before = {
        "kind": known.step,
        "product": known.product,
        "version": known.version,
        "document": known.hash,
        "hash": known.hash,
        "valid_from": known.asked_from,
    }
    for name, value in asked.items():
        if value != before[name]:
            return Refused(Reason.ID_CONFLICT, {"field": name})
    return Done(known, replayed=True)


def _new_id() -> UUID:
    return uuid7(clock.unix_ms(), clock.random_74_bits())
