"""Cells: exact money, two clocks, bank names."""

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amana.domain.money import MAX_AMOUNT
from amana.tape.cells import Changed, Fault, read_bank, read_date, read_instant, read_integer, read_money, read_text


@pytest.mark.parametrize(
    ("text", "kobo"),
    [
        ("10000.0000", 1_000_000),
        ("12345.5000", 1_234_550),
        ("0.01", 1),
        ("1,250,000.5", 125_000_050),
        ("+7", 700),
        ("007.10", 710),
        ("90071992547409.91", MAX_AMOUNT),
    ],
)
def test_naira_become_exact_kobo(text: str, kobo: int) -> None:
    assert read_money(text) == kobo


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("12345.505", "fractional_kobo"),
        ("-5.00", "negative_amount"),
        ("0.0000", "zero_amount"),
        ("-0", "zero_amount"),
        ("90071992547409.92", "amount_too_large"),
        ("9" * 40, "amount_too_large"),
        ("1e5", "unreadable_money"),
        ("NaN", "unreadable_money"),
        ("1,00.00", "unreadable_money"),
        ("₦500", "unreadable_money"),
        ("١٠٠", "unreadable_money"),
        ("1.", "unreadable_money"),
    ],
)
def test_what_is_no_amount_is_a_fault_and_never_rounded(text: str, code: str) -> None:
    fault = read_money(text)
    assert isinstance(fault, Fault) and fault.code == code


def test_kobo_take_no_places_that_count() -> None:
    assert read_money("150.00", minor_digits=0) == 150
    fault = read_money("150.5", minor_digits=0)
    assert isinstance(fault, Fault) and fault.code == "fractional_kobo"


@given(st.integers(min_value=1, max_value=MAX_AMOUNT), st.integers(min_value=0, max_value=4))
def test_every_amount_survives_being_written_in_naira(kobo: int, zeros: int) -> None:
    assert read_money(f"{kobo // 100}.{kobo % 100:02d}{'0' * zeros}") == kobo


@given(st.text(max_size=40))
def test_no_text_raises(text: str) -> None:
    for read in (read_money, read_integer, read_text, read_date):
        read(text)
    read_instant(text, "UTC")
    read_bank(text, text)


def test_the_two_clocks_are_an_hour_apart() -> None:
    assert read_instant("2024-02-29 12:30:45.000000", "UTC") == datetime(2024, 2, 29, 12, 30, 45, tzinfo=UTC)
    assert read_instant("2024-02-29 12:30:45.000000", "Africa/Lagos") == datetime(2024, 2, 29, 11, 30, 45, tzinfo=UTC)


def test_a_value_with_its_own_offset_keeps_it() -> None:
    assert read_instant("2024-01-01T10:00:00+03:00", "Africa/Lagos") == datetime(2024, 1, 1, 7, tzinfo=UTC)


def test_a_format_is_followed() -> None:
    assert read_instant("31/12/2023 23:59", "UTC", "%d/%m/%Y %H:%M") == datetime(2023, 12, 31, 23, 59, tzinfo=UTC)
    assert read_date("31/12/2023", "%d/%m/%Y") == date(2023, 12, 31)


@pytest.mark.parametrize("text", ["2024-13-01", "yesterday", "0001-01-01T00:00:00", "9999-12-31T23:59:59", "12"])
def test_what_is_no_instant_is_a_fault(text: str) -> None:
    fault = read_instant(text, "Africa/Lagos")
    assert isinstance(fault, Fault) and fault.code == "unreadable_instant"


@pytest.mark.parametrize(("name", "code"), [("GT Bank", "058"), ("EcoBank", "050"), ("UBA", "033"), ("058", "058")])
def test_a_bank_is_known_by_any_of_its_names(name: str, code: str) -> None:
    assert read_bank(name, name) == code


def test_a_bank_that_became_another_is_that_other_and_counts_as_repaired() -> None:
    merged, renamed = read_bank("Diamond Bank", "Diamond Bank"), read_bank("Polaris Bank", "Skye Bank")
    assert isinstance(merged, Changed) and merged.value == "044"
    assert isinstance(renamed, Changed) and renamed.value == "076"
    assert merged.fault.code == renamed.fault.code == "bank_renamed"


def test_an_unknown_bank_is_a_fault() -> None:
    fault = read_bank("Bank of Nowhere", "Bank of Nowhere")
    assert isinstance(fault, Fault) and fault.code == "unknown_bank"
