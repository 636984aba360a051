"""The route of lists of checks: decode, ask for each, encode."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from litestar import post
from litestar.datastructures import State
from litestar.types import ControllerRouterHandler

from amana.domain.reasons import REFUSALS, Reason
from amana.domain.transfer import Refused as Refusal
from amana.eligibility import check_lists, requests, views
from amana.eligibility.records import Check
from amana.gateway.caller import Caller
from amana.gateway.errors import problem_of
from amana.infra import clock
from amana.infra.telemetry import logger
from amana.wire.check_lists import CheckListRequest, CheckListResults, CheckResult, RefusalView
from amana.wire.eligibility import CheckRequest
from amana.wire.problems import Refused

_log = logger(__name__)


@post("/v1/eligibility/checks:batch", opt={"scope": "eligibility:check"}, status_code=200, tags=["Eligibility"])
async def check_many(caller: Caller, state: State, data: CheckListRequest) -> CheckListResults:
    """Up to 1,000 checks: one result each, in order, exactly as if each had been sent alone.

    An item that is malformed refuses the whole list, named by its pointer, before anything is decided.
    """
    now = clock.now()
    checks = [_check(caller, item, at, now) for at, item in enumerate(data.checks)]
    outcomes = await check_lists.check_all(state.flow, checks)
    told_at = clock.now()
    return CheckListResults(results=[_result(caller, outcome, told_at) for outcome in outcomes])


def _check(caller: Caller, item: CheckRequest, at: int, now: datetime) -> Check:
    try:
        return requests.check_of(caller, item, now)
    except Refused as refused:
        refused.errors = tuple(
            msgspec.structs.replace(error, pointer=f"/checks/{at}{error.pointer}") for error in refused.errors
        )
        raise


def _result(caller: Caller, outcome: check_lists.Outcome, now: datetime) -> CheckResult:
    if isinstance(outcome, Refusal):
        figures = dict(outcome.figures)
        return CheckResult(refusal=_refusal(outcome.reason, figures))
    if isinstance(outcome, Exception):
        return CheckResult(refusal=_failure(caller, outcome))
    return CheckResult(check=views.check_view(outcome, now))


def _failure(caller: Caller, error: Exception) -> RefusalView:
    """As the edge would say it of a single check; a bug is logged whole and told as nothing but `internal`."""
    reason = problem_of(error).code
    if reason is Reason.INTERNAL:
        _log.error("unhandled exception", request_id=caller.request_id, exc_info=error)
    return _refusal(reason, {})


def _refusal(reason: Reason, figures: dict[str, int | str]) -> RefusalView:
    row = REFUSALS[reason]
    return RefusalView(reason=reason, detail=row.meaning, retryable=row.retryable, figures=figures)


ROUTES: Sequence[ControllerRouterHandler] = (check_many,)
