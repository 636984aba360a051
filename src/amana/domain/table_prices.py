"""Limits and prices over a table: what `quote` of the compiled policy gives, for every row by its term."""

from collections.abc import Callable, Sequence

import polars as pl

from amana.domain.policy import FeeMode, Policy, Rounding, Term
from amana.domain.policy_ranges import edges_of
from amana.domain.price_code import Reach, listed_limits, reaches
from amana.domain.table_columns import BPS, ladder, number, share

asked, headroom, limit_, days = (pl.col(name) for name in ("amount", "headroom", "limit", "term_days"))
NONE = pl.lit(None, pl.Int64)


def with_quotes(document: Policy, rows: pl.LazyFrame, terms: Sequence[Term]) -> pl.LazyFrame:
    """Adds `limit`, `rate_bps`, `principal`, `fee` and `total_due`, for the `terms` that occur.

    The last four are null where no step of the term covers the amount.
    """
    return _with_price(document, _with_limit(document, rows, terms), terms)


def _with_limit(document: Policy, rows: pl.LazyFrame, terms: Sequence[Term]) -> pl.LazyFrame:
    """The largest amount on offer whose total due is within the headroom; 0 where none is."""
    if document.amounts.listed:
        limits = [ladder(headroom, *listed_limits(document, term)) for term in terms]
        return rows.with_columns(limit=_by_term(terms, limits, number(0)))

    def of_step(leaf: Callable[[Reach], int]) -> pl.Expr:
        """What is so of the step that the limit falls in, 0 without one."""
        found = [reaches(document, term) for term in terms]
        ladders = [ladder(headroom, [one.due_least for one in steps], [0, *map(leaf, steps)]) for steps in found]
        return _by_term(terms, ladders, number(0))

    denomination, base, whole = document.amounts.denomination, pl.col("_base"), pl.col("_whole")
    rows = rows.with_columns(_base=of_step(lambda one: one.rate) + BPS, _top=of_step(lambda one: one.top))
    # (headroom * 10,000 + 9,999) // (10,000 + rate), where that product may be too large.
    most = whole * BPS + ((headroom - whole * base) * BPS + BPS - 1) // base
    rows = rows.with_columns(_whole=headroom // base).with_columns(_most=most)
    most = pl.col("_most")
    rows = rows.with_columns(limit=pl.min_horizontal(most - most % denomination, "_top"))
    if not _half_even(terms):
        return rows
    fee, rest = share(limit_, base - BPS)
    half_even = of_step(lambda one: int(one.step.rounding is Rounding.HALF_EVEN)) == 1
    over = limit_ + fee + (half_even & _rounds_up(fee, rest)).cast(pl.Int64) > headroom
    return rows.with_columns(limit=limit_ - over.cast(pl.Int64) * denomination)


def _with_price(document: Policy, rows: pl.LazyFrame, terms: Sequence[Term]) -> pl.LazyFrame:
    added = document.price.fee_mode is FeeMode.ADDED
    rows = rows.with_columns(rate_bps=_by_term(terms, [_rate(term) for term in terms], NONE))
    fee, rest = share(asked, pl.col("rate_bps"))
    if _half_even(terms):
        leaves = [[int(step.rounding is Rounding.HALF_EVEN) for step in term.steps] for term in terms]
        ladders = [ladder(asked, edges_of(term.steps), half) for term, half in zip(terms, leaves, strict=True)]
        up = _rounds_up(fee, rest) & (_by_term(terms, ladders, number(0)) == 1)
        fee = fee + up.cast(pl.Int64)
    rows, fee, owed = rows.with_columns(fee=fee), pl.col("fee"), pl.when(pl.col("fee").is_not_null())
    return rows.with_columns(
        principal=owed.then(asked if added else asked - fee),
        total_due=owed.then(asked + fee if added else asked),
    )


def _by_term(terms: Sequence[Term], made: Sequence[pl.Expr], otherwise: pl.Expr) -> pl.Expr:
    """Of each row, what is made for its term."""
    for term, expression in zip(terms, made, strict=True):
        otherwise = pl.when(days == term.term_days).then(expression).otherwise(otherwise)
    return otherwise


def _rate(term: Term) -> pl.Expr:
    """The basis points of the step that covers the amount; null where none does."""
    first, last = term.steps[0].from_, term.steps[-1].to
    rate = ladder(asked, edges_of(term.steps), [step.fee_bps for step in term.steps])
    rate = rate if first is None else pl.when(asked >= first).then(rate)
    return rate if last is None else pl.when(asked < last).then(rate)


def _half_even(terms: Sequence[Term]) -> bool:
    """Whether any step rounds half-even."""
    return any(step.rounding is Rounding.HALF_EVEN for term in terms for step in term.steps)


def _rounds_up(fee: pl.Expr, rest: pl.Expr) -> pl.Expr:
    """Whether half-even rounding makes the fee one more."""
    return (rest > BPS // 2) | ((rest == BPS // 2) & (fee % 2 == 1))
