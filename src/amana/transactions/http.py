"""The routes of the transactions service: decode, ask the flow, encode."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import get, post
from litestar.datastructures import State
from litestar.params import QueryParameter
from litestar.types import ControllerRouterHandler

from amana.domain.account import exposure_account_id
from amana.domain.book import Answer, Kind
from amana.domain.lending import business_date
from amana.domain.loan_commands import loan_view, repayment_view
from amana.domain.reasons import Reason
from amana.domain.transfer import Refused as Refusal
from amana.gateway.caller import Caller
from amana.gateway.stream import list_events
from amana.infra import clock
from amana.infra.postgres import reading
from amana.transactions import requests
from amana.transactions.flow import Flow
from amana.transactions.offers import Offers
from amana.transactions.work import Command, Refuse, Repay, ReverseRepayment, ReverseTransfer, SetCreditLine
from amana.wire.common import PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX
from amana.wire.problems import FieldError, Refused, check_instant
from amana.wire.transactions import (
    AccountPage,
    AccountsRequest,
    AccountView,
    CreditLine,
    CreditLineRequest,
    EntryPage,
    EntryView,
    ItemResult,
    ItemResults,
    LoanPage,
    LoanRequest,
    LoanView,
    OfferTerms,
    RepaymentList,
    RepaymentRequest,
    RepaymentReversalRequest,
    RepaymentView,
    ReversalRequest,
    Standings,
    StandingsRequest,
    StandingView,
    TransfersRequest,
    TransferView,
    TrialBalance,
)

TAPE_IMPORT = "tape:import"
REPAYMENTS_MAX = 1_000
FIRST = UUID(int=0)
PageLimit = Annotated[int, QueryParameter(name="limit", ge=1, le=PAGE_SIZE_MAX, description="Items per page.")]


@post("/v1/credit-lines", opt={"scope": "accounts:write"}, tags=["Accounts"])
async def set_credit_line(caller: Caller, data: CreditLineRequest, state: State) -> CreditLine:
    """Set what a customer may owe; opens their accounts at the first time."""
    command = requests.asked(caller, data.id, Kind.CREDIT_LINE, data)
    answer = await _one(state.flow, SetCreditLine(command, data.customer, data.currency, data.credit_limit))
    return requests.body(answer, CreditLine, id=data.id)  # type: ignore[no-any-return]


@post("/v1/accounts", opt={"scope": "accounts:write"}, status_code=200, tags=["Accounts"])
async def open_accounts(caller: Caller, data: AccountsRequest, state: State) -> ItemResults:
    """Open accounts of your own: one result each, in order."""
    unit = [requests.open_account(caller, item, index) for index, item in enumerate(data.accounts)]
    answers = await state.flow.submit(unit)
    return ItemResults(
        results=[
            requests.item_result(item.id, answer, "opened") for item, answer in zip(data.accounts, answers, strict=True)
        ]
    )


@get("/v1/accounts", opt={"scope": "accounts:read"}, tags=["Accounts"])
async def list_accounts(
    caller: Caller, state: State, owner: UUID, after: UUID = FIRST, limit: PageLimit = PAGE_SIZE_DEFAULT
) -> AccountPage:
    """The accounts of a customer, a loan or another owner."""
    async with reading(state.flow.pool) as connection:
        found = await state.flow.store.list_accounts(connection, caller.tenant, owner, after, limit)
    views = [requests.account_view(account) for account in found]
    return AccountPage(accounts=views, next=views[-1].id if len(views) == limit else None)


@get("/v1/accounts/{account_id:uuid}", opt={"scope": "accounts:read"}, tags=["Accounts"])
async def get_account(caller: Caller, state: State, account_id: UUID) -> AccountView:
    """One account with its four counters."""
    async with reading(state.flow.pool) as connection:
        account = await state.flow.store.get_account(connection, caller.tenant, account_id)
    if account is None:
        raise Refused(Reason.NOT_FOUND)
    return requests.account_view(account)


@get("/v1/accounts/{account_id:uuid}/entries", opt={"scope": "accounts:read"}, tags=["Accounts"])
async def list_entries(
    caller: Caller,
    state: State,
    account_id: UUID,
    after: Annotated[int, QueryParameter(ge=0, le=2**53 - 1)] = 0,
    limit: PageLimit = PAGE_SIZE_DEFAULT,
) -> EntryPage:
    """An account's entries, oldest first; `after` is the version of the last one seen."""
    async with reading(state.flow.pool) as connection:
        if await state.flow.store.get_account(connection, caller.tenant, account_id) is None:
            raise Refused(Reason.NOT_FOUND)
        rows = await state.flow.store.list_entries(connection, caller.tenant, account_id, after, limit)
    entries = [EntryView(**row) for row in rows]
    return EntryPage(entries=entries, next=entries[-1].version if len(entries) == limit else None)


