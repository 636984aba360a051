"""A checked policy as Python source: what `assess` and `decide` run instead of reading the document each time.

The source holds integers and generated names, nothing else: every text of the document (ids, reason codes, names of
facts, text values) is an object in the namespace that the source runs in, under a generated name. So no text of a
document is ever read as code, whatever it says. The namespace has no builtins beyond what `load` gives it.

    def assess(facts, now): ...             one branch a rule, one a bin; constant keys, constant reasons
    def quote0(amount, headroom): ...       for each term: the limit under a headroom, the price of an amount
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NewType

from amana.domain.facts import FACTS, Kind
from amana.domain.money import MAX_AMOUNT
from amana.domain.policy import Attribute, Band, Caps, OnMissing, Op, Outcome, Policy, Rule, SystemReason
from amana.domain.policy_ranges import tree
from amana.domain.price_code import quote_source
from amana.domain.scorecard import RANKS_MAX, best_points, ranked, told_factors

Name = NewType("Name", str)
"""A generated identifier."""

OUTCOMES = (Outcome.APPROVE, Outcome.REFER, Outcome.DECLINE, Outcome.DECLINE)
"""By the sum of what failed: 1 where something refers, 2 where something declines."""
WEIGHTS: dict[str, int] = {outcome.value: OUTCOMES.index(outcome) for outcome in Outcome}
_SIGNS = {Op.LT: "<", Op.LE: "<=", Op.GT: ">", Op.GE: ">=", Op.EQ: "==", Op.NE: "!=", Op.IN: "in", Op.NOT_IN: "not in"}


@dataclass(slots=True)
class PolicyCode:
    """Python source, and the objects that its generated names stand for."""

    lines: list[str] = field(default_factory=list)
    constants: dict[str, object] = field(default_factory=dict)

    @property
    def source(self) -> str:
        """The whole source."""
        return "\n".join(self.lines) + "\n"

    def bind(self, value: object) -> Name:
        """A new name for `value`."""
        name = Name(f"c{len(self.constants)}")
        self.constants[name] = value
        return name


def policy_code(document: Policy) -> PolicyCode:
    """The source of a policy that passed `check_policy`. It needs the names that `load` is given too."""
    code = PolicyCode()
    facts = {name: Name(f"v{at}") for at, name in enumerate(facts_of(document))}
    ids = [code.bind(rule.id) for rule in document.rules_in_order()]
    code.lines += [f"all_passed = {{{', '.join(f'{id_}: passed' for id_ in ids)}}}", "def assess(facts, now):"]
    body = ["values = facts.values", *(f"{name} = {_read(fact, code)}" for fact, name in facts.items())]
    body += _rules(document, ids, facts, code)
    body += _points(document, facts, code)
    body += _bands(document.scorecard.bands, code)
    body += _caps(document.caps, facts)
    body += _assessment(document, facts, code)
    code.lines += [f"    {line}" for line in body]
    for at, term in enumerate(document.price.terms):
        code.lines += [f"def quote{at}(amount, headroom):", *(f"    {line}" for line in quote_source(document, term))]
    return code


def load(code: PolicyCode, names: Mapping[str, object]) -> dict[str, Any]:
    """The functions of `code` by name. `names`: what the source calls by a name of its own, such as `Assessment`."""
    namespace: dict[str, Any] = {"__builtins__": {}, "told_factors": told_factors, "in_order": in_order}
    namespace |= {"outcomes": OUTCOMES, **names, **code.constants}
    exec(compile(code.source, "<policy>", "exec"), namespace)  # noqa: S102 - integers and generated names alone
    return namespace


def in_order(reasons: Iterable[str]) -> tuple[str, ...]:
    """The reasons in their order, each where it came first."""
    return tuple(dict.fromkeys(reasons))


def facts_of(document: Policy) -> list[str]:
    """The facts that a policy reads, once each, in the order of their declarations."""
    read = {rule.fact for rule in document.rules} | {item.fact for item in document.scorecard.attributes}
    read |= {"exposure", "kyc_tier"}
    read |= {"monthly_income"} if document.caps.affordability else set()
    read |= {"largest_principal_repaid"} if document.caps.repeat else set()
    return [name for name in FACTS if name in read]


def _read(fact: str, code: PolicyCode) -> str:
    """A fact's value; one that may be unknown may be absent too, from facts of before it was declared."""
    name = code.bind(fact)
    return f"values.get({name})" if FACTS[fact].nullable else f"values[{name}]"


def _rules(document: Policy, ids: Sequence[Name], facts: Mapping[str, Name], code: PolicyCode) -> list[str]:
    """Every rule is tried: `states` by rule, `told` the reasons of those that failed, `worst` what they lead to."""
    off = "" if document.lending else code.bind(SystemReason.LENDING_OFF.value)
    lines = ["states = all_passed.copy()", f"told = [{off}]", f"worst = {0 if document.lending else 2}"]
    for rule, id_ in zip(document.rules_in_order(), ids, strict=True):
        value = facts[rule.fact]
        lines.append(f"if {value} is None:")
        if rule.on_missing is OnMissing.SKIP:
            lines.append(f"    states[{id_}] = skipped")
        else:
            lines += [f"    states[{id_}] = missing", *_failed(rule.missing_reason, WEIGHTS[rule.on_missing], code)]
        lines += [f"elif {value} {_SIGNS[rule.op]} {_bound(rule, code)}:", f"    states[{id_}] = failed"]
        lines += _failed(rule.reason, WEIGHTS[rule.outcome], code)
    return lines


