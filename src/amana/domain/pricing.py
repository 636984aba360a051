"""What a loan costs and how much fits under a headroom. Whole minor units, fees rounded as the policy names it."""

import msgspec

from amana.domain.money import floor_bps
from amana.domain.policy import Amounts, FeeMode, Policy, Rounding


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """A price that is not the policy's: the fee that was charged for the amount asked, and the term."""

    fee: int
    term_days: int


class Price(msgspec.Struct, frozen=True):
    """The terms of one amount. `principal` is what is paid out, `total_due` = `principal` + `fee` what is owed.

    Compiled policies make it by place.
    """

    principal: int
    fee: int
    total_due: int
    rate_bps: int
    term_days: int


def fee_of(amount: int, fee_bps: int, rounding: Rounding) -> int:
    """The flat fee on `amount`."""
    if rounding is Rounding.FLOOR:
        return floor_bps(amount, fee_bps)
    whole, rest = divmod(amount * fee_bps, 10_000)
    return whole + (rest > 5_000 or (rest == 5_000 and whole % 2 == 1))


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
