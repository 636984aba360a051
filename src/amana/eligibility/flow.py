"""A check, from the question to the recorded decision.

    memory  →  cache  →  records, policies, earlier answers  →  standings, birth dates  →  decide purely  →  record

How a person stands is read with their record, from the projection, where that may answer (`projection`). Else the
ledger is asked, and what it says is kept (`asking`).

Only plain questions are answered from memory, without a round trip, or from the cache, with a part of one. Questions
about one customer and product that are asked meanwhile wait for the first of them: it is computed and recorded once.

Round trips of a batch: three reads on one connection; where the ledger is asked, one call for each tenant and currency
and one write before and after it at most; at the same time, one read of the keys that are not in memory; then decisions
and events, by one statement. No database connection is held while the ledger is asked. A batch is bounded by
`BATCH_MAX`, and by what arrives while a slot is taken.

Nothing is locked: a decision is a new row, and two checks with one id meet at its primary key. The first to commit is
the answer to both. A check that is refused (no such customer or product, another currency) was not decided: nothing is
stored, and its id stays free. One check that breaks never fails its neighbours: the batch is run again in halves.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from uuid import UUID

from amana.domain.decision import CompiledPolicy, DecisionInputs, assess, decide
from amana.domain.facts import CustomerStanding, Facts, facts_of
from amana.domain.ids import uuid7_number
from amana.domain.persons import LINKED_MAX
from amana.domain.privacy import refuse_processing
from amana.domain.reasons import Reason
from amana.domain.transfer import Refused
from amana.eligibility import asking, customer_store, store
from amana.eligibility.answers import Answer, Asked, Quotable, Result, quoted
from amana.eligibility.cache import AssessmentCache
from amana.eligibility.events import decision_made
from amana.eligibility.policies import Policies
from amana.eligibility.questions import Questions, refuse_policy, slot_of
from amana.eligibility.records import Check, Customer, Key, Made, ProductKey, Recorded
from amana.eligibility.sealed import Opened, open_births
from amana.eligibility.standings import Ledger
from amana.eligibility.suspects import Suspects
from amana.infra import clock, deadline
from amana.infra.bisecting import bisecting
from amana.infra.collector import Collector
from amana.infra.http import UpstreamUnavailable
from amana.infra.postgres import Connection, DatabaseUnavailable, Pool, reading
from amana.infra.quick_uuid import of_number
from amana.vault.vault import Vault

BATCH_MAX = 200
BATCHES_IN_FLIGHT = 2
"""While one waits for the database, the other is worked on. More are smaller, and cost more for each check."""
QUEUE_MAX = 4_000


class Flow:
    """Answers checks: from memory or the cache where that is allowed, else in batches."""

    def __init__(self, pool: Pool, ledger: Ledger, cache: AssessmentCache, policies: Policies, vault: Vault) -> None:
        self.pool = pool
        self.vault = vault
        self.cache = cache
        self.policies = policies
        self.ledger = ledger
        self.suspects = Suspects(pool, cache)
        whole = (DatabaseUnavailable, UpstreamUnavailable)
        run = bisecting(self._run, whole)  # type: ignore[misc]  # mypy solves no union inside a union
        self._checks: Collector[Check, Result] = Collector(
            run, batch_max=BATCH_MAX, batches_in_flight=BATCHES_IN_FLIGHT, queue_max=QUEUE_MAX
        )
        self._questions = Questions(cache, policies, self._checks.enqueue)

    def at_once(self, check: Check) -> Result | None:
        """The answer that needs no round trip, if there is one."""
        known = self.policies.known(check.tenant, check.product) if check.is_cacheable else None
        if known is None:
            return None
        policy, is_recent = known
        if (refused := refuse_policy(check, policy)) is not None:
            return refused
        verdict = self.cache.recall(slot_of(check, policy))
        return None if verdict is None else quoted(policy, verdict, _asked(check), "memory", degraded=not is_recent)

    def enqueue(self, check: Check) -> "asyncio.Future[Result] | asyncio.Future[Quotable | Refused]":
        """What `at_once` does not have: the answer, or what it follows from. A plain question is computed once for all
        who ask it at the same time; cancelling it stops nothing that somebody else waits for. Raises `Overloaded` or
        `DeadlineExceeded`."""
        return self._questions.ask(check) if check.is_cacheable else self._checks.enqueue(check)

    async def check(self, check: Check) -> Result:
        """The answer to one check. Raises `Overloaded`, `DatabaseUnavailable` or `UpstreamUnavailable`."""
        told = self.at_once(check) or await self.enqueue(check)
        return told.quoted(_asked(check)) if isinstance(told, Quotable) else told

    async def drain(self) -> None:
        """Answers what is queued: for a clean stop."""
        await self._questions.drain()
        await self._checks.drain()
        await self.cache.drain()

    async def _run(self, checks: list[Check]) -> list[Result | Exception]:
        """One batch, in the phases that the module's docstring names."""
        now = clock.now()
        async with reading(self.pool) as connection:
            known = await _find_known(connection, checks)
            customers = await customer_store.find_customers(connection, {(c.tenant, c.customer) for c in checks})
            policies = await self.policies.live(connection, {(c.tenant, c.product) for c in checks})
            used = await self._policies_of(connection, known)
            results: dict[int, Result | Exception] = {}
            for at, check in enumerate(checks):
                result = _answered(check, known, used) or _refusal(check, customers, policies)
                if result is not None:
                    results[at] = result
            open_ = {at: check for at, check in enumerate(checks) if at not in results}
            projected = asking.projected(open_, customers, now)
            asked = {at: check for at, check in open_.items() if at not in projected}
            noted = await asking.note_moves(connection, asked, customers)
        decidable = {_whom(check): customers[_whom(check)] for check in open_.values()}
        found, opened = await asyncio.gather(
            asking.ask(self.ledger, asked, customers), open_births(self.vault, decidable)
        )
        results |= found.failures
        results |= {at: failure for at, check in open_.items() if (failure := _not_opened(check, opened)) is not None}
        standings = {at: one for at, one in sorted((projected | found.standings).items()) if at not in results}
        made = [
            _make(check, opened.customers[_whom(check)], policies[check.tenant, check.product], standing, now)
            for at, standing in standings.items()
            for check in [checks[at]]
        ]
        results |= dict(
            zip(standings, await self._record(made, partial(asking.keep, found=found, noted=noted)), strict=True)
        )
        return [results[at] for at in range(len(checks))]

    async def _policies_of(self, connection: Connection, known: Mapping[Key, Recorded]) -> dict[UUID, CompiledPolicy]:
        """The policies under which earlier decisions were made, by decision."""
        return {
            id_: await self.policies.version(connection, tenant, found.product, found.assessment.policy_version)
            for (tenant, id_), found in known.items()
        }

    async def _record(self, made: Sequence[Made], keep: Callable[[Connection], Awaitable[None]]) -> list[Result]:
        """Stores decisions with their events; where an id was taken meanwhile, what is stored under it answers."""
        if not made:
            return []
        first = {_key(item): item for item in reversed(made)}
        deadline.point_of_no_return()
        async with reading(self.pool) as connection:
            await keep(connection)
            stored = await store.record_decisions(connection, [(item, decision_made(item)) for item in first.values()])
            fresh = [first[_key(item)] is item and _key(item) in stored for item in made]
            late = [_key(item) for item, is_fresh in zip(made, fresh, strict=True) if not is_fresh]
            known = await store.find_decisions(connection, late) if late else {}
            used = await self._policies_of(connection, known)
        return [
            _fresh(item, *stored[_key(item)]) if is_fresh else _replayed(item.check, known[_key(item)], used)
            for item, is_fresh in zip(made, fresh, strict=True)
        ]


