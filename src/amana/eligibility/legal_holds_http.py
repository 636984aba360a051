"""The routes about legal holds on customers: decode, ask, encode."""

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from litestar import get, post
from litestar.datastructures import State
from litestar.params import QueryParameter
from litestar.types import ControllerRouterHandler

from amana.domain.privacy import HoldReason, ReleaseReason
from amana.domain.transfer import Refused as Refusal
from amana.eligibility import legal_holds, requests
from amana.eligibility.legal_holds import Done
from amana.eligibility.reviews_http import FIRST
from amana.gateway.caller import Caller
from amana.vault.legal_holds import LegalHold, held_after, page
from amana.wire.common import PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX
from amana.wire.legal_holds import (
    HELD_PAGE_MAX,
    HeldCustomer,
    HeldPage,
    LegalHoldPage,
    LegalHoldRelease,
    LegalHoldRequest,
    LegalHoldView,
)

MAY_HOLD, MAY_READ = {"scope": "privacy:hold"}, {"scope": "privacy:read", "personal": True}
RELEASES = "/v1/customers/{customer_id:uuid}/legal-holds/{hold_id:uuid}/releases"


@post("/v1/customers/{customer_id:uuid}/legal-holds", opt=MAY_HOLD, status_code=200, tags=["Privacy"])
async def place_legal_hold(caller: Caller, state: State, customer_id: UUID, data: LegalHoldRequest) -> LegalHoldView:
    """Place a legal hold: while it stands nothing of the customer is destroyed, planned or not.

    A customer may have several; each is released by itself. Nothing else changes: the customer borrows and repays.
    """
    return _answered(await legal_holds.place(state.flow, caller, customer_id, data.id, data.reason, data.by))


@post(RELEASES, opt=MAY_HOLD, status_code=200, tags=["Privacy"])
async def release_legal_hold(
    caller: Caller, state: State, customer_id: UUID, hold_id: UUID, data: LegalHoldRelease
) -> LegalHoldView:
    """Release a legal hold. Who was due to be erased meanwhile is erased within seconds, unless another hold stands."""
    return _answered(await legal_holds.release(state.flow, caller, customer_id, hold_id, data.reason, data.by))


@get("/v1/legal-holds", opt=MAY_READ, tags=["Privacy"])
async def list_legal_holds(
    caller: Caller,
    state: State,
    customer: UUID | None = None,
    *,
    released: bool = False,
    after: UUID = FIRST,
    limit: Annotated[int, QueryParameter(ge=1, le=PAGE_SIZE_MAX, description="Items per page.")] = PAGE_SIZE_DEFAULT,
) -> LegalHoldPage:
    """The legal holds that stand, of one customer or of all; with `released` those that were released too."""
    found = await page(state.flow.vault, caller.tenant, customer, after, limit, released=released)
    about = {hold.customer for hold in found} | ({customer} if customer else set())
    await state.read_log.record(caller, "/v1/legal-holds", about, len(found))
    return LegalHoldPage(
        legal_holds=[_view(hold) for hold in found], next=found[-1].hold_id if len(found) == limit else None
    )


@get("/v1/held-customers", opt={"scope": "internal"}, tags=["Internal"])
async def list_held_customers(
    state: State,
    tenant: Annotated[int, QueryParameter(ge=0, lt=2**31, description="After the customer `after` of this one.")] = 0,
    after: UUID = FIRST,
    limit: Annotated[int, QueryParameter(ge=1, le=HELD_PAGE_MAX, description="Items per page.")] = HELD_PAGE_MAX,
) -> HeldPage:
    """Whom a legal hold keeps, of all lenders: what is about them is not to be deleted."""
    async with state.flow.vault.connection() as connection:
        found = await held_after(connection, (tenant, after), limit)
    return HeldPage(held=[HeldCustomer(tenant=of, customer=customer) for of, customer in found])


def _answered(done: Done | Refusal) -> LegalHoldView:
    """The hold, or the refusal as a problem."""
    if isinstance(done, Refusal):
        raise requests.as_problem(done)
    return _view(done.hold, replayed=done.replayed)


def _view(hold: LegalHold, *, replayed: bool = False) -> LegalHoldView:
    return LegalHoldView(
        id=hold.hold_id,
        customer=hold.customer,
        reason=HoldReason(hold.reason),
        placed_by=hold.placed_by,
        placed_for=hold.placed_for,
        placed_at=hold.placed_at,
        release_reason=None if hold.release_reason is None else ReleaseReason(hold.release_reason),
        released_by=hold.released_by,
        released_for=hold.released_for,
        released_at=hold.released_at,
        replayed=replayed,
    )


ROUTES: Sequence[ControllerRouterHandler] = (
    place_legal_hold,
    release_legal_hold,
    list_legal_holds,
    list_held_customers,
)