@get("/v1/trial-balance", opt={"scope": "accounts:read"}, tags=["Accounts"])
async def get_trial_balance(caller: Caller, state: State) -> TrialBalance:
    """Debits and credits by currency and code; every difference is zero."""
    async with reading(state.flow.pool) as connection:
        lines = await state.flow.store.trial_balance(connection, caller.tenant)
    difference: dict[str, int] = {}
    for line in lines:
        difference[line.currency] = difference.get(line.currency, 0) + line.debits_posted - line.credits_posted
    return TrialBalance(lines=lines, difference=difference)


@post("/v1/transfers", opt={"scope": "transfers:write"}, status_code=200, tags=["Transfers"])
async def post_transfers(caller: Caller, data: TransfersRequest, state: State) -> ItemResults:
    """Post transfers: one result each, in order, exactly as if sent one at a time."""
    now = clock.now()
    await _check_effective_on(caller, state.flow, data, business_date(now))
    unit = requests.transfer_groups(caller, data.transfers, business_date(now))
    answers = await state.flow.submit(unit)
    return ItemResults(
        results=[
            requests.item_result(item.id, answer, "posted")
            for item, answer in zip(data.transfers, answers, strict=True)
        ]
    )


@get("/v1/transfers/{transfer_id:uuid}", opt={"scope": "accounts:read"}, tags=["Transfers"])
async def get_transfer(caller: Caller, state: State, transfer_id: UUID) -> TransferView:
    """One posted transfer."""
    async with reading(state.flow.pool) as connection:
        row = await state.flow.store.get_transfer(connection, caller.tenant, transfer_id)
    if row is None:
        raise Refused(Reason.NOT_FOUND)
    return TransferView(**row)


@post("/v1/transfers/{transfer_id:uuid}/reversals", opt={"scope": "transfers:write"}, tags=["Transfers"])
async def reverse_transfer(caller: Caller, state: State, transfer_id: UUID, data: ReversalRequest) -> ItemResult:
    """Reverse a transfer of your own, all or part of it. Loans are reversed by their repayments."""
    requests.refuse_kept_id(data.id, "/id")
    command = requests.asked(caller, data.id, Kind.REVERSAL, data, reverses=str(transfer_id), command=None)
    today = business_date(clock.now())
    answer = await _one(state.flow, ReverseTransfer(command, transfer_id, data.amount, today))
    if answer.reason is not None:
        raise Refused(answer.reason, figures=answer.result)
    return requests.item_result(data.id, answer, "posted")


