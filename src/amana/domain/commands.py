"""The commands on accounts and transfers, each a pure step over the book.

Every one is a top-down list of early refusals, then a line after which nothing may fail.
"""

from collections.abc import Sequence
from datetime import date, datetime
from uuid import UUID

from amana.domain.account import (
    NORMAL_SIDE,
    Account,
    AccountCode,
    exposure_account_id,
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
from amana.domain.events import Aggregate
from amana.domain.posting import post_linked
from amana.domain.reasons import Reason
from amana.domain.transfer import Refused, Transfer


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
    if asked.key in book.answers:
        return once(book, asked, dict)
    stored = book.transfers.get(asked.key)
    if stored is not None:
        fields = stored_fields(stored)
        for name, value in sorted(asked.request.items()):
            if fields[name] != value:
                return Answer(Reason.ID_CONFLICT, {"field": name})
        return Answer(None, {}, replayed=True)
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
    answer = post_transfers(book, [(asked, transfer)])[0]
    if answer.reason is None:
        # Its row can't tell an amount that was named from "all that is left": the request is kept as well.
        keep(book, asked, answer)
    return answer


def open_account(book: Book, asked: Asked, account: Account) -> Answer:
    """Opens an account under a client-chosen id. Control accounts come with their loan or credit line instead."""

    def run() -> Json | Refused:
        if book.account(asked.tenant, asked.id) is not None:
            return Refused(Reason.ID_CONFLICT, {"field": "id"})
        book.open_account(account)
        draft_opened(book, asked, account)
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
        draft_opened(book, asked, account)
    assert (account.code, account.owner) == (code, customer), "an id of Amana's own was taken"
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
    account.revision += 1
    book.new_limits.add((account.tenant, account.id))
    data: Json = {
        "account": str(account.id),
        "customer": str(account.owner),
        "currency": account.currency,
        "from": before,
        "to": credit_limit,
        "drawn": account.drawn,
    }
    aggregate = Aggregate("account", account.id, account.revision)
    book.drafts.append(Draft(asked, "AccountLimitChanged", aggregate, data))


def draft_opened(book: Book, asked: Asked, account: Account) -> None:
    """The event of an account that was opened."""
    data: Json = {
        "account": str(account.id),
        "owner": str(account.owner),
        "currency": account.currency,
        "code": account.code,
        "normal_side": account.normal_side,
        "credit_limit": account.credit_limit,
    }
    book.drafts.append(Draft(asked, "AccountOpened", Aggregate("account", account.id, 1), data))
