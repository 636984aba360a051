"""Deciding: facts and a policy make an assessment, an assessment and an amount make a decision. Pure and replayable.

The assessment says what the policy thinks of the customer whatever the amount: every rule's result, the points, each
cap, the headroom. It is what may be cached. The decision adds the amount: limit, price, outcome, reasons. The same
inputs give the same bytes on any machine at any time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from operator import eq, ge, gt, le, lt, ne
from typing import Any, TypeAlias

import msgspec

from amana.domain.facts import Facts, FactValue
from amana.domain.money import MAX_AMOUNT, floor_bps
from amana.domain.policy import Caps, OnMissing, Op, Outcome, Policy, Rule, SystemReason, Term
from amana.domain.pricing import (
    Price,
    Terms,
    covers,
    find_term,
    is_offered,
    largest_amount,
    largest_at_terms,
    price_of,
    price_of_terms,
)
from amana.domain.scorecard import CompiledScorecard, compile_scorecard

Holds: TypeAlias = Callable[[Any], bool]


class RuleState(StrEnum):
    """What a rule found. `missing`: the fact is unknown and the rule failed for it; `skipped`: it passed over that."""

    PASSED = "passed"
    FAILED = "failed"
    MISSING = "missing"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class _CompiledRule:
    id: str
    fact: str
    holds: Holds
    fails: tuple[str, str]  # (outcome, reason) when the comparison holds
    missing: tuple[str, str] | None  # the same when the fact is unknown; None passes over it


@dataclass(frozen=True, slots=True)
class CompiledPolicy:
    """A published policy ready to decide: rules in order of precedence, points and bands as look-ups."""

    document: Policy
    version: int
    hash: str
    rules: tuple[_CompiledRule, ...]
    scorecard: CompiledScorecard
    kyc_caps: dict[FactValue, int]


class Assessment(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy says of a customer, whatever the amount.

    `knockouts` are the reasons of failed rules in order of precedence (and of the band, where it does not approve),
    `factors` the scorecard's. `caps` bound exposure by name, null where a cap does not apply; `exposure_cap` is the
    least of them and `headroom` what is left of it: never below 0, never above it. Amounts in minor units.
    """

    policy: str
    policy_version: int
    policy_hash: str
    assessed_at: datetime
    facts: Facts
    rules: dict[str, RuleState]
    points: dict[str, int]
    score: int
    band: str
    outcome: Outcome
    knockouts: tuple[str, ...]
    factors: tuple[str, ...]
    caps: dict[str, int | None]
    exposure_cap: int
    exposure: int
    headroom: int


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """An assessment applied to an amount. `limit` is the largest amount that would be lent now, 0 when declined.

    `reasons` is empty exactly when the outcome is `approve`; `price` is null exactly when it is `decline`.
    """

    outcome: Outcome
    amount: int
    limit: int
    price: Price | None
    reasons: tuple[str, ...]


class DecisionInputs(msgspec.Struct, frozen=True, kw_only=True):
    """All that a decision came from, beside the policy that the hash names: enough to make it again, byte for byte."""

    facts: Facts
    now: datetime
    amount: int
    term_days: int | None
    terms: Terms | None
    policy_hash: str
    policy_version: int


def canonical(value: Assessment | Decision | DecisionInputs) -> bytes:
    """The one spelling in JSON of a decision's parts."""
    return msgspec.json.encode(value, order="sorted")


def compile_policy(document: Policy, version: int, digest: str) -> CompiledPolicy:
    """A policy that passed `check_policy`, as plain Python. Done once, when it is published or first met."""
    ordered = sorted(document.rules, key=lambda rule: (rule.precedence, rule.id))
    return CompiledPolicy(
        document=document,
        version=version,
        hash=digest,
        rules=tuple(_compile_rule(rule) for rule in ordered),
        scorecard=compile_scorecard(document.scorecard),
        kyc_caps={item.tier: item.cap for item in document.caps.kyc},
    )


def assess(policy: CompiledPolicy, facts: Facts, now: datetime) -> Assessment:
    """What the policy says of a customer with these facts. Every rule is tried: nothing stops at the first failure."""
    values = facts.values
    states, outcomes, knockouts = _try_rules(policy, values)
    points = policy.scorecard.points(values)
    score = policy.scorecard.base + sum(points.values())
    band = policy.scorecard.band_of(score)
    if band.reason is not None:
        outcomes.add(band.outcome)
        knockouts.append(band.reason)
    caps = _caps(policy, values, band.cap)
    exposure_cap = min(cap for cap in caps.values() if cap is not None)
    return Assessment(
        policy=policy.document.name,
        policy_version=policy.version,
        policy_hash=policy.hash,
        assessed_at=now.astimezone(UTC),
        facts=facts,
        rules=states,
        points=points,
        score=score,
        band=band.id,
        outcome=_worst(outcomes),
        knockouts=tuple(dict.fromkeys(knockouts)),
        factors=policy.scorecard.factors(points),
        caps=caps,
        exposure_cap=exposure_cap,
        exposure=facts.exposure,
        headroom=max(0, min(exposure_cap, exposure_cap - facts.exposure)),
    )


