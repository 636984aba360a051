"""Until when the law keeps a customer, and what may be done with one who is to be erased."""

from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest

from amana.domain.customer import Change, Known, changed
from amana.domain.facts import CustomerStanding
from amana.domain.privacy import AT_ONCE, Processing, end_of_retention, refuse_processing
from amana.domain.reasons import Reason
from amana.domain.record import CustomerRecord
from amana.domain.transfer import Refused

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
FIVE_YEARS = timedelta(days=1_827)


def standing(**changes: object) -> CustomerStanding:
    zeros: dict[str, object] = dict.fromkeys(CustomerStanding.__struct_fields__, 0)
    zeros |= {"customer": UUID(int=1), "first_loan_on": None, "last_closed_on": None, "as_of": NOW}
    return CustomerStanding(**(zeros | changes))  # type: ignore[arg-type]  # the values fit by name


@pytest.mark.parametrize("owed", [{"loans_open": 1}, {"exposure": 1}, {"loans_open": 1, "exposure": 100}])
def test_who_owes_is_not_erased_whenever_they_were_decided_about(owed: dict[str, object]) -> None:
    long_ago = NOW - timedelta(days=9_000)
    assert end_of_retention(long_ago, [standing(), standing(**owed)], FIVE_YEARS) is None


def test_who_was_never_decided_about_nor_lent_to_is_erased_at_once() -> None:
    assert end_of_retention(None, [standing(), standing()], FIVE_YEARS) == AT_ONCE


def test_who_has_a_decision_that_is_being_reversed_is_not_erased_meanwhile() -> None:
    long_ago = NOW - timedelta(days=9_000)
    assert end_of_retention(long_ago, [standing()], FIVE_YEARS, reversing=True) is None


def test_a_decline_is_kept_as_long_as_a_loan() -> None:
    assert end_of_retention(NOW, [standing()], FIVE_YEARS) == NOW + FIVE_YEARS


def test_the_period_begins_when_the_last_loans_day_is_over_in_lagos() -> None:
    closed = standing(loans_total=2, loans_closed=2, last_closed_on=date(2026, 3, 4))
    end = end_of_retention(NOW, [standing(), closed], FIVE_YEARS)
    assert end == datetime(2026, 3, 4, 23, tzinfo=UTC) + FIVE_YEARS
    later = NOW + timedelta(days=30)
    assert end_of_retention(later, [closed], FIVE_YEARS) == later + FIVE_YEARS


def test_who_is_to_be_erased_or_was_is_not_changed() -> None:
    record = CustomerRecord(kyc_tier=2)
    said = Change(record=CustomerRecord(kyc_tier=3))
    for processing, reason in (
        (Processing.RESTRICTED, Reason.CUSTOMER_RESTRICTED),
        (Processing.ERASED, Reason.CUSTOMER_ERASED),
    ):
        assert refuse_processing(processing) == Refused(reason)
        assert changed(Known(version=1, record=record, processing=processing), said) == Refused(reason)
        assert changed(Known(version=1, record=record, processing=processing), Change(record=record)) == Refused(reason)
    assert refuse_processing(Processing.OPEN) is None
