"""What days make of a standing, against counting every loan anew."""

from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amana.domain.aging import aged
from amana.domain.facts import CustomerStanding
from amana.domain.lending import business_date

FIRST = datetime(2026, 1, 1, 22, 59, tzinfo=UTC)  # a minute before midnight in Lagos


class Lent(NamedTuple):
    """A loan: when it fell due, in days from the first, and when it was repaid, if it was."""

    due: int
    repaid: int | None


def counted(loans: list[Lent], at: datetime) -> CustomerStanding:
    """How a customer with these loans stands, from each of them."""
    today, first = business_date(at), business_date(FIRST)
    due = [first + timedelta(days=loan.due) for loan in loans]
    ended = [today if loan.repaid is None else first + timedelta(days=loan.repaid) for loan in loans]
    late = [max(0, (end - day).days) for end, day in zip(ended, due, strict=True)]
    owing = [at for at, loan in enumerate(loans) if loan.repaid is None]
    return CustomerStanding(
        customer=UUID(int=1),
        exposure=len(owing),
        loans_total=len(loans),
        loans_open=len(owing),
        loans_closed=len(loans) - len(owing),
        worst_days_past_due=max(late, default=0),
        current_days_past_due=max((late[at] for at in owing), default=0),
        largest_principal_repaid=0,
        repaid_total=0,
        first_loan_on=None,
        last_closed_on=None,
        open_due_on=min((due[at] for at in owing), default=None),
        lasts=True,
        as_of=FIRST,
    )


loans = st.lists(st.builds(Lent, due=st.integers(-40, 40), repaid=st.none() | st.integers(-50, 0)), max_size=6)


@given(loans, st.timedeltas(timedelta(0), timedelta(days=90)))
def test_a_standing_that_ages_is_the_one_that_is_counted_later(lent: list[Lent], passed: timedelta) -> None:
    assert aged(counted(lent, FIRST), FIRST + passed) == counted(lent, FIRST + passed)


def test_a_day_ends_at_midnight_in_lagos() -> None:
    due = counted([Lent(due=0, repaid=None)], FIRST)
    assert due.open_due_on == date(2026, 1, 1)
    assert aged(due, FIRST + timedelta(seconds=59)).current_days_past_due == 0
    assert aged(due, FIRST + timedelta(seconds=60)).current_days_past_due == 1


def test_a_standing_that_does_not_last_is_not_aged() -> None:
    with pytest.raises(AssertionError):
        aged(msgspec.structs.replace(counted([], FIRST), lasts=False), FIRST)
