"""The routes about customers: their record, what other sources say of them, many at once, blocks."""

from collections.abc import Sequence
from uuid import UUID

from litestar import get, post, put
from litestar.datastructures import State
from litestar.types import ControllerRouterHandler

from amana.domain.reasons import Reason
from amana.domain.transfer import Refused as Refusal
from amana.eligibility import blocks, customers, requests
from amana.eligibility import customer_requests as asked
from amana.eligibility import customer_views as views
from amana.gateway.caller import Caller
from amana.infra import clock
from amana.wire.blocks import BlockLifted, BlockLiftRequest, BlockList, BlockRequest, BlockView
from amana.wire.customers import (
    BureauRequest,
    ConsentsRequest,
    CustomerChange,
    CustomerFactsRecorded,
    CustomerFactsRequest,
    CustomerResults,
    CustomersRequest,
    CustomerView,
    TopUpsRequest,
)
from amana.wire.problems import FieldError, Refused, check_instant

IDENTITY = "customers:identity"
MAY_READ_RESTRICTED = "privacy:read"
READ = {"scope": "customers:write", "personal": True}


@put("/v1/customers/{customer_id:uuid}", opt={"scope": "customers:write"}, tags=["Customers"])
async def record_customer(
    caller: Caller, state: State, customer_id: UUID, data: CustomerFactsRequest
) -> CustomerFactsRecorded:
    """Record what the lender knows of a customer. The whole record: what is left out is unknown from now on."""
    return await _record(caller, state, CustomerChange(customer=customer_id, record=data, if_version=data.if_version))


@put("/v1/customers/{customer_id:uuid}/bureau", opt={"scope": "customers:write"}, tags=["Customers"])
async def record_bureau(caller: Caller, state: State, customer_id: UUID, data: BureauRequest) -> CustomerFactsRecorded:
    """Record what credit bureaus report of a customer. A report that is older than the one known is refused."""
    return await _record(caller, state, CustomerChange(customer=customer_id, bureau=data, if_version=data.if_version))


@put("/v1/customers/{customer_id:uuid}/topups", opt={"scope": "customers:write"}, tags=["Customers"])
async def record_topups(caller: Caller, state: State, customer_id: UUID, data: TopUpsRequest) -> CustomerFactsRecorded:
    """Record what a customer tops up a month. What is older than what is known is refused."""
    return await _record(caller, state, CustomerChange(customer=customer_id, topups=data, if_version=data.if_version))


@put("/v1/customers/{customer_id:uuid}/consents", opt={"scope": "customers:write"}, tags=["Customers"])
async def record_consents(
    caller: Caller, state: State, customer_id: UUID, data: ConsentsRequest
) -> CustomerFactsRecorded:
    """Record a customer's answers by purpose: given, refused or withdrawn. Purposes left out stay as they are."""
    return await _record(caller, state, CustomerChange(customer=customer_id, consents=data, if_version=data.if_version))


@post("/v1/customers:batch", opt={"scope": "customers:write"}, status_code=200, tags=["Customers"])
async def record_customers(caller: Caller, state: State, data: CustomersRequest) -> CustomerResults:
    """Record many customers, in order and in one transaction. An item that is wrong leaves its neighbours alone."""
    items = await asked.items_of(data.customers, clock.now())
    good = [item for item in items if not isinstance(item, Refused)]
    made = iter(await customers.record(state.flow, caller, [(item.customer, item.change) for item in good]))
    results = [item if isinstance(item, Refused) else (item, next(made)) for item in items]
    return views.batch_view(data.customers, results)


@get("/v1/customers/{customer_id:uuid}", opt=READ, tags=["Customers"])
async def get_customer(caller: Caller, state: State, customer_id: UUID) -> CustomerView:
    """What is known of a customer. BVN, NIN, account and phone are masked without the scope `customers:identity`.

    Of a customer who is to be erased only a key with the scope `privacy:read` reads it.
    """
    found = await customers.find(state.flow, caller.tenant, customer_id, restricted=caller.may(MAY_READ_RESTRICTED))
    if isinstance(found, Refusal):
        raise requests.as_problem(found)
    await state.read_log.record(caller, "/v1/customers/{customer_id}", (customer_id,), 1)
    return views.customer_view(found, with_identity=caller.may(IDENTITY))


@post("/v1/customers/{customer_id:uuid}/blocks", opt={"scope": "customers:write"}, status_code=200, tags=["Customers"])
async def block_customer(caller: Caller, state: State, customer_id: UUID, data: BlockRequest) -> BlockView:
    """Block a customer, and with them every number of the same person, until the block is lifted or over."""
    if data.until is not None:
        check_instant(data.until, "/until")
    placed = await blocks.place(state.flow, caller, customer_id, data.id, data.code, data.reason, data.until)
    if isinstance(placed, Refusal):
        raise _block_refused(placed)
    return views.block_view(placed.block, replayed=placed.replayed)


@get("/v1/customers/{customer_id:uuid}/blocks", opt=READ, tags=["Customers"])
async def list_blocks(caller: Caller, state: State, customer_id: UUID) -> BlockList:
    """A customer's newest blocks, in force or not. Of who is to be erased only with the scope `privacy:read`."""
    may_read = caller.may(MAY_READ_RESTRICTED)
    found = await blocks.newest(state.flow, caller.tenant, customer_id, restricted=may_read)
    if isinstance(found, Refusal):
        raise requests.as_problem(found)
    await state.read_log.record(caller, "/v1/customers/{customer_id}/blocks", (customer_id,), len(found))
    return BlockList(blocks=[views.block_view(block) for block in found])


@post(
    "/v1/customers/{customer_id:uuid}/blocks/{code:str}/lifts",
    opt={"scope": "customers:write"},
    status_code=200,
    tags=["Customers"],
)
async def lift_block(caller: Caller, state: State, customer_id: UUID, code: str, data: BlockLiftRequest) -> BlockLifted:
    """Lift every block of the customer that is in force under the code."""
    lifted = await blocks.lift(state.flow, caller, customer_id, code, data.id, data.reason)
    if isinstance(lifted, Refusal):
        raise requests.as_problem(lifted)
    return BlockLifted(id=data.id, code=code, blocks=lifted.blocks, replayed=lifted.replayed)


async def _record(caller: Caller, state: State, change: CustomerChange) -> CustomerFactsRecorded:
    """One change of one part: what is said of it points into the part, which is the body."""
    part = next(f"/{name}" for name in asked.PARTS if getattr(change, name) is not None)
    item = asked.change_of(change, clock.now())
    if isinstance(item, Refused):
        raise Refused(item.reason, errors=asked.moved(item.errors, instead_of=part))
    (result,) = await customers.record(state.flow, caller, [(item.customer, item.change)])
    if isinstance(result, Refusal):
        refused = asked.refused_as(result)
        raise Refused(refused.reason, figures=refused.figures, errors=asked.moved(refused.errors, instead_of=part))
    return CustomerFactsRecorded(
        customer=item.customer,
        facts_version=result.facts_version,
        warnings=asked.moved(item.warnings, instead_of=part),
    )


def _block_refused(refusal: Refusal) -> Refused:
    if refusal.reason is Reason.VALIDATION:
        return Refused(Reason.VALIDATION, errors=[FieldError("/until", "past", "Not later than now.")])
    return requests.as_problem(refusal)


ROUTES: Sequence[ControllerRouterHandler] = (
    record_customer,
    record_bureau,
    record_topups,
    record_consents,
    record_customers,
    get_customer,
    block_customer,
    list_blocks,
    lift_block,
)
