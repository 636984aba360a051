"""The shape of the search index: segments of a stream, and a key's places in each. Pure.

A segment is a run of `SEGMENT_LEAVES` positions of one stream. Its number holds the stream's, so that one bigint orders
segments by stream and then by position. Places are offsets in a segment, two bytes each, ascending.
"""

import sys
from array import array
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from amana.audit.subjects import key_of, read_indexed

SEGMENT_LEAVES = 2_048
STREAM_BITS = 40
STREAM_NUMBERS = {"eligibility": 0, "transactions": 1, "accesses": 2}
"""In the numbers of segments: never changed, never used again."""


class Posting(NamedTuple):
    """A key's places in a segment, in the order of the statement's arrays."""

    key: int
    segment: int
    places: bytes


class Span(NamedTuple):
    """The earliest and the latest instant in a segment."""

    segment: int
    first_at: datetime
    last_at: datetime


class Built(NamedTuple):
    """The rows of a run of leaves."""

    postings: list[Posting]
    spans: list[Span]


def segment_of(stream: str, position: int) -> int:
    """The segment that a position is in."""
    return (STREAM_NUMBERS[stream] << STREAM_BITS) + position // SEGMENT_LEAVES


def first_position(segment: int) -> int:
    """The first position of a segment in its stream."""
    return (segment & ((1 << STREAM_BITS) - 1)) * SEGMENT_LEAVES


def positions_in(segment: int, places: bytes) -> Sequence[int]:
    """The positions in the stream that a posting's places stand for, ascending."""
    offsets = array("H", places)
    if sys.byteorder == "little":
        offsets.byteswap()
    base = first_position(segment)
    return [base + offset for offset in offsets]


def build_postings(stream: str, start: int, bodies: Iterable[bytes]) -> Built:
    """The rows for the leaves from position `start` on, whose bytes are `bodies`, without a gap.

    Postings are in the order of their keys, so that an insert walks the index once.
    """
    places: dict[tuple[int, int], bytearray] = {}
    spans: dict[int, tuple[datetime, datetime]] = {}
    for position, body in enumerate(bodies, start):
        event = read_indexed(body)
        segment = segment_of(stream, position)
        place = (position % SEGMENT_LEAVES).to_bytes(2)
        for key in {key_of(event.tenant, subject) for subject in event.subjects}:
            places.setdefault((key, segment), bytearray()).extend(place)
        first, last = spans.get(segment, (event.occurred_at, event.occurred_at))
        spans[segment] = (min(first, event.occurred_at), max(last, event.occurred_at))
    postings = [Posting(key, segment, bytes(found)) for (key, segment), found in sorted(places.items())]
    return Built(postings, [Span(segment, *times) for segment, times in spans.items()])
