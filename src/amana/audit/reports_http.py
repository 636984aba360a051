"""The routes for compliance: the report on one customer, and the register of a month."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from litestar import Request, Response, get
from litestar.datastructures import State
from litestar.params import QueryParameter
from litestar.response import Stream
from litestar.types import ControllerRouterHandler

from amana.audit.gather import events_of, gather
from amana.audit.index_store import Index
from amana.audit.leaf import STREAMS
from amana.audit.register import COLUMNS, TYPES, Totals, csv_line, month_bounds, register_row
from amana.audit.report import make_report
from amana.audit.report_page import CONTENT_SECURITY_POLICY, report_page
from amana.audit.search_http import MAY_SEE_READS
from amana.audit.subjects import Kind, Subject
from amana.audit.walk import Question
from amana.domain.reasons import Reason
from amana.gateway.caller import Caller
from amana.infra import clock
from amana.wire.audit_reports import CustomerReport
from amana.wire.problems import Refused

HTML, CSV, JSON_LINES = "text/html", "text/csv", "application/jsonl"
CHUNK_BYTES = 64 << 10

RegisterFormat = Annotated[
    Literal["jsonl", "csv", "totals"],
    QueryParameter(
        name="format", description="Rows as JSON Lines (the last line has the totals) or CSV; or totals alone."
    ),
]


@get(
    "/v1/audit/customers/{customer:uuid}/report",
    opt={"scope": "audit:read", "answers": (HTML, "text/*")},
    tags=["Audit"],
)
async def get_report(caller: Caller, state: State, request: Request[Any, Any, Any], customer: UUID) -> Response[Any]:
    """What was decided about a customer, why, from which facts, by which policy, and what changed it.

    As JSON, or as a page for people where `Accept` prefers `text/html`. With the scope `audit:accesses` also who read
    it.
    """
    report = await _report(caller, state, customer, "/v1/audit/customers/{id}/report")
    if _prefers_html(request.headers.get("accept", "")):
        return _page(report)
    return Response(msgspec.json.encode(report), media_type="application/json")


@get("/v1/audit/customers/{customer:uuid}/report.html", opt={"scope": "audit:read", "answers": (HTML,)}, tags=["Audit"])
async def get_report_page(caller: Caller, state: State, customer: UUID) -> Response[Any]:
    """The same report as a page for people, whatever `Accept` says."""
    return _page(await _report(caller, state, customer, "/v1/audit/customers/{id}/report.html"))


@get(
    "/v1/audit/register/{month:str}",
    opt={"scope": "audit:read", "answers": (CSV, JSON_LINES, "text/*")},
    tags=["Audit"],
)
async def get_register(
    caller: Caller, state: State, month: str, wanted: RegisterFormat = "jsonl"
) -> Stream | Response[Any]:
    """Every decision, override, appeal, answer to one and reversal of a month of Lagos, such as `2026-11`."""
    since, until = month_bounds(month)
    types = frozenset(Subject(Kind.TYPE, type_) for type_ in TYPES)
    question = Question(caller.tenant, ("eligibility",), (types,), since, until)
    await state.accesses.record(
        caller, "/v1/audit/register/{month}", {"month": month, "format": wanted}, None, at_once=True
    )
    totals = Totals(month)
    if wanted == "totals":
        async for event in events_of(state.index, question):
            totals.add(register_row(event))
        return Response(msgspec.json.encode(totals.told()), media_type="application/json")
    lines = _csv(state.index, question) if wanted == "csv" else _json_lines(state.index, question, totals)
    headers = {"content-disposition": f'attachment; filename="register-{month}.{wanted}"'}
    return Stream(_chunks(lines), media_type=CSV if wanted == "csv" else JSON_LINES, headers=headers)


ROUTES: Sequence[ControllerRouterHandler] = (get_report, get_report_page, get_register)


async def _report(caller: Caller, state: State, customer: UUID, route: str) -> CustomerReport:
    """The report, once it is recorded that it was read. A customer of whom the log has nothing is not found."""
    keys = {stream: await asyncio.to_thread(state.custody.keys, stream) for stream in STREAMS}
    with_reads = caller.may(MAY_SEE_READS)
    gathered = await gather(state.store, state.index, keys, caller.tenant, customer, with_reads=with_reads)
    await state.accesses.record(caller, route, {"customer": customer}, len(gathered.events), at_once=True)
    if not gathered.events:
        raise Refused(Reason.NOT_FOUND)
    return make_report(customer, gathered, clock.now())


def _page(report: CustomerReport) -> Response[Any]:
    headers = {
        "content-security-policy": CONTENT_SECURITY_POLICY,
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
    }
    return Response(report_page(report), media_type=HTML, headers=headers)


def _prefers_html(accept: str) -> bool:
    """Whether the first media type that the route has is HTML: what a browser sends, and what asks for it alone."""
    for item in accept.split(","):
        media = item.split(";")[0].strip().lower()
        if media in (HTML, "text/*"):
            return True
        if media in ("application/json", "application/*", "*/*"):
            return False
    return False


async def _csv(index: Index, question: Question) -> AsyncIterator[bytes]:
    yield csv_line(COLUMNS)
    async for event in events_of(index, question):
        yield csv_line(register_row(event).values())


async def _json_lines(index: Index, question: Question, totals: Totals) -> AsyncIterator[bytes]:
    async for event in events_of(index, question):
        row = register_row(event)
        totals.add(row)
        yield msgspec.json.encode(row) + b"\n"
    yield msgspec.json.encode({"totals": totals.told()}) + b"\n"


async def _chunks(lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The lines in pieces of some size: a write to the socket for each would cost more than the lines."""
    piece = bytearray()
    async for line in lines:
        piece += line
        if len(piece) >= CHUNK_BYTES:
            yield bytes(piece)
            piece.clear()
    yield bytes(piece)
