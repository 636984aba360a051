"""Finds a tenant's events by what they name and when they were, in the order of the log.

Each stream is walked (`walk`) and the streams are merged by time, each kept in the order of its positions. A page ends
with a position in each stream, so nothing is skipped or shown twice however many events arrive meanwhile. A walk reads
a bounded run of the index, so a page may come back short, with a cursor to go on from.
"""

from dataclasses import dataclass
from datetime import datetime
from heapq import merge
from itertools import islice

from amana.audit.index_store import Index, Standing
from amana.audit.store import StoredEvent
from amana.audit.walk import Question, Walk, Walked

Marks = dict[str, int]
"""Where to go on, by stream: the next position to look at; going back, the one after it."""


@dataclass(slots=True)
class Found:
    """A page. `marks` is None when there is no more; `standings` are of just before it was looked for."""

    events: list[StoredEvent]
    marks: Marks | None
    standings: dict[str, Standing]


async def search(index: Index, question: Question, marks: Marks | None, limit: int) -> Found:
    """At most `limit` events from `marks` on, or from the beginning. Raises `DatabaseUnavailable`."""
    async with index.rows() as rows:
        standings = await rows.standings(question.streams)
        walked = {}
        for stream in question.streams:
            extent = standings[stream].extent
            mark = (marks or {}).get(stream, extent.size if question.newest_first else extent.floor)
            walked[stream] = await Walk(rows, question, stream, extent).run(mark, limit)
    events, next_marks = _merged(walked, question.newest_first, limit)
    return Found(events, next_marks, standings)


def _merged(walked: dict[str, Walked], newest_first: bool, limit: int) -> tuple[list[StoredEvent], Marks | None]:
    """The page of all streams, and where each goes on; None when every one has ended.

    A stream whose walk stopped short may hold what comes before the others' next: there the page ends.
    """
    taken: dict[str, int] = dict.fromkeys(walked, 0)
    page: list[StoredEvent] = []
    if all(found.events or found.ended for found in walked.values()):
        found_in_order = merge(*(found.events for found in walked.values()), key=_when, reverse=newest_first)
        for event in islice(found_in_order, limit):
            page.append(event)
            taken[event.stream] += 1
            of_stream = walked[event.stream]
            if taken[event.stream] == len(of_stream.events) and not of_stream.ended:
                break
    marks = {}
    for stream, found in walked.items():
        if taken[stream] == len(found.events):
            marks[stream] = found.mark
        else:
            marks[stream] = found.events[taken[stream]].position + (1 if newest_first else 0)
    ended = all(found.ended and taken[stream] == len(found.events) for stream, found in walked.items())
    return page, None if ended else marks


def _when(event: StoredEvent) -> tuple[datetime, str]:
    return event.occurred_at, event.stream
