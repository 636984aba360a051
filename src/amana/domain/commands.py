"""The commands of the transactions service, each a pure step over the book.

Every one is a top-down list of early refusals, then a line after which nothing may fail.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime
from uuid import UUID

from amana.domain.account import (
    NORMAL_SIDE,
    SYSTEM_CODES,
    Account,
    AccountCode,
    exposure_account_id,
    fee_account_id,
    principal_account_id,
    wallet_account_id,
)
from amana.domain.book import (
    Answer,
    Asked,
    Book,
    Draft,
    Json,
    draft_postings,
    keep,
    once,
    stored_fields,
    wrong_shard,
)
from amana.domain.events import Aggregate, utc_text
from amana.domain.ids import shard_of, system_account_id
from amana.domain.lending import (
    Loan,
    LoanOrigin,
    Repayment,
    allocate,
    booking_legs,
    business_date,
    repayment_legs,
    reversal_legs,
)
from amana.domain.money import MAX_AMOUNT
from amana.domain.posting import post_linked
from amana.domain.reasons import Reason
from amana.domain.transfer import Key, Refused, Transfer

NOBODY = UUID(int=0)
"""The owner of system accounts: the tenant itself."""


def post_transfers(book: Book, group: Sequence[tuple[Asked, Transfer]]) -> list[Answer]:
    """One linked group (a single transfer is a group of one): all of it moves, or none does."""
    answers = [_known_transfer(book, asked) for asked, _ in group]
    fresh = [index for index, answer in enumerate(answers) if answer is None]
    failed = next((i for i, a in enumerate(answers) if a is not None and a.reason is not None), None)
    figures: Json = {}
    if failed is None and fresh:
        refused = post_linked(book, [group[index][1] for index in fresh])
        if refused is None:
            draft_new_postings(book, [group[index][0] for index in fresh])
            return [answer or Answer(None, {}) for answer in answers]
        failed = fresh[refused[0]]
        figures = dict(refused[1].figures)
        answers[failed] = _refuse(book, group[failed][0], Answer(refused[1].reason, figures))
    for index in fresh:
        if index != failed:
            answers[index] = _refuse(book, group[index][0], Answer(Reason.LINKED_FAILED, {}))
    return [answer or Answer(None, {}) for answer in answers]


def draft_new_postings(book: Book, asked: list[Asked]) -> None:
    """The events of the transfers that were just posted, one for each asked."""
    for one, posted in zip(asked, book.posted[-len(asked) :], strict=True):
        draft_postings(book, one, [posted])


def _refuse(book: Book, asked: Asked, answer: Answer) -> Answer:
    if answer.reason is not Reason.ID_SHARD_MISMATCH:
        keep(book, asked, answer)
    return answer


def _known_transfer(book: Book, asked: Asked) -> Answer | None:
    """The answer to an id that was used before, else None."""
    stored = book.transfers.get(asked.key)
    if stored is not None:
        fields = stored_fields(stored)
        for name, value in sorted(asked.request.items()):
            if fields[name] != value:
                return Answer(Reason.ID_CONFLICT, {"field": name})
        return Answer(None, {}, replayed=True)
    if asked.key in book.answers:
        return once(book, asked, dict)
    return None


def reverse_transfer(book: Book, asked: Asked, original_id: UUID, amount: int | None, today: date) -> Answer:
    """Posts the opposite of a client's own transfer; without `amount`, of all that is left of it."""
    known = _known_transfer(book, asked)
    if known is not None:
        return known
    original = book.transfers.get((asked.tenant, original_id))
    if original is None:
        return _refuse(book, asked, Answer(Reason.ORIGINAL_NOT_FOUND, {"original": str(original_id)}))
    remaining = original.amount - book.reversed_amounts.get((asked.tenant, original_id), 0)
    if amount is None and remaining == 0:
        return _refuse(book, asked, Answer(Reason.EXCEEDS_ORIGINAL, {"remaining": 0, "requested": original.amount}))
    transfer = Transfer(
        tenant=asked.tenant,
        id=asked.id,
        debit_account=original.credit_account,
        credit_account=original.debit_account,
        amount=amount or remaining,
        currency=original.currency,
        code=original.code,
        effective_on=today,
        reverses=original_id,
    )
    return post_transfers(book, [(asked, transfer)])[0]


def open_account(book: Book, asked: Asked, account: Account) -> Answer:
    """Opens an account under a client-chosen id. Control accounts come with their loan or credit line instead."""

    def run() -> Json | Refused:
        book.open_account(account)
        _draft_account(book, asked, account)
        return {}

    return once(book, asked, run)


def set_credit_line(book: Book, asked: Asked, customer: UUID, currency: str, credit_limit: int) -> Answer:
    """Sets what a customer may owe, opening the control account and the wallet at the first time.

    A limit below what is owed is allowed: nothing more can be borrowed until it is paid down.
    """

    def run() -> Json | Refused:
        refused = wrong_shard(book, asked, customer)
        if refused is not None:
            return refused
        exposure = _ensure(book, asked, AccountCode.EXPOSURE, customer, currency)
        wallet = _ensure(book, asked, AccountCode.WALLET, customer, currency)
        _change_limit(book, asked, exposure, credit_limit)
        return {
            "customer": str(customer),
            "currency": currency,
            "credit_limit": credit_limit,
            "exposure": exposure.drawn,
            "exposure_account": str(exposure.id),
            "wallet_account": str(wallet.id),
        }

    return once(book, asked, run)


