"""The commands on loans, each a pure step over the book: book, repay, take a repayment back.

Every one is a top-down list of early refusals, then a line after which nothing may fail.
"""

from dataclasses import replace
from datetime import datetime
from uuid import UUID

from amana.domain.account import (
    SYSTEM_CODES,
    Account,
    AccountCode,
    exposure_account_id,
    fee_account_id,
    principal_account_id,
)
from amana.domain.account_commands import draft_opened, new_account
from amana.domain.book import Answer, Asked, Book, Json, draft_event, draft_postings, once, wrong_shard
from amana.domain.events import Aggregate, utc_text
from amana.domain.ids import shard_of, system_account_id
from amana.domain.lending import (
    Loan,
    LoanOrigin,
    Repayment,
    allocate,
    booking_legs,
    repayment_legs,
    reversal_legs,
)
from amana.domain.loan_views import loan_view, repayment_data, repayment_view, terms_data
from amana.domain.money import MAX_AMOUNT
from amana.domain.posting import post_linked
from amana.domain.reasons import Reason
from amana.domain.transfer import Key, Refused

NOBODY = UUID(int=0)
"""The owner of system accounts: the tenant itself."""


def book_loan(book: Book, asked: Asked, loan: Loan, exposure_cap: int | None) -> Answer:
    """Books a loan from its offer, or an older book's loan as `imported`.

    An offer is used once. `exposure_cap` is what the fresh decision allows the customer to owe in all; it and the
    account's own limit are both held here, under the lock.
    """

    def run() -> Json | Refused:
        refused = _refuse_booking(book, asked, loan, exposure_cap)
        if refused is not None:
            return refused
        fee_account, principal_account = (
            new_account(loan.tenant, id_, loan.id, loan.currency, code, book.now)
            for code, id_ in (
                (AccountCode.FEE_RECEIVABLE, fee_account_id(loan.id)),
                (AccountCode.PRINCIPAL_RECEIVABLE, principal_account_id(loan.id)),
            )
        )
        fresh = {(loan.tenant, account.id): account for account in (fee_account, principal_account)}
        fresh |= _missing_system_accounts(book, loan)
        book.accounts.update(fresh)
        legs = booking_legs(loan, book.shards)
        failed = post_linked(book, legs)
        if failed is not None:
            for key in fresh:
                del book.accounts[key]
            return failed[1]
        # From here nothing may fail.
        for account in fresh.values():
            book.new_accounts.append(account)
            draft_opened(book, asked, account)
        book.loans[loan.tenant, loan.id] = loan
        book.new_loans.append(loan)
        if loan.origin == LoanOrigin.OFFER:
            assert loan.decision_id is not None
            book.offers_used[loan.tenant, loan.decision_id] = loan.id
        draft_postings(book, asked, book.posted[-len(legs) :])
        draft_loan(book, asked, loan, "LoanBooked", {**terms_data(loan), "transfers": [str(leg.id) for leg in legs]})
        return loan_view(loan)

    return once(book, asked, run)


def _missing_system_accounts(book: Book, loan: Loan) -> dict[Key, Account]:
    """The tenant's system sub-accounts of this currency and shard: opened with the first loan that needs them."""
    shard = shard_of(loan.customer, book.shards)
    missing = {}
    for code in SYSTEM_CODES:
        id_ = system_account_id(loan.tenant, loan.currency, code, shard, book.shards)
        if book.account(loan.tenant, id_) is None:
            missing[loan.tenant, id_] = new_account(loan.tenant, id_, NOBODY, loan.currency, code, book.now)
    return missing


def _refuse_booking(book: Book, asked: Asked, loan: Loan, exposure_cap: int | None) -> Refused | None:
    refused = wrong_shard(book, asked, loan.customer)
    if refused is not None:
        return refused
    control = book.account(loan.tenant, exposure_account_id(loan.customer, loan.currency))
    if control is None:
        return Refused(Reason.CREDIT_LINE_NOT_FOUND, {"customer": str(loan.customer), "currency": loan.currency})
    if loan.origin == LoanOrigin.OFFER:
        assert loan.decision_id is not None
        offer = loan.tenant, loan.decision_id
        if offer in book.offers_used:
            used_by = book.offers_used[offer]
            if used_by is None:
                return Refused(Reason.DECISION_REVERSED, {"offer": str(loan.decision_id)})
            return Refused(Reason.OFFER_USED, {"loan": str(used_by)})
    due = loan.principal + loan.fee
    if due > MAX_AMOUNT:
        return Refused(Reason.BALANCE_OVERFLOW, {"requested": due})
    if exposure_cap is not None and control.drawn + due > exposure_cap:
        return Refused(Reason.LIMIT_EXCEEDED, {"headroom": max(0, exposure_cap - control.drawn), "requested": due})
    return None


