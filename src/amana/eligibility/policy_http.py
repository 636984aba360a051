"""The routes of a policy's life."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any

import msgspec
from litestar import get, post
from litestar.datastructures import State
from litestar.params import Parameter
from litestar.types import ControllerRouterHandler

from amana.domain.policy import policy_from
from amana.domain.policy_life import PolicyState
from amana.domain.reasons import Reason
from amana.domain.transfer import Refused as Refusal
from amana.eligibility import lifecycle, requests
from amana.eligibility.lifecycle import Done
from amana.eligibility.policy_store import Version
from amana.gateway.caller import Caller
from amana.infra import clock
from amana.wire.common import PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX
from amana.wire.policies import (
    ApprovalRequest,
    PolicyRequest,
    PolicyStepView,
    PolicyView,
    RollbackRequest,
    VersionList,
    VersionView,
    WithdrawalRequest,
)
from amana.wire.problems import FieldError, Refused, check_instant

VERSION_MAX = 2**31 - 1
AHEAD_MAX = timedelta(days=366)
"""How far ahead a start may be: a year that was mistyped is not waited for."""
IN_PATH = ("product", "version")
READERS = ("policies:write", "policies:approve")

Number = Annotated[int, Parameter(ge=1, le=VERSION_MAX)]


@post("/v1/policies", opt={"scope": "policies:write"}, status_code=200, tags=["Policies"])
async def draft_policy(caller: Caller, state: State, data: PolicyRequest) -> PolicyStepView:
    """Draft a policy: checked, hashed, immutable. It decides once another key has approved it."""
    policy = requests.checked(data.document)
    return _told(await lifecycle.draft(state.flow.pool, caller, data.id, policy))


@post("/v1/policies/{product:str}/rollbacks", opt={"scope": "policies:write"}, status_code=200, tags=["Policies"])
async def roll_policy_back(caller: Caller, state: State, product: str, data: RollbackRequest) -> PolicyStepView:
    """Draft again a document that was live before, by its hash: a new version, to be approved like any other."""
    return _told(await lifecycle.roll_back(state.flow.pool, caller, data.id, product, data.hash))


@post(
    "/v1/policies/{product:str}/versions/{version:int}/approvals",
    opt={"scope": "policies:approve"},
    status_code=200,
    tags=["Policies"],
)
async def approve_policy(
    caller: Caller, state: State, product: str, version: Number, data: ApprovalRequest
) -> PolicyStepView:
    """Approve a draft of another key: live at once, or from `valid_from` on. Services take it up within a second."""
    if data.valid_from is not None:
        check_instant(data.valid_from, "/valid_from")
        if data.valid_from > clock.now() + AHEAD_MAX:
            detail = f"At most {AHEAD_MAX.days} days ahead."
            raise Refused(Reason.VALIDATION, errors=[FieldError("/valid_from", "out_of_range", detail)])
    done = await lifecycle.approve(state.flow.pool, caller, data.id, product, version, data.valid_from)
    state.flow.policies.forget(caller.tenant, product)
    return _told(done)


@post(
    "/v1/policies/{product:str}/versions/{version:int}/withdrawals",
    opt={"scope": READERS},
    status_code=200,
    tags=["Policies"],
)
async def withdraw_policy(
    caller: Caller, state: State, product: str, version: Number, data: WithdrawalRequest
) -> PolicyStepView:
    """Take back a draft, or a version that starts in more than 5 s. It never decides."""
    return _told(await lifecycle.withdraw(state.flow.pool, caller, data.id, product, version))


@get("/v1/policies/{product:str}", opt={"scope": READERS}, tags=["Policies"])
async def get_policy(
    caller: Caller,
    state: State,
    product: str,
    version: Annotated[int | None, Parameter(ge=1, le=VERSION_MAX, description="Without it, the live one.")] = None,
) -> PolicyView:
    """A version of a policy with its document."""
    found = await state.flow.policies.find(caller.tenant, product, version)
    if found is None:
        raise Refused(Reason.PRODUCT_NOT_FOUND)
    life, document = found
    return PolicyView(**_life(life), document=policy_from(document.document))


@get("/v1/policies/{product:str}/versions", opt={"scope": READERS}, tags=["Policies"])
async def list_policy_versions(
    caller: Caller,
    state: State,
    product: str,
    before: Annotated[int, Parameter(ge=1, le=VERSION_MAX, description="Only versions below this one.")] = VERSION_MAX,
    limit: Annotated[int, Parameter(ge=1, le=PAGE_SIZE_MAX)] = PAGE_SIZE_DEFAULT,
) -> VersionList:
    """Versions of a product's policy: the state of each, who took which step, and when. The newest come first."""
    found = await state.flow.policies.versions(caller.tenant, product, before, limit)
    if not found and before == VERSION_MAX:
        raise Refused(Reason.PRODUCT_NOT_FOUND)
    return VersionList(versions=[VersionView(**_life(version)) for version in found])


ROUTES: Sequence[ControllerRouterHandler] = (
    draft_policy,
    roll_policy_back,
    approve_policy,
    withdraw_policy,
    get_policy,
    list_policy_versions,
)


def _told(done: Done | Refusal) -> PolicyStepView:
    """The answer to a step."""
    if isinstance(done, Refusal):
        raise _problem(done)
    step = done.step
    return PolicyStepView(
        product=step.product,
        version=step.version,
        hash=step.hash,
        state=_left_in(done),
        valid_from=step.valid_from,
        restores=step.restores,
        replayed=done.replayed,
    )


def _left_in(done: Done) -> PolicyState:
    """The state in which a step left its version, whatever became of it since."""
    step = done.step
    if step.step != lifecycle.APPROVED:
        return PolicyState.VALIDATED if step.step == lifecycle.DRAFTED else PolicyState.WITHDRAWN
    assert step.valid_from is not None and step.taken_at is not None, "an approval has both"
    return PolicyState.SCHEDULED if step.valid_from > step.taken_at else PolicyState.LIVE


def _problem(refusal: Refusal) -> Refused:
    """As any refusal; what differs in the path is named as a path parameter is."""
    field = refusal.figures.get("field")
    if field not in IN_PATH:
        return requests.as_problem(refusal)
    errors = [FieldError(f"{{{field}}}", "differs", "Another value than under this id before.")]
    return Refused(refusal.reason, figures=refusal.figures, errors=errors)


def _life(version: Version) -> dict[str, Any]:
    return msgspec.structs.asdict(version.life) | {"state": version.state}
