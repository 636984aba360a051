"""From requests to commands, and from answers to responses: no decision is made here."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

import msgspec

from amana.domain.account import Account, AccountCode
from amana.domain.book import Answer, Asked, Kind
from amana.domain.events import utc_text
from amana.domain.lending import Loan, LoanOrigin
from amana.domain.reasons import Reason
from amana.domain.transfer import Transfer
from amana.gateway.caller import Caller
from amana.transactions.work import BookLoan, OpenAccount, PostGroup
from amana.wire.problems import FieldError, Refused
from amana.wire.transactions import (
    AccountItem,
    AccountView,
    ImportedTerms,
    ItemResult,
    LoanRequest,
    OfferTerms,
    TransferItem,
)

OPENABLE_CODES = frozenset({AccountCode.GENERAL, AccountCode.CAPITAL, AccountCode.SUSPENSE})
"""What a client may open. The rest of the chart comes with a loan or a credit line."""
OWN_IDS_VERSION = 8


def asked(caller: Caller, id_: UUID, kind: Kind, request: msgspec.Struct, **more: Any) -> Asked:
    """The command as it was asked: only the fields that were named, as JSON values, without the id."""
    fields = {name: value for name, value in msgspec.to_builtins(request).items() if name != "id" and value is not None}
    for name in fields:
        instant = getattr(request, name)
        if isinstance(instant, datetime):
            fields[name] = utc_text(instant)  # one instant has many spellings
    return Asked(caller.tenant, id_, kind, fields | more, caller.key_id, caller.trace)


def transfer_groups(caller: Caller, items: Sequence[TransferItem], today: date) -> list[PostGroup]:
    """Consecutive items joined by `linked`. An open chain or an id twice in one chain is malformed."""
    groups: list[PostGroup] = []
    members: list[tuple[Asked, Transfer]] = []
    for index, item in enumerate(items):
        if any(one.id == item.id for one, _ in members):
            raise _malformed(f"/transfers/{index}/id", "An id stands twice in one linked group.")
        refuse_kept_id(item.id, f"/transfers/{index}/id")
        members.append(_transfer(caller, item, today))
        if not item.linked:
            groups.append(PostGroup(members))
            members = []
    if members:
        raise _malformed(f"/transfers/{len(items) - 1}/linked", "The last item can't be linked to a next one.")
    return groups


def refuse_kept_id(id_: UUID, pointer: str) -> None:
    """Ids of version 8 are those of Amana's own accounts and legs, which follow from other ids: nobody may take one."""
    if id_.version == OWN_IDS_VERSION:
        raise _malformed(pointer, "Ids of version 8 are kept for the accounts and transfers that Amana itself makes.")


def _transfer(caller: Caller, item: TransferItem, today: date) -> tuple[Asked, Transfer]:
    transfer = Transfer(
        tenant=caller.tenant,
        id=item.id,
        debit_account=item.debit_account,
        credit_account=item.credit_account,
        amount=item.amount,
        currency=item.currency,
        code=item.code,
        effective_on=item.effective_on or today,
    )
    fields: dict[str, Any] = {
        "debit_account": str(item.debit_account),
        "credit_account": str(item.credit_account),
        "amount": item.amount,
        "currency": item.currency,
        "code": item.code,
        # A client's own transfer: one that reverses, or belongs to a loan, is another.
        "reverses": None,
        "command": None,
    }
    if item.effective_on is not None:
        fields["effective_on"] = item.effective_on.isoformat()
    return Asked(caller.tenant, item.id, Kind.TRANSFER, fields, caller.key_id, caller.trace), transfer


def open_account(caller: Caller, item: AccountItem, index: int) -> OpenAccount:
    """An account of a client's own."""
    refuse_kept_id(item.id, f"/accounts/{index}/id")
    if item.code not in OPENABLE_CODES:
        allowed = ", ".join(sorted(OPENABLE_CODES))
        raise _malformed(f"/accounts/{index}/code", f"A client opens accounts of these codes: {allowed}.")

    def build(now: datetime) -> Account:
        return Account(
            tenant=caller.tenant,
            id=item.id,
            owner=item.owner,
            currency=item.currency,
            code=item.code,
            normal_side=item.normal_side,
            credit_limit=item.credit_limit,
            opened_at=now,
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


def item_result(id_: UUID, answer: Answer, done: str) -> ItemResult:
    """One line of a list's answer."""
    if answer.reason is None:
        return ItemResult(id=id_, status=done, replayed=answer.replayed)
    return ItemResult(id=id_, status="refused", reason=answer.reason, figures=answer.result, replayed=answer.replayed)


def body(answer: Answer, type_: type[msgspec.Struct], **more: Any) -> Any:
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
        credit_limit=account.credit_limit,
        headroom=account.headroom,
        balance=account.balance,
        debits_pending=account.debits_pending,
        debits_posted=account.debits_posted,
        credits_pending=account.credits_pending,
        credits_posted=account.credits_posted,
        version=account.version,
    )


def _malformed(pointer: str, detail: str) -> Refused:
    return Refused(Reason.VALIDATION, errors=[FieldError(pointer, "invalid", detail)])
