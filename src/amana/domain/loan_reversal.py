"""What a reversed decision does to its offers and loans in the ledger: three commands, each a pure step over the book.

    withdraw    the offer was never booked: now it never will be. It was: the loan is `reversing`, or is kept and why
    reverse     all of the loan's money goes back in one linked group, and the loan is `reversed`
    abandon     a person gave up: the loan goes on as if nothing had been

While a loan is `reversing` it is owed and repaid as ever, so that no money is turned away; what comes after goes to
the wallet whole, because nothing is owed. Holds that are open for the offer or its loan are voided with it. Which
transfers a reversal is made of is in `loan_reversal_legs`.
"""

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from uuid import UUID

from msgspec import Struct

from amana.domain.account import exposure_account_id
from amana.domain.book import Answer, Asked, Book, Json, draft_event, draft_movement, draft_postings, once, wrong_shard
from amana.domain.events import Aggregate, utc_text
from amana.domain.lending import Loan
from amana.domain.loan_commands import draft_loan
from amana.domain.loan_reversal_legs import reversal_group, standing_repayments, voids_of
from amana.domain.policy import LoanReversal, OnRepaid
from amana.domain.posting import change_hold, post_linked
from amana.domain.reasons import Reason
from amana.domain.transfer import HoldState, Key, Refused, Transfer

REPAYMENTS_MAX = 100
"""Of one loan that stand: all of them go back in one transaction."""


class OfferOutcome(StrEnum):
    """What a withdrawal found."""

    UNBOOKED = "unbooked"
    REVERSING = "reversing"
    KEPT = "kept"


class Kept(StrEnum):
    """Why a loan is not undone although its decision is, in the order in which they are tried."""

    NOT_ASKED = "not_asked"
    NOT_ALLOWED = "not_allowed"
    TOO_LATE = "too_late"
    REPAID = "repaid"
    TOO_MANY_REPAYMENTS = "too_many_repayments"
    ABANDONED = "abandoned"


class Undoing(Struct, frozen=True, kw_only=True):
    """An offer whose decision is reversed. `terms` say whether its loan may be undone, or `kept` why it may not."""

    offer: UUID
    customer: UUID
    currency: str
    reversal: UUID
    terms: LoanReversal | None
    kept: Kept | None
    holds: tuple[UUID, ...] = ()


def withdraw_offer(book: Book, asked: Asked, wanted: Undoing) -> Answer:
    """Closes an offer for ever; or finds its loan, and begins to undo it where the policy allows."""

    def run() -> Json | Refused:
        refused = wrong_shard(book, asked, wanted.customer)
        if refused is not None:
            return refused
        if book.account(asked.tenant, exposure_account_id(wanted.customer, wanted.currency)) is None:
            figures = {"customer": str(wanted.customer), "currency": wanted.currency}
            return Refused(Reason.CREDIT_LINE_NOT_FOUND, figures)
        loan = _loan_of(book, (asked.tenant, wanted.offer))
        begun = loan is not None and loan.reversal == wanted.reversal
        kept = None if loan is None or begun else _kept_because(book, loan, wanted)
        voids = [] if kept else voids_of(book, asked, wanted.holds)
        if failed := post_linked(book, voids):
            return failed[1]
        # From here nothing may fail.
        _settle_voids(book, asked, voids)
        if loan is None:
            _close(book, asked, wanted)
        elif kept is None:
            _begin(book, asked, loan, wanted.reversal)
        outcome = OfferOutcome.UNBOOKED if loan is None else OfferOutcome.KEPT if kept else OfferOutcome.REVERSING
        return {
            "offer": str(wanted.offer),
            "outcome": outcome,
            "loan": None if loan is None else str(loan.id),
            "kept_because": kept,
            "voided": [str(void.original) for void in voids],
        }

    return once(book, asked, run)


def reverse_loan(
    book: Book, asked: Asked, loan_id: UUID, reversal: UUID, terms: LoanReversal, holds: Sequence[UUID] = ()
) -> Answer:
    """Undoes a loan that is `reversing`: all of its money in one linked group, or none of it."""

    def run() -> Json | Refused:
        loan = book.loans.get((asked.tenant, loan_id))
        if refused := _refuse_reversing(book, asked, loan, loan_id, reversal):
            return refused
        assert loan is not None, "it was refused else"
        repayments = standing_repayments(book, loan)
        voids = voids_of(book, asked, holds)
        legs = reversal_group(loan, repayments, terms, asked.id, book.today, book.shards)
        if failed := post_linked(book, [*voids, *legs]):
            return failed[1]
        # From here nothing may fail.
        _settle_voids(book, asked, voids)
        draft_postings(book, asked, book.posted[-len(legs) :])
        returned = sum(repayment.fee_part + repayment.principal_part for repayment in repayments)
        for repayment in repayments:
            repayment.reversed_by = asked.id
            book.new_reversals.append(replace(repayment, effective_at=book.now, received_at=book.now))
        loan.principal_paid = loan.fee_paid = 0
        loan.closed_at, loan.reversed_by, loan.reversed_at = None, asked.id, book.now
        data = {
            "decision_id": str(loan.decision_id),
            "effective_at": utc_text(book.now),
            "effective_on": book.today.isoformat(),
            "repayments": [str(repayment.id) for repayment in repayments],
            "returned": returned,
            "reversal": str(reversal),
            "reversed_by": str(asked.id),
            "transfers": [str(leg.id) for leg in legs],
        }
        _change(book, asked, loan, "LoanReversed", data)
        return {"loan": str(loan.id), "returned": returned, "voided": [str(void.original) for void in voids]}

    return once(book, asked, run)