def _failed(reason: str, weight: int, code: PolicyCode) -> list[str]:
    return [f"    told.append({code.bind(reason)})", f"    worst |= {weight}"]


def _bound(rule: Rule, code: PolicyCode) -> str:
    """What a rule compares with: an integer as it is, anything else by its name."""
    if isinstance(rule.value, tuple):
        return code.bind(frozenset(rule.value))
    if isinstance(rule.value, int) and not isinstance(rule.value, bool):
        return str(int(rule.value))
    return code.bind(rule.value)


def _points(document: Policy, facts: Mapping[str, Name], code: PolicyCode) -> list[str]:
    """`p0`, `p1`, … the points of each attribute; `lost` what those that lost points lost, as `told_factors` reads."""
    attributes = document.scorecard.attributes
    ranks = {item.id: rank for rank, item in enumerate(ranked(attributes))}
    lines = ["lost = []"]
    for at, item in enumerate(attributes):
        best = best_points(item)
        lines.append(f"p{at} = {_worth(item, facts[item.fact], code)}")
        lines.append(f"if p{at} < {best}:")
        lines.append(f"    lost.append((p{at} - {best}) * {RANKS_MAX} + {ranks[item.id]})")
    total = " + ".join(f"p{at}" for at in range(len(attributes)))
    return [*lines, f"score = {document.scorecard.base} + {total}"]


def _worth(item: Attribute, value: Name, code: PolicyCode) -> str:
    if FACTS[item.fact].kind is Kind.INTEGER:
        return f"{item.missing} if {value} is None else {tree(item.bins, [bin_.points for bin_ in item.bins], value)}"
    points: dict[bool | str | None, int] = {value: bin_.points for bin_ in item.bins for value in bin_.values}
    return f"{code.bind(points | {None: item.missing})}[{value}]"


def _bands(bands: Sequence[Band], code: PolicyCode) -> list[str]:
    """`band` the id, `band_cap` its cap; a band that does not approve fails like a rule."""
    rows = tuple((band.id, band.cap, band.reason, WEIGHTS[band.outcome]) for band in bands)
    return [
        f"band, band_cap, reason, weight = {code.bind(rows)}[{tree(bands, range(len(bands)), 'score')}]",
        "if reason is not None:",
        "    told.append(reason)",
        "    worst |= weight",
    ]


def _caps(caps: Caps, facts: Mapping[str, Name]) -> list[str]:
    """Each cap, None where it does not apply; `cap` the least of them; `headroom` what is left of it."""
    tier = facts["kyc_tier"]
    # A tier that the policy does not know gets nothing: fail closed.
    by_tier = "".join(f"{item.cap} if {tier} == {item.tier} else " for item in caps.kyc) + "0"
    lines = ["affordable = repeat = None", f"tier_cap = {by_tier}", f"cap = {caps.product}"]
    if caps.affordability is not None:
        income, share = facts["monthly_income"], caps.affordability
        lines += [
            f"affordable = {share.missing_cap} if {income} is None else {income} * {share.income_bps} // 10_000",
            f"if affordable > {MAX_AMOUNT}:",
            f"    affordable = {MAX_AMOUNT}",
        ]
    if caps.repeat:
        steps = [step.cap for step in caps.repeat]
        lines.append(f"repeat = {tree(caps.repeat, steps, facts['largest_principal_repaid'])}")
    bounds = (
        ["band_cap", "tier_cap"] + ["affordable"] * (caps.affordability is not None) + ["repeat"] * bool(caps.repeat)
    )
    for bound in bounds:
        lines += [f"if {bound} < cap:", f"    cap = {bound}"]
    owed = facts["exposure"]
    return [*lines, f"headroom = cap - {owed} if {owed} > 0 else cap", "if headroom < 0:", "    headroom = 0"]


def _assessment(document: Policy, facts: Mapping[str, Name], code: PolicyCode) -> list[str]:
    points = ", ".join(f"{code.bind(item.id)}: p{at}" for at, item in enumerate(document.scorecard.attributes))
    names = ("product", "band", "affordability", "kyc_tier", "repeat")
    caps = zip(names, (document.caps.product, "band_cap", "affordable", "tier_cap", "repeat"), strict=True)
    reasons = tuple(item.reason for item in ranked(document.scorecard.attributes))
    return [
        # By place, in the order of its fields: by name takes three times as long.
        "return Assessment(",
        "    policy, policy_version, policy_hash, now if now.tzinfo is utc else now.astimezone(utc), facts, states,",
        f"    {{{points}}}, score, band, outcomes[worst], in_order(told) if told else (),",
        f"    told_factors(lost, {code.bind(reasons)}) if lost else (),",
        f"    {{{', '.join(f'{code.bind(name)}: {cap}' for name, cap in caps)}}}, cap, {facts['exposure']}, headroom,",
        ")",
    ]
