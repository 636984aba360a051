"""The commands on accounts, each a pure step over the book: open, bound, freeze, close, and a customer's credit line.

Every one is a top-down list of early refusals, then a line after which nothing may fail.
"""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from amana.domain.account import (
    NORMAL_SIDE,
    OWN_CODES,
    RESERVED_CODES,
    Account,
    AccountCode,
    AccountStatus,
    Freeze,
    exposure_account_id,
    wallet_account_id,
)
from amana.domain.book import Answer, Asked, Book, Json, draft_event, once, wrong_shard
from amana.domain.events import Aggregate
from amana.domain.reasons import Reason
from amana.domain.transfer import Refused

UNCHANGED = -1
"""A bound that a command leaves as it is."""


def open_account(book: Book, asked: Asked, account: Account) -> Answer:
    """Opens an account under a client-chosen id. Control accounts come with their loan or credit line instead."""

    def run() -> Json | Refused:
        if book.account(asked.tenant, asked.id) is not None:
            return Refused(Reason.ID_CONFLICT, {"field": "id"})
        book.open_account(account)
        draft_opened(book, asked, account)
        return {}

    return once(book, asked, run)


def set_limits(book: Book, asked: Asked, account_id: UUID, credit_limit: int | None, floor: int | None) -> Answer:
    """Sets an account's bounds; None lifts one, `UNCHANGED` leaves it.

    A bound that is already passed is allowed: nothing more may leave until the balance is back within it.
    """

    def change(account: Account) -> Refused | None:
        if account.code in RESERVED_CODES:
            return Refused(Reason.ACCOUNT_RESERVED, {"account": str(account.id)})
        limit = account.credit_limit if credit_limit == UNCHANGED else credit_limit
        _change_bounds(book, asked, account, limit, account.floor if floor == UNCHANGED else floor)
        return None

    return _on_account(book, asked, account_id, change)


def freeze(book: Book, asked: Asked, account_id: UUID, frozen_for: Freeze) -> Answer:
    """Stops an account's debits, or everything on it. Holds on it stay, may be voided and may expire."""

    def change(account: Account) -> Refused | None:
        account.status, account.frozen_for = AccountStatus.FROZEN, frozen_for
        _draft_changed(book, asked, account, "AccountFrozen", {"frozen_for": frozen_for})
        return None

    return _on_account(book, asked, account_id, change)


def unfreeze(book: Book, asked: Asked, account_id: UUID) -> Answer:
    """Opens a frozen account again; an open one stays open."""

    def change(account: Account) -> Refused | None:
        account.status, account.frozen_for = AccountStatus.OPEN, None
        _draft_changed(book, asked, account, "AccountUnfrozen", {})
        return None

    return _on_account(book, asked, account_id, change)


def close(book: Book, asked: Asked, account_id: UUID) -> Answer:
    """Closes an account for ever, once nothing stands or is held on it. Amana's own are not for closing."""

    def change(account: Account) -> Refused | None:
        if account.code in OWN_CODES:
            return Refused(Reason.ACCOUNT_RESERVED, {"account": str(account.id)})
        if not account.is_settled:
            pending = account.debits_pending + account.credits_pending
            return Refused(Reason.BALANCE_NOT_ZERO, {"balance": account.balance, "pending": pending})
        account.status, account.frozen_for = AccountStatus.CLOSED, None
        _draft_changed(book, asked, account, "AccountClosed", {})
        return None

    return _on_account(book, asked, account_id, change)


def _on_account(book: Book, asked: Asked, account_id: UUID, change: Callable[[Account], Refused | None]) -> Answer:
    """Runs `change` on an account that is there and not closed; it refuses, or changes and drafts its event."""

    def run() -> Json | Refused:
        refused = wrong_shard(book, asked, account_id)
        if refused is not None:
            return refused
        account = book.account(asked.tenant, account_id)
        if account is None:
            return Refused(Reason.ACCOUNT_NOT_FOUND, {"account": str(account_id)})
        if account.status == AccountStatus.CLOSED:
            return Refused(Reason.ACCOUNT_CLOSED, {"account": str(account_id)})
        refused = change(account)
        if refused is not None:
            return refused
        book.changed_accounts.add((account.tenant, account.id))
        return {
            "account": str(account.id),
            "status": account.status,
            "frozen_for": account.frozen_for,
            "credit_limit": account.credit_limit,
            "floor": account.floor,
            "drawn": account.drawn,
        }

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
        _change_bounds(book, asked, exposure, credit_limit, exposure.floor)
        book.changed_accounts.add((exposure.tenant, exposure.id))
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
        credit_limit=None,
        floor=0 if code is AccountCode.WALLET else None,
        last_posted_at=now,
    )


def _change_bounds(book: Book, asked: Asked, account: Account, credit_limit: int | None, floor: int | None) -> None:
    data: Json = {
        "owner": str(account.owner),
        "currency": account.currency,
        "from": account.credit_limit,
        "to": credit_limit,
        "floor_from": account.floor,
        "floor_to": floor,
        "drawn": account.drawn,
    }
    if account.code == AccountCode.EXPOSURE:
        data["customer"] = str(account.owner)
    account.credit_limit, account.floor = credit_limit, floor
    _draft_changed(book, asked, account, "AccountLimitChanged", data)


def _draft_changed(book: Book, asked: Asked, account: Account, type_: str, data: Json) -> None:
    account.revision += 1
    aggregate = Aggregate("account", account.id, account.revision)
    draft_event(book, asked, type_, aggregate, {"account": str(account.id), **data})


def draft_opened(book: Book, asked: Asked, account: Account) -> None:
    """The event of an account that was opened."""
    data: Json = {
        "account": str(account.id),
        "owner": str(account.owner),
        "currency": account.currency,
        "code": account.code,
        "normal_side": account.normal_side,
        "credit_limit": account.credit_limit,
        "floor": account.floor,
    }
    draft_event(book, asked, "AccountOpened", Aggregate("account", account.id, 1), data)
