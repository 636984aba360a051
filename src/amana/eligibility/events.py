"""The events of eligibility, as outbox rows. Non-identifying scalars only: no birth date, number, bank or free text."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from amana.domain.decision import Assessment, Decision
from amana.domain.event_types import VERSIONS
from amana.domain.events import Aggregate, Event, event_bytes, utc_text
from amana.domain.facts import FACTS, Facts, Through
from amana.domain.ids import uuid7
from amana.domain.pricing import Price, Terms
from amana.domain.record import CustomerRecord
from amana.domain.sources import NOTHING_SAID, Said
from amana.eligibility.records import Block, Made
from amana.infra import clock
from amana.infra.outbox import OutboxRow

SYSTEM = "system:eligibility"
"""The actor where no client asked."""

_RECORDED = ("bank_code", "birth_date", "bvn", "employment", "monthly_income", "nin", "nuban", "phone")
_SAID = ("bureau", "topups")


def decision_made(made: Made) -> OutboxRow:
    """`DecisionMade`: who, what, why, under which policy, from which facts."""
    check, inputs = made.check, made.inputs
    data: dict[str, Any] = {
        "customer": str(check.customer),
        "product": check.product,
        "currency": check.currency,
        "amount": check.amount,
        "term_days": check.term_days,
        "terms": _terms(check.terms),
        "request_to_borrow": check.id is not None,
        "offer_id": None if check.offer_id is None else str(check.offer_id),
        "as_of": utc_text(check.as_of or inputs.now),
        "as_of_past": check.as_of is not None,
        "facts": facts_data(inputs.facts),
        "facts_version": inputs.facts.version,
        **_assessment(made.assessment),
        **_decision(made.decision),
    }
    if check.network is not None:
        data["network"] = check.network
    if inputs.facts.ledger_through is not Through.LEDGER:
        data["ledger_through"] = str(inputs.facts.ledger_through)
    aggregate = Aggregate("decision", made.decision_id, 1)
    return outbox_row(check.tenant, "DecisionMade", aggregate, inputs.now, check.actor, check.trace, data)


def customer_facts_recorded(
    tenant: int,
    customer: UUID,
    version: int,
    record: CustomerRecord,
    now: datetime,
    actor: str,
    trace: str,
    said: Said = NOTHING_SAID,
) -> OutboxRow:
    """`CustomerFactsRecorded`: that the facts changed, and which parts of them are known; none of their values."""
    known = [name for name in _RECORDED if getattr(record, name) is not None]
    known += [name for name in _SAID if getattr(said, name) is not None]
    data: dict[str, Any] = {
        "customer": str(customer),
        "facts_version": version,
        "kyc_tier": record.kyc_tier,
        "blocked": record.blocked,
        "known": known,
    }
    consents = {name: answer.given for name, answer in said.consents._asdict().items() if answer is not None}
    if consents:
        data["consents"] = consents
    aggregate = Aggregate("customer", customer, version)
    return outbox_row(tenant, "CustomerFactsRecorded", aggregate, now, actor, trace, data)


def customer_blocked(tenant: int, block: Block, version: int, now: datetime, trace: str) -> OutboxRow:
    """`CustomerBlocked`: under which code, until when; why is free text and stays at home."""
    data = {
        "customer": str(block.customer),
        "facts_version": version,
        "block": str(block.block_id),
        "code": block.code,
        "until": None if block.until is None else utc_text(block.until),
    }
    aggregate = Aggregate("customer", block.customer, version)
    return outbox_row(tenant, "CustomerBlocked", aggregate, now, block.placed_by, trace, data)


def customer_block_lifted(
    tenant: int, customer: UUID, version: int, code: str, blocks: Sequence[UUID], now: datetime, actor: str, trace: str
) -> OutboxRow:
    """`CustomerBlockLifted`: the blocks of one code that bind no longer."""
    data = {
        "customer": str(customer),
        "facts_version": version,
        "code": code,
        "blocks": [str(block) for block in blocks],
    }
    aggregate = Aggregate("customer", customer, version)
    return outbox_row(tenant, "CustomerBlockLifted", aggregate, now, actor, trace, data)


def facts_data(facts: Facts) -> dict[str, Any]:
    """Each fact with its value, who says so, and as of when. A source that said nothing has no facts here."""
    return {
        name: {"value": facts.values[name], "source": str(spec.source), "as_of": utc_text(facts.as_of[spec.source])}
        for name, spec in FACTS.items()
        if name in facts.values and spec.source in facts.as_of
    }


def _assessment(assessment: Assessment) -> dict[str, Any]:
    return {
        "policy": {
            "name": assessment.policy,
            "version": assessment.policy_version,
            "hash": assessment.policy_hash,
        },
        "rules": {rule: str(state) for rule, state in assessment.rules.items()},
        "points": assessment.points,
        "score": assessment.score,
        "band": assessment.band,
        "caps": assessment.caps,
        "exposure_cap": assessment.exposure_cap,
        "exposure": assessment.exposure,
        "headroom": assessment.headroom,
    }


def _decision(decision: Decision) -> dict[str, Any]:
    return {
        "outcome": str(decision.outcome),
        "limit": decision.limit,
        "price": _price(decision.price),
        "reasons": list(decision.reasons),
    }


def _price(price: Price | None) -> dict[str, int] | None:
    if price is None:
        return None
    return {
        "principal": price.principal,
        "fee": price.fee,
        "total_due": price.total_due,
        "rate_bps": price.rate_bps,
        "term_days": price.term_days,
    }


def _terms(terms: Terms | None) -> dict[str, int] | None:
    return None if terms is None else {"fee": terms.fee, "term_days": terms.term_days}


def outbox_row(
    tenant: int,
    type_: str,
    aggregate: Aggregate,
    now: datetime,
    actor: str,
    trace: str,
    data: dict[str, Any],
    event_id: UUID | None = None,
) -> OutboxRow:
    """An event, with a new id unless one is given."""
    event = Event(
        event_id=event_id or uuid7(clock.unix_ms(), clock.random_74_bits()),
        tenant=tenant,
        type=type_,
        version=VERSIONS[type_],
        occurred_at=now,
        aggregate=aggregate,
        actor=actor,
        trace=trace,
        data=data,
    )
    return OutboxRow(tenant, event.event_id, aggregate.id, type_, event_bytes(event))
