"""The events of eligibility, as outbox rows. Non-identifying scalars only: no birth date, phone, bank or free text."""

from datetime import datetime
from typing import Any
from uuid import UUID

from amana.domain.decision import Assessment, Decision
from amana.domain.events import Aggregate, Event, event_bytes, utc_text
from amana.domain.facts import FACTS, CustomerRecord, Facts
from amana.domain.ids import derived_id, uuid7
from amana.domain.pricing import Price, Terms
from amana.eligibility.records import Made
from amana.infra import clock
from amana.infra.outbox import OutboxRow

SYSTEM = "system:eligibility"
"""The actor where no client asked."""


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
    aggregate = Aggregate("decision", made.decision_id, 1)
    return outbox_row(check.tenant, "DecisionMade", aggregate, inputs.now, check.actor, check.trace, data)


def customer_facts_recorded(
    tenant: int, customer: UUID, version: int, record: CustomerRecord, now: datetime, actor: str, trace: str
) -> OutboxRow:
    """`CustomerFactsRecorded`: that the record changed, and which parts of it are known; none of their values."""
    known = [
        name
        for name in ("bank_code", "birth_date", "employment", "monthly_income", "phone")
        if getattr(record, name) is not None
    ]
    data = {
        "customer": str(customer),
        "facts_version": version,
        "kyc_tier": record.kyc_tier,
        "blocked": record.blocked,
        "known": known,
    }
    aggregate = Aggregate("customer", customer, version)
    return outbox_row(tenant, "CustomerFactsRecorded", aggregate, now, actor, trace, data)


def policy_published(
    tenant: int, product: str, version: int, name: str, digest: str, now: datetime, actor: str, trace: str
) -> OutboxRow:
    """`PolicyPublished`: from now on this version decides."""
    data = {"product": product, "name": name, "policy_version": version, "hash": digest}
    aggregate = Aggregate("policy", derived_id(UUID(int=tenant), f"policy/{product}"), version)
    return outbox_row(tenant, "PolicyPublished", aggregate, now, actor, trace, data)


def facts_data(facts: Facts) -> dict[str, Any]:
    """Each fact with its value, who says so, and as of when."""
    return {
        name: {"value": facts.values[name], "source": str(spec.source), "as_of": utc_text(facts.as_of[spec.source])}
        for name, spec in FACTS.items()
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
    tenant: int, type_: str, aggregate: Aggregate, now: datetime, actor: str, trace: str, data: dict[str, Any]
) -> OutboxRow:
    """An event of version 1 under an id of its own."""
    event = Event(
        event_id=uuid7(clock.unix_ms(), clock.random_74_bits()),
        tenant=tenant,
        type=type_,
        version=1,
        occurred_at=now,
        aggregate=aggregate,
        actor=actor,
        trace=trace,
        data=data,
    )
    return OutboxRow(tenant, event.event_id, aggregate.id, type_, event_bytes(event))
