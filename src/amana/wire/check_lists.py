"""Requests and responses of lists of checks."""

from typing import Annotated, Any

from msgspec import Meta, field

from amana.domain.reasons import Reason
from amana.wire.common import Request, Response
from amana.wire.eligibility import CheckRequest, CheckView

CHECKS_MAX = 1_000


class CheckListRequest(Request):
    """Checks of any customers and products. Each is answered as if it had been sent alone."""

    checks: Annotated[list[CheckRequest], Meta(min_length=1, max_length=CHECKS_MAX)]


class RefusalView(Response):
    """Why an item has no answer. Nothing is stored for it and its id stays free; only of `outcome_unknown` that is not
    sure, and the same id tells."""

    reason: Reason
    detail: str
    retryable: bool
    figures: dict[str, Any] = field(default_factory=dict)


class CheckResult(Response):
    """Of one item: the check's answer, or why there is none. Exactly one of the two is there."""

    check: CheckView | None = None
    refusal: RefusalView | None = None


class CheckListResults(Response):
    """One result for each check, in input order."""

    results: list[CheckResult]
