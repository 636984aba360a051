"""The prices of one term as Python source: the limit under a headroom, and the price of an amount. Integers only."""

from collections.abc import Sequence
from typing import NamedTuple

from amana.domain.policy import Amounts, FeeMode, Policy, PriceStep, Rounding, Term
from amana.domain.policy_ranges import edges_tree, tree
from amana.domain.pricing import covers, fee_of


class Reach(NamedTuple):
    """A price step with the least and the largest amount on offer in it, and what each of them would owe."""

    step: PriceStep
    least: int
    top: int
    due_least: int
    due_top: int
    rate: int
    """Basis points that are owed on top of the amount: none where the fee is deducted."""


def quote_source(document: Policy, term: Term) -> list[str]:
    """The body of `quote(amount, headroom)`, which gives (limit, price or None)."""
    return [*_limit(document, term), *_price(document, term)]


def reaches(document: Policy, term: Term) -> list[Reach]:
    """The steps of a term in which the limit may fall, in their order, which is that of `due_least` too.

    A step without an amount on offer is left out, and one whose least amount owes no less than that of a later step:
    whoever reaches it reaches a larger amount.
    """
    amounts = document.amounts
    found: list[Reach] = []
    for step in reversed(term.steps):
        start = amounts.minimum if step.from_ is None else max(amounts.minimum, step.from_)
        end = amounts.maximum if step.to is None else min(amounts.maximum, step.to - 1)
        least, top = start + -start % amounts.denomination, end - end % amounts.denomination
        if least <= top:
            rate = step.fee_bps if document.price.fee_mode is FeeMode.ADDED else 0
            due_least, due_top = (amount + fee_of(amount, rate, step.rounding) for amount in (least, top))
            if not found or due_least < found[-1].due_least:
                found.append(Reach(step, least, top, due_least, due_top, rate))
    return found[::-1]


def listed_limits(document: Policy, term: Term) -> tuple[list[int], list[int]]:
    """The largest listed amount by headroom: dues that grow, and the amounts, one more, the first of them 0."""
    dues: list[tuple[int, int]] = []
    for amount in document.amounts.listed:
        step = next((step for step in term.steps if covers(step.from_, step.to, amount)), None)
        if step is not None:
            added = document.price.fee_mode is FeeMode.ADDED
            dues.append((amount + (fee_of(amount, step.fee_bps, step.rounding) if added else 0), amount))
    edges, limits = [], [0]
    for due, amount in sorted(dues):
        if amount > limits[-1]:  # else a larger amount owes no more: prices may fall where amounts grow
            edges.append(due)
            limits.append(amount)
    return edges, limits


def _limit(document: Policy, term: Term) -> list[str]:
    if document.amounts.listed:
        edges, limits = listed_limits(document, term)
        return [f"limit = {edges_tree(edges, limits, 'headroom')}"]
    lines, word = [], "if"
    for reach in reversed(reaches(document, term)):
        lines += [f"{word} headroom >= {reach.due_top}:", f"    limit = {reach.top}"]
        if reach.least < reach.top:
            lines.append(f"elif headroom >= {reach.due_least}:")
            lines += [f"    {line}" for line in _largest(reach, document.amounts)]
        word = "elif"
    return [*lines, "else:", "    limit = 0"] if lines else ["limit = 0"]


def _largest(reach: Reach, amounts: Amounts) -> list[str]:
    """The largest amount of a step whose total due fits, known to be there: within a step the due grows."""
    if not reach.rate:
        return [f"limit = headroom - headroom % {amounts.denomination}"]
    # amount + floor(amount * rate) <= headroom; half-even rounding may be one minor unit more, hence the second look.
    lines = [
        f"limit = (headroom * 10_000 + 9_999) // {10_000 + reach.rate}",
        f"limit -= limit % {amounts.denomination}",
    ]
    if reach.step.rounding is Rounding.HALF_EVEN:
        lines += [f"fee = limit * {reach.rate} // 10_000", f"rest = limit * {reach.rate} - fee * 10_000"]
        lines += ["if rest > 5_000 or (rest == 5_000 and fee & 1):", "    fee += 1"]
        lines += ["if limit + fee > headroom:", f"    limit -= {amounts.denomination}"]
    return lines


def _price(document: Policy, term: Term) -> list[str]:
    steps = term.steps
    lines = _outside(steps)
    lines.append(f"rate = {tree(steps, [step.fee_bps for step in steps], 'amount')}")
    lines.append("fee = amount * rate // 10_000")
    half_even = [int(step.rounding is Rounding.HALF_EVEN) for step in steps]
    if any(half_even):
        lines += [f"if {tree(steps, half_even, 'amount')}:", "    rest = amount * rate - fee * 10_000"]
        lines += ["    if rest > 5_000 or (rest == 5_000 and fee & 1):", "        fee += 1"]
    added = document.price.fee_mode is FeeMode.ADDED
    principal, due = ("amount", "amount + fee") if added else ("amount - fee", "amount")
    return [*lines, f"return limit, Price({principal}, fee, {due}, rate, {term.term_days})"]


def _outside(steps: Sequence[PriceStep]) -> list[str]:
    """No price where no step covers the amount."""
    first, last = steps[0].from_, steps[-1].to
    lines = [] if first is None else [f"if amount < {first}:", "    return limit, None"]
    return lines if last is None else [*lines, f"if amount >= {last}:", "    return limit, None"]
