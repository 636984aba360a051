"""What a reversed decision asks of the ledger. For eligibility alone: a loan is undone with its decision only.

Each is idempotent by its id. Open holds that name the offer or its loan as their `reference` are looked up before the
batch; one that is captured meanwhile is left alone, under the locks.
"""

from collections.abc import Sequence
from uuid import UUID

from litestar import post
from litestar.datastructures import State
from litestar.types import ControllerRouterHandler

from amana.domain.book import Kind
from amana.domain.loan_reversal import Undoing
from amana.gateway.caller import Caller
from amana.transactions import requests
from amana.transactions.http.common import one
from amana.transactions.undoing import AbandonReversal, ReverseLoan, WithdrawOffer
from amana.wire.loan_reversals import (
    LoanReversalAbandonmentRequest,
    LoanReversalAbandonmentView,
    LoanReversalRequest,
    LoanReversalView,
    OfferWithdrawalRequest,
    OfferWithdrawalView,
)

INTERNAL = {"scope": "internal"}


@post("/v1/offers/{offer_id:uuid}/withdrawals", opt=INTERNAL, status_code=200, tags=["Internal"])
async def withdraw_offer(
    caller: Caller, state: State, offer_id: UUID, data: OfferWithdrawalRequest
) -> OfferWithdrawalView:
    """Close an offer for ever; or, where it was booked, begin to undo its loan as the policy allows."""
    command = requests.asked(caller, data.id, Kind.OFFER_WITHDRAWAL, data, offer=str(offer_id))
    wanted = Undoing(
        offer=offer_id,
        customer=data.customer,
        currency=data.currency,
        reversal=data.reversal,
        terms=data.terms,
        kept=data.kept_because,
        holds=await state.reads.list_open_holds(caller.tenant, offer_id, data.customer),
    )
    return requests.body(await one(state, WithdrawOffer(command, wanted)), OfferWithdrawalView)


@post("/v1/loans/{loan_id:uuid}/reversals", opt=INTERNAL, status_code=200, tags=["Internal"])
async def reverse_loan(caller: Caller, state: State, loan_id: UUID, data: LoanReversalRequest) -> LoanReversalView:
    """Undo a loan that is `reversing`: principal, fee, repayments and exposure in one linked group, or nothing."""
    command = requests.asked(caller, data.id, Kind.LOAN_REVERSAL, data, loan=str(loan_id))
    holds = await state.reads.list_open_holds(caller.tenant, loan_id)
    reverse = ReverseLoan(command, loan_id, data.reversal, data.terms, holds)
    return requests.body(await one(state, reverse), LoanReversalView)


@post("/v1/loans/{loan_id:uuid}/reversal-abandonments", opt=INTERNAL, status_code=200, tags=["Internal"])
async def abandon_reversal(
    caller: Caller, state: State, loan_id: UUID, data: LoanReversalAbandonmentRequest
) -> LoanReversalAbandonmentView:
    """Leave a loan that is `reversing` as it is: it goes on."""
    command = requests.asked(caller, data.id, Kind.LOAN_REVERSAL_ABANDONMENT, data, loan=str(loan_id))
    answer = await one(state, AbandonReversal(command, loan_id, data.reversal))
    return requests.body(answer, LoanReversalAbandonmentView)


ROUTES: Sequence[ControllerRouterHandler] = (withdraw_offer, reverse_loan, abandon_reversal)
