"""Reasons over a table. What a row is told follows from a few digits: states of rules, band, bins, what is wrong.

Digits are packed into integers, one after the other. Rows with the same integers are told the same, so reasons are put
together once for each that occurs, by the functions that decide one by one: `told_factors` and `in_order`.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

import polars as pl

from amana.domain.facts import FACTS
from amana.domain.policy import OnMissing, Policy, Rule, SystemReason
from amana.domain.policy_code import in_order
from amana.domain.scorecard import RANKS_MAX, best_points, ranked, told_factors
from amana.domain.table_columns import number, pick

WORD = 2**62
"""Digits are packed into integers below this."""
ALL_MAX = 64
"""Where digits have no more combinations, all are told, whichever occur."""

Reasons: TypeAlias = tuple[str, ...]


class Digit(NamedTuple):
    """A small integer of each row: how many values it has, and the expression of it times a size."""

    values: int
    times: Callable[[int], pl.Expr]


def misses(rule: Rule) -> bool:
    """Whether the rule can fail for an unknown fact."""
    return FACTS[rule.fact].nullable and rule.on_missing is not OnMissing.SKIP


class _Part:
    """Digits that tell something together: `words` are the columns that hold them, `tell` gives reasons for a row."""

    def __init__(self, name: str, digits: Sequence[Digit], tell: Callable[[Sequence[int]], Reasons]) -> None:
        self._tell = tell
        self._places: list[tuple[str, int, int]] = []
        words: dict[str, pl.Expr] = {}
        word, size = f"{name}.0", 1
        for digit in digits:
            if size * digit.values > WORD:
                word, size = f"{name}.{len(words)}", 1
            words[word] = words[word] + digit.times(size) if word in words else digit.times(size)
            self._places.append((word, size, digit.values))
            size *= digit.values
        self.words = [expression.alias(word) for word, expression in words.items()]
        self.names = list(words)
        self._all = size if len(words) == 1 and size <= ALL_MAX else None

    def told(self, rows: pl.DataFrame) -> tuple[list[Reasons], pl.Series]:
        """All that is told, and for each row its place there."""
        if self._all is None:
            distinct, at = _distinct(rows.select(self.names))
        else:
            distinct, at = pl.DataFrame({self.names[0]: range(self._all)}), rows[self.names[0]]
        digits = distinct.select(
            (pl.col(word) // size % count).alias(str(at)) for at, (word, size, count) in enumerate(self._places)
        )
        known: dict[Reasons, int] = {}
        places = [known.setdefault(self._tell(row), len(known)) for row in digits.iter_rows()]
        return list(known), pl.Series(places, dtype=pl.Int64).gather(at)


class ReasonTable:
    """What a policy's rows are told. `words` make the `columns` that `reasons` reads.

    The words read `failed0`, `failed1`, … and `unknown.FACT` of rules, `band`, `bin0`, `bin1`, … of attributes,
    `closed` of the network, `fault` and `above` of the amount.
    """

    def __init__(self, document: Policy) -> None:
        knockouts, faults = _knockouts(document), _faults()
        factors = [item.reason for item in ranked(document.scorecard.attributes)]
        by_bin = list(_losses(document))
        losses = [sorted(set(lost)) for lost in by_bin]

        def tell_factors(digits: Sequence[int]) -> Reasons:
            return told_factors([lost for row, at in zip(losses, digits, strict=True) if (lost := row[at])], factors)

        bins = [
            Digit(len(every), _picked(f"bin{at}", [every.index(one) for one in lost]))
            for at, (every, lost) in enumerate(zip(losses, by_bin, strict=True))
        ]
        self._parts = [
            _Part("knockouts", [digit for digit, _ in knockouts], _teller([says for _, says in knockouts])),
            _Part("faults", [digit for digit, _ in faults], _teller([says for _, says in faults])),
            _Part("factors", bins, tell_factors),
        ]
        self.words = [word for part in self._parts for word in part.words]
        self.columns = [name for part in self._parts for name in part.names]
        said = [{code for _, says in part for code in says if code} for part in (knockouts, faults)]
        codes = sorted({*said[0], *said[1], *factors})
        self._may_repeat = len(codes) < len(said[0]) + len(said[1]) + len(set(factors))
        self._place = {code: at for at, code in enumerate(codes)}
        self._codes = pl.Series(codes, dtype=pl.Enum(codes))

    def reasons(self, rows: pl.DataFrame) -> tuple[pl.Series, pl.Series]:
        """Lists of reason codes, the first of them empty, and for each row the place of its list.

        In a list each reason stands where it came first.
        """
        told = [part.told(rows) for part in self._parts]
        counts = [max(1, len(lists)) for lists, _ in told]
        places = [place for _, place in told]
        distinct, at = _distinct(pl.DataFrame({"word": (places[0] * counts[1] + places[1]) * counts[2] + places[2]}))
        word = pl.col("word")
        each = (word // (counts[1] * counts[2]), word // counts[2] % counts[1], word % counts[2])
        lists = [pl.lit(self._lists(lists)).gather(place) for (lists, _), place in zip(told, each, strict=True)]
        whole = pl.concat_list(lists)
        whole = whole.list.unique(maintain_order=True) if self._may_repeat else whole
        none = pl.Series([[]], dtype=pl.List(self._codes.dtype))
        return none.append(distinct.select(reasons=whole)["reasons"]), at + 1

    def _lists(self, told: Sequence[Reasons]) -> pl.Series:
        """Lists of codes. Made flat and grouped: polars takes ten times as long over Python's lists."""
        flat = [(at, self._place[code]) for at, reasons in enumerate(told) for code in reasons]
        pairs = pl.DataFrame(flat, schema={"at": pl.UInt32, "code": pl.UInt32}, orient="row")
        codes = pl.lit(self._codes).gather(pl.col("code"))
        grouped = pairs.with_columns(codes=codes).group_by("at", maintain_order=True).agg("codes")
        every = pl.DataFrame({"at": pl.Series(range(len(told)), dtype=pl.UInt32)})
        lists = every.join(grouped, on="at", how="left", maintain_order="left")["codes"]
        return lists.fill_null(pl.Series([[]], dtype=pl.List(self._codes.dtype)))


