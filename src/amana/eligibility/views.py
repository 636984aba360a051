"""From decisions to responses: nothing is decided here."""

from datetime import datetime, timedelta

import msgspec

from amana.domain.decision import Assessment, CompiledPolicy, Decision, RuleState
from amana.domain.facts import FACTS
from amana.domain.policy import Policy, Rule
from amana.domain.pricing import Price
from amana.domain.scorecard import best_points
from amana.eligibility.answers import Answer
from amana.eligibility.offers import Confirmed
from amana.eligibility.records import Recorded
from amana.wire.eligibility import (
    CheckView,
    DecisionView,
    FactView,
    OfferView,
    PointsView,
    PolicyReference,
    PriceView,
    ReasonView,
    RuleView,
    StepView,
)
from amana.wire.loans import OfferTerms


def check_view(answer: Answer, now: datetime) -> CheckView:
    """The answer to a check."""
    decision, assessment = answer.decision, answer.assessment
    return CheckView(
        decision_id=answer.decision_id,
        outcome=decision.outcome,
        limit=decision.limit,
        exposure=assessment.exposure,
        exposure_cap=assessment.exposure_cap,
        price=_price(decision.price),
        reasons=_reasons(answer.policy.document, decision),
        policy=PolicyReference(
            name=answer.policy.document.name, version=answer.policy.version, hash=answer.policy.hash
        ),
        as_of=answer.as_of,
        age_ms=answer.age(now) // timedelta(milliseconds=1),
        source=answer.source,
        offer=None if answer.expires_at is None else OfferView(id=answer.decision_id, expires_at=answer.expires_at),
        replayed=answer.replayed,
        degraded=answer.degraded,
    )


def decision_view(found: Recorded, policy: CompiledPolicy) -> DecisionView:
    """A recorded decision with all that led to it."""
    assessment, decision, document = found.assessment, found.decision, policy.document
    return DecisionView(
        decision_id=found.decision_id,
        customer=found.customer,
        product=found.product,
        currency=found.currency,
        amount=decision.amount,
        outcome=decision.outcome,
        limit=decision.limit,
        price=_price(decision.price),
        reasons=_reasons(document, decision),
        policy=_policy(assessment),
        facts=_facts(assessment),
        ledger_through=assessment.facts.ledger_through,
        rules=[_rule(rule, assessment) for rule in document.rules_in_order()],
        base_points=document.scorecard.base,
        points=_points(policy, assessment),
        score=assessment.score,
        band=assessment.band,
        limit_steps=_limit_steps(assessment, decision),
        request_to_borrow=found.to_borrow,
        confirms_offer=found.offer_id,
        as_of=found.as_of or found.inputs.now,
        as_of_past=found.as_of is not None,
        decided_at=found.decided_at,
        offer=None if found.expires_at is None else OfferView(id=found.decision_id, expires_at=found.expires_at),
    )


def confirmation_view(confirmed: Confirmed) -> OfferTerms:
    """An offer that stands."""
    offer, price = confirmed.offer, confirmed.price
    return OfferTerms(
        offer_id=offer.offer_id,
        customer=offer.customer,
        product=offer.product,
        currency=offer.currency,
        principal=price.principal,
        fee=price.fee,
        term_days=price.term_days,
        exposure_cap=confirmed.exposure_cap,
        decision_id=confirmed.decision_id,
        decided_at=confirmed.decided_at,
        expires_at=offer.expires_at,
    )


def _price(price: Price | None) -> PriceView | None:
    return None if price is None else PriceView(**msgspec.structs.asdict(price))


def _reasons(document: Policy, decision: Decision) -> list[ReasonView]:
    return [ReasonView(code=code, text=document.reasons[code]) for code in decision.reasons]


def _policy(assessment: Assessment) -> PolicyReference:
    return PolicyReference(name=assessment.policy, version=assessment.policy_version, hash=assessment.policy_hash)


def _facts(assessment: Assessment) -> list[FactView]:
    facts = assessment.facts
    return [
        FactView(name=name, value=facts.values.get(name), source=spec.source, as_of=facts.as_of.get(spec.source))
        for name, spec in FACTS.items()
    ]


def _rule(rule: Rule, assessment: Assessment) -> RuleView:
    state = assessment.rules[rule.id]
    given = {RuleState.FAILED: rule.reason, RuleState.MISSING: rule.missing_reason}
    return RuleView(
        id=rule.id,
        fact=rule.fact,
        op=rule.op,
        value=rule.value,
        found=assessment.facts.values.get(rule.fact),
        state=state,
        reason=given.get(state),
    )


def _points(policy: CompiledPolicy, assessment: Assessment) -> list[PointsView]:
    return [
        PointsView(
            attribute=item.id,
            fact=item.fact,
            found=assessment.facts.values.get(item.fact),
            points=assessment.points[item.id],
            best=best_points(item),
        )
        for item in policy.document.scorecard.attributes
    ]


def _limit_steps(assessment: Assessment, decision: Decision) -> list[StepView]:
    """The caps, the least of them, less the exposure, and the amount that fits under what is left."""
    caps = [StepView(step=f"{name}_cap", amount=cap) for name, cap in assessment.caps.items()]
    return [
        *caps,
        StepView(step="exposure_cap", amount=assessment.exposure_cap),
        StepView(step="exposure", amount=assessment.exposure),
        StepView(step="headroom", amount=assessment.headroom),
        StepView(step="limit", amount=decision.limit),
    ]
