"""Amounts, rounding and how money is written for people."""

from fractions import Fraction
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amana.domain.money import MAX_AMOUNT, Currency, floor_bps, format_minor

amounts = st.integers(0, MAX_AMOUNT)


def test_the_largest_amount_is_the_largest_integer_that_every_json_reader_agrees_on() -> None:
    assert MAX_AMOUNT == 9_007_199_254_740_991
    assert int(float(MAX_AMOUNT)) == MAX_AMOUNT
    assert int(float(MAX_AMOUNT + 2)) != MAX_AMOUNT + 2


@pytest.mark.parametrize(
    ("amount", "rate_bps", "share"),
    [
        (10_000, 1_500, 1_500),
        (1, 9_999, 0),
        (3, 3_333, 0),
        (9_999, 1, 0),
        (10_000, 1, 1),
        (12_345, 10_000, 12_345),
        (12_345, 0, 0),
        (MAX_AMOUNT, 1, 900_719_925_474),
    ],
)
def test_a_share_in_basis_points_is_rounded_down(amount: int, rate_bps: int, share: int) -> None:
    assert floor_bps(amount, rate_bps) == share


@given(amounts, st.integers(0, 100_000))
def test_a_share_is_exactly_the_floor_of_the_fraction(amount: int, rate_bps: int) -> None:
    assert floor_bps(amount, rate_bps) == floor(Fraction(amount * rate_bps, 10_000))


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (1_234_567, "NGN", "₦12,345.67"),
        (5, "NGN", "₦0.05"),
        (0, "USD", "$0.00"),
        (-5, "NGN", "-₦0.05"),
        (-123_400, "USD", "-$1,234.00"),
        (100, "GHS", "GHS 1.00"),
        (MAX_AMOUNT, "NGN", "₦90,071,992,547,409.91"),
    ],
)
def test_people_read_major_units_with_a_symbol(amount: int, currency: str, text: str) -> None:
    assert format_minor(amount, currency) == text


@given(st.integers(-MAX_AMOUNT, MAX_AMOUNT), st.sampled_from(Currency))
def test_no_digit_is_lost_in_the_text(amount: int, currency: Currency) -> None:
    digits = "".join(c for c in format_minor(amount, currency) if c.isdigit() or c == "-")
    assert int(digits) == amount
