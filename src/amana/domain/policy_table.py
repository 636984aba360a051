"""A policy over a table: the decisions of `assess` and `decide`, a column at a time, in polars expressions.

A `pl.DataFrame` with a row for each customer goes in: a column for every fact that the policy reads, `amount`, and
where wanted `term_days` (the default term where null) and `network`. As many rows come out, in the same order. Only who
decides in batches imports this: polars is no part of a service's hot path.

Integers are 64 bits wide here, and an amount times basis points may need 70: products are split and stay exact, and
what comes in is held to `MAX_AMOUNT` for that reason.
"""

from collections.abc import Callable, Iterator
from operator import eq, ge, gt, le, lt, ne
from typing import Any

import polars as pl

from amana.domain.decision import CompiledPolicy
from amana.domain.facts import FACTS, Kind
from amana.domain.money import MAX_AMOUNT
from amana.domain.policy import Attribute, Op, Outcome, Policy, Rule, Term
from amana.domain.policy_code import WEIGHTS, facts_of
from amana.domain.policy_ranges import edges_of
from amana.domain.table_columns import checked, ladder, number, pick, share
from amana.domain.table_prices import with_quotes
from amana.domain.table_reasons import ReasonTable, misses

OUTPUT = (
    "outcome", "limit", "principal", "fee", "total_due", "rate_bps", "term_days", "exposure_cap", "exposure",
    "headroom", "score", "band", "reasons",
)  # fmt: skip
"""The columns of the answer. Those of the price, `principal` to `term_days`, are null where it is `decline`."""
PRICE = OUTPUT[2:7]
OUTCOMES = [Outcome.APPROVE.value, Outcome.REFER.value, Outcome.DECLINE.value]
_COMPARE: dict[Op, Callable[[Any, Any], Any]] = {
    Op.LT: lt, Op.LE: le, Op.GT: gt, Op.GE: ge, Op.EQ: eq, Op.NE: ne,
}  # fmt: skip


class PolicyTable:
    """A compiled policy, ready for tables. `facts` are the columns that it reads beside `amount`."""

    def __init__(self, policy: CompiledPolicy) -> None:
        self.facts = facts_of(policy.document)
        self._policy = policy
        self._reasons = ReasonTable(policy.document)
        bands = policy.document.scorecard.bands
        self._band_names = pl.Series([band.id for band in bands], dtype=pl.Enum([band.id for band in bands]))

    def decide(self, frame: pl.DataFrame) -> pl.DataFrame:
        """One decision for each row: the columns of `OUTPUT`. Raises `TableFault` where the table can't be read.

        Amounts in minor units; `band`, `outcome` and each of `reasons` are enumerations of codes.
        """
        document, bands = self._policy.document, self._policy.document.scorecard.bands
        known = checked(frame, self.facts, networks=bool(self._policy.networks))
        rows = known.lazy().with_columns(*_rule_states(document), *_bins(document), **self._asked())
        rows = rows.with_columns(score=_score(document))
        rows = rows.with_columns(band=ladder(pl.col("score"), edges_of(bands), range(len(bands))))
        rows = rows.with_columns(exposure_cap=pl.min_horizontal(*_caps(document)))
        cap, owed = pl.col("exposure_cap"), pl.col("exposure")
        rows = rows.with_columns(headroom=(cap - owed.clip(0)).clip(0))
        rows = with_quotes(document, rows, self._terms(known["term_days"]))
        rows = rows.with_columns(**_faults(document), **_failed(document))
        return self._answers(rows.with_columns(*self._reasons.words, outcome=_outcome()).collect())

    def _terms(self, asked: pl.Series) -> list[Term]:
        """The terms that occur."""
        price = self._policy.document.price
        days = {price.default_term_days if days is None else days for days in asked.unique()}
        return [term for term in price.terms if term.term_days in days]

    def _asked(self) -> dict[str, pl.Expr]:
        """What is asked beside the amount: the term, and whether its network is closed."""
        networks, asked = self._policy.networks, pl.col("network")
        closed = number(0)
        if networks:
            lending, off = ([name for name, on in networks.items() if on is kind] for kind in (True, False))
            closed = pl.when(asked.is_in(lending)).then(0).when(asked.is_in(off)).then(2).otherwise(1)
        term = pl.col("term_days").fill_null(self._policy.document.price.default_term_days)
        return {"closed": closed, "term_days": term}

    def _answers(self, rows: pl.DataFrame) -> pl.DataFrame:
        """What is given of what is known."""
        told = pl.col("outcome") > 0
        lists, at = self._reasons.reasons(rows.select("outcome", *self._reasons.columns).filter(told))
        rows = rows.with_columns(at=pl.lit(at).gather(pl.when(told).then(told.cum_sum() - 1)))
        refused = pl.col("declines") | (pl.col("closed") > 0)
        return rows.select(
            pl.lit(pl.Series(OUTCOMES, dtype=pl.Enum(OUTCOMES))).gather(pl.col("outcome")).alias("outcome"),
            pl.when(refused).then(0).otherwise(pl.col("limit")).alias("limit"),
            *(pl.when(pl.col("outcome") < 2).then(pl.col(name)).alias(name) for name in PRICE),
            *("exposure_cap", "exposure", "headroom", "score"),
            pl.lit(self._band_names).gather(pl.col("band")).alias("band"),
            pl.lit(lists).gather(pl.col("at").fill_null(0)).alias("reasons"),
        )


def _values(fact: str) -> tuple[bool | str, ...]:
    """What a text or boolean fact may be, in the order of its codes."""
    return FACTS[fact].values or (False, True)


