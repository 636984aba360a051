"""What the book does not say about repayments."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amana.tape.book import TapeLoan, TapeRepayment
from amana.tape.infer import inferred_repayments, settle

OUT = datetime(2024, 1, 1, 9, tzinfo=UTC)


def a_loan(due: int, days: int, first_h: float | None = None, closed_h: float | None = None) -> TapeLoan:
    """A loan of `due` kobo; first repaid and closed so many hours after it was paid out."""
    first, closed = (None if h is None else OUT + timedelta(hours=h) for h in (first_h, closed_h))
    return TapeLoan(UUID(int=1), "L", UUID(int=2), "nano", due, due, 0, days, OUT, OUT, first, closed)


def paid(amount: int, at_h: float, reversed_h: float | None = None, ref: str = "") -> TapeRepayment:
    """A stated repayment so many hours after the payout."""
    reversed_at = None if reversed_h is None else OUT + timedelta(hours=reversed_h)
    number = int(at_h * 60) + 10
    return TapeRepayment(
        UUID(int=number), ref or str(number), UUID(int=1), amount, OUT + timedelta(hours=at_h), reversed_at
    )


@pytest.mark.parametrize(
    ("loan", "expected"),
    [
        (a_loan(1_150_000, 30, 100, 101), [(1_150_000, 100.0)]),
        (a_loan(1_150_000, 30, 100, 101.5), [(575_000, 100.0), (575_000, 101.5)]),
        (a_loan(1_234_550, 15, 10, 300), [(617_200, 10.0), (617_350, 300.0)]),
        (a_loan(1_000_000, 90, 10, 300), [(333_300, 10.0), (666_700, 300.0)]),
        (a_loan(1_000_000, 60, 10, 300), [(500_000, 10.0), (500_000, 300.0)]),
        (a_loan(1_000_000, 30, None, 300), [(1_000_000, 300.0)]),
        (a_loan(1_000_000, 30, 10, None), [(500_000, 10.0)]),
        (a_loan(1_000_000, 30), []),
        (a_loan(1, 30, 10, 300), [(1, 300.0)]),
        (a_loan(150, 30, 10, 300), [(75, 10.0), (75, 300.0)]),
    ],
)
def test_amounts_follow_the_rule(loan: TapeLoan, expected: list[tuple[int, float]]) -> None:
    inferred = inferred_repayments(loan, [])
    assert [(each.amount, (each.paid_at - OUT) / timedelta(hours=1)) for each in inferred] == expected
    assert all(each.inferred for each in inferred)


def test_stated_repayments_are_taken_as_they_are() -> None:
    assert inferred_repayments(a_loan(1_000, 30, 1, 20), [paid(1_000, 19)]) == []
    assert inferred_repayments(a_loan(1_000, 30, 1, None), [paid(400, 1)]) == []


def test_a_closed_loan_that_falls_short_gets_the_rest_when_it_last_moved() -> None:
    stated = [paid(400, 1), paid(300, 2, reversed_h=30)]
    [rest] = inferred_repayments(a_loan(1_000, 30, 1, 20), stated)
    assert (rest.amount, rest.paid_at, rest.inferred) == (600, OUT + timedelta(hours=30), True)


def test_what_is_paid_over_is_not_owed_back_by_a_reversal() -> None:
    loan = a_loan(1_000, 30)
    assert settle(loan, [paid(700, 1), paid(700, 2)]).owed == 0
    assert settle(loan, [paid(700, 1), paid(700, 2, reversed_h=3)]).owed == 300
    assert settle(loan, [paid(700, 1, reversed_h=3), paid(700, 2)]).owed == 700


def test_a_repayment_of_a_settled_loan_is_idle() -> None:
    late = paid(5, 3)
    settled = settle(a_loan(1_000, 30), [paid(1_000, 1), late])
    assert (settled.owed, settled.idle) == (0, (late,))


@given(st.integers(1, 10**9), st.integers(1, 120), st.floats(0, 500), st.floats(0, 500))
def test_a_closed_loan_is_always_paid_exactly(due: int, days: int, first_h: float, more_h: float) -> None:
    loan = a_loan(due, days, first_h, first_h + more_h)
    inferred = inferred_repayments(loan, [])
    assert sum(each.amount for each in inferred) == due
    assert all(each.amount > 0 for each in inferred)
    assert settle(loan, inferred).owed == 0
    assert len({each.id for each in inferred}) == len(inferred)
