"""What a loan costs and how much fits under a headroom. Whole minor units, fees rounded as the policy names it."""

import msgspec

from amana.domain.money import floor_bps
from amana.domain.policy import Amounts, FeeMode, Policy, PriceStep, Rounding, Term


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """A price that is not the policy's: the fee that was charged for the amount asked, and the term."""

    fee: int
    term_days: int


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """The terms of one amount. `principal` is what is paid out, `total_due` = `principal` + `fee` what is owed."""

    principal: int
    fee: int
    total_due: int
    rate_bps: int
    term_days: int


def find_term(policy: Policy, term_days: int | None) -> Term | None:
    """The term asked for, or the default one where none was; None where the policy does not offer it."""
    wanted = policy.price.default_term_days if term_days is None else term_days
    return next((term for term in policy.price.terms if term.term_days == wanted), None)


def fee_of(amount: int, fee_bps: int, rounding: Rounding) -> int:
    """The flat fee on `amount`."""
    if rounding is Rounding.FLOOR:
        return floor_bps(amount, fee_bps)
    whole, rest = divmod(amount * fee_bps, 10_000)
    return whole + (rest > 5_000 or (rest == 5_000 and whole % 2 == 1))


def price_of(policy: Policy, term: Term, amount: int) -> Price | None:
    """The policy's price of `amount` under `term`; None where no step of the term covers the amount."""
    step = next((step for step in term.steps if covers(step.from_, step.to, amount)), None)
    if step is None:
        return None
    fee = fee_of(amount, step.fee_bps, step.rounding)
    principal = amount if policy.price.fee_mode is FeeMode.ADDED else amount - fee
    return Price(
        principal=principal, fee=fee, total_due=principal + fee, rate_bps=step.fee_bps, term_days=term.term_days
    )


def price_of_terms(policy: Policy, terms: Terms, amount: int) -> Price | None:
    """The price of `amount` where the fee is given; None where the policy deducts it and nothing would be left."""
    principal = amount if policy.price.fee_mode is FeeMode.ADDED else amount - terms.fee
    if principal <= 0:
        return None
    return Price(
        principal=principal,
        fee=terms.fee,
        total_due=principal + terms.fee,
        rate_bps=terms.fee * 10_000 // amount,
        term_days=terms.term_days,
    )


def is_offered(amounts: Amounts, amount: int) -> bool:
    """Whether the amount is one that the policy lends, whatever the customer."""
    return amount in amounts.listed if amounts.listed else amount % amounts.denomination == 0


def largest_amount(policy: Policy, term: Term, headroom: int) -> int:
    """The largest amount on offer under `term` whose total due is within `headroom`; 0 where none is."""
    if policy.amounts.listed:
        return max((amount for amount in policy.amounts.listed if _fits(policy, term, amount, headroom)), default=0)
    return max((_largest_in_step(policy, step, headroom) for step in term.steps), default=0)


def largest_at_terms(policy: Policy, terms: Terms, asked: int, headroom: int) -> int:
    """The largest amount whose total due fits when the fee grows in proportion to what was charged for `asked`.

    0 where none fits, or where the terms can't be priced.
    """
    amounts = policy.amounts
    price = price_of_terms(policy, terms, asked)
    if price is None:
        return 0
    most = min(((headroom + 1) * asked - 1) // price.total_due, amounts.maximum)
    if amounts.listed:
        return max((amount for amount in amounts.listed if amount <= most), default=0)
    found = most - most % amounts.denomination
    return found if found >= amounts.minimum else 0


def covers(start: int | None, end: int | None, value: int) -> bool:
    """Whether `value` is in the range from `start` (included) to `end` (not included); None is without end."""
    return (start is None or start <= value) and (end is None or value < end)


def _fits(policy: Policy, term: Term, amount: int, headroom: int) -> bool:
    price = price_of(policy, term, amount)
    return price is not None and price.total_due <= headroom


def _largest_in_step(policy: Policy, step: PriceStep, headroom: int) -> int:
    """Within one step the total due grows with the amount, so the largest that fits is found from above."""
    amounts = policy.amounts
    most = amounts.maximum if step.to is None else min(amounts.maximum, step.to - 1)
    least = amounts.minimum if step.from_ is None else max(amounts.minimum, step.from_)
    rate = step.fee_bps if policy.price.fee_mode is FeeMode.ADDED else 0
    # amount + floor(amount * rate) <= headroom; half-even rounding may be one minor unit more, hence the second look.
    most = min(most, ((headroom + 1) * 10_000 - 1) // (10_000 + rate))
    found = most - most % amounts.denomination
    if rate and found + fee_of(found, rate, step.rounding) > headroom:
        found -= amounts.denomination
    return found if found >= least else 0
