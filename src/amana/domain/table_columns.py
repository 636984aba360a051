"""The columns that a policy reads from a table, checked; and the integer expressions that it is computed with."""

from collections.abc import Iterable, Sequence

import polars as pl

from amana.domain.facts import FACTS, Kind
from amana.domain.money import MAX_AMOUNT

BPS = 10_000
"""Basis points in a whole."""
CHAIN_MAX = 16
"""Up to so many edges comparing is faster than searching."""


class TableFault(ValueError):
    """A table that can't be decided: the message names the column."""


def text_type(fact: str) -> pl.Enum:
    """The type of a text fact's column: an enumeration of what it may be."""
    return pl.Enum([str(value) for value in FACTS[fact].values])


def checked(frame: pl.DataFrame, facts: Iterable[str], *, networks: bool) -> pl.DataFrame:
    """The columns of these facts, `amount`, `term_days`, and with `networks` `network`, each of its one type.

    A column `term_days` or `network` that is not there is one of nulls.

    Raises `TableFault` for a column that is missing or not of its type, an unknown value where none may be, a text that
    the fact may not be, an integer beyond the largest amount, an amount below 1.
    """
    nullable = {"term_days", "network"} | {name for name in FACTS if FACTS[name].nullable}
    optional = [name for name in ("term_days", "network") if name not in frame.columns]
    frame = frame.with_columns(pl.lit(None).alias(name) for name in optional)
    columns = [_typed(frame, name) for name in facts]
    columns += [_cast(frame, name, pl.Int64, integer=True) for name in ("amount", "term_days")]
    if networks:
        columns.append(_cast(frame, "network", pl.String, text=True))
    for column in columns:
        if column.null_count() and column.name not in nullable:
            raise TableFault(f"{column.name}: may not be unknown")
        least = 1 if column.name == "amount" else -MAX_AMOUNT
        if column.dtype == pl.Int64 and not _within(column, least):
            raise TableFault(f"{column.name}: not from {least} to {MAX_AMOUNT}")
    return pl.DataFrame(columns)


def _typed(frame: pl.DataFrame, fact: str) -> pl.Series:
    match FACTS[fact].kind:
        case Kind.INTEGER:
            return _cast(frame, fact, pl.Int64, integer=True)
        case Kind.BOOLEAN:
            return _cast(frame, fact, pl.Boolean)
        case Kind.TEXT:
            return _cast(frame, fact, text_type(fact), text=True)


def _cast(
    frame: pl.DataFrame,
    name: str,
    wanted: pl.DataType | type[pl.DataType],
    *,
    integer: bool = False,
    text: bool = False,
) -> pl.Series:
    if name not in frame.columns:
        raise TableFault(f"{name}: no such column")
    column = frame[name]
    kind = column.dtype
    fits = kind in (wanted, pl.Null) or (integer and kind.is_integer())
    if not fits and not (text and kind in (pl.String, pl.Categorical, pl.Enum)):
        raise TableFault(f"{name}: a column of {kind}, where {wanted} belongs")
    try:
        return column.cast(wanted)
    except pl.exceptions.InvalidOperationError as error:
        raise TableFault(f"{name}: a value that it may not have") from error


def _within(column: pl.Series, least: int) -> bool:
    """Whether every known integer of the column is from `least` to the largest amount."""
    return bool(column.is_between(least, MAX_AMOUNT).all())


def number(value: int) -> pl.Expr:
    """A constant of 64 bits."""
    return pl.lit(value, pl.Int64)


def pick(index: pl.Expr, leaves: Sequence[int]) -> pl.Expr:
    """The leaf at each index; null at a null one."""
    return pl.lit(pl.Series(leaves, dtype=pl.Int64)).gather(index)


def ladder(value: pl.Expr, edges: Sequence[int], leaves: Sequence[int]) -> pl.Expr:
    """The leaf of the range that each value falls in: range `i` ends before edge `i`, and the next one begins there."""
    if len(edges) > CHAIN_MAX:
        return pick(pl.lit(pl.Series(edges, dtype=pl.Int64)).search_sorted(value, side="right"), leaves)
    found = number(leaves[-1])
    for edge, leaf in zip(reversed(edges), reversed(leaves[:-1]), strict=True):
        found = pl.when(value < edge).then(number(leaf)).otherwise(found)
    return found


def share(value: pl.Expr, rate: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    """`value` x `rate` / 10,000: what is whole of it, and the rest in ten-thousandths.

    Exact for values to `MAX_AMOUNT` and rates to 100,000: the product itself would not fit in 64 bits.
    """
    whole = value // BPS
    product = (value - whole * BPS) * rate
    return whole * rate + product // BPS, product % BPS