def _code(fact: str) -> pl.Expr:
    """The place of each value in `_values`."""
    column = pl.col(fact)
    return column.to_physical() if FACTS[fact].kind is Kind.TEXT else column.cast(pl.UInt8)


def _holds(rule: Rule) -> pl.Expr:
    """Whether the comparison holds; null where the fact is unknown."""
    members = rule.value if isinstance(rule.value, tuple) else (rule.value,)
    wanted = rule.op in (Op.IN, Op.EQ)
    if FACTS[rule.fact].kind is not Kind.INTEGER:
        holds = [(value in members) is wanted for value in _values(rule.fact)]
        return pl.lit(pl.Series(holds)).gather(_code(rule.fact))
    if not isinstance(rule.value, tuple):
        compared: pl.Expr = _COMPARE[rule.op](pl.col(rule.fact), number(int(rule.value)))
        return compared
    member = pl.col(rule.fact).is_in([int(value) for value in members])
    return member if wanted else ~member


def _rule_states(document: Policy) -> Iterator[pl.Expr]:
    """`failed0`, `failed1`, …: whether each rule's comparison holds; `unknown.FACT`: whether the fact is unknown."""
    rules = document.rules_in_order()
    for at, rule in enumerate(rules):
        holds = _holds(rule)
        yield (holds.fill_null(value=False) if FACTS[rule.fact].nullable else holds).alias(f"failed{at}")
    for fact in {rule.fact for rule in rules if FACTS[rule.fact].nullable}:
        yield pl.col(fact).is_null().alias(f"unknown.{fact}")


def _bins(document: Policy) -> Iterator[pl.Expr]:
    """`bin0`, `bin1`, …: the bin of each attribute; one more than there are where the fact is unknown."""
    for at, item in enumerate(document.scorecard.attributes):
        if FACTS[item.fact].kind is Kind.INTEGER:
            found = ladder(pl.col(item.fact), edges_of(item.bins), range(len(item.bins)))
        else:
            found = pick(_code(item.fact), [_bin_of(item, value) for value in _values(item.fact)])
        if FACTS[item.fact].nullable:
            found = pl.when(pl.col(item.fact).is_null()).then(len(item.bins)).otherwise(found)
        yield found.alias(f"bin{at}")


def _bin_of(item: Attribute, value: bool | str) -> int:
    return next(at for at, bin_ in enumerate(item.bins) if value in bin_.values)


def _score(document: Policy) -> pl.Expr:
    score = number(document.scorecard.base)
    for at, item in enumerate(document.scorecard.attributes):
        score = score + pick(pl.col(f"bin{at}"), [*(bin_.points for bin_ in item.bins), item.missing])
    return score


def _caps(document: Policy) -> Iterator[pl.Expr]:
    """Every cap that applies."""
    caps, tier = document.caps, pl.col("kyc_tier")
    yield number(caps.product)
    yield pick(pl.col("band"), [band.cap for band in document.scorecard.bands])
    # A tier that the policy does not know gets nothing: fail closed.
    by_tier = number(0)
    for item in caps.kyc:
        by_tier = pl.when(tier == item.tier).then(number(item.cap)).otherwise(by_tier)
    yield by_tier
    if caps.affordability is not None:
        income, missing = pl.col("monthly_income"), number(caps.affordability.missing_cap)
        whole, _ = share(income, number(caps.affordability.income_bps))
        yield pl.when(income.is_null()).then(missing).otherwise(whole.clip(upper_bound=MAX_AMOUNT))
    if caps.repeat:
        yield ladder(pl.col("largest_principal_repaid"), edges_of(caps.repeat), [step.cap for step in caps.repeat])


def _faults(document: Policy) -> dict[str, pl.Expr]:
    """What is wrong with the amount, as `fault` and `above`."""
    amounts, asked, due = document.amounts, pl.col("amount"), pl.col("total_due")
    offered = asked.is_in(list(amounts.listed)) if amounts.listed else asked % amounts.denomination == 0
    known = pl.col("term_days").is_in([term.term_days for term in document.price.terms])
    not_offered = (asked <= amounts.maximum) & (due.is_null() | ~offered)
    fault = pl.when(asked < amounts.minimum).then(2).when(not_offered).then(3).otherwise(0)
    above = (asked > pl.col("limit")) | (due > pl.col("headroom")).fill_null(value=False)
    return {"fault": pl.when(known).then(fault).otherwise(1), "above": known & above}


def _failed(document: Policy) -> dict[str, pl.Expr]:
    """`declines` and `refers`: whether anything but the amount and the network does."""
    found: dict[int, list[pl.Expr]] = {1: [], 2: [pl.lit(not document.lending)]}
    for at, rule in enumerate(document.rules_in_order()):
        found[WEIGHTS[rule.outcome]].append(pl.col(f"failed{at}"))
        if misses(rule):
            found[WEIGHTS[rule.on_missing]].append(pl.col(f"unknown.{rule.fact}"))
    for at, band in enumerate(document.scorecard.bands):
        if weight := WEIGHTS[band.outcome]:
            found[weight].append(pl.col("band") == at)
    return {"declines": pl.any_horizontal(found[2]), "refers": pl.any_horizontal(found[1] or [pl.lit(value=False)])}


def _outcome() -> pl.Expr:
    """The outcome as its place in `OUTCOMES`."""
    refused = pl.col("declines") | pl.col("above") | (pl.col("fault") > 0) | (pl.col("closed") > 0)
    return pl.when(refused).then(2).when(pl.col("refers")).then(1).otherwise(0)