def _knockouts(document: Policy) -> list[tuple[Digit, Sequence[str | None]]]:
    """The network, the policy's own switch, the rules in their order, the band: each digit, and what it says."""
    off = SystemReason.LENDING_OFF.value
    found: list[tuple[Digit, Sequence[str | None]]] = []
    closed = (None, SystemReason.NETWORK_NOT_SERVED.value, off)
    found.append((Digit(3, _picked("closed", range(3))), closed))
    if not document.lending:
        found.append((Digit(1, lambda size: number(0)), (off,)))
    for at, rule in enumerate(document.rules_in_order()):
        found.append((_rule_digit(at, rule), (None, rule.reason, rule.missing_reason)))
    says = tuple(dict.fromkeys(band.reason for band in document.scorecard.bands))
    found.append(
        (Digit(len(says), _picked("band", [says.index(band.reason) for band in document.scorecard.bands])), says)
    )
    return found


def _faults() -> list[tuple[Digit, Sequence[str | None]]]:
    """What is wrong with the amount or its term: at most one `fault`, and whether it is above the limit."""
    reasons = (SystemReason.TERM_NOT_OFFERED, SystemReason.AMOUNT_BELOW_MINIMUM, SystemReason.AMOUNT_NOT_OFFERED)
    fault = Digit(4, _picked("fault", range(4)))
    above = Digit(2, lambda size: pl.when(pl.col("above")).then(number(size)).otherwise(number(0)))
    return [
        (fault, (None, *(reason.value for reason in reasons))),
        (above, (None, SystemReason.AMOUNT_ABOVE_LIMIT.value)),
    ]


def _rule_digit(at: int, rule: Rule) -> Digit:
    """1 where the rule failed, 2 where its fact is unknown."""
    failed, unknown = pl.col(f"failed{at}"), pl.col(f"unknown.{rule.fact}")
    if not misses(rule):
        return Digit(2, lambda size: pl.when(failed).then(number(size)).otherwise(number(0)))
    missed = pl.when(unknown)
    return Digit(3, lambda size: missed.then(number(2 * size)).when(failed).then(number(size)).otherwise(number(0)))


def _picked(column: str, values: Sequence[int]) -> Callable[[int], pl.Expr]:
    """The digit that stands for each value of a column."""
    return lambda size: pick(pl.col(column), [value * size for value in values])


def _losses(document: Policy) -> Iterator[list[int]]:
    """For each attribute, what each bin and then an unknown fact loses, as `told_factors` reads it; 0 where nothing."""
    attributes = document.scorecard.attributes
    ranks = {item.id: rank for rank, item in enumerate(ranked(attributes))}
    for item in attributes:
        best, points = best_points(item), [*(bin_.points for bin_ in item.bins), item.missing]
        yield [(worth - best) * RANKS_MAX + ranks[item.id] if worth < best else 0 for worth in points]


def _teller(says: Sequence[Sequence[str | None]]) -> Callable[[Sequence[int]], Reasons]:
    """What digits say, in order."""

    def tell(digits: Sequence[int]) -> Reasons:
        return in_order([code for codes, at in zip(says, digits, strict=True) if (code := codes[at]) is not None])

    return tell


def _distinct(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series]:
    """The rows that differ, and for each row its place among them."""
    distinct = rows.unique().with_row_index("place")
    return distinct, rows.join(distinct, on=rows.columns, how="left", maintain_order="left")["place"]
