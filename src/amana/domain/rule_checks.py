"""What can be wrong with the rules of a policy: unknown facts, mistyped values, and rules that add nothing.

Every failed rule is listed, so a rule adds nothing only if no value of its fact can fail it, or if another one fails
wherever it does and says all that it says. Which values fail a rule is written as spans: integers as they are, texts
and booleans by their place among the values that the fact may have.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple, TypeAlias

from amana.domain.facts import FACTS, FactSpec, FactValue, Kind, fits
from amana.domain.money import MAX_AMOUNT
from amana.domain.policy import Knockout, OnMissing, Op, Rule, SystemReason
from amana.domain.policy_fault import PolicyFault, repeated

Span: TypeAlias = tuple[int, int]
"""From the first to the last, both included."""


class Spans(NamedTuple):
    """Values that fail a rule: spans in order, neither touching nor overlapping, so that equal ones are spelled alike.

    `parts` are the same as a set: of two lists of 200 values it finds in microseconds whether one is in the other.
    """

    spans: tuple[Span, ...]
    parts: frozenset[Span]


ORDERS = (Op.LT, Op.LE, Op.GT, Op.GE)
LISTS = (Op.IN, Op.NOT_IN)
TIERS: Span = (1, 3)


def rule_faults(rules: Sequence[Rule]) -> Iterator[PolicyFault]:
    """The faults of a policy's rules, in their order."""
    yield from repeated("/rules", "id", [rule.id for rule in rules])
    failing = [_failing_of(rule) for rule in rules]
    said: dict[tuple[str, frozenset[Span]], int] = {}
    for at, rule in enumerate(rules):
        pointer = f"/rules/{at}"
        spec = FACTS.get(rule.fact)
        if spec is None:
            yield PolicyFault(f"{pointer}/fact", "unknown_fact", f"No fact is called {rule.fact}.")
            continue
        spans, fault = failing[at], _value_fault(rule, spec)
        if fault is not None:
            yield PolicyFault(f"{pointer}/value", "type", fault)
        elif spans is None or not spans.parts:
            yield PolicyFault(pointer, "unreachable", "No value of the fact can fail this rule.")
        else:
            yield from _needless(at, said.setdefault((rule.fact, spans.parts), at), rules, failing)
        if rule.missing_reason != SystemReason.MISSING_INFORMATION:
            yield from _missing_faults(pointer, rule, spec)


def bounds_of(spec: FactSpec) -> Span:
    """The least and the greatest value of an integer fact; of another, the places of its first and last value."""
    if spec.kind is Kind.INTEGER:
        return TIERS if spec.name == "kyc_tier" else (0, MAX_AMOUNT)
    return 0, len(values_of(spec)) - 1


def values_of(spec: FactSpec) -> tuple[bool | str, ...]:
    """What a text or boolean fact may be."""
    return (False, True) if spec.kind is Kind.BOOLEAN else spec.values


def _missing_faults(pointer: str, rule: Rule, spec: FactSpec) -> Iterator[PolicyFault]:
    """A reason of its own for a missing fact, where it can't be given."""
    if rule.on_missing is OnMissing.SKIP:
        yield PolicyFault(f"{pointer}/missing_reason", "unreachable", "A skipped rule gives no reason.")
    elif not spec.nullable:
        yield PolicyFault(f"{pointer}/missing_reason", "unreachable", f"{spec.name} is never unknown.")


def _value_fault(rule: Rule, spec: FactSpec) -> str | None:
    """What is wrong with a rule's value for its fact, or None."""
    if rule.op in ORDERS and spec.kind is not Kind.INTEGER:
        return f"Only an integer can be compared with {rule.op}."
    many = rule.op in LISTS
    if many != isinstance(rule.value, tuple):
        return f"{rule.op} takes {'a list' if many else 'one value'}."
    for value in _given(rule):
        if value is None or not fits(spec, value):
            return f"{value!r} is not a value that {spec.name} may have."
    return None


def _needless(at: int, earlier: int, rules: Sequence[Rule], failing: Sequence[Spans | None]) -> Iterator[PolicyFault]:
    """That a rule says the same as the `earlier` one, or nothing beyond one that comes first in precedence."""
    rule, spans = rules[at], failing[at]
    assert spans is not None, "its value fits its fact"
    if earlier != at:
        yield PolicyFault(f"/rules/{at}", "unreachable", f"Says the same as /rules/{earlier}.")
        return
    for other, found in enumerate(failing):
        if found is None or rules[other].fact != rule.fact or found.parts == spans.parts:
            continue
        if _says_it_all(rules[other], rule) and _is_within(spans, found):
            detail = f"Adds nothing to /rules/{other}, which fails wherever this does, with the same reason."
            yield PolicyFault(f"/rules/{at}", "shadowed", detail)
            return


def _says_it_all(first: Rule, rule: Rule) -> bool:
    """Whether `first`, where both fail, leaves nothing for `rule` to add: reason, outcome, place, missing fact."""
    if first.reason != rule.reason or (first.precedence, first.id) > (rule.precedence, rule.id):
        return False
    if first.outcome is not Knockout.DECLINE and rule.outcome is Knockout.DECLINE:
        return False
    if not FACTS[rule.fact].nullable or rule.on_missing is OnMissing.SKIP:
        return True
    return first.missing_reason == rule.missing_reason and first.on_missing in (rule.on_missing, OnMissing.DECLINE)


def _failing_of(rule: Rule) -> Spans | None:
    """Which values fail the rule; None where its fact or its value is at fault."""
    spec = FACTS.get(rule.fact)
    if spec is None or _value_fault(rule, spec) is not None:
        return None
    least, greatest = bounds_of(spec)
    numbers = sorted({_place(value, spec) for value in _given(rule)})
    match rule.op:
        case Op.LT:
            spans = [(least, numbers[0] - 1)]
        case Op.LE:
            spans = [(least, numbers[0])]
        case Op.GT:
            spans = [(numbers[0] + 1, greatest)]
        case Op.GE:
            spans = [(numbers[0], greatest)]
        case Op.EQ | Op.IN:
            spans = [(number, number) for number in numbers]
        case Op.NE | Op.NOT_IN:
            ends = [least - 1, *numbers, greatest + 1]
            spans = [(end + 1, start - 1) for end, start in pairwise(ends)]
    return _joined(spans, least, greatest)


def _place(value: FactValue, spec: FactSpec) -> int:
    assert value is not None, "it fits its fact"
    if isinstance(value, int):
        return value  # false and true are in the places 0 and 1
    return spec.values.index(value)


def _joined(spans: Iterable[Span], least: int, greatest: int) -> Spans:
    """The spans cut to the bounds, those that touch made one."""
    joined: list[Span] = []
    for start, end in ((max(start, least), min(end, greatest)) for start, end in spans):
        if start > end:
            continue
        touches = bool(joined) and start <= joined[-1][1] + 1
        joined.append((joined.pop()[0] if touches else start, end))
    return Spans(tuple(joined), frozenset(joined))


def _is_within(inner: Spans, outer: Spans) -> bool:
    """Whether every span of `inner` lies in one of `outer`."""
    for start, end in inner.parts - outer.parts:
        at = bisect_right(outer.spans, (start, MAX_AMOUNT)) - 1
        if at < 0 or outer.spans[at][1] < end:
            return False
    return True


def _given(rule: Rule) -> Iterable[FactValue]:
    return rule.value if isinstance(rule.value, tuple) else (rule.value,)
