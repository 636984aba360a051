"""What can be wrong with a policy that has the right shape: found before it is published, each with its pointer."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Protocol

from amana.domain.facts import FACTS, FactSpec, Kind, fits
from amana.domain.policy import (
    Amounts,
    Attribute,
    Band,
    Caps,
    FeeMode,
    Outcome,
    Policy,
    PriceTable,
    Scorecard,
    SystemReason,
    Term,
)
from amana.domain.policy_fault import PolicyFault, repeated
from amana.domain.pricing import fee_of
from amana.domain.rule_checks import Span, bounds_of, rule_faults, values_of

FAULTS_MAX = 20
"""How many faults are told at once: who has more begins with the first."""


class _Range(Protocol):
    @property
    def from_(self) -> int | None: ...
    @property
    def to(self) -> int | None: ...


def check_policy(policy: Policy) -> list[PolicyFault]:
    """The first `FAULTS_MAX` faults of the policy, in the order of the document; empty when it may be published."""
    return list(islice(all_faults(policy), FAULTS_MAX))


def all_faults(policy: Policy) -> Iterator[PolicyFault]:
    """Every fault of the policy, in the order of the document."""
    attributes = policy.scorecard.attributes
    yield from _amount_faults(policy.amounts)
    yield from repeated("/networks", "id", [item.id for item in policy.networks])
    yield from rule_faults(policy.rules)
    yield from repeated("/scorecard/attributes", "id", [item.id for item in attributes])
    yield from repeated("/scorecard/attributes", "reason", [item.reason for item in attributes])
    for at, item in enumerate(attributes):
        yield from _attribute_faults(at, item)
    yield from _band_faults(policy.scorecard.bands)
    yield from _beyond("/scorecard/bands", policy.scorecard.bands, _scores(policy.scorecard), "No score")
    yield from _cap_faults(policy.caps)
    yield from _price_faults(policy.price, policy.amounts)
    yield from _reason_faults(policy)


def _amount_faults(amounts: Amounts) -> Iterator[PolicyFault]:
    if amounts.minimum > amounts.maximum:
        yield PolicyFault("/amounts/maximum", "order", "The maximum is below the minimum.")
    for name, amount in (("minimum", amounts.minimum), ("maximum", amounts.maximum)):
        if amount % amounts.denomination:
            yield PolicyFault(f"/amounts/{name}", "denomination", "Not a multiple of the denomination.")
    if list(amounts.listed) != sorted(set(amounts.listed)):
        yield PolicyFault("/amounts/listed", "order", "Listed amounts must grow.")
    for at, amount in enumerate(amounts.listed):
        if not amounts.minimum <= amount <= amounts.maximum:
            yield PolicyFault(f"/amounts/listed/{at}", "unreachable", "Outside the minimum and the maximum.")


def _attribute_faults(at: int, attribute: Attribute) -> Iterator[PolicyFault]:
    pointer = f"/scorecard/attributes/{at}"
    spec = FACTS.get(attribute.fact)
    if spec is None:
        yield PolicyFault(f"{pointer}/fact", "unknown_fact", f"No fact is called {attribute.fact}.")
        return
    for index, item in enumerate(attribute.bins):
        ranged = item.from_ is not None or item.to is not None
        if spec.kind is Kind.INTEGER and item.values:
            yield PolicyFault(f"{pointer}/bins/{index}/values", "type", f"{spec.name} is binned by from and to.")
        if spec.kind is not Kind.INTEGER and (ranged or not item.values):
            yield PolicyFault(f"{pointer}/bins/{index}", "type", f"{spec.name} is binned by values.")
    if spec.kind is Kind.INTEGER:
        yield from _range_faults(f"{pointer}/bins", attribute.bins)
        yield from _beyond(f"{pointer}/bins", attribute.bins, bounds_of(spec), f"No {spec.name}")
    else:
        yield from _listing_faults(f"{pointer}/bins", attribute, spec)


def _listing_faults(pointer: str, attribute: Attribute, spec: FactSpec) -> Iterator[PolicyFault]:
    listed: set[bool | str] = set()
    for index, value in ((index, value) for index, item in enumerate(attribute.bins) for value in item.values):
        if not fits(spec, value):
            yield PolicyFault(f"{pointer}/{index}/values", "type", f"{value!r} is no value of {spec.name}.")
        if value in listed:
            yield PolicyFault(f"{pointer}/{index}/values", "overlap", f"{value!r} is in two bins.")
        listed.add(value)
    for value in values_of(spec):
        if value not in listed:
            yield PolicyFault(pointer, "gap", f"{value!r} is in no bin.")


def _range_faults(pointer: str, ranges: Sequence[_Range], *, closed: bool = False) -> Iterator[PolicyFault]:
    """Ranges must follow one another without gap or overlap, from no start to no end (unless `closed`)."""
    for at, item in enumerate(ranges):
        if item.from_ is not None and item.to is not None and item.from_ >= item.to:
            yield PolicyFault(f"{pointer}/{at}", "unreachable", "The range is empty.")
        if at == 0:
            continue
        begun, end, start = ranges[at - 1].from_, ranges[at - 1].to, item.from_
        if begun is not None and (start is None or start < begun):
            yield PolicyFault(f"{pointer}/{at}", "order", "Begins before the one before it begins.")
        elif end is None or start is None or start < end:
            yield PolicyFault(f"{pointer}/{at}", "overlap", "Begins before the one before it ends.")
        elif start > end:
            yield PolicyFault(f"{pointer}/{at}", "gap", f"Nothing covers {end} to {start - 1}.")
    if not closed and ranges and ranges[0].from_ is not None:
        yield PolicyFault(f"{pointer}/0/from", "gap", "The first range must have no start.")
    if not closed and ranges and ranges[-1].to is not None:
        yield PolicyFault(f"{pointer}/{len(ranges) - 1}/to", "gap", "The last range must have no end.")


def _beyond(pointer: str, ranges: Sequence[_Range], bounds: Span, nothing: str) -> Iterator[PolicyFault]:
    """That a range lies beyond all values that there can be. An empty range is a fault of its own."""
    least, greatest = bounds
    for at, item in enumerate(ranges):
        if (item.to is not None and item.to <= least) or (item.from_ is not None and item.from_ > greatest):
            yield PolicyFault(f"{pointer}/{at}", "unreachable", f"{nothing} falls in this range.")


def _scores(scorecard: Scorecard) -> Span:
    """No score is below the first or above the second. Points of an unknown fact count where it may be unknown."""
    least = greatest = scorecard.base
    for attribute in scorecard.attributes:
        spec = FACTS.get(attribute.fact)
        points = [item.points for item in attribute.bins]
        if spec is None or spec.nullable:
            points.append(attribute.missing)
        least, greatest = least + min(points), greatest + max(points)
    return least, greatest


def _band_faults(bands: Sequence[Band]) -> Iterator[PolicyFault]:
    yield from repeated("/scorecard/bands", "id", [band.id for band in bands])
    yield from _range_faults("/scorecard/bands", bands)
    severity = {Outcome.DECLINE: 0, Outcome.REFER: 1, Outcome.APPROVE: 2}
    for at, band in enumerate(bands):
        if (band.reason is None) != (band.outcome is Outcome.APPROVE):
            yield PolicyFault(f"/scorecard/bands/{at}/reason", "reason", "Needed exactly where not approved.")
        if at and band.cap < bands[at - 1].cap:
            yield PolicyFault(f"/scorecard/bands/{at}/cap", "order", "A better score may not have a lower cap.")
        if at and severity[band.outcome] < severity[bands[at - 1].outcome]:
            yield PolicyFault(f"/scorecard/bands/{at}/outcome", "order", "A better score may not fare worse.")


def _cap_faults(caps: Caps) -> Iterator[PolicyFault]:
    if [item.tier for item in caps.kyc] != [1, 2, 3]:
        yield PolicyFault("/caps/kyc", "gap", "Each of the tiers 1, 2 and 3 needs its cap, in this order.")
    for at in range(1, len(caps.kyc)):
        if caps.kyc[at].cap < caps.kyc[at - 1].cap:
            yield PolicyFault(f"/caps/kyc/{at}/cap", "order", "A higher tier may not have a lower cap.")
    yield from _range_faults("/caps/repeat", caps.repeat)
    yield from _beyond("/caps/repeat", caps.repeat, bounds_of(FACTS["largest_principal_repaid"]), "No principal")
    for at in range(1, len(caps.repeat)):
        if caps.repeat[at].cap < caps.repeat[at - 1].cap:
            yield PolicyFault(f"/caps/repeat/{at}/cap", "order", "More repaid may not have a lower cap.")


def _price_faults(price: PriceTable, amounts: Amounts) -> Iterator[PolicyFault]:
    yield from repeated("/price/terms", "term_days", [term.term_days for term in price.terms])
    if all(term.term_days != price.default_term_days for term in price.terms):
        yield PolicyFault("/price/default_term_days", "unknown_term", "The default term has no price.")
    for at, term in enumerate(price.terms):
        pointer = f"/price/terms/{at}/steps"
        yield from _range_faults(pointer, term.steps, closed=True)
        yield from _step_faults(pointer, term, price, amounts)


def _step_faults(pointer: str, term: Term, price: PriceTable, amounts: Amounts) -> Iterator[PolicyFault]:
    first, last = term.steps[0], term.steps[-1]
    if term.term_days == price.default_term_days:
        if first.from_ is not None and first.from_ > amounts.minimum:
            yield PolicyFault(f"{pointer}/0/from", "gap", "The default term must price the minimum.")
        if last.to is not None and last.to <= amounts.maximum:
            yield PolicyFault(f"{pointer}/{len(term.steps) - 1}/to", "gap", "The default term must price the maximum.")
    for at, step in enumerate(term.steps):
        if (step.to is not None and step.to <= amounts.minimum) or (step.from_ or 0) > amounts.maximum:
            yield PolicyFault(f"{pointer}/{at}", "unreachable", "No amount on offer falls in this step.")
        # What is left grows with the amount, so the least one tells: rounding may take all of a tiny one.
        least = max(amounts.minimum, step.from_ or 0)
        if price.fee_mode is FeeMode.DEDUCTED and fee_of(least, step.fee_bps, step.rounding) >= least:
            yield PolicyFault(f"{pointer}/{at}/fee_bps", "fee", "A deducted fee must leave something to pay out.")


def _reason_faults(policy: Policy) -> Iterator[PolicyFault]:
    """Every code that a decision can give is worded, and nothing is worded that can't be given."""
    given = {str(code) for code in SystemReason if policy.networks or code is not SystemReason.NETWORK_NOT_SERVED}
    given |= {rule.reason for rule in policy.rules} | {rule.missing_reason for rule in policy.rules}
    given |= {item.reason for item in policy.scorecard.attributes}
    given |= {band.reason for band in policy.scorecard.bands if band.reason is not None}
    for code in sorted(given - policy.reasons.keys()):
        yield PolicyFault("/reasons", "unworded", f"The reason {code} has no wording.")
    for code, text in policy.reasons.items():
        if not text.strip():
            yield PolicyFault(f"/reasons/{code}", "unworded", "The wording is blank.")
    for code in sorted(policy.reasons.keys() - given):
        yield PolicyFault(f"/reasons/{code}", "unreachable", f"Nothing gives the reason {code}.")