def _ensure(book: Book, asked: Asked, code: AccountCode, customer: UUID, currency: str) -> Account:
    id_ = (exposure_account_id if code is AccountCode.EXPOSURE else wallet_account_id)(customer, currency)
    account = book.account(asked.tenant, id_)
    if account is None:
        account = new_account(asked.tenant, id_, customer, currency, code, book.now)
        book.open_account(account)
        _draft_account(book, asked, account)
    return account


def new_account(tenant: int, id_: UUID, owner: UUID, currency: str, code: AccountCode, now: datetime) -> Account:
    """One of Amana's own accounts, not yet in any book. A wallet never pays out more than came in."""
    return Account(
        tenant=tenant,
        id=id_,
        owner=owner,
        currency=currency,
        code=code,
        normal_side=NORMAL_SIDE[code],
        credit_limit=0 if code is AccountCode.WALLET else None,
        opened_at=now,
        last_posted_at=now,
    )


def _change_limit(book: Book, asked: Asked, account: Account, credit_limit: int) -> None:
    before = account.credit_limit
    account.credit_limit = credit_limit
    book.new_limits.add((account.tenant, account.id))
    data: Json = {
        "account": str(account.id),
        "customer": str(account.owner),
        "currency": account.currency,
        "from": before,
        "to": credit_limit,
        "drawn": account.drawn,
    }
    aggregate = Aggregate("account", account.id, account.version)
    book.drafts.append(Draft(asked, "AccountLimitChanged", aggregate, data))


def _draft_account(book: Book, asked: Asked, account: Account) -> None:
    data: Json = {
        "account": str(account.id),
        "owner": str(account.owner),
        "currency": account.currency,
        "code": account.code,
        "normal_side": account.normal_side,
        "credit_limit": account.credit_limit,
    }
    book.drafts.append(Draft(asked, "AccountOpened", Aggregate("account", account.id, 0), data))


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
            _draft_account(book, asked, account)
        book.loans[loan.tenant, loan.id] = loan
        book.new_loans.append(loan)
        if loan.origin == LoanOrigin.OFFER:
            assert loan.decision_id is not None
            book.offers_used[loan.tenant, loan.decision_id] = loan.id
        draft_postings(book, asked, book.posted[-len(legs) :])
        _draft_loan(book, asked, loan, "LoanBooked", {**_terms(loan), "transfers": [str(leg.id) for leg in legs]})
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
        used_by = book.offers_used.get((loan.tenant, loan.decision_id))
        if used_by is not None:
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
        _draft_loan(book, asked, loan, "RepaymentReceived", _repayment_data(repayment))
        if was_open and not loan.outstanding:
            _draft_loan(book, asked, loan, "LoanClosed", {"effective_at": utc_text(effective_at)})
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
        data = _repayment_data(repayment) | {"reversal": str(asked.id), "effective_at": utc_text(effective_at)}
        _draft_loan(book, asked, loan, "RepaymentReversed", data)
        return {"id": str(asked.id), **repayment_view(repayment, loan)}

    return once(book, asked, run)


def _draft_loan(book: Book, asked: Asked, loan: Loan, type_: str, data: Json) -> None:
    whole = {"loan": str(loan.id), "customer": str(loan.customer), "outstanding": loan.outstanding, **data}
    book.drafts.append(Draft(asked, type_, Aggregate("loan", loan.id, loan.version), whole))


def _terms(loan: Loan) -> Json:
    return {
        "product": loan.product,
        "currency": loan.currency,
        "principal": loan.principal,
        "fee": loan.fee,
        "term_days": loan.term_days,
        "origin": loan.origin,
        "decision_id": None if loan.decision_id is None else str(loan.decision_id),
        "effective_at": utc_text(loan.effective_at),
        "effective_on": loan.effective_on.isoformat(),
        "due_on": loan.due_on.isoformat(),
    }


def loan_view(loan: Loan) -> Json:
    """A loan as the API shows it."""
    return {
        "id": str(loan.id),
        "customer": str(loan.customer),
        **_terms(loan),
        "principal_outstanding": loan.principal - loan.principal_paid,
        "fee_outstanding": loan.fee - loan.fee_paid,
        "outstanding": loan.outstanding,
        "status": loan.status,
        "closed_at": None if loan.closed_at is None else utc_text(loan.closed_at),
        "booked_at": utc_text(loan.booked_at),
    }


def _repayment_data(repayment: Repayment) -> Json:
    return {
        "repayment": str(repayment.id),
        "amount": repayment.amount,
        "fee_part": repayment.fee_part,
        "principal_part": repayment.principal_part,
        "excess": repayment.excess,
        "inferred": repayment.inferred,
        "effective_at": utc_text(repayment.effective_at),
        "effective_on": business_date(repayment.effective_at).isoformat(),
    }


def repayment_view(repayment: Repayment, loan: Loan) -> Json:
    """A repayment as the API shows it, with what it left of its loan."""
    return {
        **_repayment_data(repayment),
        "loan": str(loan.id),
        "loan_outstanding": loan.outstanding,
        "loan_status": loan.status,
        "reversed_by": None if repayment.reversed_by is None else str(repayment.reversed_by),
    }
