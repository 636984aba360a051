"""Reads all of the log that a report is made of, a page of the search at a time."""

from collections.abc import AsyncIterator, Mapping
from uuid import UUID

from amana.audit.index_store import Extent, Index
from amana.audit.keys import StreamKeys
from amana.audit.leaf import LOGS, STREAMS
from amana.audit.report import POLICY_STEPS, Gathered
from amana.audit.search import search
from amana.audit.store import Rows, Store, StoredEvent
from amana.audit.subjects import READS, Kind, Subject
from amana.audit.views import sealed_sizes
from amana.audit.walk import Question
from amana.wire.audit_reports import LogState

PAGE_EVENTS = 500
REPORT_EVENTS_MAX = 10_000
"""Events in one report: thirty a week, for six years."""
POLICY_EVENTS_MAX = 2_000
REPORT_READS_MAX = 500
"""Reads in one report: the newest. All are at `/v1/audit/accesses`."""

Keys = Mapping[str, StreamKeys]


async def gather(
    store: Store, index: Index, keys: Keys, tenant: int, customer: UUID, *, with_reads: bool = False
) -> Gathered:
    """All that a customer's report is made of, who read it only `with_reads`. Raises `DatabaseUnavailable`."""
    of_customer = frozenset({Subject(Kind.CUSTOMER, str(customer))})
    of_policies = frozenset(Subject(Kind.TYPE, type_) for type_ in POLICY_STEPS)
    asked = Question(tenant, STREAMS, (of_customer,), hidden=READS)
    found, more = await _up_to(index, asked, REPORT_EVENTS_MAX)
    reading = Question(tenant, LOGS, (of_customer, READS), newest_first=True)
    reads, more_reads = await _up_to(index, reading, REPORT_READS_MAX) if with_reads else (None, False)
    policy_events, _ = await _up_to(index, Question(tenant, ("eligibility",), (of_policies,)), POLICY_EVENTS_MAX)
    async with index.rows() as index_rows:
        extents = await index_rows.indexed_to(STREAMS)
    async with store.rows() as rows:
        log = [await _log_state(rows, stream, extents[stream], keys[stream]) for stream in STREAMS]
        sealed = await sealed_sizes(rows, LOGS)
    complete = not more and all(state.searched == state.received for state in log)
    return Gathered(found, policy_events, sealed, log, complete, reads, more_reads)


async def events_of(index: Index, question: Question) -> AsyncIterator[StoredEvent]:
    """All events of a question, one page in memory at a time. Raises `DatabaseUnavailable`."""
    marks = None
    while True:
        page = await search(index, question, marks, PAGE_EVENTS)
        for event in page.events:
            yield event
        marks = page.marks
        if marks is None:
            return


async def _up_to(index: Index, question: Question, maximum: int) -> tuple[list[StoredEvent], bool]:
    """At most so many events, and whether there are more."""
    found: list[StoredEvent] = []
    async for event in events_of(index, question):
        if len(found) == maximum:
            return found, True
        found.append(event)
    return found, False


async def _log_state(rows: Rows, stream: str, extent: Extent, keys: StreamKeys) -> LogState:
    """`verifier_key` is the one that signed the note: not always the one in use."""
    newest = await rows.newest_checkpoint(stream)
    return LogState(
        stream=stream,
        floor=extent.floor,
        searched=extent.size,
        received=max(extent.size, await rows.highest_position(stream) + 1),
        size=newest.size if newest else 0,
        note=newest.note if newest else None,
        verifier_key=str(keys.key_of(newest.note) if newest else keys.current),
    )
