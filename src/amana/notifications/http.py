"""The routes of notification requests: what was and is to be told, and how a sender takes and reports it."""

from collections.abc import Sequence
from typing import Annotated, Literal
from uuid import UUID

from litestar import get, post
from litestar.datastructures import State
from litestar.params import Parameter, QueryParameter
from litestar.types import ControllerRouterHandler

from amana.gateway.caller import Caller
from amana.gateway.consumers import CONSUMER_ROUTES
from amana.gateway.stream import get_stream_end, list_events
from amana.infra.postgres import reading
from amana.notifications import flow, store
from amana.wire.common import PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX
from amana.wire.notifications import (
    Claimed,
    ClaimRequest,
    NotificationPage,
    NotificationState,
    ReportRequest,
    ReportResults,
)

OneState = Literal["waiting", "claimed", "delivered", "failed", "expired"]


@get("/v1/notifications", opt={"scope": "notifications:read", "personal": True}, tags=["Notifications"])
async def list_notifications(
    caller: Caller,
    state: State,
    customer: UUID | None = None,
    of_state: Annotated[OneState | None, QueryParameter(name="state", description="Of which state.")] = None,
    after: Annotated[int, Parameter(ge=0, le=2**53 - 1, description="`next` of the page before.")] = 0,
    limit: Annotated[int, Parameter(ge=1, le=PAGE_SIZE_MAX, description="Items per page.")] = PAGE_SIZE_DEFAULT,
) -> NotificationPage:
    """What the tenant's borrowers are or were to be told, in the order in which it was asked for."""
    wanted = None if of_state is None else NotificationState(of_state)
    async with reading(state.pool) as connection:
        page, last = await store.list_page(connection, caller.tenant, after, limit, wanted, customer)
    shown = {customer} if customer else {view.customer for view in page}
    await state.read_log.record(caller, "/v1/notifications", shown, len(page))
    return NotificationPage(notifications=page, next=last)


@post(
    flow.CLAIM_ROUTE,
    opt={"scope": "notifications:send", "personal": True},
    status_code=200,
    tags=["Notifications"],
)
async def claim_notifications(caller: Caller, state: State, data: ClaimRequest) -> Claimed:
    """Lease what is due, the oldest first. What is not reported within the lease is handed out again."""
    lease, until, found = await flow.claim(state.pool, caller, data.limit, data.lease_s)
    return Claimed(lease=lease, until=until, notifications=found)


@post("/v1/notifications:report", opt={"scope": "notifications:send"}, status_code=200, tags=["Notifications"])
async def report_notifications(caller: Caller, state: State, data: ReportRequest) -> ReportResults:
    """Say what came of a claim: delivered, or failed with a code. A failure is tried again later, a bounded number of
    times, unless it is final."""
    return ReportResults(results=await flow.report(state.pool, caller.tenant, data.lease, data.reports))


ROUTES: Sequence[ControllerRouterHandler] = (
    list_notifications,
    claim_notifications,
    report_notifications,
    list_events,
    get_stream_end,
    *CONSUMER_ROUTES,
)
