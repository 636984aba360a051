"""Money: integers in minor units with an ISO 4217 currency. No float comes near it.

The largest amount is 2^53 - 1, so that every JSON reader in the world sees the same number.
"""

from enum import StrEnum

MAX_AMOUNT = 2**53 - 1


class Currency(StrEnum):
    """The currencies that Amana keeps books in. ISO 4217; all have 100 minor units."""

    NGN = "NGN"
    USD = "USD"


def floor_bps(amount: int, rate_bps: int) -> int:
    """`amount` x `rate_bps` / 10,000, rounded down. The rounding of a flat fee unless a price says otherwise."""
    return amount * rate_bps // 10_000


def format_minor(amount: int, currency: str) -> str:
    """For people: `format_minor(1234567, "NGN")` is `₦12,345.67`."""
    sign = "-" if amount < 0 else ""
    symbol = {"NGN": "₦", "USD": "$"}.get(currency, f"{currency} ")
    return f"{sign}{symbol}{abs(amount) // 100:,}.{abs(amount) % 100:02d}"
