"""The reply of `GET /v1/events`, by which the audit service fetches what the broker lost or has not brought yet."""

import msgspec


class SequencedEvent(msgspec.Struct, frozen=True):
    """One event and its place in the stream. `body` holds the exact canonical bytes as text: UTF-8 gives them back."""

    position: int
    body: str


class EventPage(msgspec.Struct, frozen=True):
    """Events of `stream` in order of position. `last` is the highest position given to any event, -1 for none.

    A page may be shorter than asked for (it is bounded in bytes too): the end is reached when its last position is
    `last`, or when it is empty.
    """

    stream: str
    events: list[SequencedEvent]
    last: int