async def _find_known(connection: Connection, checks: Sequence[Check]) -> dict[Key, Recorded]:
    ids = {(check.tenant, check.id) for check in checks if check.id is not None}
    return await store.find_decisions(connection, ids) if ids else {}


def _answered(check: Check, known: Mapping[Key, Recorded], used: Mapping[UUID, CompiledPolicy]) -> Result | None:
    """What this id came to before, or None where it is new."""
    found = None if check.id is None else known.get((check.tenant, check.id))
    return None if found is None else _replayed(check, found, used)


def _refusal(
    check: Check, customers: Mapping[Key, Customer], policies: Mapping[ProductKey, CompiledPolicy]
) -> Refused | None:
    """Why a check can't be decided at all; the first that applies."""
    refused = refuse_policy(check, policies.get((check.tenant, check.product)))
    if refused is not None:
        return refused
    customer = customers.get(_whom(check))
    if customer is None:
        return Refused(Reason.CUSTOMER_NOT_FOUND)
    if (refused := refuse_processing(customer.processing)) is not None:
        return refused
    return Refused(Reason.PERSON_AMBIGUOUS, {"linked_max": LINKED_MAX}) if customer.too_widely_linked else None


def _not_opened(check: Check, opened: Opened) -> Refused | Exception | None:
    """Why nothing can be decided once keys were asked for: none can be had, or the customer's was destroyed."""
    failure = opened.failed.get(_whom(check))
    return failure or refuse_processing(opened.customers[_whom(check)].processing)


def _whom(check: Check) -> Key:
    return check.tenant, check.customer


def _asked(check: Check) -> Asked:
    return check.amount, check.term_days, check.network


def facts_for(customer: Customer, standing: CustomerStanding, at: datetime) -> Facts:
    """What is known of a customer at an instant."""
    return facts_of(customer.record, customer.recorded_at, customer.facts_version, standing, at, customer.said)


def _make(check: Check, customer: Customer, policy: CompiledPolicy, standing: CustomerStanding, now: datetime) -> Made:
    """Decides, purely."""
    assessment = assess(policy, facts_for(customer, standing, check.as_of or now), now)
    facts = assessment.facts
    return Made(
        check=check,
        decision_id=check.id or of_number(uuid7_number(clock.unix_ms(), clock.random_74_bits())),
        policy=policy,
        inputs=DecisionInputs(
            facts=facts,
            now=now,
            amount=check.amount,
            term_days=check.term_days,
            terms=check.terms,
            policy_hash=policy.hash,
            policy_version=policy.version,
            network=check.network,
        ),
        assessment=assessment,
        decision=decide(policy, assessment, check.amount, check.term_days, check.terms, check.network),
    )


def _key(made: Made) -> Key:
    return made.check.tenant, made.decision_id


def _fresh(made: Made, decided_at: datetime, expires_at: datetime | None) -> Answer:
    return Answer(
        decision_id=made.decision_id,
        policy=made.policy,
        assessment=made.assessment,
        decision=made.decision,
        as_of=made.check.as_of or made.inputs.now,
        decided_at=decided_at,
        expires_at=expires_at,
    )


def _replayed(check: Check, found: Recorded, used: Mapping[UUID, CompiledPolicy]) -> Result:
    """The first result again, or which field differs from the first request under this id."""
    before = found.asked()
    for name, value in check.asked().items():
        if value != before[name]:
            return Refused(Reason.ID_CONFLICT, {"field": name})
    return Answer(
        decision_id=found.decision_id,
        policy=used[found.decision_id],
        assessment=found.assessment,
        decision=found.decision,
        as_of=found.as_of or found.inputs.now,
        decided_at=found.decided_at,
        expires_at=found.expires_at,
        replayed=True,
    )
