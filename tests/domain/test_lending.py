"""Loans as linked transfers: booking, repaying, taking a repayment back."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.domain.ledger import NOW, TENANT, asked, book_with, difference, id_for

from amana.domain.account import exposure_account_id, fee_account_id, principal_account_id, wallet_account_id
from amana.domain.account_commands import set_credit_line
from amana.domain.book import Kind
from amana.domain.lending import Loan, LoanOrigin, business_date
from amana.domain.loan_commands import book_loan, repay_loan, reverse_repayment
from amana.domain.reasons import Reason

CUSTOMER = id_for("ada")


def loan(name="loan", principal=10_000, fee=1_500, origin=LoanOrigin.OFFER):
    return Loan(
        TENANT, id_for(name), CUSTOMER, "nano", "NGN", principal, fee, 30, origin, id_for("offer-" + name), NOW, NOW
    )


def book_with_line(limit=20_000):
    book = book_with("")
    set_credit_line(book, asked("line", Kind.CREDIT_LINE), CUSTOMER, "NGN", limit)
    return book


def booked(book, made=None, cap=1_000_000):
    made = made or loan()
    return book_loan(book, asked_for(made), made, cap)


def asked_for(made):
    return asked((made.id.int >> 12).to_bytes(13, "big").lstrip(b"\0").decode(), Kind.LOAN)


def repay(book, amount, name="rep", made="loan", at=NOW):
    return repay_loan(book, asked(name, Kind.REPAYMENT, amount=amount), id_for(made), amount, False, at)


def balance(book, account_id):
    return book.accounts[TENANT, account_id].balance


def standing(book):
    """(principal owed, fee owed, exposure, wallet) of the customer's one loan."""
    return (
        balance(book, principal_account_id(id_for("loan"))),
        balance(book, fee_account_id(id_for("loan"))),
        balance(book, exposure_account_id(CUSTOMER, "NGN")),
        balance(book, wallet_account_id(CUSTOMER, "NGN")),
    )


def test_booking_moves_principal_fee_and_exposure_together():
    book = book_with_line()
    answer = booked(book)
    assert answer.reason is None
    assert standing(book) == (10_000, 1_500, 11_500, 0)
    assert answer.result["due_on"] == "2026-04-01"
    assert difference(book) == 0
    assert "LoanBooked" in [draft.type for draft in book.drafts]


def test_the_ledger_itself_enforces_the_credit_limit():
    book = book_with_line(limit=11_499)
    answer = booked(book)
    assert (answer.reason, answer.result) == (Reason.LIMIT_EXCEEDED, {"headroom": 11_499, "requested": 11_500})
    assert (TENANT, principal_account_id(id_for("loan"))) not in book.accounts
    assert not book.loans


def test_the_decisions_own_cap_is_held_under_the_lock_too():
    assert booked(book_with_line(), cap=11_499).reason is Reason.LIMIT_EXCEEDED


def test_a_customer_without_a_credit_line_can_not_borrow():
    assert booked(book_with("")).reason is Reason.CREDIT_LINE_NOT_FOUND


def test_an_offer_is_used_once():
    book = book_with_line(50_000)
    booked(book)
    second = loan("second")
    second.decision_id = id_for("offer-loan")
    assert booked(book, second).reason is Reason.OFFER_USED


def test_an_imported_loan_is_booked_whatever_the_limit():
    book = book_with_line(limit=0)
    assert booked(book, loan(origin=LoanOrigin.IMPORTED), cap=None).reason is None
    assert book.account(TENANT, exposure_account_id(CUSTOMER, "NGN")).headroom == 0


@pytest.mark.parametrize(
    ("amounts", "after", "status"),
    [
        ([1_000], (10_000, 500, 10_500, 0), "open"),
        ([1_500], (10_000, 0, 10_000, 0), "open"),
        ([5_000], (6_500, 0, 6_500, 0), "open"),
        ([11_500], (0, 0, 0, 0), "closed"),
        ([12_000], (0, 0, 0, 500), "closed"),
        ([6_000, 6_000], (0, 0, 0, 500), "closed"),
        ([11_500, 300], (0, 0, 0, 300), "closed"),
    ],
)
def test_repayments_pay_fees_first_then_principal_and_the_rest_is_the_customers(amounts, after, status):
    book = book_with_line()
    booked(book)
    for index, amount in enumerate(amounts):
        answer = repay(book, amount, f"rep{index}")
        assert answer.reason is None
    assert standing(book) == after
    assert answer.result["loan_status"] == status
    assert difference(book) == 0


def test_a_repayment_taken_back_is_owed_again_and_only_once():
    book = book_with_line(limit=11_500)
    booked(book)
    repay(book, 12_000)
    back = asked("back", Kind.REPAYMENT_REVERSAL)
    assert reverse_repayment(book, back, id_for("loan"), id_for("rep"), NOW).reason is None
    assert standing(book) == (10_000, 1_500, 11_500, 0)
    assert book.loans[TENANT, id_for("loan")].closed_at is None
    again = asked("again", Kind.REPAYMENT_REVERSAL)
    assert reverse_repayment(book, again, id_for("loan"), id_for("rep"), NOW).reason is Reason.ALREADY_REVERSED


def test_money_can_not_come_back_before_it_was_lent():
    book = book_with_line()
    booked(book)
    assert repay(book, 5, at=NOW - timedelta(seconds=1)).reason is Reason.EFFECTIVE_BEFORE_LOAN


def test_the_business_date_is_the_one_in_lagos():
    assert business_date(NOW.replace(hour=22, minute=59)).isoformat() == "2026-03-02"
    assert business_date(NOW.replace(hour=23, minute=0)).isoformat() == "2026-03-03"


@given(st.lists(st.tuples(st.integers(1, 9_000), st.booleans()), max_size=8))
def test_after_any_history_the_loan_agrees_with_its_accounts(history):
    book = book_with_line()
    booked(book)
    for index, (amount, taken_back) in enumerate(history):
        repay(book, amount, f"rep{index}")
        if taken_back:
            back = asked(f"back{index}", Kind.REPAYMENT_REVERSAL)
            assert reverse_repayment(book, back, id_for("loan"), id_for(f"rep{index}"), NOW).reason is None
    made = book.loans[TENANT, id_for("loan")]
    owed = made.principal - made.principal_paid, made.fee - made.fee_paid, made.outstanding
    assert standing(book)[:3] == owed
    assert standing(book)[3] == max(0, sum(a for a, back in history if not back) - 11_500) or any(
        back for _, back in history
    )
    assert difference(book) == 0
