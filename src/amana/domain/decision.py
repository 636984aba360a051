"""Deciding: facts and a policy make an assessment, an assessment and an amount make a decision. Pure and replayable.

The assessment says what the policy thinks of the customer whatever the amount: every rule's result, the points, each
cap, the headroom. It is what may be cached. The decision adds the amount: limit, price, outcome, reasons. The same
inputs give the same bytes on any machine at any time.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from uuid import UUID

import msgspec

from amana.domain.facts import Facts
from amana.domain.policy import Amounts, Outcome, Policy, SystemReason
from amana.domain.policy_code import in_order, load, policy_code
from amana.domain.pricing import Price, Terms, is_offered, largest_at_terms, price_of_terms

# Looked up once: a member of an enumeration and its text take as long as the rest of a decision.
_APPROVE, _DECLINE = Outcome.APPROVE, Outcome.DECLINE
_TERM_NOT_OFFERED = SystemReason.TERM_NOT_OFFERED.value
_BELOW_MINIMUM = SystemReason.AMOUNT_BELOW_MINIMUM.value
_NOT_OFFERED = SystemReason.AMOUNT_NOT_OFFERED.value
_ABOVE_LIMIT = SystemReason.AMOUNT_ABOVE_LIMIT.value


class RuleState(StrEnum):
    """What a rule found. `missing`: the fact is unknown and the rule failed for it; `skipped`: it passed over that."""

    PASSED = "passed"
    FAILED = "failed"
    MISSING = "missing"
    SKIPPED = "skipped"


class Assessment(msgspec.Struct, frozen=True):
    """What a policy says of a customer, whatever the amount.

    `knockouts` are the reasons of failed rules in order of precedence (and of the band, where it does not approve),
    `factors` the scorecard's. `caps` bound exposure by name, null where a cap does not apply; `exposure_cap` is the
    least of them and `headroom` what is left of it: never below 0, never above it. Amounts in minor units. Compiled
    policies make it by place.
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


