"""Facts: typed, complete, and counted in business days."""

from datetime import UTC, date, datetime
from uuid import UUID

import pytest
from tests.domain.policy_model import GOOD

from amana.domain.facts import (
    FACTS,
    CustomerRecord,
    CustomerStanding,
    Employment,
    Source,
    fact_faults,
    facts_of,
    whole_years,
)
from amana.domain.money import MAX_AMOUNT

AT = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)  # already 2 March in Lagos


def standing(**changes: object) -> CustomerStanding:
    zeros: dict[str, object] = {
        "customer": UUID(int=7),
        "exposure": 0,
        "loans_total": 0,
        "loans_open": 0,
        "loans_closed": 0,
        "worst_days_past_due": 0,
        "current_days_past_due": 0,
        "largest_principal_repaid": 0,
        "repaid_total": 0,
        "first_loan_on": None,
        "last_closed_on": None,
        "as_of": AT,
    }
    return CustomerStanding(**(zeros | changes))  # type: ignore[arg-type]


def test_every_declared_fact_is_made_and_fits_its_declaration() -> None:
    made = facts_of(CustomerRecord(kyc_tier=1), AT, 3, standing(), AT)
    assert set(made.values) == set(FACTS)
    assert fact_faults(made.values) == []
    assert made.version == 3
    assert made.as_of == {Source.CUSTOMER: AT, Source.LEDGER: AT}


def test_what_is_not_known_is_null_and_never_zero() -> None:
    made = facts_of(CustomerRecord(kyc_tier=1), AT, 1, standing(), AT).values
    unknown = {name for name, value in made.items() if value is None}
    assert unknown == {
        "age_years", "employment", "monthly_income", "days_since_first_loan", "days_since_last_closed",
    }  # fmt: skip


def test_days_are_counted_to_the_lagos_date() -> None:
    record = CustomerRecord(kyc_tier=2, birth_date=date(2008, 3, 2), employment=Employment.STUDENT, bank_code="058")
    ledger = standing(first_loan_on=date(2026, 2, 28), last_closed_on=date(2026, 3, 2))
    made = facts_of(record, AT, 1, ledger, AT).values
    assert (made["age_years"], made["days_since_first_loan"], made["days_since_last_closed"]) == (18, 2, 0)
    assert (made["employment"], made["bank_known"]) == ("student", True)


def test_sums_of_the_ledger_stop_at_the_largest_amount() -> None:
    ledger = standing(exposure=MAX_AMOUNT + 1, repaid_total=3 * MAX_AMOUNT)
    made = facts_of(CustomerRecord(kyc_tier=1), AT, 1, ledger, AT).values
    assert (made["exposure"], made["repaid_total"]) == (MAX_AMOUNT, MAX_AMOUNT)


def test_nothing_that_identifies_a_person_is_a_fact() -> None:
    record = CustomerRecord(kyc_tier=1, birth_date=date(1990, 5, 17), phone="+2348031234567", bank_code="50211")
    told = str(facts_of(record, AT, 1, standing(), AT).values)
    assert not any(secret in told for secret in ("1990", "8031234567", "50211"))


@pytest.mark.parametrize(
    ("born", "today", "years"),
    [
        (date(2000, 3, 2), date(2026, 3, 1), 25),
        (date(2000, 3, 2), date(2026, 3, 2), 26),
        (date(2004, 2, 29), date(2022, 2, 28), 17),
        (date(2004, 2, 29), date(2022, 3, 1), 18),
    ],
)
def test_age_is_in_completed_years(born: date, today: date, years: int) -> None:
    assert whole_years(born, today) == years


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("blocked", 1),
        ("kyc_tier", True),
        ("kyc_tier", None),
        ("employment", "astronaut"),
        ("monthly_income", "250000"),
        ("shoe_size", 43),
    ],
)
def test_a_value_of_another_type_is_named(name: str, value: object) -> None:
    faults = fact_faults(GOOD | {name: value})  # type: ignore[arg-type]
    assert len(faults) == 1
    assert faults[0].startswith(f"{name}: ")
