"""The routes of reviews: decode, ask, encode."""

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from litestar import get, post
from litestar.datastructures import State
from litestar.params import QueryParameter
from litestar.types import ControllerRouterHandler

from amana.domain.reasons import Reason
from amana.domain.review import AppealState, OverrideOutcome, ResolutionOutcome
from amana.domain.transfer import Refused as Refusal
from amana.eligibility import requests, review_store, reviews
from amana.eligibility.flow import Flow
from amana.eligibility.judging import Done
from amana.eligibility.review_records import Appeal
from amana.eligibility.review_views import MAY_JUDGE, answer_view, appeal_view
from amana.eligibility.sealed import open_words
from amana.gateway.caller import Caller
from amana.infra.postgres import reading
from amana.wire.common import PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX
from amana.wire.problems import FieldError, Refused
from amana.wire.reviews import (
    AppealPage,
    AppealRequest,
    DecisionReversalRequest,
    OverrideRequest,
    ResolutionRequest,
    ReversalHelpRequest,
    ReviewAnswer,
)

JUDGE = {"scope": MAY_JUDGE}
MAY_APPEAL = "decisions:appeal"
FIRST = UUID(int=0)

_OF_APPROVAL = ("amount", "exposure_cap", "ttl_s")
_NOT_OF_DECLINE = (*_OF_APPROVAL, "term_days")


@post("/v1/decisions/{decision_id:uuid}/overrides", opt=JUDGE, tags=["Reviews"])
async def override_decision(caller: Caller, state: State, decision_id: UUID, data: OverrideRequest) -> ReviewAnswer:
    """Decide otherwise, as a person: approve with an offer of its own, or decline. Not with the key that asked."""
    approves = data.outcome is OverrideOutcome.APPROVE
    check_fields(data, needed=_OF_APPROVAL if approves else (), foreign=() if approves else _NOT_OF_DECLINE)
    return answered(caller, await reviews.override(state.flow, caller, decision_id, data))


@post("/v1/decisions/{decision_id:uuid}/appeals", opt={"scope": MAY_APPEAL}, tags=["Reviews"])
async def appeal_decision(caller: Caller, state: State, decision_id: UUID, data: AppealRequest) -> ReviewAnswer:
    """Contest a decision for its customer: it goes onto the work list of the people who judge."""
    check_fields(data)
    return answered(caller, await reviews.appeal(state.flow, caller, decision_id, data))


@post("/v1/decisions/{decision_id:uuid}/reversals", opt=JUDGE, tags=["Reviews"])
async def reverse_decision(
    caller: Caller, state: State, decision_id: UUID, data: DecisionReversalRequest
) -> ReviewAnswer:
    """Withdraw a decision for good: none of its offers can be booked from now on.

    Where it had offers it is `reversing` until the ledger has closed each, or undone or kept the loan that it became.
    """
    check_fields(data)
    answer = answered(caller, await reviews.reverse(state.flow, caller, decision_id, data))
    state.undoing.nudge()
    return answer


@post("/v1/appeals/{appeal_id:uuid}/resolutions", opt=JUDGE, tags=["Reviews"])
async def resolve_appeal(caller: Caller, state: State, appeal_id: UUID, data: ResolutionRequest) -> ReviewAnswer:
    """Answer an appeal: the decision is upheld, or an override or reversal made since changed it."""
    changed = data.outcome is ResolutionOutcome.CHANGED
    field = ("changed_by",)
    check_fields(data, needed=field if changed else (), foreign=() if changed else field)
    return answered(caller, await reviews.resolve(state.flow, caller, appeal_id, data))


@get("/v1/appeals", opt={"scope": (MAY_APPEAL, MAY_JUDGE), "personal": True}, tags=["Reviews"])
async def list_appeals(
    caller: Caller,
    state: State,
    wanted: Annotated[AppealState, QueryParameter(name="state")] = AppealState.OPEN,
    after: UUID = FIRST,
    limit: Annotated[int, QueryParameter(ge=1, le=PAGE_SIZE_MAX, description="Items per page.")] = PAGE_SIZE_DEFAULT,
) -> AppealPage:
    """The work list: appeals in one state, oldest first."""
    async with reading(state.flow.pool) as connection:
        found = await review_store.list_appeals(connection, caller.tenant, wanted, after, limit)
    said = await _said(state.flow, caller.tenant, found) if caller.may(MAY_JUDGE) else {}
    views = [appeal_view(appeal, said.get(appeal.appeal_id)) for appeal in found]
    await state.read_log.record(caller, "/v1/appeals", {appeal.customer for appeal in found}, len(found))
    return AppealPage(appeals=views, next=views[-1].id if len(views) == limit else None)


async def _said(flow: Flow, tenant: int, appeals: Sequence[Appeal]) -> dict[UUID, str]:
    """What the customers wrote, by appeal; of who was erased, nothing."""
    keys = await flow.vault.keys({(tenant, appeal.customer) for appeal in appeals})
    words = (
        (appeal.appeal_id, open_words(keys.get(where), where, appeal.appeal_id, appeal.sealed))
        for appeal in appeals
        for where in [(tenant, appeal.customer)]
    )
    return {id_: found.reason for id_, found in words if found is not None}


def answered(caller: Caller, done: Done | Refusal) -> ReviewAnswer:
    """The answer to a request to review, or its refusal as a problem."""
    if isinstance(done, Refusal):
        raise requests.as_problem(done)
    return answer_view(caller, done)


def check_fields(
    data: OverrideRequest | AppealRequest | ResolutionRequest | DecisionReversalRequest | ReversalHelpRequest,
    needed: Sequence[str] = (),
    foreign: Sequence[str] = (),
) -> None:
    """Refuses what an outcome needs and is not there, what means nothing to it, and words that say nothing."""
    errors = [FieldError(f"/{name}", "missing", "This outcome needs it.") for name in needed if not getattr(data, name)]
    errors += [
        FieldError(f"/{name}", "unknown_field", "This outcome has no such field.")
        for name in foreign
        if getattr(data, name) is not None
    ]
    errors += [
        FieldError(f"/{name}", "blank", "Words are needed.")
        for name in ("reviewer", "reason")
        if not getattr(data, name, "-").strip()
    ]
    if errors:
        raise Refused(Reason.VALIDATION, errors=errors)


ROUTES: Sequence[ControllerRouterHandler] = (
    override_decision,
    appeal_decision,
    reverse_decision,
    resolve_appeal,
    list_appeals,
)
