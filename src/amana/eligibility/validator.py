"""Cached answers against the source, all the time: what this process would answer from memory is worked out again.

From the customers' records and from the ledger itself, for a few customers each second; nothing is recorded. The rows
of the projection are held against what the ledger said as well (`suspects`), and never answer for it here. What
differs is counted by its cause and forgotten everywhere, so that the next question finds the truth. An answer may be a
second behind by design (a change has to be heard of), so younger ones are left alone. The share that differs is the
divergence: `amana_eligibility_divergent_total` over `amana_eligibility_validated_total`.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from enum import StrEnum

import msgspec
from prometheus_client import Counter as Metric

from amana.domain.decision import CompiledPolicy, Verdict, assess, verdict_of
from amana.domain.facts import CustomerStanding
from amana.domain.privacy import Processing
from amana.eligibility import asking, customer_store
from amana.eligibility.flow import Flow, facts_for
from amana.eligibility.memory import Slot
from amana.eligibility.records import Check, Customer, Key
from amana.eligibility.sealed import open_births
from amana.infra import clock
from amana.infra.http import UpstreamUnavailable
from amana.infra.postgres import DatabaseUnavailable, reading
from amana.infra.telemetry import logger

EVERY_S = 1.0
YOUNGEST = timedelta(seconds=1)

VALIDATED = Metric("amana_eligibility_validated_total", "Cached answers that were worked out again.")
DIVERGENT = Metric("amana_eligibility_divergent_total", "Cached answers that the source says otherwise.", ("cause",))

_log = logger(__name__)


class Cause(StrEnum):
    """What a cached answer got wrong, the first that applies."""

    CUSTOMER = "customer"
    POLICY = "policy"
    FACTS = "facts"
    EXPOSURE = "exposure"
    ASSESSMENT = "assessment"


class Validated(msgspec.Struct, frozen=True):
    """How many answers were looked at, and how many differed, by cause."""

    looked_at: int
    divergent: dict[str, int]


async def validate_forever(flow: Flow, sample: int) -> None:
    """Looks at `sample` answers each second, in one batch, until cancelled. What can't be asked now is asked later."""
    while True:
        await asyncio.sleep(EVERY_S)
        try:
            await validate(flow, sample)
        except (DatabaseUnavailable, UpstreamUnavailable) as error:
            _log.info("cached answers not validated", error=type(error).__name__)
        except Exception as error:
            _log.error("cached answers not validated", exc_info=error)


async def validate(flow: Flow, count: int) -> Validated:
    """Looks at up to `count` answers now. Raises `DatabaseUnavailable` or `UpstreamUnavailable`."""
    now = clock.now()
    await flow.suspects.judge()
    sample = [
        (slot, kept)
        for slot, kept in flow.cache.memory.sample(count)
        if flow.cache.recall(slot) is kept and now - kept.assessed_at >= YOUNGEST
    ]
    if not sample:
        return Validated(0, {})
    causes = Counter[str]()
    for (slot, kept), cause in zip(sample, await _differences(flow, sample), strict=True):
        # What was forgotten while the source was asked is no difference.
        if cause is not None and flow.cache.recall(slot) is kept:
            causes[cause] += 1
            DIVERGENT.labels(cause).inc()
            await flow.cache.forget(slot.tenant, slot.customer)
    VALIDATED.inc(len(sample))
    if causes:
        _log.warning("cached answers differed from the source", looked_at=len(sample), **causes)
    return Validated(len(sample), dict(causes))


async def _differences(flow: Flow, sample: Sequence[tuple[Slot, Verdict]]) -> list[Cause | None]:
    """For each, what is wrong with it, if anything is. Three round trips for all."""
    async with reading(flow.pool) as connection:
        customers = await customer_store.find_customers(connection, {(s.tenant, s.customer) for s, _ in sample})
        policies = await flow.policies.live(connection, {(s.tenant, s.product) for s, _ in sample})
    opened = await open_births(flow.vault, customers)
    for failure in opened.failed.values():
        raise failure
    customers = opened.customers
    asked = {
        at: _question(slot, policy)
        for at, (slot, _) in enumerate(sample)
        if (policy := policies.get((slot.tenant, slot.product))) is not None and _is_decidable(slot, customers)
    }
    standings, failures, numbers = await asking.ask(flow.ledger, asked, customers)
    if failures:
        raise next(iter(failures.values()))
    await flow.suspects.compare(customers, numbers)
    return [
        _cause(kept, policies[slot.tenant, slot.product], customers[slot.tenant, slot.customer], standings[at])
        if at in standings
        else Cause.CUSTOMER
        for at, (slot, kept) in enumerate(sample)
    ]


def _is_decidable(slot: Slot, customers: dict[Key, Customer]) -> bool:
    customer = customers.get((slot.tenant, slot.customer))
    return customer is not None and not customer.too_widely_linked and customer.processing is Processing.OPEN


def _question(slot: Slot, policy: CompiledPolicy) -> Check:
    return Check(
        tenant=slot.tenant,
        actor="",
        trace="",
        id=None,
        customer=slot.customer,
        product=slot.product,
        amount=policy.document.amounts.minimum,
        currency=policy.document.currency,
    )


def _cause(kept: Verdict, policy: CompiledPolicy, customer: Customer, standing: CustomerStanding) -> Cause | None:
    # As of when it was computed: what only grew older since is no difference.
    told = verdict_of(
        assess(policy, facts_for(customer, standing, kept.assessed_at), kept.assessed_at), kept.decision_id
    )
    if told == kept:
        return None
    if told.policy_hash != kept.policy_hash:
        return Cause.POLICY
    if told.facts_version != kept.facts_version:
        return Cause.FACTS
    return Cause.EXPOSURE if told.exposure != kept.exposure else Cause.ASSESSMENT
