"""Persons: several numbers owe together and were late together."""

from datetime import date, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st
from tests.domain.test_facts import AT, standing

from amana.domain.facts import CustomerStanding
from amana.domain.persons import standing_of_person


def test_one_number_stands_as_it_stands() -> None:
    alone = standing(exposure=-5, loans_total=2, first_loan_on=date(2026, 1, 1))
    assert standing_of_person([alone]) is alone


def test_what_two_numbers_owe_adds_up_and_the_worst_lateness_counts() -> None:
    own = standing(
        exposure=100, loans_total=3, loans_open=1, loans_closed=2, worst_days_past_due=4, current_days_past_due=0,
        largest_principal_repaid=900, repaid_total=2_000, first_loan_on=date(2026, 1, 5),
        last_closed_on=date(2026, 2, 1),
    )  # fmt: skip
    other = standing(
        customer=UUID(int=8), exposure=250, loans_total=1, loans_open=1, loans_closed=0, worst_days_past_due=31,
        current_days_past_due=31, largest_principal_repaid=0, repaid_total=10, first_loan_on=date(2025, 12, 1),
        as_of=AT - timedelta(milliseconds=7),
    )  # fmt: skip
    assert standing_of_person([own, other]) == standing(
        exposure=350, loans_total=4, loans_open=2, loans_closed=2, worst_days_past_due=31, current_days_past_due=31,
        largest_principal_repaid=900, repaid_total=2_010, first_loan_on=date(2025, 12, 1),
        last_closed_on=date(2026, 2, 1), as_of=AT - timedelta(milliseconds=7), linked=1,
    )  # fmt: skip


def test_numbers_without_a_loan_have_no_first_and_no_last() -> None:
    made = standing_of_person([standing(), standing(), standing()])
    assert (made.first_loan_on, made.last_closed_on, made.linked) == (None, None, 2)


def test_what_one_number_has_to_its_credit_pays_nothing_of_anothers() -> None:
    assert standing_of_person([standing(exposure=-500), standing(exposure=300)]).exposure == 300


def any_standing() -> st.SearchStrategy[CustomerStanding]:
    return st.builds(
        lambda exposure, late, repaid: standing(
            exposure=exposure, worst_days_past_due=late, largest_principal_repaid=repaid
        ),
        st.integers(-100, 10_000),
        st.integers(0, 400),
        st.integers(0, 10_000),
    )


@given(any_standing(), st.lists(any_standing(), max_size=4), any_standing())
def test_another_number_never_makes_a_person_owe_less_or_less_late(
    own: CustomerStanding, others: list[CustomerStanding], more: CustomerStanding
) -> None:
    before, after = standing_of_person([own, *others]), standing_of_person([own, *others, more])
    assert after.exposure >= before.exposure
    assert after.worst_days_past_due >= before.worst_days_past_due
    assert after.customer == own.customer


@given(any_standing(), st.permutations([standing(exposure=1), standing(exposure=-2), standing(loans_total=3)]))
def test_the_order_of_the_other_numbers_does_not_matter(own: CustomerStanding, others: list[CustomerStanding]) -> None:
    ordered = sorted(others, key=lambda item: (item.exposure, item.loans_total))
    assert standing_of_person([own, *others]) == standing_of_person([own, *ordered])