class Verdict(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What of an assessment the answer to a plain question needs: small enough to be kept for every customer.

    `decision_id` is the decision that recorded the assessment. The rest is as in `Assessment`.
    """

    decision_id: UUID
    policy_hash: str
    facts_version: int
    assessed_at: datetime
    outcome: Outcome
    knockouts: tuple[str, ...]
    factors: tuple[str, ...]
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


class DecisionInputs(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All that a decision came from, beside the policy that the hash names: enough to make it again, byte for byte.

    A network that nobody named is left out of the bytes, which are then those of before there were networks.
    """

    facts: Facts
    now: datetime
    amount: int
    term_days: int | None
    terms: Terms | None
    policy_hash: str
    policy_version: int
    network: str | None = None


@dataclass(frozen=True, slots=True)
class CompiledPolicy:
    """A published policy ready to decide. `quotes` by days, the default term under None: each gives limit and price.

    `networks` says of each listed one whether it lends; empty where none is listed.
    """

    document: Policy
    version: int
    hash: str
    assess: Callable[[Facts, datetime], Assessment]
    quotes: Mapping[int | None, Callable[[int, int], tuple[int, Price | None]]]
    networks: Mapping[str | None, bool]


def canonical(value: Assessment | Decision | DecisionInputs) -> bytes:
    """The one spelling in JSON of a decision's parts. Of an assessment only its findings are stored (`findings`)."""
    return msgspec.json.encode(value, order="sorted")


def compile_policy(document: Policy, version: int, digest: str) -> CompiledPolicy:
    """A policy that passed `check_policy`, as plain Python. Done once, when it is published or first met."""
    names = {state.value: state for state in RuleState}
    named = {"policy": document.name, "policy_version": version, "policy_hash": digest, "utc": UTC}
    made = load(policy_code(document), {**names, **named, "Assessment": Assessment, "Price": Price})
    quotes = {term.term_days: made[f"quote{at}"] for at, term in enumerate(document.price.terms)}
    return CompiledPolicy(
        document=document,
        version=version,
        hash=digest,
        assess=made["assess"],
        quotes=quotes | {None: quotes[document.price.default_term_days]},
        networks={item.id: item.lending for item in document.networks},
    )


def assess(policy: CompiledPolicy, facts: Facts, now: datetime) -> Assessment:
    """What the policy says of a customer with these facts. Every rule is tried: nothing stops at the first failure."""
    return policy.assess(facts, now)


def verdict_of(assessment: Assessment, decision_id: UUID) -> Verdict:
    """The part of an assessment that is kept."""
    return Verdict(
        decision_id,
        assessment.policy_hash,
        assessment.facts.version,
        assessment.assessed_at,
        assessment.outcome,
        assessment.knockouts,
        assessment.factors,
        assessment.exposure_cap,
        assessment.exposure,
        assessment.headroom,
    )


def decide(
    policy: CompiledPolicy,
    assessment: Assessment | Verdict,
    amount: int,
    term_days: int | None = None,
    terms: Terms | None = None,
    network: str | None = None,
) -> Decision:
    """The assessment applied to `amount` for `term_days` (the policy's default where None), or at given `terms`.

    `policy` is the one that the assessment names. Reasons: the network, where it closes the door; failed rules in order
    of precedence, then what is wrong with the amount, then up to four scorecard factors.
    """
    assert policy.hash == assessment.policy_hash, "an assessment is applied under the policy that made it"
    document, headroom = policy.document, assessment.headroom
    if terms is not None:
        limit = largest_at_terms(document, terms, amount, headroom)
        price = price_of_terms(document, terms, amount)
        faults = _amount_faults(document.amounts, headroom, amount, limit, price)
    elif (quote := policy.quotes.get(term_days)) is not None:
        limit, price = quote(amount, headroom)
        faults = _amount_faults(document.amounts, headroom, amount, limit, price)
    else:
        limit, price, faults = 0, None, [_TERM_NOT_OFFERED]
    closed = network_fault(policy.networks, network) if policy.networks else ()
    outcome = _DECLINE if faults or closed else assessment.outcome
    if outcome is _APPROVE:
        return Decision(outcome=outcome, amount=amount, limit=limit, price=price, reasons=())
    return Decision(
        outcome=outcome,
        amount=amount,
        limit=0 if closed or assessment.outcome is _DECLINE else limit,
        price=None if outcome is _DECLINE else price,
        reasons=in_order((*closed, *assessment.knockouts, *faults, *assessment.factors)),
    )


def replay(policy: CompiledPolicy, inputs: DecisionInputs) -> tuple[Assessment, Decision]:
    """Makes a recorded decision again from its inputs."""
    assessment = assess(policy, inputs.facts, inputs.now)
    return assessment, decide(policy, assessment, inputs.amount, inputs.term_days, inputs.terms, inputs.network)


def network_fault(networks: Mapping[str | None, bool], network: str | None) -> tuple[str, ...]:
    """Why nothing is lent over a network, where the policy lists any; empty where something may be."""
    if network not in networks:
        return (SystemReason.NETWORK_NOT_SERVED.value,)
    return () if networks[network] else (SystemReason.LENDING_OFF.value,)


def _amount_faults(amounts: Amounts, headroom: int, amount: int, limit: int, price: Price | None) -> list[str]:
    """Why this amount can't be lent: at most one of not offered, too small; and whether it is above the limit.

    A price may fall where amounts grow, so an amount under the limit may still owe more than the headroom.
    """
    faults: list[str] = []
    if amount < amounts.minimum:
        faults.append(_BELOW_MINIMUM)
    elif amount <= amounts.maximum and (price is None or not is_offered(amounts, amount)):
        faults.append(_NOT_OFFERED)
    if amount > limit or (price is not None and price.total_due > headroom):
        faults.append(_ABOVE_LIMIT)
    return faults
