"""The shape of the search index: segments of a stream, and a key's places in each. Pure.

A segment is a run of `SEGMENT_LEAVES` positions of one stream. Its number holds the stream's, so that one bigint orders
segments by stream and then by position. Places are offsets in a segment, two bytes each, ascending.
"""

import sys
from array import array
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple

from amana.audit.subjects import read_keys

SEGMENT_LEAVES = 2_048
PARTITION_SEGMENTS = 512
"""Segments in one partition of the table."""
BLOCK_LEAVES = 128
"""Times are kept of segments and of their blocks."""
STREAM_BITS = 40
STREAM_NUMBERS = {"eligibility": 0, "transactions": 1, "accesses": 2, "notifications": 3}
"""In the numbers of segments: never changed, never used again."""


class Posting(NamedTuple):
    """A key's places in a segment, in the order of the statement's arrays."""

    key: int
    segment: int
    places: bytes


class Span(NamedTuple):
    """The earliest and the latest instant in a segment or a block."""

    number: int
    first_at: datetime
    last_at: datetime


class Built(NamedTuple):
    """The rows of a run of leaves."""

    postings: list[Posting]
    segments: list[Span]
    blocks: list[Span]


def segment_of_block(block: int) -> int:
    """The segment that a block is in."""
    return block // (SEGMENT_LEAVES // BLOCK_LEAVES)


def segment_of(stream: str, position: int) -> int:
    """The segment that a position is in."""
    return (STREAM_NUMBERS[stream] << STREAM_BITS) + position // SEGMENT_LEAVES


def block_of(stream: str, position: int) -> int:
    """The block that a position is in."""
    segment, offset = segment_of(stream, position), position % SEGMENT_LEAVES
    return segment * (SEGMENT_LEAVES // BLOCK_LEAVES) + offset // BLOCK_LEAVES


def first_position(segment: int) -> int:
    """The first position of a segment in its stream."""
    return (segment & ((1 << STREAM_BITS) - 1)) * SEGMENT_LEAVES


def positions_in(segment: int, places: bytes, blocks: Collection[int] | None = None) -> list[int]:
    """The positions in the stream that a posting's places stand for, ascending; only those in `blocks`, where given."""
    offsets = array("H", places)
    if sys.byteorder == "little":
        offsets.byteswap()
    base = first_position(segment)
    if blocks is None:
        return [base + offset for offset in offsets]
    found = []
    for block in sorted(blocks):
        first = block % (SEGMENT_LEAVES // BLOCK_LEAVES) * BLOCK_LEAVES
        run = slice(bisect_left(offsets, first), bisect_left(offsets, first + BLOCK_LEAVES))
        found += [base + offset for offset in offsets[run]]
    return found


def build_postings(stream: str, start: int, bodies: Iterable[bytes]) -> Built:
    """The rows for the leaves from position `start` on, whose bytes are `bodies`, without a gap.

    Postings are in the order of their keys, so that an insert walks the index once.
    """
    places: dict[int, dict[int, bytes]] = {}
    times: list[datetime] = []
    for position, body in enumerate(bodies, start):
        occurred_at, keys = read_keys(body)
        times.append(occurred_at)
        place = (position % SEGMENT_LEAVES).to_bytes(2)
        of_segment = places.setdefault(segment_of(stream, position), {})
        for key in keys:
            of_segment[key] = of_segment.get(key, b"") + place
    postings = [
        Posting(key, segment, found) for segment, of_segment in places.items() for key, found in of_segment.items()
    ]
    postings.sort()
    segments = _spans(times, start, SEGMENT_LEAVES, partial(segment_of, stream))
    return Built(postings, segments, _spans(times, start, BLOCK_LEAVES, partial(block_of, stream)))


def _spans(times: Sequence[datetime], start: int, width: int, number_of: Callable[[int], int]) -> list[Span]:
    """The earliest and the latest of each run of `width` positions; `times` are those from position `start` on."""
    spans = []
    stop = start + len(times)
    for first in range(start - start % width, stop, width):
        run = times[max(first, start) - start : first + width - start]
        spans.append(Span(number_of(first), min(run), max(run)))
    return spans