@post("/v1/loans", opt={"scope": "loans:write"}, tags=["Loans"])
async def book_loan(caller: Caller, state: State, data: LoanRequest) -> LoanView:
    """Book an approved offer: principal, fee and exposure move in one linked group, or nothing does."""
    if (data.offer_id is None) == (data.imported is None):
        raise _invalid("/offer_id", "Exactly one of offer_id and imported is needed.")
    if data.imported is not None:
        _need_scope(caller, "/imported")
    _check_effective_at(caller, data.effective_at)
    command = requests.loan_asked(caller, data)
    # A replay needs no fresh decision: the offer may be long gone.
    answer = await state.flow.find_answer(command)
    if answer is None:
        terms = data.imported or await _confirm(state.offers, caller, data)
        if isinstance(terms, Refusal):
            answer = await _one(state.flow, Refuse(command, terms))
        else:
            answer = await _one(state.flow, requests.booking(caller, data, terms, clock.now()))
    return requests.body(answer, LoanView)  # type: ignore[no-any-return]


async def _confirm(offers: Offers, caller: Caller, data: LoanRequest) -> OfferTerms | Refusal:
    assert data.offer_id is not None
    return await offers.confirm(caller, data.offer_id, data.effective_at)


@get("/v1/loans", opt={"scope": "loans:read"}, tags=["Loans"])
async def list_loans(
    caller: Caller, state: State, customer: UUID, after: UUID = FIRST, limit: PageLimit = PAGE_SIZE_DEFAULT
) -> LoanPage:
    """A customer's loans."""
    async with reading(state.flow.pool) as connection:
        found = await state.flow.store.list_loans(connection, caller.tenant, customer, after, limit)
    views = [msgspec.convert(loan_view(loan), LoanView) for loan in found]
    return LoanPage(loans=views, next=views[-1].id if len(views) == limit else None)


@get("/v1/loans/{loan_id:uuid}", opt={"scope": "loans:read"}, tags=["Loans"])
async def get_loan(caller: Caller, state: State, loan_id: UUID) -> LoanView:
    """One loan as it stands."""
    async with reading(state.flow.pool) as connection:
        found = await state.flow.store.find_loans(connection, [(caller.tenant, loan_id)])
    if not found:
        raise Refused(Reason.NOT_FOUND)
    return msgspec.convert(loan_view(found[caller.tenant, loan_id]), LoanView)


@post("/v1/loans/{loan_id:uuid}/repayments", opt={"scope": "loans:write"}, tags=["Loans"])
async def repay_loan(caller: Caller, state: State, loan_id: UUID, data: RepaymentRequest) -> RepaymentView:
    """Record money received: fees first, then principal; what is over is the customer's."""
    _check_effective_at(caller, data.effective_at)
    command = requests.asked(caller, data.id, Kind.REPAYMENT, data, loan=str(loan_id))
    answer = await _one(state.flow, Repay(command, loan_id, data.amount, data.inferred, data.effective_at))
    return requests.body(answer, RepaymentView)  # type: ignore[no-any-return]


@get("/v1/loans/{loan_id:uuid}/repayments", opt={"scope": "loans:read"}, tags=["Loans"])
async def list_repayments(caller: Caller, state: State, loan_id: UUID) -> RepaymentList:
    """A loan's repayments in business order."""
    key = (caller.tenant, loan_id)
    async with reading(state.flow.pool) as connection:
        loan = (await state.flow.store.find_loans(connection, [key])).get(key)
        if loan is None:
            raise Refused(Reason.NOT_FOUND)
        rows = await state.flow.store.list_repayments(connection, caller.tenant, loan_id, REPAYMENTS_MAX)
    return RepaymentList(
        repayments=[msgspec.convert(repayment_view(repayment, loan), RepaymentView) for repayment in rows]
    )


@post(
    "/v1/loans/{loan_id:uuid}/repayments/{repayment_id:uuid}/reversals",
    opt={"scope": "loans:write"},
    tags=["Loans"],
)
async def reverse_repayment(
    caller: Caller, state: State, loan_id: UUID, repayment_id: UUID, data: RepaymentReversalRequest
) -> RepaymentView:
    """Take a repayment back, as when a payment is returned: the loan owes it again."""
    _check_effective_at(caller, data.effective_at)
    place = {"loan": str(loan_id), "repayment": str(repayment_id)}
    command = requests.asked(caller, data.id, Kind.REPAYMENT_REVERSAL, data, **place)
    answer = await _one(state.flow, ReverseRepayment(command, loan_id, repayment_id, data.effective_at))
    return requests.body(answer, RepaymentView)  # type: ignore[no-any-return]


