"""Transfers: lists of them, and commands about one that was sent before."""

from collections.abc import Collection, Sequence
from datetime import date
from functools import partial
from typing import Annotated
from uuid import UUID

from litestar import get, post
from litestar.datastructures import State
from litestar.params import QueryParameter
from litestar.types import ControllerRouterHandler

from amana.domain.lending import business_date
from amana.domain.reasons import Reason
from amana.gateway.caller import Caller
from amana.gateway.rules import Begun
from amana.infra import clock
from amana.infra.postgres import reading
from amana.transactions import orders, requests
from amana.transactions.flow import Flow
from amana.transactions.http.common import (
    FIRST,
    LISTS_TIMEOUT_MAX_S,
    PageLimit,
    need_scope,
    others_than_lender,
    refuse_future,
)
from amana.wire.common import PAGE_SIZE_DEFAULT
from amana.wire.problems import Refused
from amana.wire.transfers import (
    CaptureRequest,
    ForcedCaptureRequest,
    ItemResult,
    ItemResults,
    ReversalRequest,
    TransferPage,
    TransfersRequest,
    TransferView,
    VoidRequest,
)

WRITE = {"scope": "transfers:write"}
READ = {"scope": "accounts:read", "personal": True}
PRIVACY_READ = "privacy:read"
"""Also shows what is kept of customers who are to be erased."""


def begin_transfers(state: State, caller: Caller, data: TransfersRequest) -> Begun | None:
    """Queues a list, for both lanes; leaves one that names another business date to the handler."""
    dated = any(item.effective_on is not None for item in data.transfers)  # hardly ever
    return None if dated and other_dates(data, business_date(clock.now())) else _begin(state, caller, data)


def _begin(state: State, caller: Caller, data: TransfersRequest) -> Begun:
    answers = state.flow.enqueue(orders.transfer_unit(caller, data.transfers))
    return Begun(answers, partial(orders.transfer_results, data.transfers))


@post(
    "/v1/transfers",
    opt=WRITE | {"hot": begin_transfers, "timeout_max_s": LISTS_TIMEOUT_MAX_S},
    status_code=200,
    tags=["Transfers"],
)
async def post_transfers(caller: Caller, data: TransfersRequest, state: State) -> ItemResults:
    """Post, hold, capture, void and reverse: one result each, in order, exactly as if sent one at a time."""
    await _check_effective_on(caller, state.flow, data)
    results: ItemResults = await _begin(state, caller, data)
    return results


@get("/v1/transfers", opt=READ, tags=["Transfers"])
async def list_transfers(
    caller: Caller,
    state: State,
    reference: Annotated[str, QueryParameter(min_length=1, max_length=100)],
    after: UUID = FIRST,
    limit: PageLimit = PAGE_SIZE_DEFAULT,
) -> TransferPage:
    """The transfers that you sent with a reference, in the order of their ids."""
    restricted = caller.may(PRIVACY_READ)
    page = await state.reads.list_transfers_by_reference(caller.tenant, reference, after, limit, restricted=restricted)
    views = [requests.transfer_view(one) for one in page.transfers]
    await state.read_log.record(caller, "/v1/transfers", await _owners(caller, state, views), len(views))
    return TransferPage(transfers=views, next=page.next)


@get("/v1/noted-transfers", opt={"scope": PRIVACY_READ, "personal": True}, tags=["Privacy"])
async def list_noted_transfers(
    caller: Caller, state: State, customer: UUID, after: UUID = FIRST, limit: PageLimit = PAGE_SIZE_DEFAULT
) -> TransferPage:
    """The transfers on a customer's accounts about which something was said: a part of the copy of all that is known.

    Also of who is restricted; of who was erased there is nothing.
    """
    page = await state.reads.list_noted_transfers(caller.tenant, customer, after, limit)
    views = [requests.transfer_view(one) for one in page.transfers]
    await state.read_log.record(caller, "/v1/noted-transfers", [customer], len(views))
    return TransferPage(transfers=views, next=page.next)


