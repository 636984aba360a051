"""The events of eligibility, as outbox rows. Non-identifying scalars only: no birth date, number, bank or free text."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from amana.domain.decision_event import DecisionData, PolicyData, PriceData, SaidData, TermsData
from amana.domain.event_types import VERSIONS
from amana.domain.events import Aggregate, Event, Shaped, event_bytes, utc_text
from amana.domain.facts import FACTS, Facts, Source, Through
from amana.domain.ids import uuid7_number
from amana.domain.pricing import Price
from amana.domain.record import CustomerRecord
from amana.domain.sources import NOTHING_SAID, Said
from amana.eligibility.records import Block, Made
from amana.infra import clock
from amana.infra.outbox import OutboxRow
from amana.infra.quick_uuid import of_number

SYSTEM = "system:eligibility"
"""The actor where no client asked."""

_RECORDED = ("bank_code", "birth_date", "bvn", "employment", "monthly_income", "nin", "nuban", "phone")
_SAID = ("bureau", "topups")
_NAMES = {source: sorted(name for name, spec in FACTS.items() if spec.source is source) for source in Source}
_TEXTS = {source: source.value for source in Source}


def decision_made(made: Made) -> OutboxRow:
    """`DecisionMade`: who, what, why, under which policy, from which facts."""
    check, inputs, assessment, decision = made.check, made.inputs, made.assessment, made.decision
    through = inputs.facts.ledger_through
    data = DecisionData(
        amount=check.amount,
        as_of=utc_text(check.as_of or inputs.now),
        as_of_past=check.as_of is not None,
        band=assessment.band,
        caps=assessment.caps,
        currency=check.currency.value,
        customer=check.customer,
        exposure=assessment.exposure,
        exposure_cap=assessment.exposure_cap,
        facts=facts_data(inputs.facts),
        facts_version=inputs.facts.version,
        headroom=assessment.headroom,
        ledger_through=msgspec.UNSET if through is Through.LEDGER else through.value,
        limit=decision.limit,
        network=msgspec.UNSET if check.network is None else check.network,
        offer_id=check.offer_id,
        outcome=decision.outcome,
        points=assessment.points,
        policy=PolicyData(assessment.policy_hash, assessment.policy, assessment.policy_version),
        price=_price(decision.price),
        product=check.product,
        reasons=decision.reasons,
        request_to_borrow=check.id is not None,
        rules=assessment.rules,
        score=assessment.score,
        term_days=check.term_days,
        terms=None if check.terms is None else TermsData(check.terms.fee, check.terms.term_days),
    )
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


def facts_data(facts: Facts) -> dict[str, SaidData]:
    """What each source says, and as of when. One that said nothing is not here."""
    values = facts.values
    return {
        _TEXTS[source]: SaidData(utc_text(at), {name: values[name] for name in _NAMES[source] if name in values})
        for source, at in facts.as_of.items()
    }


def _price(price: Price | None) -> PriceData | None:
    if price is None:
        return None
    return PriceData(price.fee, price.principal, price.rate_bps, price.term_days, price.total_due)


def outbox_row(
    tenant: int,
    type_: str,
    aggregate: Aggregate,
    now: datetime,
    actor: str,
    trace: str,
    data: dict[str, Any] | Shaped,
    event_id: UUID | None = None,
) -> OutboxRow:
    """An event, with a new id unless one is given."""
    event = Event(
        event_id=event_id or of_number(uuid7_number(clock.unix_ms(), clock.random_74_bits())),
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
