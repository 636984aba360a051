"""`GET /v1/events`: a service's stream by position, the same routes in every service that has an outbox."""

from typing import Annotated

from litestar import get
from litestar.datastructures import State
from litestar.params import QueryParameter

from amana.domain.reasons import Reason
from amana.infra.outbox import EVENTS_PAGE_MAX, Pruned, read_end, read_events
from amana.wire.consuming import StreamEnd
from amana.wire.events import EventPage, SequencedEvent
from amana.wire.problems import Refused


@get("/v1/events", opt={"scope": "internal"}, tags=["Internal"])
async def list_events(
    state: State,
    after: Annotated[int, QueryParameter(ge=-1, le=2**53 - 1)] = -1,
    limit: Annotated[int, QueryParameter(ge=1, le=EVENTS_PAGE_MAX)] = EVENTS_PAGE_MAX,
) -> EventPage:
    """The service's stream by position: how a consumer fetches what the broker lost.

    The application puts the pool that sees its outbox into `state.outbox_pool`. What was pruned is a 410 that says
    where the stream begins, and where the log has it.
    """
    page = await read_events(state.outbox_pool, after, limit)
    if isinstance(page, Pruned):
        raise _pruned(page)
    events = [SequencedEvent(position, body.decode()) for position, body in page.events]
    return EventPage(page.stream, events, page.last)


def _pruned(page: Pruned) -> Refused:
    log = f"/v1/audit/log/{page.stream}/tile/entries"
    detail = (
        f"Events of {page.stream} before position {page.oldest} were pruned, the oldest here is that one; "
        f"the audit service has them, at {log}."
    )
    return Refused(Reason.EVENTS_PRUNED, detail, {"stream": page.stream, "oldest": page.oldest, "older_at": log})


@get("/v1/events/end", opt={"scope": "internal"}, tags=["Internal"])
async def get_stream_end(state: State) -> StreamEnd:
    """How far the service's stream is: given a position, and acknowledged by the broker."""
    return StreamEnd(**(await read_end(state.outbox_pool))._asdict())
