"""Policies: what may be published, and how a document gets its name."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from tests.domain.policy_model import SHIPPED, facts, interpret, shipped

from amana.domain.policy import Policy, policy_bytes, policy_from, policy_hash
from amana.domain.policy_checks import FAULTS_MAX, check_policy
from amana.domain.record import Employment

Change = Callable[[dict[str, Any]], object]


def document(name: str = "nano") -> dict[str, Any]:
    """A shipped policy as plain values."""
    plain: dict[str, Any] = json.loads(policy_bytes(shipped(name)))
    return plain


def faults_after(change: Change, name: str = "nano") -> list[tuple[str, str]]:
    changed = document(name)
    change(changed)
    return [(fault.pointer, fault.code) for fault in check_policy(msgspec.convert(changed, Policy, strict=True))]


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_policies_have_no_fault(name: str) -> None:
    assert check_policy(shipped(name)) == []


@pytest.mark.parametrize("name", SHIPPED)
def test_the_hash_is_of_the_canonical_json(name: str) -> None:
    policy = shipped(name)
    assert policy_bytes(policy) == rfc8785.dumps(document(name))
    assert policy_from(policy_bytes(policy)) == policy
    assert len(policy_hash(policy_bytes(policy))) == 64


def test_white_space_order_and_spelled_out_defaults_do_not_change_the_hash() -> None:
    plain = document()
    shuffled = dict(reversed(plain.items()))
    again = policy_from(json.dumps(shuffled, indent=3).encode())
    assert policy_hash(policy_bytes(again)) == policy_hash(policy_bytes(shipped("nano")))


def test_another_number_is_another_hash() -> None:
    plain = document()
    plain["caps"]["product"] += 1
    assert policy_hash(policy_bytes(msgspec.convert(plain, Policy))) != policy_hash(policy_bytes(shipped("nano")))


NO_POLICIES: list[Change] = [
    lambda d: d["caps"].update(product=1.5),
    lambda d: d["caps"].update(product=7500000.0),
    lambda d: d["caps"].update(product="7500000"),
    lambda d: d["caps"].update(product=True),
    lambda d: d["caps"].update(product=-1),
    lambda d: d["caps"].update(product=2**53),
    lambda d: d.update(surprise=1),
    lambda d: d["rules"][0].update(on_missing="approve"),
    lambda d: d["rules"][0].update(value=None),
    lambda d: d["rules"][0].update(id="Bad Id"),
    lambda d: d["rules"][0].update(id="blocked\n"),
    lambda d: d.update(product="nano\n"),
    lambda d: d["rules"][1].update(value=2**53),
    lambda d: d["price"]["terms"][0]["steps"][0].pop("rounding"),
    lambda d: d.pop("reasons"),
]


@pytest.mark.parametrize("change", NO_POLICIES)
def test_a_document_of_another_shape_is_not_a_policy(change: Change) -> None:
    changed = document()
    change(changed)
    with pytest.raises(msgspec.ValidationError):
        policy_from(json.dumps(changed).encode())


FAULTS: list[tuple[str, Change, tuple[str, str]]] = [
    ("bins with a gap",
     lambda d: d["scorecard"]["attributes"][0]["bins"][1].update({"from": 2}),
     ("/scorecard/attributes/0/bins/1", "gap")),
    ("bins that overlap",
     lambda d: d["scorecard"]["attributes"][0]["bins"][1].update({"from": 0}),
     ("/scorecard/attributes/0/bins/1", "overlap")),
    ("an empty bin",
     lambda d: d["scorecard"]["attributes"][0]["bins"][1].update({"to": 1}),
     ("/scorecard/attributes/0/bins/1", "unreachable")),
    ("bins that begin somewhere",
     lambda d: d["scorecard"]["attributes"][0]["bins"][0].update({"from": 0}),
     ("/scorecard/attributes/0/bins/0/from", "gap")),
    ("bins that end",
     lambda d: d["scorecard"]["attributes"][0]["bins"][-1].update({"to": 900}),
     ("/scorecard/attributes/0/bins/3/to", "gap")),
    ("a value in two bins",
     lambda d: d["scorecard"]["attributes"][5]["bins"][1]["values"].append("permanent"),
     ("/scorecard/attributes/5/bins/1/values", "overlap")),
    ("a value in no bin",
     lambda d: d["scorecard"]["attributes"][5]["bins"][1]["values"].remove("retired"),
     ("/scorecard/attributes/5/bins", "gap")),
    ("ranges for a text fact",
     lambda d: d["scorecard"]["attributes"][0].update(fact="employment"),
     ("/scorecard/attributes/0/bins/0", "type")),
    ("an attribute of no fact",
     lambda d: d["scorecard"]["attributes"][0].update(fact="star_sign"),
     ("/scorecard/attributes/0/fact", "unknown_fact")),
    ("a rule of no fact",
     lambda d: d["rules"][1].update(fact="star_sign"),
     ("/rules/1/fact", "unknown_fact")),
    ("a rule that compares a number with text",
     lambda d: d["rules"][1].update(value="18"),
     ("/rules/1/value", "type")),
    ("a boolean where a number belongs",
     lambda d: d["rules"][1].update(value=True),
     ("/rules/1/value", "type")),
    ("a list for one value",
     lambda d: d["rules"][1].update(value=[18]),
     ("/rules/1/value", "type")),
    ("an order of text",
     lambda d: d["rules"][6].update(op="lt", value="student"),
     ("/rules/6/value", "type")),
    ("a rule that nobody can fail",
     lambda d: d["rules"][1].update(value=0),
     ("/rules/1", "unreachable")),
    ("the same rule twice",
     lambda d: d["rules"].append(d["rules"][1] | {"id": "adult_again"}),
     ("/rules/8", "unreachable")),
    ("a rule's id twice",
     lambda d: d["rules"][1].update(id="customer_blocked"),
     ("/rules/1/id", "duplicate")),
    ("bands with a gap",
     lambda d: d["scorecard"]["bands"][2].update({"from": 510}),
     ("/scorecard/bands/2", "gap")),
    ("a better band with a lower cap",
     lambda d: d["scorecard"]["bands"][3].update(cap=1),
     ("/scorecard/bands/3/cap", "order")),
    ("a better band that fares worse",
     lambda d: d["scorecard"]["bands"][4].update(outcome="refer", reason="score_needs_review"),
     ("/scorecard/bands/4/outcome", "order")),
    ("a declining band without a reason",
     lambda d: d["scorecard"]["bands"][0].update(reason=None),
     ("/scorecard/bands/0/reason", "reason")),
    ("a tier without a cap",
     lambda d: d["caps"]["kyc"].pop(),
     ("/caps/kyc", "gap")),
    ("a higher tier with a lower cap",
     lambda d: d["caps"]["kyc"][1].update(cap=5),
     ("/caps/kyc/1/cap", "order")),
    ("repeat steps that fall",
     lambda d: d["caps"]["repeat"][1].update(cap=5),
     ("/caps/repeat/1/cap", "order")),
    ("a default term without a price",
     lambda d: d["price"].update(default_term_days=45),
     ("/price/default_term_days", "unknown_term")),
    ("a term priced twice",
     lambda d: d["price"]["terms"][0].update(term_days=30),
     ("/price/terms/1/term_days", "duplicate")),
    ("a price with a gap",
     lambda d: d["price"]["terms"][1]["steps"][1].update({"from": 1_600_000}),
     ("/price/terms/1/steps/1", "gap")),
    ("a default term that does not price the minimum",
     lambda d: d["price"]["terms"][1]["steps"][0].update({"from": 400_000}),
     ("/price/terms/1/steps/0/from", "gap")),
    ("a minimum above the maximum",
     lambda d: d["amounts"].update(minimum=9_000_000),
     ("/amounts/maximum", "order")),
    ("a maximum that is no whole denomination",
     lambda d: d["amounts"].update(maximum=6_050_000),
     ("/amounts/maximum", "denomination")),
    ("a reason without wording",
     lambda d: d["reasons"].pop("loan_open"),
     ("/reasons", "unworded")),
    ("a system reason without wording",
     lambda d: d["reasons"].pop("amount_above_limit"),
     ("/reasons", "unworded")),
    ("the same rule in other words",
     lambda d: d["rules"].append(d["rules"][1] | {"id": "adult_again", "op": "le", "value": 17}),
     ("/rules/8", "unreachable")),
    ("a list of one that another rule names",
     lambda d: d["rules"].append(d["rules"][6] | {"id": "again", "op": "eq", "value": "unemployed"}),
     ("/rules/8", "unreachable")),
    ("a rule above every tier",
     lambda d: d["rules"].append(d["rules"][0] | {"id": "above", "fact": "kyc_tier", "op": "gt", "value": 3}),
     ("/rules/8", "unreachable")),
    ("a rule with an empty list",
     lambda d: d["rules"][6].update(value=[]),
     ("/rules/6", "unreachable")),
    ("a rule that leaves out every value there is",
     lambda d: d["rules"][6].update(op="not_in", value=[str(value) for value in Employment]),
     ("/rules/6", "unreachable")),
    ("a rule in the shadow of a wider one",
     lambda d: d["rules"][3].update(reason="paid_late", precedence=55, outcome="refer"),
     ("/rules/3", "shadowed")),
    ("a list in the shadow of a longer one",
     lambda d: d["rules"].append(d["rules"][6] | {
         "id": "longer", "value": ["unemployed", "student"], "precedence": 1}),
     ("/rules/6", "shadowed")),
    ("a reason for a missing fact that never is",
     lambda d: d["rules"][0].update(missing_reason="loan_open"),
     ("/rules/0/missing_reason", "unreachable")),
    ("a reason for a missing fact that is skipped",
     lambda d: d["rules"][6].update(missing_reason="loan_open"),
     ("/rules/6/missing_reason", "unreachable")),
    ("bins out of order",
     lambda d: d["scorecard"]["attributes"][0]["bins"].reverse(),
     ("/scorecard/attributes/0/bins/1", "order")),
    ("bands out of order",
     lambda d: d["scorecard"]["bands"].insert(1, d["scorecard"]["bands"].pop(2)),
     ("/scorecard/bands/2", "order")),
    ("price steps out of order",
     lambda d: d["price"]["terms"][1]["steps"].insert(1, d["price"]["terms"][1]["steps"].pop(2)),
     ("/price/terms/1/steps/2", "order")),
    ("repeat steps out of order",
     lambda d: d["caps"]["repeat"].insert(1, d["caps"]["repeat"].pop(2)),
     ("/caps/repeat/2", "order")),
    ("repeat steps with a gap",
     lambda d: d["caps"]["repeat"][1].update({"from": 1_000_001}),
     ("/caps/repeat/1", "gap")),
    ("repeat steps that overlap",
     lambda d: d["caps"]["repeat"][1].update({"from": 999_999}),
     ("/caps/repeat/1", "overlap")),
    ("a repeat step below nothing",
     lambda d: d["caps"]["repeat"][0].update({"to": 0}),
     ("/caps/repeat/0", "unreachable")),
    ("a price that overlaps",
     lambda d: d["price"]["terms"][1]["steps"][1].update({"from": 1_400_000}),
     ("/price/terms/1/steps/1", "overlap")),
    ("a price for no amount",
     lambda d: d["price"]["terms"][1]["steps"].append({"from": 6_000_001, "fee_bps": 1, "rounding": "floor"}),
     ("/price/terms/1/steps/5", "unreachable")),
    ("a bin above every tier",
     lambda d: d["scorecard"]["attributes"][7]["bins"][2].update({"from": 4}),
     ("/scorecard/attributes/7/bins/2", "unreachable")),
    ("a bin of a value that the fact can't have",
     lambda d: d["scorecard"]["attributes"][5]["bins"][1]["values"].append("astronaut"),
     ("/scorecard/attributes/5/bins/1/values", "type")),
    ("values for an integer fact",
     lambda d: d["scorecard"]["attributes"][0]["bins"][1].update(values=["permanent"]),
     ("/scorecard/attributes/0/bins/1/values", "type")),
    ("bands that overlap",
     lambda d: d["scorecard"]["bands"][2].update({"from": 490}),
     ("/scorecard/bands/2", "overlap")),
    ("a band that no score reaches",
     lambda d: d["scorecard"]["bands"][4].update({"from": 9_999}),
     ("/scorecard/bands/4", "unreachable")),
    ("a referring band without a reason",
     lambda d: d["scorecard"]["bands"][1].pop("reason"),
     ("/scorecard/bands/1/reason", "reason")),
    ("a listed amount outside the bounds",
     lambda d: d["amounts"].update(listed=[100_000, 400_000]),
     ("/amounts/listed/0", "unreachable")),
    ("a blank wording",
     lambda d: d["reasons"].update(loan_open=" "),
     ("/reasons/loan_open", "unworded")),
    ("wording for nothing",
     lambda d: d["reasons"].update(moon_phase="The moon."),
     ("/reasons/moon_phase", "unreachable")),
]  # fmt: skip


@pytest.mark.parametrize(("change", "fault"), [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS])
def test_a_fault_is_found_before_publishing(change: Change, fault: tuple[str, str]) -> None:
    assert fault in faults_after(change)


WIDER = {"id": "wider", "fact": "age_years", "op": "lt", "value": 21, "reason": "under_age", "precedence": 1}
"""A rule that fails wherever the shipped one about adults does, which sends an unknown age to a person."""
ADDS: list[tuple[str, dict[str, Any]]] = [
    ("another reason", {"reason": "loan_open"}),
    ("the place of its reason", {"precedence": 21}),
    ("a decline, where the other refers", {"outcome": "refer"}),
    ("another reason when the fact is missing", {}),
    ("what a missing fact means, which the other skips", {"on_missing": "skip"}),
]


@pytest.mark.parametrize("wider", [row[1] for row in ADDS], ids=[row[0] for row in ADDS])
def test_a_rule_that_adds_something_to_a_wider_one_is_no_fault(wider: dict[str, Any]) -> None:
    assert faults_after(lambda d: d["rules"].append(WIDER | wider)) == []


def test_a_rule_that_adds_nothing_to_a_wider_one_is_a_fault() -> None:
    same = {"on_missing": "decline", "missing_reason": "age_unknown"}
    assert faults_after(lambda d: d["rules"].append(WIDER | same)) == [("/rules/1", "shadowed")]


VALUES: dict[str, Any] = {"loans_open": [0, 1, 2, 3], "employment": [str(value) for value in Employment]}


@st.composite
def rules(draw: st.DrawFn) -> dict[str, Any]:
    """Any rule about one of two facts, whose values are few."""
    fact = draw(st.sampled_from(sorted(VALUES)))
    orders = ["lt", "le", "gt", "ge"] if fact == "loans_open" else []
    op = draw(st.sampled_from(["eq", "ne", "in", "not_in", *orders]))
    one = st.sampled_from(VALUES[fact])
    return {
        "fact": fact,
        "op": op,
        "value": draw(st.lists(one, max_size=6, unique=True) if op.endswith("in") else one),
        "reason": draw(st.sampled_from(["loan_open", "under_age"])),
        "precedence": draw(st.integers(0, 3)),
        "outcome": draw(st.sampled_from(["decline", "refer"])),
        "on_missing": draw(st.sampled_from(["decline", "refer", "skip"])),
    }


def with_rules(chosen: list[dict[str, Any]]) -> Policy:
    numbered = [rule | {"id": f"rule_{n}"} for n, rule in enumerate(chosen)]
    return msgspec.convert(document() | {"rules": numbered}, Policy, strict=True)


@given(st.lists(rules(), min_size=2, max_size=5), st.integers(0, 3), st.sampled_from([None, *Employment]))
def test_leaving_out_a_shadowed_rule_changes_no_decision(
    chosen: list[dict[str, Any]], loans_open: int, employment: str | None
) -> None:
    policy = with_rules(chosen)
    some = facts({"loans_open": loans_open, "employment": employment})
    for fault in (fault for fault in check_policy(policy) if fault.code == "shadowed"):
        at = int(fault.pointer.removeprefix("/rules/"))
        rest = msgspec.structs.replace(policy, rules=policy.rules[:at] + policy.rules[at + 1 :])
        assert interpret(rest, some, 1_000_000) == interpret(policy, some, 1_000_000)


@given(rules())
def test_a_rule_is_unreachable_exactly_when_no_value_of_its_fact_fails_it(rule: dict[str, Any]) -> None:
    fails = [value for value in [*VALUES[rule["fact"]], 2**53 - 1] if _fails(rule, value)]
    found = [fault.pointer for fault in check_policy(with_rules([rule])) if fault.pointer == "/rules/0"]
    assert found == ([] if fails else ["/rules/0"])


def _fails(rule: dict[str, Any], value: Any) -> bool:
    if value == 2**53 - 1 and rule["fact"] != "loans_open":
        return False
    given = facts({rule["fact"]: value, "kyc_tier": 3})
    return rule["reason"] in interpret(with_rules([rule]), given, 1_000_000)["reasons"]


def test_a_deducted_fee_must_leave_something_to_pay_out() -> None:
    change: Change = lambda d: d["price"]["terms"][0]["steps"][0].update(fee_bps=10_000)  # noqa: E731
    assert ("/price/terms/0/steps/0/fee_bps", "fee") in faults_after(change, "airtime")


def test_listed_amounts_grow_within_the_bounds() -> None:
    change: Change = lambda d: d["amounts"]["listed"].append(2_500)  # noqa: E731
    assert ("/amounts/listed", "order") in faults_after(change, "airtime")


def test_a_deducted_fee_that_rounding_makes_the_whole_amount_is_a_fault() -> None:
    def change(d: dict[str, Any]) -> None:
        d["amounts"].update(minimum=1, denomination=1, listed=[])
        d["price"]["terms"][0]["steps"][0].update(fee_bps=5_001, rounding="half_even")

    assert ("/price/terms/0/steps/0/fee_bps", "fee") in faults_after(change, "airtime")


def _times(part: list[Any], times: int) -> list[Any]:
    return [part[0]] * times


TOO_MANY: list[tuple[str, Change]] = [
    ("values of a bin", lambda d: d["scorecard"]["attributes"][5]["bins"][0].update(values=["permanent"] * 65)),
    ("values of a rule", lambda d: d["rules"][6].update(op="in", value=["student"] * 201)),
    ("listed amounts", lambda d: d["amounts"].update(listed=[*range(1, 202)])),
    ("tiers", lambda d: d["caps"].update(kyc=_times(d["caps"]["kyc"], 4))),
    ("repeat steps", lambda d: d["caps"].update(repeat=_times(d["caps"]["repeat"], 51))),
    ("rules", lambda d: d.update(rules=_times(d["rules"], 101))),
    ("attributes", lambda d: d["scorecard"].update(attributes=_times(d["scorecard"]["attributes"], 51))),
    ("bins", lambda d: d["scorecard"]["attributes"][0].update(bins=[{"points": 1}] * 51)),
    ("bands", lambda d: d["scorecard"].update(bands=_times(d["scorecard"]["bands"], 21))),
    ("terms", lambda d: d["price"].update(terms=_times(d["price"]["terms"], 21))),
    ("price steps", lambda d: d["price"]["terms"][0].update(steps=_times(d["price"]["terms"][0]["steps"], 51))),
    ("reasons", lambda d: d["reasons"].update({f"reason_{n}": "Text." for n in range(500)})),
    ("letters of a reason", lambda d: d["reasons"].update(loan_open="x" * 501)),
    ("letters of a fact", lambda d: d["rules"][0].update(fact="x" * 65)),
    ("letters of a value", lambda d: d["rules"][6].update(value="x" * 65)),
]


@pytest.mark.parametrize("change", [row[1] for row in TOO_MANY], ids=[row[0] for row in TOO_MANY])
def test_every_list_and_text_of_a_policy_has_its_bound(change: Change) -> None:
    with pytest.raises(msgspec.ValidationError, match="length <="):
        faults_after(change)


def test_only_the_first_faults_are_told() -> None:
    change: Change = lambda d: d["rules"].extend(_times(d["rules"], 60))  # noqa: E731
    assert len(faults_after(change)) == FAULTS_MAX
