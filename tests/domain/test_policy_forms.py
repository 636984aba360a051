"""One policy in three forms: a slow plain reading, the Python that is generated, and a table. All say the same."""

import os
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from tests.domain.policy_author import Author
from tests.domain.policy_model import GOOD, NOW, SHIPPED, compiled, facts, read_plainly, shipped

from amana.domain.decision import CompiledPolicy, assess, decide
from amana.domain.facts import FACTS, FactValue, Kind
from amana.domain.money import MAX_AMOUNT
from amana.domain.policy import Policy
from amana.domain.policy_table import OUTPUT, PRICE, PolicyTable
from amana.domain.table_columns import TableFault, text_type

# How many random policies are tried; many more before a change of the generators.
POLICIES = int(os.environ.get("AMANA_TEST_POLICIES", "60"))
ROWS = 30


def one_by_one(policy: CompiledPolicy, row: dict[str, Any]) -> dict[str, Any]:
    """What `assess` and `decide` say of a row, as the table says it."""
    made = assess(policy, facts({name: row[name] for name in FACTS if name in row}), NOW)
    answer = decide(policy, made, row["amount"], row["term_days"], network=row["network"])
    price = dict.fromkeys(PRICE) if answer.price is None else msgspec.structs.asdict(answer.price)
    told = {"outcome": answer.outcome.value, "limit": answer.limit, "reasons": list(answer.reasons)}
    names = ("exposure_cap", "exposure", "headroom", "score", "band")
    return told | price | {name: getattr(made, name) for name in names}


def frame_of(rows: list[dict[str, Any]]) -> pl.DataFrame:
    kinds = {Kind.INTEGER: pl.Int64, Kind.BOOLEAN: pl.Boolean, Kind.TEXT: pl.String}
    schema: dict[str, Any] = {name: kinds[spec.kind] for name, spec in FACTS.items()}
    return pl.DataFrame(rows, schema=schema | {"amount": pl.Int64, "term_days": pl.Int64, "network": pl.String})


def asked(changes: dict[str, FactValue] | None = None, amount: int = 1_000_000, **more: Any) -> dict[str, Any]:
    return GOOD | (changes or {}) | {"amount": amount, "term_days": None, "network": None} | more


@settings(max_examples=POLICIES)
@given(st.integers(0, 2**32))
@example(0)
def test_generated_python_and_table_agree_with_a_plain_reading_of_any_policy(seed: int) -> None:
    author = Author(seed)
    document = author.policy()
    policy = compiled(document)
    rows = [author.facts() | author.question(document) for _ in range(ROWS)]
    table = PolicyTable(policy).decide(frame_of(rows)).to_dicts()
    for row, of_table in zip(rows, table, strict=True):
        given_facts = facts({name: row[name] for name in FACTS})
        plain = read_plainly(document, given_facts, row["amount"], row["term_days"], row["network"])
        assert one_by_one(policy, row) == plain, row
        assert of_table == plain, row


