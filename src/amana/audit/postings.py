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


def segment_of(stream: str, position: int) -> int:
    """The segment that a position is in."""
    return (STREAM_NUMBERS[stream] << STREAM_BITS) + position // SEGMENT_LEAVES


def block_of(stream: str, position: int) -> int:
    """The block that a position is in."""
    segment, offset = segment_of(stream, position), position % SEGMENT_LEAVES
    return segment * (SEGMENT_LEAVES // BLOCK_LEAVES) + offset // BLOCK_LEAVES


def positions_of_block(block: int) -> range:
    """The positions of a block in its stream."""
    segment, part = divmod(block, SEGMENT_LEAVES // BLOCK_LEAVES)
    first = first_position(segment) + part * BLOCK_LEAVES
    return range(first, first + BLOCK_LEAVES)


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
    segments: _Times = {}
    blocks: _Times = {}
    for position, body in enumerate(bodies, start):
        event = read_indexed(body)
        segment = segment_of(stream, position)
        place = (position % SEGMENT_LEAVES).to_bytes(2)
        for key in {key_of(event.tenant, subject) for subject in event.subjects}:
            places.setdefault((key, segment), bytearray()).extend(place)
        _widen(segments, segment, event.occurred_at)
        _widen(blocks, block_of(stream, position), event.occurred_at)
    postings = [Posting(key, segment, bytes(found)) for (key, segment), found in sorted(places.items())]
    return Built(postings, _spans(segments), _spans(blocks))


_Times = dict[int, tuple[datetime, datetime]]


def _widen(times: _Times, number: int, at: datetime) -> None:
    first, last = times.get(number, (at, at))
    times[number] = (min(first, at), max(last, at))


def _spans(times: _Times) -> list[Span]:
    return [Span(number, *ends) for number, ends in times.items()]