def abandon_reversal(book: Book, asked: Asked, loan_id: UUID, reversal: UUID) -> Answer:
    """Leaves a loan that is `reversing` as it is: it goes on, and may be asked for no more by this reversal."""

    def run() -> Json | Refused:
        loan = book.loans.get((asked.tenant, loan_id))
        if refused := _refuse_reversing(book, asked, loan, loan_id, reversal):
            return refused
        assert loan is not None, "it was refused else"
        loan.reversal = None
        data = {"decision_id": str(loan.decision_id), "reversal": str(reversal)}
        _change(book, asked, loan, "LoanReversalAbandoned", data)
        return {"loan": str(loan.id), "status": loan.status}

    return once(book, asked, run)


def _loan_of(book: Book, offer: Key) -> Loan | None:
    loan_id = book.offers_used.get(offer)
    return None if loan_id is None else book.loans[offer[0], loan_id]


def _kept_because(book: Book, loan: Loan, wanted: Undoing) -> Kept | None:
    """Why this loan is not undone; the first that applies."""
    terms = wanted.terms
    if terms is None:
        return wanted.kept or Kept.NOT_ALLOWED
    if (book.today - loan.effective_on).days > terms.within_days:
        return Kept.TOO_LATE
    repayments = standing_repayments(book, loan)
    if repayments and terms.repaid is OnRepaid.KEEP:
        return Kept.REPAID
    return Kept.TOO_MANY_REPAYMENTS if len(repayments) > REPAYMENTS_MAX else None


def _refuse_reversing(book: Book, asked: Asked, loan: Loan | None, loan_id: UUID, reversal: UUID) -> Refused | None:
    """Why this reversal has nothing to do with the loan; the first that applies."""
    if loan is None:
        return Refused(Reason.LOAN_NOT_FOUND, {"loan": str(loan_id)})
    if refused := wrong_shard(book, asked, loan.customer):
        return refused
    if loan.reversed_by is not None:
        return Refused(Reason.ALREADY_REVERSED, {"reversal": str(loan.reversed_by)})
    if loan.reversal != reversal:
        return Refused(Reason.LOAN_NOT_REVERSING, {"loan": str(loan_id)})
    if len(standing_repayments(book, loan)) > REPAYMENTS_MAX and asked.kind == "loan_reversal":
        return Refused(Reason.TOO_MANY_REPAYMENTS, {"repayments_max": REPAYMENTS_MAX})
    return None


def _close(book: Book, asked: Asked, wanted: Undoing) -> None:
    """The offer is closed; once, whoever asks again."""
    key = asked.tenant, wanted.offer
    if key in book.offers_used:
        return
    book.offers_used[key] = None
    book.new_withdrawals.append((key, wanted.customer, wanted.reversal))
    data = {"customer": str(wanted.customer), "offer": str(wanted.offer), "reversal": str(wanted.reversal)}
    draft_event(book, asked, "OfferWithdrawn", Aggregate("offer", wanted.offer, 1), data)


def _begin(book: Book, asked: Asked, loan: Loan, reversal: UUID) -> None:
    """The loan is `reversing`; once, whoever asks again."""
    if loan.reversal is not None:
        return
    loan.reversal = reversal
    data = {"decision_id": str(loan.decision_id), "reversal": str(reversal)}
    _change(book, asked, loan, "LoanReversalStarted", data)


def _change(book: Book, asked: Asked, loan: Loan, type_: str, data: Json) -> None:
    loan.version += 1
    book.changed_loans.add((loan.tenant, loan.id))
    draft_loan(book, asked, loan, type_, data)


def _settle_voids(book: Book, asked: Asked, voids: Sequence[Transfer]) -> None:
    ids = {void.id for void in voids}
    for posted in [posted for posted in book.posted if posted.transfer.id in ids]:
        assert posted.transfer.original is not None, "a void is about a hold"
        hold = book.holds[asked.tenant, posted.transfer.original]
        change_hold(hold, HoldState.VOIDED)
        aggregate = Aggregate("hold", hold.id, hold.version)
        draft_movement(book, asked.actor, asked.trace, posted, "HoldVoided", aggregate)