@get("/v1/transfers/{transfer_id:uuid}", opt=READ, tags=["Transfers"])
async def get_transfer(caller: Caller, state: State, transfer_id: UUID) -> TransferView:
    """One transfer as it stands: posted, held, or about an earlier one."""
    found = await state.reads.get_transfer(caller.tenant, transfer_id, restricted=caller.may(PRIVACY_READ))
    if found is None:
        raise Refused(Reason.NOT_FOUND)
    view = requests.transfer_view(found)
    shown = await _owners(caller, state, [view])
    await state.read_log.record(caller, "/v1/transfers/{transfer_id}", shown, 1, transfer=transfer_id)
    return view


@post("/v1/transfers/{transfer_id:uuid}/reversals", opt=WRITE, tags=["Transfers"])
async def reverse_transfer(caller: Caller, state: State, transfer_id: UUID, data: ReversalRequest) -> ItemResult:
    """Reverse a transfer of your own, all or part of it. Loans are reversed by their repayments."""
    return await _about(caller, state, transfer_id, data)


@post("/v1/transfers/{transfer_id:uuid}/captures", opt=WRITE, tags=["Transfers"])
async def capture_hold(caller: Caller, state: State, transfer_id: UUID, data: CaptureRequest) -> ItemResult:
    """Post all or part of what a hold reserves; it never fails for funds."""
    return await _about(caller, state, transfer_id, data)


@post("/v1/transfers/{transfer_id:uuid}/voids", opt=WRITE, tags=["Transfers"])
async def void_hold(caller: Caller, state: State, transfer_id: UUID, data: VoidRequest) -> ItemResult:
    """Give back all that a hold still reserves."""
    return await _about(caller, state, transfer_id, data)


@post("/v1/transfers/{transfer_id:uuid}/forced-captures", opt={"scope": "transfers:force"}, tags=["Transfers"])
async def force_capture(caller: Caller, state: State, transfer_id: UUID, data: ForcedCaptureRequest) -> ItemResult:
    """Capture a hold even after it expired, limit or no limit, for a reason that the audit log keeps."""
    return await _about(caller, state, transfer_id, data)


async def _owners(caller: Caller, state: State, views: Sequence[TransferView]) -> Collection[UUID]:
    """Whose the accounts of these transfers are."""
    accounts = {id_ for view in views for id_ in (view.debit_account, view.credit_account)}
    return others_than_lender(await state.reads.owners_of(caller.tenant, accounts))


async def _about(
    caller: Caller,
    state: State,
    transfer_id: UUID,
    data: ReversalRequest | CaptureRequest | VoidRequest | ForcedCaptureRequest,
) -> ItemResult:
    unit = orders.about(caller, data, transfer_id)
    answer = (await state.flow.submit([unit]))[0]
    return orders.single_result(unit.orders[0], answer)


async def _check_effective_on(caller: Caller, flow: Flow, data: TransfersRequest) -> None:
    """Another business date than today's needs its scope, but not where the id is a replay from that very day.

    Every item that is refused for it is named, so that a client need not find them one by one.
    """
    today = business_date(clock.now())
    other = other_dates(data, today)
    if not other:
        return
    keys = {(caller.tenant, data.transfers[at].id) for at in other}
    async with reading(flow.pool) as connection:
        known = set(await flow.store.find_transfers(connection, keys))
        known.update(await flow.store.find_answers(connection, keys))
    new = [at for at in other if (caller.tenant, data.transfers[at].id) not in known]
    if future := [at for at in new if other[at] > today]:
        refuse_future(*map(_effective_on_of, future))
    if new:
        need_scope(caller, *map(_effective_on_of, new))


def _effective_on_of(at: int) -> str:
    return f"/transfers/{at}/effective_on"


def other_dates(data: TransfersRequest, today: date) -> dict[int, date]:
    """The business dates that items name and that are not today's, by the item's place."""
    return {
        at: item.effective_on
        for at, item in enumerate(data.transfers)
        if item.effective_on is not None and item.effective_on != today
    }


ROUTES: Sequence[ControllerRouterHandler] = (
    post_transfers,
    list_transfers,
    list_noted_transfers,
    get_transfer,
    reverse_transfer,
    capture_hold,
    void_hold,
    force_capture,
)