@post("/v1/standings", opt={"scope": "internal"}, status_code=200, tags=["Internal"])
async def get_standings(caller: Caller, state: State, data: StandingsRequest) -> Standings:
    """What customers owe and how they repaid, from the ledger: the source of every decision's exposure."""
    now = clock.now()
    for index, item in enumerate(data.items):
        if item.as_of is not None:
            check_instant(item.as_of, f"/items/{index}/as_of")
    wanted = [
        (item.customer, exposure_account_id(item.customer, data.currency), item.as_of or now) for item in data.items
    ]
    async with reading(state.flow.pool) as connection:
        rows = await state.flow.store.standings(connection, caller.tenant, data.currency, wanted)
    return Standings(
        standings=[
            StandingView(
                customer=row["customer"],
                credit_limit=row["credit_limit"],
                exposure=(row["drawn"] if item.as_of is None else row["owed"]) or 0,
                loans_total=row["loans_total"] or 0,
                loans_open=row["loans_open"] or 0,
                loans_closed=row["loans_closed"] or 0,
                worst_days_past_due=row["worst_days_past_due"] or 0,
                current_days_past_due=row["current_days_past_due"] or 0,
                largest_principal_repaid=row["largest_principal_repaid"] or 0,
                repaid_total=row["repaid_total"] or 0,
                first_loan_on=row["first_loan_on"],
                last_closed_on=row["last_closed_on"],
                as_of=as_of,
            )
            for item, row, (_, _, as_of) in zip(data.items, rows, wanted, strict=True)
        ]
    )


ROUTES: Sequence[ControllerRouterHandler] = (
    set_credit_line,
    open_accounts,
    list_accounts,
    get_account,
    list_entries,
    get_trial_balance,
    post_transfers,
    get_transfer,
    reverse_transfer,
    book_loan,
    list_loans,
    get_loan,
    repay_loan,
    list_repayments,
    reverse_repayment,
    get_standings,
    list_events,
)


async def _one(flow: Flow, command: Command) -> Answer:
    return (await flow.submit([command]))[0]


async def _check_effective_on(caller: Caller, flow: Flow, data: TransfersRequest, today: date) -> None:
    """Another business date than today's needs its scope, but not where the id is a replay from that very day."""
    other = {item.id: at for at, item in enumerate(data.transfers) if item.effective_on not in (None, today)}
    if not other:
        return
    async with reading(flow.pool) as connection:
        known = await flow.store.find_transfers(connection, [(caller.tenant, id_) for id_ in other])
    for id_, at in other.items():
        effective_on = data.transfers[at].effective_on
        if (caller.tenant, id_) not in known and effective_on is not None:
            _may_backdate(caller, f"/transfers/{at}/effective_on", effective_on <= today)


def _check_effective_at(caller: Caller, effective_at: datetime | None) -> None:
    if effective_at is not None:
        check_instant(effective_at, "/effective_at")
        _may_backdate(caller, "/effective_at", effective_at <= clock.now())


def _may_backdate(caller: Caller, pointer: str, is_past: bool) -> None:
    if not is_past:
        raise Refused(Reason.EFFECTIVE_IN_FUTURE, errors=[FieldError(pointer, "future", "Later than now.")])
    _need_scope(caller, pointer)


def _need_scope(caller: Caller, pointer: str) -> None:
    if not caller.may(TAPE_IMPORT):
        detail = f"This needs the scope {TAPE_IMPORT}."
        raise Refused(Reason.SCOPE_MISSING, detail, errors=[FieldError(pointer, "scope_missing", detail)])


def _invalid(pointer: str, detail: str) -> Refused:
    return Refused(Reason.VALIDATION, errors=[FieldError(pointer, "invalid", detail)])
