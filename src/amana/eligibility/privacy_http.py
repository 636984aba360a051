"""The routes about a customer's personal data as such: decode, ask, encode."""

from collections.abc import Sequence
from uuid import UUID

import msgspec
from litestar import get, post
from litestar.datastructures import State
from litestar.types import ControllerRouterHandler

from amana.domain.reasons import Reason
from amana.domain.transfer import Refused as Refusal
from amana.eligibility import customer_views, erasing, exporting, requests, review_views
from amana.eligibility.erasure_store import Erasure
from amana.eligibility.exporting import Copy
from amana.gateway.caller import Caller
from amana.infra import clock
from amana.wire.privacy import CustomerExport, DecisionCopy, ErasureRequest, ErasureView, SourceView
from amana.wire.problems import Refused

MAY_ERASE, MAY_READ = {"scope": "privacy:write"}, {"scope": "privacy:read", "personal": True}

SOURCES = (
    SourceView(part="record", source="The lender's own record, as the lender sent it."),
    SourceView(part="record/bureau", source="Credit bureaus' report, as the lender sent it."),
    SourceView(part="record/topups", source="The network, as the lender sent it."),
    SourceView(part="record/consents", source="The customer's own answers, as the lender sent them."),
    SourceView(part="record/linked", source="Amana: other customers with the same BVN or NIN."),
    SourceView(part="decisions", source="Amana: the lender's policy, and people who judged."),
)


@post("/v1/customers/{customer_id:uuid}/erasures", opt=MAY_ERASE, status_code=200, tags=["Privacy"])
async def erase_customer(caller: Caller, state: State, customer_id: UUID, data: ErasureRequest) -> ErasureView:
    """Erase a customer. They are restricted at once; what is left is destroyed when no law keeps it any longer.

    Nothing undoes it. What they owe can still be repaid. Under a legal hold nothing is destroyed before its release. A
    customer is erased once: asked again, and under another id, the first request is the answer.
    """
    asked = await erasing.request(state.eraser, caller, customer_id, data.id, data.reason)
    if isinstance(asked, Refusal):
        raise requests.as_problem(asked)
    return _view(asked.erasure, held=asked.held, replayed=asked.replayed)


@get("/v1/customers/{customer_id:uuid}/erasures", opt=MAY_READ, tags=["Privacy"])
async def get_erasure(caller: Caller, state: State, customer_id: UUID) -> ErasureView:
    """How the request to erase a customer stands; not found where nobody asked for it."""
    found = await erasing.find(state.flow, (caller.tenant, customer_id))
    if found is None:
        raise Refused(Reason.NOT_FOUND)
    await state.read_log.record(caller, "/v1/customers/{customer_id}/erasures", (customer_id,), 1)
    return _view(found.erasure, held=found.held)


@get("/v1/customers/{customer_id:uuid}/export", opt=MAY_READ, tags=["Privacy"])
async def export_customer(
    caller: Caller, state: State, customer_id: UUID, before: UUID | None = None
) -> CustomerExport:
    """A copy of all that is known of a customer, with a page of decisions from before the one named.

    That it was handed out is written down as an event. Also of who is restricted; who was erased has none.
    """
    copy = await exporting.export(state.flow, caller, customer_id, before)
    if isinstance(copy, Refusal):
        raise requests.as_problem(copy)
    rows = 1 + len(copy.decisions)
    await state.read_log.record(caller, "/v1/customers/{customer_id}/export", (customer_id,), rows)
    return _export(caller, copy)


def _view(erasure: Erasure, *, held: bool | None = None, replayed: bool = False) -> ErasureView:
    return ErasureView(
        id=erasure.erasure_id,
        customer=erasure.customer,
        reason=erasure.reason,
        state="restricted" if erasure.destroyed_at is None else "erased",
        requested_by=erasure.requested_by,
        requested_at=erasure.requested_at,
        due_at=erasure.due_at,
        destroyed_at=erasure.destroyed_at,
        held=held,
        replayed=replayed,
    )


def _export(caller: Caller, copy: Copy) -> CustomerExport:
    told = [
        DecisionCopy(**msgspec.structs.asdict(review_views.reviewed_decision(explained, with_words=True)), asked_by=by)
        for explained, by in copy.decisions
    ]
    return CustomerExport(
        customer=copy.found.customer.customer,
        exported_at=clock.now(),
        record=customer_views.customer_view(copy.found, with_identity=True),
        sources=list(SOURCES),
        blocks=[customer_views.block_view(block) for block in copy.blocks],
        erasure=None if copy.erasure is None else _view(copy.erasure),
        decisions=told,
        disclosed_to=sorted({by for _, by in copy.decisions}),
        next=copy.following,
    )


ROUTES: Sequence[ControllerRouterHandler] = (erase_customer, get_erasure, export_customer)
