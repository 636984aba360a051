"""The routes of the eligibility service: decode, ask the flow, encode."""

from collections.abc import Sequence
from functools import partial
from typing import Any
from uuid import UUID

from litestar import get, post
from litestar.datastructures import State
from litestar.types import ControllerRouterHandler
from msgspec import Raw

from amana.domain.reasons import Reason
from amana.domain.transfer import Refused as Refusal
from amana.eligibility import (
    check_lists_http,
    customer_routes,
    explaining,
    legal_holds_http,
    offers,
    privacy_http,
    requests,
    reversals_http,
    review_views,
    reviews_http,
    validator,
    views,
)
from amana.eligibility.answers import Quotable, Told
from amana.eligibility.policy_http import ROUTES as POLICY_ROUTES
from amana.eligibility.quotes import Quotes
from amana.eligibility.records import Check
from amana.gateway.caller import Caller
from amana.gateway.consumers import CONSUMER_ROUTES
from amana.gateway.rules import Begun
from amana.gateway.stream import get_stream_end, list_events
from amana.infra import clock
from amana.wire.eligibility import (
    CacheValidation,
    CacheValidationRequest,
    CheckRequest,
    CheckView,
    ConfirmationRequest,
)
from amana.wire.loans import OfferTerms
from amana.wire.problems import Refused
from amana.wire.reviews import ReviewedDecision


def check_at_once(state: State, tenant: int, data: CheckRequest) -> bytes | None:
    """Answers from memory, for both lanes: the bytes of a `CheckView`."""
    reply: bytes | None = state.quotes.reply(tenant, data, clock.unix_us())
    return reply


def begin_check(state: State, caller: Caller, data: CheckRequest) -> Begun:
    """Queues what memory does not answer, for both lanes. Raises `Refused` for what can't be asked."""
    check = requests.check_of(caller, data, clock.now())
    return Begun(state.flow.enqueue(check), partial(_told, state.quotes, check))


def _told(quotes: Quotes, check: Check, told: Told) -> CheckView | Raw:
    if isinstance(told, Refusal):
        raise requests.as_problem(told)
    if isinstance(told, Quotable):
        return Raw(quotes.told(check, told, clock.unix_us()))
    return views.check_view(told, clock.now())


CHECK = {"scope": "eligibility:check", "hot": begin_check, "at_once": check_at_once}


@post("/v1/eligibility/checks", opt=CHECK, status_code=200, tags=["Eligibility"])
async def check_eligibility(caller: Caller, state: State, data: CheckRequest) -> CheckView:
    """May this customer borrow this amount? With an id: a request to borrow, and an offer when approved.

    Where nothing was decided (no such customer or product, another currency) nothing is stored, and the id stays free.
    """
    reply = check_at_once(state, caller.tenant, data)
    rendered: Any = None if reply is None else Raw(reply)
    view: CheckView = await begin_check(state, caller, data) if rendered is None else rendered
    return view


@get("/v1/decisions/{decision_id:uuid}", opt={"scope": "eligibility:check", "personal": True}, tags=["Eligibility"])
async def explain_decision(caller: Caller, state: State, decision_id: UUID) -> ReviewedDecision:
    """A recorded decision, explained whole: facts, rules, points, limit, and what people did about it since."""
    may_judge = caller.may(review_views.MAY_JUDGE)
    explained = await explaining.explain(state.flow, caller.tenant, decision_id, with_words=may_judge)
    if explained is None:
        raise Refused(Reason.NOT_FOUND)
    shown = (explained.found.customer,)
    await state.read_log.record(caller, "/v1/decisions/{decision_id}", shown, 1, decision_id=decision_id)
    return review_views.reviewed_decision(explained, with_words=may_judge)


@post("/v1/offers/{offer_id:uuid}/confirmations", opt={"scope": "internal"}, status_code=200, tags=["Internal"])
async def confirm_offer(caller: Caller, state: State, offer_id: UUID, data: ConfirmationRequest) -> OfferTerms:
    """Whether an offer still stands, asked just before it is booked: a decision at most 5 s old says so."""
    if data.as_of is not None:
        requests.check_past(data.as_of, clock.now())
    confirmed = await offers.confirm(state.flow, caller, offer_id, data.as_of)
    if isinstance(confirmed, Refusal):
        raise requests.as_problem(confirmed)
    return views.confirmation_view(confirmed)


@post("/v1/cache-validations", opt={"scope": "internal"}, status_code=200, tags=["Internal"])
async def validate_cache(state: State, data: CacheValidationRequest) -> CacheValidation:
    """Work out again what this process would answer from memory, of every lender, and forget what differs."""
    found = await validator.validate(state.flow, data.sample)
    return CacheValidation(looked_at=found.looked_at, divergent=found.divergent)


ROUTES: Sequence[ControllerRouterHandler] = (
    *customer_routes.ROUTES,
    *privacy_http.ROUTES,
    *legal_holds_http.ROUTES,
    *POLICY_ROUTES,
    check_eligibility,
    *check_lists_http.ROUTES,
    explain_decision,
    *reviews_http.ROUTES,
    *reversals_http.ROUTES,
    confirm_offer,
    validate_cache,
    list_events,
    get_stream_end,
    *CONSUMER_ROUTES,
)