def repay_loan(book: Book, asked: Asked, loan_id: UUID, amount: int, inferred: bool, effective_at: datetime) -> Answer:
    """Records money received for a loan: fees first, then principal; what is over is the customer's."""

    def run() -> Json | Refused:
        loan = book.loans.get((asked.tenant, loan_id))
        if loan is None:
            return Refused(Reason.LOAN_NOT_FOUND, {"loan": str(loan_id)})
        refused = wrong_shard(book, asked, loan.customer)
        if refused is not None:
            return refused
        if effective_at < loan.effective_at:
            return Refused(Reason.EFFECTIVE_BEFORE_LOAN, {"loan_effective_at": utc_text(loan.effective_at)})
        fee_part, principal_part, excess = allocate(loan, amount)
        repayment = Repayment(
            asked.tenant, asked.id, loan.id, amount, fee_part, principal_part, excess, inferred, effective_at, book.now
        )
        legs = repayment_legs(loan, repayment, book.shards)
        failed = post_linked(book, legs)
        if failed is not None:
            return failed[1]
        # From here nothing may fail.
        was_open = loan.outstanding > 0
        loan.fee_paid += fee_part
        loan.principal_paid += principal_part
        loan.version += 1
        if was_open and not loan.outstanding:
            loan.closed_at = effective_at
        book.changed_loans.add((loan.tenant, loan.id))
        book.repayments[asked.key] = repayment
        book.new_repayments.append(repayment)
        draft_postings(book, asked, book.posted[-len(legs) :])
        draft_loan(book, asked, loan, "RepaymentReceived", repayment_data(repayment))
        if was_open and not loan.outstanding:
            loan.version += 1
            draft_loan(book, asked, loan, "LoanClosed", {"effective_at": utc_text(effective_at)})
        return repayment_view(repayment, loan)

    return once(book, asked, run)


def reverse_repayment(book: Book, asked: Asked, loan_id: UUID, repayment_id: UUID, effective_at: datetime) -> Answer:
    """Takes a repayment back (a returned payment): every leg reversed in one linked group, the loan owes it again."""

    def run() -> Json | Refused:
        loan = book.loans.get((asked.tenant, loan_id))
        if loan is None:
            return Refused(Reason.LOAN_NOT_FOUND, {"loan": str(loan_id)})
        refused = wrong_shard(book, asked, loan.customer)
        if refused is not None:
            return refused
        repayment = book.repayments.get((asked.tenant, repayment_id))
        if repayment is None or repayment.loan != loan_id:
            return Refused(Reason.REPAYMENT_NOT_FOUND, {"repayment": str(repayment_id)})
        if repayment.reversed_by is not None:
            return Refused(Reason.ALREADY_REVERSED, {"reversal": str(repayment.reversed_by)})
        if effective_at < repayment.effective_at:
            return Refused(Reason.EFFECTIVE_BEFORE_LOAN, {"loan_effective_at": utc_text(repayment.effective_at)})
        legs = reversal_legs(loan, repayment, asked.id, effective_at, book.shards)
        failed = post_linked(book, legs)
        if failed is not None:
            return failed[1]
        # From here nothing may fail.
        loan.fee_paid -= repayment.fee_part
        loan.principal_paid -= repayment.principal_part
        loan.version += 1
        if loan.outstanding:
            loan.closed_at = None
        repayment.reversed_by = asked.id
        reversed_at = replace(repayment, effective_at=effective_at, received_at=book.now)
        book.changed_loans.add((loan.tenant, loan.id))
        book.new_reversals.append(reversed_at)
        draft_postings(book, asked, book.posted[-len(legs) :])
        data = repayment_data(repayment) | {"reversal": str(asked.id), "effective_at": utc_text(effective_at)}
        draft_loan(book, asked, loan, "RepaymentReversed", data)
        return {"id": str(asked.id), **repayment_view(repayment, loan)}

    return once(book, asked, run)


def draft_loan(book: Book, asked: Asked, loan: Loan, type_: str, data: Json) -> None:
    """The event of a loan at its version."""
    whole = {"loan": str(loan.id), "customer": str(loan.customer), "outstanding": loan.outstanding, **data}
    draft_event(book, asked, type_, Aggregate("loan", loan.id, loan.version), whole)