@settings(max_examples=POLICIES // 10)
@given(st.integers(0, 2**32))
def test_they_agree_on_policies_with_as_many_rules_and_attributes_as_there_may_be(seed: int) -> None:
    author = Author(seed, rules_max=100, attributes_max=50)
    policy = compiled(author.policy())
    rows = [author.facts() | author.question(policy.document) for _ in range(ROWS)]
    table = PolicyTable(policy).decide(frame_of(rows)).to_dicts()
    for row, of_table in zip(rows, table, strict=True):
        given_facts = facts({name: row[name] for name in FACTS})
        plain = read_plainly(policy.document, given_facts, row["amount"], row["term_days"], row["network"])
        assert one_by_one(policy, row) == plain == of_table, row


def test_the_author_writes_policies_of_every_kind() -> None:
    policies = [Author(seed).policy() for seed in range(200)]
    kinds: dict[str, list[bool]] = {
        "listed": [bool(p.amounts.listed) for p in policies],
        "deducted": [p.price.fee_mode == "deducted" for p in policies],
        "off": [not p.lending for p in policies],
        "networks": [bool(p.networks) for p in policies],
        "several terms": [len(p.price.terms) > 1 for p in policies],
        "huge": [p.amounts.maximum > 10**14 for p in policies],
        "repeat": [bool(p.caps.repeat) for p in policies],
        "many bins": [any(len(item.bins) > 10 for item in p.scorecard.attributes) for p in policies],
    }
    assert all(5 < sum(kind) < 195 for kind in kinds.values()), {name: sum(kind) for name, kind in kinds.items()}
    outcomes = [
        read_plainly(p, facts(a.facts()), **a.question(p))["outcome"]
        for p, a in zip(policies, map(Author, range(200)), strict=True)
    ]
    assert set(outcomes) == {"approve", "refer", "decline"}


def _extreme(fee_mode: str, fee_bps: int, denomination: int) -> Policy:
    """The nano policy at the largest amounts and rates: products that take 70 bits."""
    plain = msgspec.to_builtins(shipped("nano"))
    most = MAX_AMOUNT - MAX_AMOUNT % denomination
    plain["amounts"] = {"minimum": denomination, "maximum": most, "denomination": denomination}
    plain["caps"] = {
        "product": MAX_AMOUNT,
        "kyc": [{"tier": tier, "cap": MAX_AMOUNT} for tier in (1, 2, 3)],
        "affordability": {"income_bps": 99_999, "missing_cap": MAX_AMOUNT},
    }
    plain["scorecard"]["bands"] = [{"id": "all", "cap": MAX_AMOUNT, "outcome": "approve"}]
    steps = [{"to": 10**15, "fee_bps": fee_bps, "rounding": "half_even"},
             {"from": 10**15, "fee_bps": fee_bps // 2, "rounding": "floor"}]  # fmt: skip
    plain["price"] = {"fee_mode": fee_mode, "default_term_days": 30, "terms": [{"term_days": 30, "steps": steps}]}
    return msgspec.convert(plain, Policy)


EXTREME = [
    compiled(_extreme(mode, bps, denomination))
    for mode, bps, denomination in (
        ("added", 100_000, 1),
        ("added", 99_999, 7),
        ("deducted", 4_999, 1),
        ("added", 0, 9),
    )
]
HUGE = st.integers(1, MAX_AMOUNT) | st.integers(MAX_AMOUNT - 20_000, MAX_AMOUNT) | st.integers(1, 30_000)


@settings(max_examples=POLICIES)
@given(st.sampled_from(EXTREME), st.lists(st.tuples(HUGE, HUGE, HUGE), min_size=1, max_size=20))
def test_the_table_is_exact_where_products_do_not_fit_in_64_bits(
    policy: CompiledPolicy, drawn: list[tuple[int, int, int]]
) -> None:
    rows = [asked({"monthly_income": income, "exposure": exposure}, amount) for income, exposure, amount in drawn]
    for row, of_table in zip(rows, PolicyTable(policy).decide(frame_of(rows)).to_dicts(), strict=True):
        assert of_table == one_by_one(policy, row)


@pytest.mark.parametrize("policy", EXTREME)
@given(headroom=HUGE)
def test_the_limit_is_the_largest_amount_that_fits_however_large_it_is(policy: CompiledPolicy, headroom: int) -> None:
    _is_largest(policy, headroom)


@pytest.mark.parametrize("policy", EXTREME)
def test_the_limit_is_the_largest_amount_that_fits_for_every_small_headroom(policy: CompiledPolicy) -> None:
    for headroom in range(400):
        _is_largest(policy, headroom)


def _is_largest(policy: CompiledPolicy, headroom: int) -> None:
    """The limit is within the headroom, and what comes after it is not."""
    made = assess(policy, facts({"exposure": MAX_AMOUNT - headroom, "monthly_income": None}), NOW)
    limit, amounts = decide(policy, made, policy.document.amounts.minimum).limit, policy.document.amounts
    for amount in (limit, limit + amounts.denomination):
        if amounts.minimum <= amount <= amounts.maximum:
            price = policy.quotes[None](amount, made.headroom)[1]
            assert price is not None
            assert (price.total_due <= made.headroom) == (amount == limit), (amount, limit)


def test_a_fact_that_was_not_declared_yet_is_unknown() -> None:
    plain = msgspec.to_builtins(shipped("nano"))
    plain["rules"] = [
        {"id": "scored", "fact": "bureau_score", "op": "lt", "value": 500, "reason": "loan_open", "precedence": 1,
         "on_missing": "refer", "missing_reason": "age_unknown"}
    ]  # fmt: skip
    policy = compiled(msgspec.convert(plain, Policy))
    assert "bureau_score" not in facts().values
    assert one_by_one(policy, asked())["reasons"][0] == "age_unknown"
    assert PolicyTable(policy).decide(frame_of([asked()])).to_dicts() == [one_by_one(policy, asked())]


# The table itself


@pytest.mark.parametrize("name", SHIPPED)
def test_a_table_is_decided_in_its_order_whatever_else_it_holds(name: str) -> None:
    policy, author = compiled(shipped(name)), Author(1)
    rows = [author.facts() | author.question(policy.document) for _ in range(200)]
    table, frame = PolicyTable(policy), frame_of(rows)
    whole = table.decide(frame)
    assert whole.columns == list(OUTPUT)
    assert whole.to_dicts() == [dict(sorted_like(whole, one_by_one(policy, row))) for row in rows]
    assert_frame_equal(table.decide(frame.with_row_index("customer").reverse()), whole.reverse())
    assert_frame_equal(pl.concat([table.decide(frame[:70]), table.decide(frame[70:])]), whole)


def sorted_like(frame: pl.DataFrame, row: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(name, row[name]) for name in frame.columns]


def test_no_rows_are_no_decisions() -> None:
    answer = PolicyTable(compiled(shipped("nano"))).decide(frame_of([asked()]).clear())
    assert (answer.height, answer.columns) == (0, list(OUTPUT))


def test_a_term_or_a_network_that_nobody_names_needs_no_column() -> None:
    table, frame = PolicyTable(compiled(shipped("nano"))), frame_of([asked(), asked({"blocked": True})])
    assert_frame_equal(table.decide(frame.drop("term_days", "network")), table.decide(frame))


def test_columns_may_be_narrower_and_texts_enumerations() -> None:
    frame = frame_of([asked(), asked({"employment": None, "age_years": 17})])
    narrow = frame.with_columns(
        pl.col("age_years", "kyc_tier").cast(pl.Int8),
        pl.col("amount").cast(pl.UInt32),
        pl.col("employment").cast(text_type("employment")),
    )
    table = PolicyTable(compiled(shipped("nano")))
    assert_frame_equal(table.decide(narrow), table.decide(frame))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: f.drop("blocked"), "blocked: no such column"),
        (lambda f: f.with_columns(kyc_tier=pl.lit(None, pl.Int64)), "kyc_tier: may not be unknown"),
        (lambda f: f.with_columns(amount=pl.lit(None, pl.Int64)), "amount: may not be unknown"),
        (lambda f: f.with_columns(amount=pl.lit(0)), "amount: not from 1 to"),
        (lambda f: f.with_columns(exposure=pl.lit(MAX_AMOUNT + 1)), "exposure: not from"),
        (lambda f: f.with_columns(exposure=pl.lit(-MAX_AMOUNT - 1)), "exposure: not from"),
        (lambda f: f.with_columns(monthly_income=pl.lit(1.0)), "monthly_income: a column of Float64"),
        (lambda f: f.with_columns(monthly_income=pl.lit("1")), "monthly_income: a column of String"),
        (lambda f: f.with_columns(blocked=pl.lit(1)), "blocked: a column of Int32"),
        (lambda f: f.with_columns(employment=pl.lit("astronaut")), "employment: a value that it may not have"),
        (lambda f: f.with_columns(term_days=pl.lit("30")), "term_days: a column of String"),
    ],
)
def test_a_table_that_can_not_be_read_is_refused_by_its_column(change: Any, said: str) -> None:
    with pytest.raises(TableFault, match=said):
        PolicyTable(compiled(shipped("nano"))).decide(change(frame_of([asked()])))
