"""A slow, obvious reading of a policy, and the facts and documents that tests put to it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from fractions import Fraction
from importlib.resources import files
from math import floor
from typing import Any

from hypothesis import strategies as st

from amana.domain.decision import CompiledPolicy, compile_policy
from amana.domain.facts import FACTS, Facts, FactValue, Kind, Source
from amana.domain.policy import Op, Policy, Term, policy_bytes, policy_from, policy_hash
from amana.domain.record import Employment

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
    """Outcome, limit, reasons and cap at the default term, straight from the document."""
    answer = read_plainly(policy, given, amount)
    return {name: answer[name] for name in ("outcome", "limit", "reasons", "exposure_cap")}


def read_plainly(
    policy: Policy, given: Facts, amount: int, term_days: int | None = None, network: str | None = None
) -> dict[str, Any]:
    """Everything that a decision says, straight from the document. The limit is found by trying every amount."""
    values = {name: given.values.get(name) for name in FACTS}
    knockouts, outcomes = _knocked_out(policy, values)
    points, lost = _scored(policy, values)
    score = policy.scorecard.base + sum(points.values())
    band = next(band for band in policy.scorecard.bands if _within(band, score))
    if band.reason is not None:
        outcomes.append(band.outcome)
        knockouts.append(band.reason)
    cap = min(_caps(policy, values, band.cap))
    headroom = min(cap, max(0, cap - given.exposure))
    days = policy.price.default_term_days if term_days is None else term_days
    term = next((term for term in policy.price.terms if term.term_days == days), None)
    dues = {one: _price(policy, term, one) for one in _on_offer(policy)}
    limit = max((one for one, price in dues.items() if price is not None and price["total_due"] <= headroom), default=0)
    price = _price(policy, term, amount)
    wrong = ["term_not_offered"] if term is None else _wrong_with(policy, amount, limit, headroom, price)
    closed = _closed(policy, network)
    declined = "decline" in outcomes
    outcome = "decline" if declined or wrong or closed else "refer" if "refer" in outcomes else "approve"
    told = [] if outcome == "approve" else [*closed, *knockouts, *wrong, *[reason for _, _, reason in sorted(lost)[:4]]]
    return {
        "outcome": outcome,
        "limit": 0 if declined or closed else limit,
        **(price if outcome != "decline" and price is not None else dict.fromkeys(PRICE)),
        "exposure_cap": cap,
        "exposure": given.exposure,
        "headroom": headroom,
        "score": score,
        "band": band.id,
        "reasons": list(dict.fromkeys(told)),
    }


PRICE = ("principal", "fee", "total_due", "rate_bps", "term_days")


def _knocked_out(policy: Policy, values: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Reasons and outcomes of what failed but for the scorecard."""
    reasons, outcomes = [], []
    if not policy.lending:
        outcomes.append("decline")
        reasons.append("lending_off")
    for rule in sorted(policy.rules, key=lambda rule: (rule.precedence, rule.id)):
        value = values[rule.fact]
        if value is None and rule.on_missing != "skip":
            outcomes.append(str(rule.on_missing))
            reasons.append(rule.missing_reason)
        elif value is not None and _holds(rule.op, value, rule.value):
            outcomes.append(str(rule.outcome))
            reasons.append(rule.reason)
    return reasons, outcomes


def _scored(policy: Policy, values: Mapping[str, Any]) -> tuple[dict[str, int], list[tuple[int, str, str]]]:
    """The points of each attribute, and what those that lost points lost."""
    scored, lost = {}, []
    for item in policy.scorecard.attributes:
        value = values[item.fact]
        points = item.missing
        for entry in item.bins:
            if value is not None and (value in entry.values if entry.values else _within(entry, value)):
                points = entry.points
        scored[item.id] = points
        best = max(entry.points for entry in item.bins)
        if points < best:
            lost.append((points - best, item.id, item.reason))
    return scored, lost


def _closed(policy: Policy, network: str | None) -> list[str]:
    if not policy.networks:
        return []
    listed = [item for item in policy.networks if item.id == network]
    if not listed:
        return ["network_not_served"]
    return [] if listed[0].lending else ["lending_off"]


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
    caps += [item.cap for item in policy.caps.kyc if item.tier == values["kyc_tier"]] or [0]
    caps += [step.cap for step in policy.caps.repeat if _within(step, values["largest_principal_repaid"])]
    if policy.caps.affordability is not None:
        income = values["monthly_income"]
        share = policy.caps.affordability
        caps.append(share.missing_cap if income is None else income * share.income_bps // 10_000)
    return caps


def _on_offer(policy: Policy) -> list[int]:
    amounts = policy.amounts
    return list(amounts.listed) or list(range(amounts.minimum, amounts.maximum + 1, amounts.denomination))


def _price(policy: Policy, term: Term | None, amount: int) -> dict[str, int] | None:
    step = next((step for step in term.steps if _within(step, amount)), None) if term is not None else None
    if term is None or step is None:
        return None
    exact = Fraction(amount * step.fee_bps, 10_000)
    fee = round(exact) if step.rounding == "half_even" else floor(exact)
    added = policy.price.fee_mode == "added"
    return {
        "principal": amount if added else amount - fee,
        "fee": fee,
        "total_due": amount + fee if added else amount,
        "rate_bps": step.fee_bps,
        "term_days": term.term_days,
    }


def _wrong_with(policy: Policy, amount: int, limit: int, headroom: int, price: dict[str, int] | None) -> list[str]:
    amounts = policy.amounts
    wrong = []
    if amount < amounts.minimum:
        wrong.append("amount_below_minimum")
    elif amount <= amounts.maximum and (
        price is None or (amount not in amounts.listed if amounts.listed else amount % amounts.denomination)
    ):
        wrong.append("amount_not_offered")
    if amount > limit or (price is not None and price["total_due"] > headroom):
        wrong.append("amount_above_limit")
    return wrong
