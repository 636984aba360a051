"""The routes of the metrics store. A tenant sees its own counts; latencies are of all services, and for operators."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, TypeVar

from litestar import get
from litestar.datastructures import State
from litestar.params import Parameter, QueryParameter
from litestar.types import ControllerRouterHandler

from amana.audit.metrics.percentiles import percentiles
from amana.audit.metrics.store import Span
from amana.domain.reasons import Reason
from amana.gateway.caller import INTERNAL, Caller
from amana.infra import clock
from amana.infra.postgres import Record
from amana.wire.common import END
from amana.wire.metrics import (
    DecisionCount,
    DecisionCounts,
    Latencies,
    Latency,
    TransferCount,
    TransferCounts,
)
from amana.wire.problems import FieldError, Refused, check_instant

ROWS_MAX = 2_000
"""Rows of one answer."""
BUCKETS = {
    "minute": (timedelta(minutes=1), timedelta(days=1)),
    "hour": (timedelta(hours=1), timedelta(days=31)),
    "day": (timedelta(days=1), timedelta(days=400)),
}
"""The size of each bucket, and the longest time that one question may be about."""
DEFAULT_BUCKETS = 60
"""Buckets of a question that does not say from when on."""
T = TypeVar("T")

Size = Literal["minute", "hour", "day"]
Bucket = Annotated[Size, Parameter(description="The size of the buckets.")]
From = Annotated[
    datetime | None, QueryParameter(name="from", description="From this bucket on; else the last 60 buckets.")
]
To = Annotated[
    datetime | None, QueryParameter(name="to", description="Buckets that begin before this; else until now.")
]


def _filter(description: str) -> Any:
    return Parameter(pattern=rf"^[ -~]{{1,100}}{END}", description=description)


Product = Annotated[str | None, _filter("Of this product.")]
Policy = Annotated[str | None, _filter("By this policy.")]
Outcome = Annotated[str | None, _filter("With this outcome.")]
CountedAs = Annotated[str | None, _filter("Of this kind.")]
LegCode = Annotated[str | None, _filter("Legs of loans with this code.")]
InCurrency = Annotated[str | None, _filter("In this currency.")]
Service = Annotated[str | None, _filter("Of this service.")]
Method = Annotated[str | None, _filter("Of this method.")]
Route = Annotated[str | None, _filter("Of this route, as a template.")]
StatusClass = Annotated[
    Literal["2xx", "3xx", "4xx", "5xx"] | None, Parameter(description="Answered with such a status.")
]


@get("/v1/metrics/decisions", opt={"scope": ("metrics:read", INTERNAL)}, tags=["Metrics"])
async def list_decisions(
    caller: Caller,
    state: State,
    bucket: Bucket,
    start: From = None,
    end: To = None,
    product: Product = None,
    policy: Policy = None,
    outcome: Outcome = None,
    kind: CountedAs = None,
) -> DecisionCounts:
    """The tenant's decisions over time, by product, policy, outcome and kind. The newest are seconds old."""
    span = _span(bucket, start, end)
    found = await state.metrics.decisions(caller.tenant, span, (product, policy, outcome, kind), ROWS_MAX + 1)
    rows, following = _page(found, _decision_count)
    return DecisionCounts(rows=rows, next=following)


@get("/v1/metrics/transfers", opt={"scope": ("metrics:read", INTERNAL)}, tags=["Metrics"])
async def list_transfers(
    caller: Caller,
    state: State,
    bucket: Bucket,
    start: From = None,
    end: To = None,
    product: Product = None,
    kind: CountedAs = None,
    code: LegCode = None,
    currency: InCurrency = None,
) -> TransferCounts:
    """The tenant's transfers over time, by product, kind, code, currency and band of amounts."""
    span = _span(bucket, start, end)
    found = await state.metrics.transfers(caller.tenant, span, (product, kind, code, currency), ROWS_MAX + 1)
    rows, following = _page(found, _transfer_count)
    return TransferCounts(rows=rows, next=following)


@get("/v1/metrics/latencies", opt={"scope": INTERNAL}, tags=["Internal"])
async def list_latencies(
    state: State,
    bucket: Bucket,
    start: From = None,
    end: To = None,
    service: Service = None,
    method: Method = None,
    route: Route = None,
    status: StatusClass = None,
) -> Latencies:
    """How long requests took, over time, by service and route, with percentiles from merged histograms."""
    span = _span(bucket, start, end)
    found = await state.metrics.latencies(span, (service, method, route, status), ROWS_MAX + 1)
    rows, following = _page(found, _latency)
    return Latencies(rows=rows, next=following)


ROUTES: Sequence[ControllerRouterHandler] = (list_decisions, list_transfers, list_latencies)


def _span(per: Size, start: datetime | None, end: datetime | None) -> Span:
    """What is asked about, or a `Refused` that names the parameter."""
    size, longest = BUCKETS[per]
    for name, given in (("?from", start), ("?to", end)):
        if given is not None and given.tzinfo is None:
            raise _refused(name, "invalid", "An instant needs its offset, such as `Z`.")
        if given is not None:
            check_instant(given, name)
    end = end or clock.now()
    start = start or end - DEFAULT_BUCKETS * size
    if start > end:
        raise _refused("?from", "out_of_range", "It is after `to`.")
    if end - start > longest:
        raise _refused("?from", "out_of_range", f"At most {longest.days} days of buckets of a {per} at a time.")
    return Span(per, start, end)


def _page(found: Sequence[Record], view: Callable[[Record], T]) -> tuple[list[T], datetime | None]:
    """The rows to show, whole buckets only, and the bucket to go on with."""
    if len(found) <= ROWS_MAX:
        return [view(row) for row in found], None
    last: datetime = found[-1]["bucket"]
    if found[0]["bucket"] == last:
        raise _refused("?bucket", "too_many", f"One bucket has more than {ROWS_MAX} rows: ask about less of it.")
    return [view(row) for row in found if row["bucket"] < last], last


def _refused(pointer: str, code: str, detail: str) -> Refused:
    return Refused(Reason.VALIDATION, errors=[FieldError(pointer, code, detail)])


def _decision_count(row: Record) -> DecisionCount:
    return DecisionCount(
        bucket=row["bucket"],
        kind=row["kind"],
        product=row["product"],
        policy=row["policy"] or None,
        policy_version=row["policy_version"] or None,
        outcome=row["outcome"] or None,
        decisions=row["decisions"],
    )


def _transfer_count(row: Record) -> TransferCount:
    return TransferCount(
        bucket=row["bucket"],
        kind=row["kind"],
        product=row["product"] or None,
        code=row["code"] or None,
        currency=row["currency"],
        amount_from=row["amount_band"],
        transfers=row["transfers"],
        amount=str(int(row["amount"])),
    )


def _latency(row: Record) -> Latency:
    requests = sum(row["requests"])
    p50_us, p90_us, p95_us, p99_us, p999_us = percentiles(row["bounds_us"], row["requests"])
    return Latency(
        bucket=row["bucket"],
        service=row["service"],
        method=row["method"],
        route=row["route"],
        requests=requests,
        failed=row["failed"],
        mean_us=row["total_us"] // requests,
        p50_us=p50_us,
        p90_us=p90_us,
        p95_us=p95_us,
        p99_us=p99_us,
        p999_us=p999_us,
    )
