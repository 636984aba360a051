"""The routes of the eligibility service: decode, ask the flow, encode."""

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import get, post, put
from litestar.datastructures import State
from litestar.params import Parameter
from litestar.types import ControllerRouterHandler

from amana.domain.lending import business_date
from amana.domain.policy import policy_from
from amana.domain.reasons import Reason
from amana.domain.transfer import Refused as Refusal
from amana.eligibility import (
    check_lists_http,
    customers,
    explaining,
    offers,
    requests,
    review_views,
    reviews_http,
    views,
)
from amana.gateway.caller import Caller
from amana.gateway.stream import list_events
from amana.infra import clock
from amana.wire.eligibility import (
    CheckRequest,
    CheckView,
    ConfirmationRequest,
    CustomerFactsRecorded,
    CustomerFactsRequest,
    CustomerView,
    PolicyPublication,
    PolicyRequest,
    PolicyView,
)
from amana.wire.loans import OfferTerms
from amana.wire.problems import Refused
from amana.wire.reviews import ReviewedDecision

VERSION_MAX = 2**31 - 1


@put("/v1/customers/{customer_id:uuid}", opt={"scope": "customers:write"}, tags=["Customers"])
async def record_customer(
    caller: Caller, state: State, customer_id: UUID, data: CustomerFactsRequest
) -> CustomerFactsRecorded:
    """Record what the lender knows of a customer. The whole record: what is left out is unknown from now on."""
    record = requests.record_of(data, business_date(clock.now()))
    version = await customers.record(state.flow, caller, customer_id, record)
    return CustomerFactsRecorded(customer=customer_id, facts_version=version)


@get("/v1/customers/{customer_id:uuid}", opt={"scope": "customers:write"}, tags=["Customers"])
async def get_customer(caller: Caller, state: State, customer_id: UUID) -> CustomerView:
    """A customer's record as it stands."""
    found = await customers.find(state.flow, caller.tenant, customer_id)
    if found is None:
        raise Refused(Reason.CUSTOMER_NOT_FOUND)
    return CustomerView(
        customer=found.customer,
        facts_version=found.facts_version,
        recorded_at=found.recorded_at,
        **msgspec.structs.asdict(found.record),
    )


@post("/v1/policies", opt={"scope": "policies:write"}, status_code=200, tags=["Policies"])
async def publish_policy(caller: Caller, state: State, data: PolicyRequest) -> PolicyPublication:
    """Publish a policy: checked, hashed, immutable, live at once. The live document again is no new version."""
    policy = requests.checked(data.document)
    published = await state.flow.policies.publish(caller.tenant, policy, caller.key_id, caller.trace)
    return PolicyPublication(
        product=policy.product, version=published.version, hash=published.hash, replayed=published.replayed
    )


@get("/v1/policies/{product:str}", opt={"scope": "policies:write"}, tags=["Policies"])
async def get_policy(
    caller: Caller,
    state: State,
    product: str,
    version: Annotated[int | None, Parameter(ge=1, le=VERSION_MAX, description="Without it, the live one.")] = None,
) -> PolicyView:
    """A published policy."""
    found = await state.flow.policies.find(caller.tenant, product, version)
    if found is None:
        raise Refused(Reason.PRODUCT_NOT_FOUND)
    return PolicyView(
        product=found.product,
        version=found.version,
        hash=found.hash,
        published_by=found.published_by,
        published_at=found.published_at,
        document=policy_from(found.document),
    )


@post("/v1/eligibility/checks", opt={"scope": "eligibility:check"}, status_code=200, tags=["Eligibility"])
async def check_eligibility(caller: Caller, state: State, data: CheckRequest) -> CheckView:
    """May this customer borrow this amount? With an id: a request to borrow, and an offer when approved.

    Where nothing was decided (no such customer or product, another currency) nothing is stored, and the id stays free.
    """
    answer = await state.flow.check(requests.check_of(caller, data, clock.now()))
    if isinstance(answer, Refusal):
        raise requests.as_problem(answer)
    return views.check_view(answer, clock.now())


@get("/v1/decisions/{decision_id:uuid}", opt={"scope": "eligibility:check"}, tags=["Eligibility"])
async def explain_decision(caller: Caller, state: State, decision_id: UUID) -> ReviewedDecision:
    """A recorded decision, explained whole: facts, rules, points, limit, and what people did about it since."""
    explained = await explaining.explain(state.flow, caller.tenant, decision_id)
    if explained is None:
        raise Refused(Reason.NOT_FOUND)
    return review_views.reviewed_decision(caller, explained)


@post("/v1/offers/{offer_id:uuid}/confirmations", opt={"scope": "internal"}, status_code=200, tags=["Internal"])
async def confirm_offer(caller: Caller, state: State, offer_id: UUID, data: ConfirmationRequest) -> OfferTerms:
    """Whether an offer still stands, asked just before it is booked: a decision at most 5 s old says so."""
    if data.as_of is not None:
        requests.check_past(data.as_of, clock.now())
    confirmed = await offers.confirm(state.flow, caller, offer_id, data.as_of)
    if isinstance(confirmed, Refusal):
        raise requests.as_problem(confirmed)
    return views.confirmation_view(confirmed)


ROUTES: Sequence[ControllerRouterHandler] = (
    record_customer,
    get_customer,
    publish_policy,
    get_policy,
    check_eligibility,
    *check_lists_http.ROUTES,
    explain_decision,
    *reviews_http.ROUTES,
    confirm_offer,
    list_events,
)
