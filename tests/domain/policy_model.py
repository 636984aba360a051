"""A slow, obvious reading of a policy, and the facts and documents that tests put to it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

from hypothesis import strategies as st

from amana.domain.decision import CompiledPolicy, compile_policy
from amana.domain.facts import FACTS, Employment, Facts, FactValue, Kind, Source
from amana.domain.policy import Op, Policy, policy_bytes, policy_from, policy_hash
from amana.domain.pricing import fee_of

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
SHIPPED = ("airtime", "bnpl", "nano")

GOOD: dict[str, FactValue] = {
    "kyc_tier": 3,
    "age_years": 34,
    "employment": "permanent",
    "monthly_income": 25_000_000,
    "bank_known": True,
    "blocked": False,
    "exposure": 0,
    "loans_total": 8,
    "loans_open": 0,
    "loans_closed": 8,
    "worst_days_past_due": 0,
    "current_days_past_due": 0,
    "largest_principal_repaid": 6_000_000,
    "repaid_total": 40_000_000,
    "days_since_first_loan": 400,
    "days_since_last_closed": 5,
}


def facts(changes: Mapping[str, FactValue] | None = None) -> Facts:
    """A customer without a flaw, with some facts changed."""
    return Facts(values=GOOD | dict(changes or {}), as_of=dict.fromkeys(Source, NOW), version=1)


def shipped(name: str) -> Policy:
    """A policy that comes with Amana."""
    return policy_from(files("amana").joinpath("policies", f"{name}.json").read_bytes())


def compiled(policy: Policy) -> CompiledPolicy:
    """The policy as its first version."""
    return compile_policy(policy, 1, policy_hash(policy_bytes(policy)))


def any_facts() -> st.SearchStrategy[Facts]:
    """Any facts that could be, the unknown ones included."""
    edges = [0, 1, 2, 3, 5, 14, 15, 17, 18, 30, 31, 60, 61, 90, 91, 366, 1_000_000, 3_000_000, 7_500_000, 2**53 - 1]
    numbers = st.sampled_from(edges) | st.integers(0, 100) | st.integers(0, 100_000_000)
    values: dict[str, st.SearchStrategy[Any]] = {}
    for name, spec in FACTS.items():
        by_kind = {Kind.INTEGER: numbers, Kind.BOOLEAN: st.booleans(), Kind.TEXT: st.sampled_from(list(Employment))}
        known = by_kind[spec.kind].map(lambda value: str(value) if isinstance(value, Employment) else value)
        values[name] = st.none() | known if spec.nullable else known
    values["kyc_tier"] = st.integers(1, 3)
    return st.fixed_dictionaries(values).map(facts)


def interpret(policy: Policy, given: Facts, amount: int) -> dict[str, Any]:
    """Outcome, limit and reasons at the default term, straight from the document."""
    values = given.values
    reasons, outcomes = [], []
    if not policy.lending:
        outcomes.append("decline")
        reasons.append("lending_off")
    for rule in sorted(policy.rules, key=lambda rule: (rule.precedence, rule.id)):
        value = values[rule.fact]
        if value is None and rule.on_missing != "skip":
            outcomes.append(rule.on_missing)
            reasons.append(rule.missing_reason)
        elif value is not None and _holds(rule.op, value, rule.value):
            outcomes.append(rule.outcome)
            reasons.append(rule.reason)
    lost, score = [], policy.scorecard.base
    for item in policy.scorecard.attributes:
        value = values[item.fact]
        points = item.missing
        for entry in item.bins:
            if value is not None and (value in entry.values if entry.values else _within(entry, value)):
                points = entry.points
        score += points
        best = max(entry.points for entry in item.bins)
        if points < best:
            lost.append((points - best, item.id, item.reason))
    band = next(band for band in policy.scorecard.bands if _within(band, score))
    if band.reason is not None:
        outcomes.append(band.outcome)
        reasons.append(band.reason)
    cap = min(_caps(policy, values, band.cap))
    headroom = max(0, cap - given.exposure)
    limit = max((a for a in _on_offer(policy) if _due(policy, a) <= headroom), default=0)
    wrong = _wrong_with(policy, amount, limit, headroom)
    declined = "decline" in outcomes
    outcome = "decline" if declined or wrong else "refer" if "refer" in outcomes else "approve"
    told = [] if outcome == "approve" else [*reasons, *wrong, *[reason for _, _, reason in sorted(lost)[:4]]]
    return {
        "outcome": outcome,
        "limit": 0 if declined else limit,
        "reasons": list(dict.fromkeys(told)),
        "exposure_cap": cap,
    }


def _holds(op: Op, value: Any, bound: Any) -> bool:
    if op in ("in", "not_in"):
        return (value in bound) == (op == "in")
    holds: dict[str, bool] = {"eq": value == bound, "ne": value != bound}
    if isinstance(value, int):
        holds |= {"lt": value < bound, "le": value <= bound, "gt": value > bound, "ge": value >= bound}
    return holds[op]


def _within(part: Any, value: Any) -> bool:
    return (part.from_ is None or part.from_ <= value) and (part.to is None or value < part.to)


def _caps(policy: Policy, values: Mapping[str, Any], band_cap: int) -> list[int]:
    caps = [policy.caps.product, band_cap]
    caps += [item.cap for item in policy.caps.kyc if item.tier == values["kyc_tier"]]
    caps += [step.cap for step in policy.caps.repeat if _within(step, values["largest_principal_repaid"])]
    if policy.caps.affordability is not None:
        income = values["monthly_income"]
        share = policy.caps.affordability
        caps.append(share.missing_cap if income is None else income * share.income_bps // 10_000)
    return caps


def _on_offer(policy: Policy) -> list[int]:
    amounts = policy.amounts
    return list(amounts.listed) or list(range(amounts.minimum, amounts.maximum + 1, amounts.denomination))


def _due(policy: Policy, amount: int) -> int:
    term = next(term for term in policy.price.terms if term.term_days == policy.price.default_term_days)
    step = next(step for step in term.steps if _within(step, amount))
    return amount + (fee_of(amount, step.fee_bps, step.rounding) if policy.price.fee_mode == "added" else 0)


def _wrong_with(policy: Policy, amount: int, limit: int, headroom: int) -> list[str]:
    amounts = policy.amounts
    wrong = []
    if amount < amounts.minimum:
        wrong.append("amount_below_minimum")
    elif amount <= amounts.maximum and amount not in _on_offer(policy):
        wrong.append("amount_not_offered")
    if amount > limit or _due(policy, amount) > headroom:
        wrong.append("amount_above_limit")
    return wrong
