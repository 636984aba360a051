"""Loans: booking, repaying, taking a repayment back; and what eligibility asks of the ledger."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from litestar import get, post
from litestar.datastructures import State
from litestar.types import ControllerRouterHandler

from amana.domain.account import exposure_account_id
from amana.domain.book import Kind
from amana.domain.loan_views import loan_view, repayment_view
from amana.domain.reasons import Reason
from amana.domain.transfer import Refused as Refusal
from amana.gateway.caller import Caller
from amana.infra import clock
from amana.transactions import requests
from amana.transactions.http.common import FIRST, PageLimit, may_backdate, need_scope, one
from amana.transactions.offers import Offers
from amana.transactions.work import Refuse, Repay, ReverseRepayment
from amana.wire.common import PAGE_SIZE_DEFAULT
from amana.wire.loans import (
    LoanPage,
    LoanRequest,
    LoanView,
    OfferTerms,
    RepaymentList,
    RepaymentRequest,
    RepaymentReversalRequest,
    RepaymentView,
    Standings,
    StandingsRequest,
    StandingView,
)
from amana.wire.problems import FieldError, Refused, check_instant

READ = {"scope": "loans:read", "personal": True}
REPAYMENTS_MAX = 1_000


@post("/v1/loans", opt={"scope": "loans:write"}, tags=["Loans"])
async def book_loan(caller: Caller, state: State, data: LoanRequest) -> LoanView:
    """Book an approved offer: principal, fee and exposure move in one linked group, or nothing does."""
    if (data.offer_id is None) == (data.imported is None):
        raise _invalid("/offer_id", "Exactly one of offer_id and imported is needed.")
    if data.imported is not None:
        need_scope(caller, "/imported")
    _check_effective_at(caller, data.effective_at)
    command = requests.loan_asked(caller, data)
    # A replay needs no fresh decision: the offer may be long gone.
    answer = await state.flow.find_answer(command)
    if answer is None:
        terms = data.imported or await _confirm(state.offers, caller, data)
        if isinstance(terms, Refusal):
            answer = await one(state, Refuse(command, terms))
        else:
            answer = await one(state, requests.booking(caller, data, terms, clock.now()))
    return requests.body(answer, LoanView)


async def _confirm(offers: Offers, caller: Caller, data: LoanRequest) -> OfferTerms | Refusal:
    assert data.offer_id is not None
    return await offers.confirm(caller, data.offer_id, data.effective_at)


@get("/v1/loans", opt=READ, tags=["Loans"])
async def list_loans(
    caller: Caller, state: State, customer: UUID, after: UUID = FIRST, limit: PageLimit = PAGE_SIZE_DEFAULT
) -> LoanPage:
    """A customer's loans."""
    found = await state.reads.list_loans(caller.tenant, customer, after, limit)
    views = [msgspec.convert(loan_view(loan), LoanView) for loan in found]
    await state.read_log.record(caller, "/v1/loans", (customer,), len(views))
    return LoanPage(loans=views, next=views[-1].id if len(views) == limit else None)


@get("/v1/loans/{loan_id:uuid}", opt=READ, tags=["Loans"])
async def get_loan(caller: Caller, state: State, loan_id: UUID) -> LoanView:
    """One loan as it stands."""
    loan = await state.reads.find_loan(caller.tenant, loan_id)
    if loan is None:
        raise Refused(Reason.NOT_FOUND)
    await state.read_log.record(caller, "/v1/loans/{loan_id}", (loan.customer,), 1, loan=loan_id)
    return msgspec.convert(loan_view(loan), LoanView)


@post("/v1/loans/{loan_id:uuid}/repayments", opt={"scope": "loans:write"}, tags=["Loans"])
async def repay_loan(caller: Caller, state: State, loan_id: UUID, data: RepaymentRequest) -> RepaymentView:
    """Record money received: fees first, then principal; what is over is the customer's."""
    _check_effective_at(caller, data.effective_at)
    command = requests.asked(caller, data.id, Kind.REPAYMENT, data, loan=str(loan_id))
    answer = await one(state, Repay(command, loan_id, data.amount, data.inferred, data.effective_at))
    return requests.body(answer, RepaymentView)


@get("/v1/loans/{loan_id:uuid}/repayments", opt=READ, tags=["Loans"])
async def list_repayments(caller: Caller, state: State, loan_id: UUID) -> RepaymentList:
    """A loan's repayments in business order."""
    loan = await state.reads.find_loan(caller.tenant, loan_id)
    if loan is None:
        raise Refused(Reason.NOT_FOUND)
    rows = await state.reads.list_repayments(caller.tenant, loan_id, REPAYMENTS_MAX)
    route = "/v1/loans/{loan_id}/repayments"
    await state.read_log.record(caller, route, (loan.customer,), len(rows), loan=loan_id)
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
    answer = await one(state, ReverseRepayment(command, loan_id, repayment_id, data.effective_at))
    return requests.body(answer, RepaymentView)


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
    rows = await state.reads.standings(caller.tenant, data.currency, wanted)
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
                open_due_on=row["open_due_on"],
                lasts=row["lasts"],
                as_of=as_of,
            )
            for item, row, (_, _, as_of) in zip(data.items, rows, wanted, strict=True)
        ]
    )


def _check_effective_at(caller: Caller, effective_at: datetime | None) -> None:
    if effective_at is not None:
        check_instant(effective_at, "/effective_at")
        may_backdate(caller, "/effective_at", effective_at <= clock.now())


def _invalid(pointer: str, detail: str) -> Refused:
    return Refused(Reason.VALIDATION, errors=[FieldError(pointer, "invalid", detail)])


ROUTES: Sequence[ControllerRouterHandler] = (
    book_loan,
    list_loans,
    get_loan,
    repay_loan,
    list_repayments,
    reverse_repayment,
    get_standings,
)
