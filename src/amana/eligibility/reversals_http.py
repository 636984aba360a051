"""The routes of reversals that have something to undo: how far they have come, and what a person does about them."""

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from litestar import get, post
from litestar.datastructures import State
from litestar.params import QueryParameter
from litestar.types import ControllerRouterHandler

from amana.domain.decision_reversal import SagaState
from amana.domain.reasons import Reason
from amana.domain.review import ReviewKind
from amana.eligibility import reversal_store, reviews
from amana.eligibility.review_views import MAY_JUDGE, reversal_view
from amana.eligibility.reviews_http import FIRST, JUDGE, answered, check_fields
from amana.gateway.caller import Caller
from amana.infra.postgres import reading_at_once
from amana.wire.common import PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX
from amana.wire.problems import Refused
from amana.wire.reviews import ReversalHelpRequest, ReversalPage, ReversalView, ReviewAnswer

READ = {"scope": ("eligibility:check", MAY_JUDGE), "personal": True}


@get("/v1/reversals", opt={"scope": MAY_JUDGE, "personal": True}, tags=["Reviews"])
async def list_reversals(
    caller: Caller,
    state: State,
    wanted: Annotated[SagaState, QueryParameter(name="state")] = SagaState.STUCK,
    after: UUID = FIRST,
    limit: Annotated[int, QueryParameter(ge=1, le=PAGE_SIZE_MAX, description="Items per page.")] = PAGE_SIZE_DEFAULT,
) -> ReversalPage:
    """The work list: reversals in one state, oldest first; those that are `stuck` need a person."""
    async with reading_at_once(state.flow.pool) as connection:
        found = await reversal_store.list_reversals(connection, caller.tenant, wanted, after, limit)
    views = [reversal_view(saga) for saga in found]
    await state.read_log.record(caller, "/v1/reversals", {view.customer for view in views}, len(views))
    return ReversalPage(reversals=views, next=views[-1].id if len(views) == limit else None)


@get("/v1/reversals/{reversal_id:uuid}", opt=READ, tags=["Reviews"])
async def get_reversal(caller: Caller, state: State, reversal_id: UUID) -> ReversalView:
    """A reversal, and what has become of each offer and loan so far."""
    async with reading_at_once(state.flow.pool) as connection:
        found = await reversal_store.find_reversal(connection, caller.tenant, reversal_id)
    if found is None:
        raise Refused(Reason.REVERSAL_NOT_FOUND)
    view = reversal_view(found)
    asked = {"decision_id": view.decision_id}
    await state.read_log.record(caller, "/v1/reversals/{reversal_id}", (view.customer,), 1, **asked)
    return view


@post("/v1/reversals/{reversal_id:uuid}/resumptions", opt=JUDGE, tags=["Reviews"])
async def resume_reversal(caller: Caller, state: State, reversal_id: UUID, data: ReversalHelpRequest) -> ReviewAnswer:
    """Have a stuck reversal go on, once what stopped it is put right. Not with the key that asked, if loans go back."""
    return await _help(caller, state, reversal_id, data, ReviewKind.RESUMPTION)


@post("/v1/reversals/{reversal_id:uuid}/abandonments", opt=JUDGE, tags=["Reviews"])
async def abandon_reversal(caller: Caller, state: State, reversal_id: UUID, data: ReversalHelpRequest) -> ReviewAnswer:
    """Give up what a stuck reversal could not undo: its offers stay withdrawn, and the loan goes on."""
    return await _help(caller, state, reversal_id, data, ReviewKind.ABANDONMENT)


async def _help(
    caller: Caller, state: State, reversal_id: UUID, data: ReversalHelpRequest, kind: ReviewKind
) -> ReviewAnswer:
    check_fields(data)
    answer = answered(caller, await reviews.help_on(state.flow, caller, reversal_id, data, kind))
    state.undoing.nudge()
    return answer


ROUTES: Sequence[ControllerRouterHandler] = (list_reversals, get_reversal, resume_reversal, abandon_reversal)