def decide(
    policy: CompiledPolicy,
    assessment: Assessment,
    amount: int,
    term_days: int | None = None,
    terms: Terms | None = None,
) -> Decision:
    """The assessment applied to `amount` for `term_days` (the policy's default where None), or at given `terms`.

    `policy` is the one that the assessment names. Reasons: failed rules in order of precedence, then what is wrong with
    the amount, then up to four scorecard factors.
    """
    assert policy.hash == assessment.policy_hash, "an assessment is applied under the policy that made it"
    document = policy.document
    term = find_term(document, term_days)
    limit = _limit(document, assessment, amount, term, terms)
    price = _price(document, amount, term, terms)
    faults = _amount_faults(
        document, assessment, amount, limit, price, known_term=terms is not None or term is not None
    )
    outcome = Outcome.DECLINE if faults else assessment.outcome
    if outcome is Outcome.APPROVE:
        return Decision(outcome=outcome, amount=amount, limit=limit, price=price, reasons=())
    return Decision(
        outcome=outcome,
        amount=amount,
        limit=0 if assessment.outcome is Outcome.DECLINE else limit,
        price=None if outcome is Outcome.DECLINE else price,
        reasons=tuple(dict.fromkeys((*assessment.knockouts, *faults, *assessment.factors))),
    )


def replay(policy: CompiledPolicy, inputs: DecisionInputs) -> tuple[Assessment, Decision]:
    """Makes a recorded decision again from its inputs."""
    assessment = assess(policy, inputs.facts, inputs.now)
    return assessment, decide(policy, assessment, inputs.amount, inputs.term_days, inputs.terms)


def _try_rules(
    policy: CompiledPolicy, values: dict[str, FactValue]
) -> tuple[dict[str, RuleState], set[str], list[str]]:
    """Every rule's state, the outcomes of those that failed, and their reasons in order of precedence."""
    states: dict[str, RuleState] = {}
    outcomes: set[str] = set()
    reasons: list[str] = []
    if not policy.document.lending:
        outcomes.add(Outcome.DECLINE)
        reasons.append(SystemReason.LENDING_OFF.value)
    for rule in policy.rules:
        value = values[rule.fact]
        failed = None
        if value is None:
            failed = rule.missing
            states[rule.id] = RuleState.SKIPPED if failed is None else RuleState.MISSING
        elif rule.holds(value):
            failed = rule.fails
            states[rule.id] = RuleState.FAILED
        else:
            states[rule.id] = RuleState.PASSED
        if failed is not None:
            outcomes.add(failed[0])
            reasons.append(failed[1])
    return states, outcomes, reasons


def _worst(outcomes: set[str]) -> Outcome:
    if Outcome.DECLINE in outcomes:
        return Outcome.DECLINE
    return Outcome.REFER if Outcome.REFER in outcomes else Outcome.APPROVE


def _caps(policy: CompiledPolicy, values: dict[str, FactValue], band_cap: int) -> dict[str, int | None]:
    caps = policy.document.caps
    return {
        "product": caps.product,
        "band": band_cap,
        "affordability": _affordability_cap(caps, values["monthly_income"]),
        # A tier that the policy does not know gets nothing: fail closed.
        "kyc_tier": policy.kyc_caps.get(values["kyc_tier"], 0),
        "repeat": _repeat_cap(caps, values["largest_principal_repaid"]),
    }


def _affordability_cap(caps: Caps, income: FactValue) -> int | None:
    if caps.affordability is None:
        return None
    if income is None:
        return caps.affordability.missing_cap
    assert isinstance(income, int)
    return min(floor_bps(income, caps.affordability.income_bps), MAX_AMOUNT)


def _repeat_cap(caps: Caps, repaid: FactValue) -> int | None:
    if not caps.repeat:
        return None
    assert isinstance(repaid, int)
    return next(step.cap for step in caps.repeat if covers(step.from_, step.to, repaid))


def _limit(policy: Policy, assessment: Assessment, amount: int, term: Term | None, terms: Terms | None) -> int:
    if terms is not None:
        return largest_at_terms(policy, terms, amount, assessment.headroom)
    return 0 if term is None else largest_amount(policy, term, assessment.headroom)


def _price(policy: Policy, amount: int, term: Term | None, terms: Terms | None) -> Price | None:
    if terms is not None:
        return price_of_terms(policy, terms, amount)
    return None if term is None else price_of(policy, term, amount)


def _amount_faults(
    policy: Policy, assessment: Assessment, amount: int, limit: int, price: Price | None, *, known_term: bool
) -> list[str]:
    """Why this amount can't be lent: at most one of not offered, too small; and whether it is above the limit.

    A price may fall where amounts grow, so an amount under the limit may still owe more than the headroom.
    """
    if not known_term:
        return [SystemReason.TERM_NOT_OFFERED.value]
    faults: list[str] = []
    if amount < policy.amounts.minimum:
        faults.append(SystemReason.AMOUNT_BELOW_MINIMUM.value)
    elif amount <= policy.amounts.maximum and (price is None or not is_offered(policy.amounts, amount)):
        faults.append(SystemReason.AMOUNT_NOT_OFFERED.value)
    if amount > limit or (price is not None and price.total_due > assessment.headroom):
        faults.append(SystemReason.AMOUNT_ABOVE_LIMIT.value)
    return faults


def _compile_rule(rule: Rule) -> _CompiledRule:
    missing = None if rule.on_missing is OnMissing.SKIP else (str(rule.on_missing), rule.missing_reason)
    return _CompiledRule(
        id=rule.id,
        fact=rule.fact,
        holds=_compile_test(rule),
        fails=(str(rule.outcome), rule.reason),
        missing=missing,
    )


_COMPARISONS: dict[Op, Callable[[Any, Any], bool]] = {
    Op.LT: lt, Op.LE: le, Op.GT: gt, Op.GE: ge, Op.EQ: eq, Op.NE: ne,
}  # fmt: skip


def _compile_test(rule: Rule) -> Holds:
    if isinstance(rule.value, tuple):
        members = frozenset(rule.value)
        if rule.op is Op.IN:
            return members.__contains__
        return lambda value: value not in members
    compare, bound = _COMPARISONS[rule.op], rule.value
    return lambda value: compare(value, bound)
