"""Loans in batches: what is raced for, and what is repaid in the batch that lent it."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID, uuid4

from tests.transactions.conftest import Bank

from amana.domain.account import exposure_account_id, principal_account_id
from amana.domain.book import Kind
from amana.domain.lending import Loan, LoanOrigin
from amana.domain.reasons import Reason
from amana.transactions.account_work import SetCreditLine
from amana.transactions.work import BookLoan, Repay

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)


def loan_for(bank: Bank, customer: UUID, offer: UUID | None = None) -> BookLoan:
    """A loan of 100.00 naira with a fee of 15.00."""
    loan = Loan(
        bank.tenant,
        bank.fitting(customer),
        customer,
        "nano",
        "NGN",
        10_000,
        1_500,
        30,
        LoanOrigin.OFFER,
        offer or uuid4(),
        NOW,
        NOW,
    )
    return BookLoan(bank.asked(loan.id, Kind.LOAN, offer_id=str(loan.decision_id)), loan, 10**9, True)


async def credit_line(bank: Bank, limit: int) -> UUID:
    """A customer with a line."""
    customer = uuid4()
    command = bank.asked(bank.fitting(customer), Kind.CREDIT_LINE)
    await bank.send(SetCreditLine(command, customer, "NGN", limit))
    return customer


async def test_an_offer_raced_for_by_two_processes_is_booked_once(bank: Bank) -> None:
    flows = [bank.flow, bank.another_flow()]
    customer, offer = await credit_line(bank, 10**6), uuid4()
    answers = await asyncio.gather(*(bank.send(loan_for(bank, customer, offer), flows[n % 2]) for n in range(10)))
    reasons = [answer.reason for answer in answers]
    assert (reasons.count(None), reasons.count(Reason.OFFER_USED)) == (1, 9)
    assert await bank.balance(exposure_account_id(customer, "NGN")) == 11_500


async def test_loans_raced_for_never_pass_the_credit_limit(bank: Bank) -> None:
    flows = [bank.flow, bank.another_flow()]
    customer = await credit_line(bank, 3 * 11_500 + 11_499)
    answers = await asyncio.gather(*(bank.send(loan_for(bank, customer), flows[n % 2]) for n in range(10)))
    assert sum(answer.reason is None for answer in answers) == 3
    assert await bank.balance(exposure_account_id(customer, "NGN")) == 3 * 11_500


async def test_a_loan_repaid_in_the_same_batch_is_closed(bank: Bank) -> None:
    customer = await credit_line(bank, 10**6)
    booking = loan_for(bank, customer)
    await bank.send(booking)
    repayments = [
        Repay(bank.asked(bank.fitting(customer), Kind.REPAYMENT, n=n), booking.loan.id, 5_750, False, NOW)
        for n in range(2)
    ]
    await asyncio.gather(*(bank.send(repayment) for repayment in repayments))
    assert await bank.balance(principal_account_id(booking.loan.id)) == 0
    assert await bank.balance(exposure_account_id(customer, "NGN")) == 0
