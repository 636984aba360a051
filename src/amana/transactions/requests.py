"""From requests to commands, and from answers to responses: no decision is made here."""

from datetime import datetime
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import msgspec
from msgspec import UNSET

from amana.domain.account import NORMAL_SIDE, Account, AccountCode
from amana.domain.account_commands import UNCHANGED, close, freeze, set_limits, unfreeze
from amana.domain.book import Answer, Asked, Kind
from amana.domain.events import utc_text
from amana.domain.lending import Loan, LoanOrigin
from amana.gateway.caller import Caller
from amana.transactions.account_work import ChangeAccount, OpenAccount
from amana.transactions.orders import malformed, refuse_kept_id
from amana.transactions.work import BookLoan
from amana.wire.accounts import AccountItem, AccountView, FreezeRequest, LimitsRequest
from amana.wire.loans import ImportedTerms, LoanRequest, OfferTerms
from amana.wire.problems import Refused
from amana.wire.transfers import TransferView

View = TypeVar("View", bound=msgspec.Struct)

OPENABLE_CODES = frozenset(
    {
        AccountCode.GENERAL,
        AccountCode.CAPITAL,
        AccountCode.SUSPENSE,
        AccountCode.SETTLEMENT,
        AccountCode.LIQUIDITY,
    }
)
"""What a client may open. The rest of the chart comes with a loan or a credit line."""


def asked(caller: Caller, id_: UUID, kind: Kind, request: msgspec.Struct, **more: Any) -> Asked:
    """The command as it was asked: only the fields that were named, as JSON values, without the id."""
    fields = {name: value for name, value in msgspec.to_builtins(request).items() if name != "id" and value is not None}
    for name in fields:
        instant = getattr(request, name)
        if isinstance(instant, datetime):
            fields[name] = utc_text(instant)  # one instant has many spellings
    return Asked(caller.tenant, id_, kind, fields | more, caller.key_id, caller.trace)


def open_account(caller: Caller, item: AccountItem, index: int) -> OpenAccount:
    """An account of a client's own."""
    refuse_kept_id(item.id, f"/accounts/{index}/id")
    if item.code not in OPENABLE_CODES:
        allowed = ", ".join(sorted(OPENABLE_CODES))
        raise malformed(f"/accounts/{index}/code", f"A client opens accounts of these codes: {allowed}.")
    side = NORMAL_SIDE.get(AccountCode(item.code), item.normal_side)
    if item.normal_side != side:
        raise malformed(
            f"/accounts/{index}/normal_side", f"The normal side of an account of code {item.code} is {side}."
        )

    def build(now: datetime) -> Account:
        return Account(
            tenant=caller.tenant,
            id=item.id,
            owner=item.owner,
            currency=item.currency,
            code=item.code,
            normal_side=item.normal_side,
            credit_limit=item.credit_limit,
            floor=item.floor,
            last_posted_at=now,
        )

    return OpenAccount(asked(caller, item.id, Kind.ACCOUNT, item), build)


def booking(caller: Caller, request: LoanRequest, terms: OfferTerms | ImportedTerms, now: datetime) -> BookLoan:
    """The loan that a confirmed offer, or an older book, says."""
    offered = isinstance(terms, OfferTerms)
    effective_at = request.effective_at or now
    loan = Loan(
        tenant=caller.tenant,
        id=request.id,
        customer=terms.customer,
        product=terms.product,
        currency=terms.currency,
        principal=terms.principal,
        fee=terms.fee,
        term_days=terms.term_days,
        origin=LoanOrigin.OFFER if offered else LoanOrigin.IMPORTED,
        decision_id=terms.offer_id if isinstance(terms, OfferTerms) else terms.decision_id,
        effective_at=effective_at,
        booked_at=now,
    )
    cap = terms.exposure_cap if isinstance(terms, OfferTerms) else None
    return BookLoan(loan_asked(caller, request), loan, cap, request.effective_at is not None)


def loan_asked(caller: Caller, request: LoanRequest) -> Asked:
    """The booking as it was asked."""
    return asked(caller, request.id, Kind.LOAN, request)


def change_account(caller: Caller, kind: Kind, account: UUID, request: msgspec.Struct) -> ChangeAccount:
    """A change of one account's bounds or state."""
    match request:
        case LimitsRequest():
            if request.credit_limit is UNSET and request.floor is UNSET:
                raise malformed("/credit_limit", "Name credit_limit, floor or both.")
            limits = [UNCHANGED if value is UNSET else value for value in (request.credit_limit, request.floor)]
            change = partial(set_limits, account_id=account, credit_limit=limits[0], floor=limits[1])
        case FreezeRequest():
            change = partial(freeze, account_id=account, frozen_for=request.frozen_for)
        case _:
            change = partial(unfreeze if kind is Kind.UNFREEZE else close, account_id=account)
    id_: UUID = request.id  # type: ignore[attr-defined] # every request that changes something has one
    command = Asked(caller.tenant, id_, kind, _named(request, account=account), caller.key_id, caller.trace)
    return ChangeAccount(command, account, change)


def _named(request: msgspec.Struct, account: UUID) -> dict[str, Any]:
    """The fields as JSON values, null among them: here null says something that silence does not."""
    fields: dict[str, Any] = msgspec.to_builtins(request)
    return {name: value for name, value in fields.items() if name != "id"} | {"account": str(account)}


def body(answer: Answer, type_: type[View], **more: Any) -> View:
    """A single command's answer as its response type, or its refusal as a problem."""
    if answer.reason is not None:
        raise Refused(answer.reason, figures=answer.result)
    return msgspec.convert(answer.result | more | {"replayed": answer.replayed}, type_)


def account_view(account: Account) -> AccountView:
    """An account as the API shows it."""
    return AccountView(
        id=account.id,
        owner=account.owner,
        currency=account.currency,
        code=account.code,
        normal_side=account.normal_side,  # type: ignore[arg-type]  # the column's CHECK allows only these
        status=account.status,  # type: ignore[arg-type]
        frozen_for=account.frozen_for,  # type: ignore[arg-type]
        credit_limit=account.credit_limit,
        headroom=account.headroom,
        floor=account.floor,
        available=account.available,
        balance=account.balance,
        debits_pending=account.debits_pending,
        debits_posted=account.debits_posted,
        credits_pending=account.credits_pending,
        credits_posted=account.credits_posted,
        version=account.version,
    )


def transfer_view(fields: dict[str, Any]) -> TransferView:
    """A transfer as the API shows it."""
    fields["hold_state"] = fields.pop("state")
    return TransferView(**fields)
