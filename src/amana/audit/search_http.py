"""The routes that find things: a tenant's events, and who read what of the log."""

from collections.abc import Sequence
from typing import Annotated, Literal
from uuid import UUID

from litestar import get
from litestar.datastructures import State
from litestar.params import QueryParameter
from litestar.types import ControllerRouterHandler
from msgspec import Meta

from amana.audit.leaf import LOGS, STREAMS
from amana.audit.questions import (
    CURSOR_CHARS_MAX,
    KINDS,
    Order,
    ids_asked,
    question,
    read_cursor,
    texts_asked,
    write_cursor,
)
from amana.audit.search import search
from amana.audit.subjects import READ_TYPES, READS
from amana.audit.views import access_view, event_view, searchable
from amana.gateway.caller import Caller
from amana.wire.audit import AccessPage, AuditEventPage
from amana.wire.common import END, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX, Instant

MAY_SEE_READS = "audit:accesses"
TYPES_MAX = 20
TEXTS = ("type", "actor", "trace", "from", "to", "stream", "order")
"""The parameters that are no ids, for the record of the read."""

EventType = Annotated[str, Meta(pattern=rf"^[A-Za-z]{{1,64}}{END}")]
Types = Annotated[
    Annotated[list[EventType], Meta(max_length=TYPES_MAX)] | None,
    QueryParameter(name="type", description="Event types: one of them. Repeat the parameter for several."),
]
Actor = Annotated[
    Annotated[str, Meta(min_length=1, max_length=100)] | None,
    QueryParameter(name="actor", description="The id of the key that did it, or `system:` and a name."),
]
Trace = Annotated[
    Annotated[str, Meta(pattern=rf"^[0-9a-f]{{32}}{END}")] | None,
    QueryParameter(name="trace", description="The W3C trace id of the request."),
]
Since = Annotated[Instant | None, QueryParameter(name="from", description="At this instant or later.")]
Until = Annotated[Instant | None, QueryParameter(name="to", description="Before this instant.")]
Stream = Annotated[
    Literal["eligibility", "transactions"] | None, QueryParameter(name="stream", description="Of this stream alone.")
]
OfService = Annotated[
    Literal["eligibility", "transactions", "notifications", "accesses"] | None,
    QueryParameter(name="stream", description="Reads at this service alone; `accesses` are those of the log itself."),
]
InOrder = Annotated[Order, QueryParameter(name="order", description="Which come first.")]
After = Annotated[
    Annotated[str, Meta(max_length=CURSOR_CHARS_MAX)] | None,
    QueryParameter(name="after", description="`next` of the page before."),
]
PageLimit = Annotated[int, QueryParameter(name="limit", ge=1, le=PAGE_SIZE_MAX, description="Items per page.")]


@get("/v1/audit/events", opt={"scope": "audit:read"}, tags=["Audit"])
async def list_events(
    caller: Caller,
    state: State,
    customer: UUID | None = None,
    account: UUID | None = None,
    decision: UUID | None = None,
    loan: UUID | None = None,
    transfer: UUID | None = None,
    hold: UUID | None = None,
    aggregate: UUID | None = None,
    types: Types = None,
    actor: Actor = None,
    trace: Trace = None,
    since: Since = None,
    until: Until = None,
    stream: Stream = None,
    order: InOrder = "oldest",
    after: After = None,
    limit: PageLimit = PAGE_SIZE_DEFAULT,
) -> AuditEventPage:
    """The tenant's events that name all that is given, in order of time.

    `decision` is the id of a decision, its offer or its review; `transfer` also that of a repayment or of a reversal;
    `aggregate` is the id of the thing that changed, whichever of these it is.
    Who read what is not among them: see `/v1/audit/accesses`.
    """
    ids = dict(zip(KINDS, (customer, account, decision, loan, transfer, hold, aggregate), strict=True))
    told = dict(zip(TEXTS, (types, actor, trace, since, until, stream, order), strict=True))
    groups = [*ids_asked(ids), *texts_asked(types, actor, trace)]
    asked = question(caller.tenant, (stream,) if stream else STREAMS, groups, since, until, order, aggregate, READS)
    found = await search(state.index, asked, read_cursor(asked, after), limit)
    sealed = {stream: stands.sealed for stream, stands in found.standings.items()}
    await state.accesses.record(caller, "/v1/audit/events", {**ids, **told}, len(found.events), at_once=True)
    return AuditEventPage(
        events=[event_view(event, sealed) for event in found.events],
        next=write_cursor(asked, found.marks),
        searched=searchable(found.standings),
    )


@get("/v1/audit/accesses", opt={"scope": MAY_SEE_READS}, tags=["Audit"])
async def list_accesses(
    caller: Caller,
    state: State,
    customer: UUID | None = None,
    actor: Actor = None,
    trace: Trace = None,
    since: Since = None,
    until: Until = None,
    stream: OfService = None,
    order: InOrder = "newest",
    after: After = None,
    limit: PageLimit = PAGE_SIZE_DEFAULT,
) -> AccessPage:
    """Who read what of whom: customers' records, accounts, transfers and loans, the audit log itself.

    To read this is a read too.
    """
    told = dict(zip(TEXTS, (None, actor, trace, since, until, stream, order), strict=True)) | {"customer": customer}
    groups = [*ids_asked({"customer": customer}), *texts_asked(READ_TYPES, actor, trace)]
    asked = question(caller.tenant, (stream,) if stream else LOGS, groups, since, until, order)
    found = await search(state.index, asked, read_cursor(asked, after), limit)
    sealed = {stream: stands.sealed for stream, stands in found.standings.items()}
    await state.accesses.record(caller, "/v1/audit/accesses", told, len(found.events), at_once=True)
    return AccessPage(
        accesses=[access_view(event, sealed) for event in found.events],
        next=write_cursor(asked, found.marks),
        searched=searchable(found.standings),
    )


ROUTES: Sequence[ControllerRouterHandler] = (list_events, list_accesses)
