"""Deciding: every rule tried, caps that bound exposure, prices to the kobo, and the same bytes for ever."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.domain.policy_model import NOW, SHIPPED, any_facts, compiled, facts, interpret, shipped

from amana.domain.decision import (
    CompiledPolicy,
    Decision,
    DecisionInputs,
    RuleState,
    assess,
    canonical,
    decide,
    replay,
)
from amana.domain.facts import Facts, FactValue
from amana.domain.findings import assessment_of, findings_bytes, read_findings
from amana.domain.money import MAX_AMOUNT
from amana.domain.policy import Affordability, FeeMode, Outcome, Policy, Rounding
from amana.domain.pricing import Terms, fee_of

POLICIES = {name: compiled(shipped(name)) for name in SHIPPED}
NANO, AIRTIME, BNPL = POLICIES["nano"], POLICIES["airtime"], POLICIES["bnpl"]
NAIRA = 100
FIRST_LOAN: dict[str, FactValue] = {
    "kyc_tier": 1,
    "monthly_income": None,
    "loans_total": 0,
    "loans_closed": 0,
    "largest_principal_repaid": 0,
    "repaid_total": 0,
    "days_since_first_loan": None,
    "days_since_last_closed": None,
}


def decided(policy: CompiledPolicy, changes: dict[str, FactValue], amount: int, **more: Any) -> Decision:
    return decide(policy, assess(policy, facts(changes), NOW), amount, **more)


# Outcomes and reasons


def test_a_good_customer_is_approved_without_a_reason() -> None:
    made = decided(NANO, {}, 20_000 * NAIRA)
    assert (made.outcome, made.reasons) == (Outcome.APPROVE, ())
    assert made.price is not None
    assert (made.price.principal, made.price.fee, made.price.total_due) == (2_000_000, 450_000, 2_450_000)
    assert (made.price.rate_bps, made.price.term_days) == (2_250, 30)


def test_a_first_loan_is_ten_thousand_naira() -> None:
    made = decided(NANO, FIRST_LOAN, 10_000 * NAIRA)
    assert (made.outcome, made.limit) == (Outcome.APPROVE, 10_000 * NAIRA)
    assert decided(NANO, FIRST_LOAN, 11_000 * NAIRA).reasons[0] == "amount_above_limit"


def test_all_failing_rules_are_told_in_order_of_precedence_then_what_lost_most_points() -> None:
    made = decided(NANO, {"blocked": True, "loans_open": 2, "worst_days_past_due": 45, "age_years": 16}, 1_000_000)
    assert made.outcome is Outcome.DECLINE
    assert made.reasons == (
        "customer_blocked", "under_age", "paid_very_late", "paid_late", "loan_open", "late_repayments",
    )  # fmt: skip


def test_the_amount_comes_after_the_rules_and_before_the_factors() -> None:
    made = decided(NANO, {"worst_days_past_due": 20}, 6_000_000 + 100_000)
    assert made.reasons == ("paid_late", "amount_above_limit", "late_repayments")


def test_a_referring_rule_refers_and_keeps_the_limit_and_the_price() -> None:
    made = decided(NANO, {"age_years": None}, 1_000_000)
    assert made.outcome is Outcome.REFER
    assert made.reasons == ("age_unknown",)
    assert made.limit > 0
    assert made.price is not None


def test_a_decline_has_no_limit_and_no_price() -> None:
    made = decided(NANO, {"blocked": True}, 1_000_000)
    assert (made.limit, made.price) == (0, None)


def test_one_unknown_fact_declines_refers_or_is_skipped_as_its_rule_says() -> None:
    outcomes = {
        name: assess(BNPL, facts({name: None}), NOW).outcome for name in ("age_years", "employment", "monthly_income")
    }
    assert outcomes == {
        "age_years": Outcome.DECLINE, "employment": Outcome.REFER, "monthly_income": Outcome.REFER,
    }  # fmt: skip
    assert assess(NANO, facts({"monthly_income": None}), NOW).outcome is Outcome.APPROVE


def test_the_kill_switch_declines_everybody_first() -> None:
    off = compiled(msgspec.structs.replace(shipped("airtime"), lending=False))
    assert decided(off, {"blocked": True}, 10_000).reasons[:2] == ("lending_off", "customer_blocked")


@pytest.mark.parametrize(
    ("amount", "reason"),
    [
        (2_000 * NAIRA, "amount_below_minimum"),
        (5_000 * NAIRA + 1, "amount_not_offered"),
        (61_000 * NAIRA, "amount_above_limit"),
        (2**53 - 1, "amount_above_limit"),
    ],
)
def test_an_amount_that_is_not_lent_is_declined_by_name(amount: int, reason: str) -> None:
    made = decided(NANO, {}, amount)
    assert (made.outcome, made.reasons[0]) == (Outcome.DECLINE, reason)


def test_a_term_is_priced_by_its_own_table() -> None:
    longer = decided(NANO, {}, 30_000 * NAIRA, term_days=60)
    assert longer.price is not None
    assert (longer.price.fee, longer.price.term_days) == (680_100, 60)
    assert decided(NANO, {}, 20_000 * NAIRA, term_days=60).reasons == ("amount_not_offered",)
    assert decided(NANO, {}, 20_000 * NAIRA, term_days=7).reasons == ("term_not_offered",)


# Limits


def test_the_limit_is_the_largest_whole_denomination_that_fits_with_its_fee() -> None:
    table = """
        largest repaid | exposure | limit
                     0 |        0 | 10000
             1_000_000 |        0 | 20000
             1_000_000 |  500_000 | 16000
             2_000_000 |        0 | 33000
             4_000_000 |        0 | 54000
             4_000_000 |6_000_000 |     0
    """
    for line in table.strip().splitlines()[1:]:
        repaid, exposure, limit = (int(cell.replace(" ", "")) for cell in line.split("|"))
        made = decided(NANO, {"largest_principal_repaid": repaid, "exposure": exposure}, 1_000_000)
        assert made.limit == limit * NAIRA, line


def test_every_cap_is_kept_for_the_explanation_and_the_least_one_bounds() -> None:
    made = assess(NANO, facts({"kyc_tier": 1, "monthly_income": 15_000_000, "exposure": 100_000}), NOW)
    assert made.caps == {
        "product": 7_500_000, "band": 7_500_000, "affordability": 4_500_000, "kyc_tier": 6_000_000,
        "repeat": 7_500_000,
    }  # fmt: skip
    assert (made.exposure_cap, made.headroom) == (4_500_000, 4_400_000)


def test_an_exposure_above_the_cap_leaves_no_headroom() -> None:
    made = assess(NANO, facts({"exposure": 9_000_000}), NOW)
    assert made.headroom == 0
    assert decide(NANO, made, 1_000_000).limit == 0


@pytest.mark.parametrize("exposure", [-1, -5_000_000, -MAX_AMOUNT])
def test_an_exposure_below_zero_adds_nothing_to_the_cap(exposure: int) -> None:
    made = assess(NANO, facts({"exposure": exposure}), NOW)
    assert made.headroom == made.exposure_cap == 7_500_000


def test_a_share_of_the_largest_income_stops_at_the_largest_amount() -> None:
    caps = msgspec.structs.replace(NANO.document.caps, affordability=Affordability(income_bps=100_000, missing_cap=0))
    generous = compiled(msgspec.structs.replace(NANO.document, caps=caps))
    assert assess(generous, facts({"monthly_income": MAX_AMOUNT}), NOW).caps["affordability"] == MAX_AMOUNT


# Prices


def test_airtime_fees_are_deducted_to_the_kobo() -> None:
    table = """
        2500 512 1988
        5000 768 4232
        10000 1536 8464
        20000 3072 16928
        40000 6144 33856
        50000 7680 42320
        75000 11520 63480
        100000 15360 84640
        150000 23040 126960
        200000 30720 169280
        300000 46080 253920
        500000 76800 423200
    """
    for line in table.strip().splitlines():
        amount, fee, net = map(int, line.split())
        price = decided(AIRTIME, {}, amount).price
        assert price is not None
        assert (price.principal, price.fee, price.total_due) == (net, fee, amount)


@pytest.mark.parametrize(
    ("amount", "bps", "floor", "half_even"),
    [(50, 100, 0, 0), (150, 100, 1, 2), (250, 100, 2, 2), (251, 100, 2, 3), (10_000, 1_536, 1_536, 1_536)],
)
def test_fees_are_rounded_as_they_say(amount: int, bps: int, floor: int, half_even: int) -> None:
    assert fee_of(amount, bps, Rounding.FLOOR) == floor
    assert fee_of(amount, bps, Rounding.HALF_EVEN) == half_even


def test_given_terms_replace_the_price_and_bound_the_limit() -> None:
    made = decided(NANO, FIRST_LOAN, 1_000_000, terms=Terms(fee=150_000, term_days=15))
    assert made.outcome is Outcome.APPROVE
    assert made.price is not None
    assert (made.price.fee, made.price.rate_bps, made.price.term_days) == (150_000, 1_500, 15)
    assert made.limit == 1_100_000  # 11,000 + 15 % is 12,650, within 13,000; 12,000 + 15 % is not
    dear = decided(NANO, FIRST_LOAN, 1_000_000, terms=Terms(fee=300_001, term_days=15))
    assert dear.reasons[0] == "amount_above_limit"


def test_terms_that_leave_nothing_to_pay_out_are_declined() -> None:
    made = decided(AIRTIME, {}, 10_000, terms=Terms(fee=20_000, term_days=14))
    assert (made.outcome, made.limit, made.price) == (Outcome.DECLINE, 0, None)
    assert made.reasons[:2] == ("amount_not_offered", "amount_above_limit")


# Properties


AMOUNTS = st.integers(1, 70).map(lambda thousands: thousands * 100_000) | st.integers(1, 30_000_000)


@given(st.sampled_from(SHIPPED), any_facts(), AMOUNTS | st.sampled_from([2_500, 10_000, 500_000]))
@example("nano", facts(), 2_400_000)
def test_the_compiled_policy_agrees_with_a_plain_reading_of_the_document(
    name: str, given_facts: Facts, amount: int
) -> None:
    policy = POLICIES[name]
    made = assess(policy, given_facts, NOW)
    answer = decide(policy, made, amount)
    assert {
        "outcome": answer.outcome, "limit": answer.limit, "reasons": list(answer.reasons),
        "exposure_cap": made.exposure_cap,
    } == interpret(policy.document, given_facts, amount)  # fmt: skip


@given(st.sampled_from(SHIPPED), any_facts(), AMOUNTS, st.sampled_from([None, 14, 15, 30, 60, 90]))
def test_what_is_approved_never_takes_exposure_over_the_cap(
    name: str, given_facts: Facts, amount: int, term_days: int | None
) -> None:
    policy = POLICIES[name]
    made = assess(policy, given_facts, NOW)
    answer = decide(policy, made, amount, term_days)
    assert (answer.outcome is Outcome.APPROVE) == (not answer.reasons)
    assert (answer.outcome is Outcome.DECLINE) == (answer.price is None)
    if answer.price is not None:
        assert given_facts.exposure + answer.price.total_due <= made.exposure_cap
        assert amount <= answer.limit


@given(any_facts(), st.integers(3, 60), st.integers(0, 2_000_000))
def test_given_terms_are_held_to_the_same_cap(given_facts: Facts, thousands: int, fee: int) -> None:
    made = assess(NANO, given_facts, NOW)
    answer = decide(NANO, made, thousands * 100_000, terms=Terms(fee=fee, term_days=30))
    if answer.price is not None:
        assert given_facts.exposure + answer.price.total_due <= made.exposure_cap
        assert thousands * 100_000 <= answer.limit


def _extreme(fee_mode: FeeMode, fee_bps: int, points: int) -> Policy:
    """The nano policy with everything that multiplies or adds up at its largest."""
    plain = msgspec.to_builtins(shipped("nano"))
    plain["amounts"] = {"minimum": 1, "maximum": MAX_AMOUNT, "denomination": 1}
    plain["caps"] = {
        "product": MAX_AMOUNT,
        "kyc": [{"tier": tier, "cap": MAX_AMOUNT} for tier in (1, 2, 3)],
        "affordability": {"income_bps": 100_000, "missing_cap": MAX_AMOUNT},
    }
    plain["scorecard"]["base"] = points
    for item in plain["scorecard"]["attributes"]:
        item["missing"] = points
        for entry in item["bins"]:
            entry["points"] = points
    plain["scorecard"]["bands"] = [{"id": "all", "cap": MAX_AMOUNT, "outcome": "approve"}]
    step = {"fee_bps": fee_bps, "rounding": "half_even"}
    plain["price"] = {
        "fee_mode": fee_mode, "default_term_days": 30, "terms": [{"term_days": 30, "steps": [step]}],
    }  # fmt: skip
    return msgspec.convert(plain, Policy)


EXTREME = [
    compiled(_extreme(FeeMode.ADDED, 100_000, 10_000)),
    compiled(_extreme(FeeMode.DEDUCTED, 4_999, -10_000)),
    compiled(_extreme(FeeMode.ADDED, 0, 10_000)),
]


@given(st.sampled_from(EXTREME), any_facts(), st.integers(1, MAX_AMOUNT), st.none() | st.integers(0, MAX_AMOUNT))
@example(EXTREME[0], facts({"monthly_income": MAX_AMOUNT}), MAX_AMOUNT, None)
@example(EXTREME[0], facts({"monthly_income": MAX_AMOUNT}), MAX_AMOUNT, MAX_AMOUNT - 1)
@example(EXTREME[1], facts({"monthly_income": MAX_AMOUNT}), MAX_AMOUNT, MAX_AMOUNT)
def test_no_figure_of_a_decision_is_beyond_the_largest_amount(
    policy: CompiledPolicy, given_facts: Facts, amount: int, fee: int | None
) -> None:
    made = assess(policy, given_facts, NOW)
    answer = decide(policy, made, amount, terms=None if fee is None else Terms(fee=fee, term_days=30))
    for part in (made, answer):
        assert all(abs(number) <= MAX_AMOUNT for number in _integers(msgspec.to_builtins(part)))


def _integers(value: object) -> list[int]:
    if isinstance(value, dict):
        return [number for item in value.values() for number in _integers(item)]
    return [value] if isinstance(value, int) else []


@given(st.sampled_from(SHIPPED), any_facts(), st.integers(1, 3_000_000))
def test_owing_more_never_lets_one_borrow_more(name: str, given_facts: Facts, more: int) -> None:
    policy = POLICIES[name]
    deeper = msgspec.structs.replace(given_facts, values=given_facts.values | {"exposure": given_facts.exposure + more})
    before = decide(policy, assess(policy, given_facts, NOW), 1_000_000)
    after = decide(policy, assess(policy, deeper, NOW), 1_000_000)
    assert after.limit <= before.limit


@given(st.sampled_from(SHIPPED), any_facts())
def test_an_unknown_fact_never_passes_a_rule(name: str, given_facts: Facts) -> None:
    policy = POLICIES[name]
    made = assess(policy, given_facts, NOW)
    for rule in policy.document.rules:
        unknown = given_facts.values[rule.fact] is None
        assert unknown == (made.rules[rule.id] in (RuleState.MISSING, RuleState.SKIPPED))
        assert (made.rules[rule.id] is RuleState.SKIPPED) == (unknown and rule.on_missing == "skip")
        if made.rules[rule.id] is RuleState.MISSING:
            assert rule.missing_reason in made.knockouts
            assert made.outcome is not Outcome.APPROVE


@given(st.sampled_from(SHIPPED), any_facts(), AMOUNTS, st.none() | st.integers(0, 500_000))
def test_the_same_inputs_replay_to_the_same_bytes(name: str, given_facts: Facts, amount: int, fee: int | None) -> None:
    policy = POLICIES[name]
    terms = None if fee is None or fee >= amount else Terms(fee=fee, term_days=30)
    inputs = DecisionInputs(
        facts=given_facts, now=NOW, amount=amount, term_days=None, terms=terms,
        policy_hash=policy.hash, policy_version=1,
    )  # fmt: skip
    made, answer = replay(policy, inputs)
    again = replay(compiled(shipped(name)), msgspec.json.decode(canonical(inputs), type=DecisionInputs))
    assert [canonical(part) for part in again] == [canonical(made), canonical(answer)]
    assert canonical(msgspec.json.decode(canonical(made), type=type(made))) == canonical(made)
    assert assessment_of(inputs, read_findings(findings_bytes(made))) == made
    assert assessment_of(inputs, read_findings(canonical(made))) == made, "as it was stored before"
    assert json.loads(findings_bytes(made)).items() <= json.loads(canonical(made)).items()


def test_an_assessment_is_only_applied_under_its_own_policy() -> None:
    with pytest.raises(AssertionError):
        decide(NANO, assess(BNPL, facts(), NOW), 1_000_000)
