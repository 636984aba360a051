"""One leaf: the bytes of an event, checked, and the columns read from them. Pure."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec

from amana.domain.events import MAX_INTEGER, Event, event_bytes

STREAMS = ("eligibility", "transactions")
"""What comes from elsewhere: one log for each source of events."""
ACCESSES = "accesses"
"""The log's own stream: who read what of it."""
LOGS = (*STREAMS, ACCESSES)
"""What is sealed and verified."""


class Malformed(ValueError):
    """The bytes are not an event in its one canonical spelling; the message says what is wrong."""


class Leaf(NamedTuple):
    """An event as it is stored, in the order of the columns. `body` is what was received; the rest is read from it."""

    position: int
    tenant: int
    event_id: UUID
    type: str
    occurred_at: datetime
    aggregate_type: str
    aggregate_id: UUID
    aggregate_version: int
    customer: UUID | None
    actor: str
    trace: str
    body: bytes


def read_leaf(position: int, body: bytes) -> Leaf:
    """The leaf for `body`. Raises `Malformed` unless these are exactly the bytes that the event is encoded to.

    That refuses unknown and repeated fields, other spacing, order or spelling, floats and integers over 2^53 - 1.
    """
    try:
        event = _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"not an event: {error}") from error
    _check_columns(event)
    try:
        canonical = event_bytes(event)
    except (AssertionError, UnicodeEncodeError, OverflowError) as error:
        # What the encoder holds for a bug in its caller is here a fact about bytes from elsewhere.
        raise Malformed(f"not canonical: {error}") from error
    if canonical != body:
        raise Malformed("not canonical: the bytes are not those that the event is encoded to")
    return Leaf(
        position=position,
        tenant=event.tenant,
        event_id=event.event_id,
        type=event.type,
        occurred_at=event.occurred_at,
        aggregate_type=event.aggregate.type,
        aggregate_id=event.aggregate.id,
        aggregate_version=event.aggregate.version,
        customer=_customer(event),
        actor=event.actor,
        trace=event.trace,
        body=body,
    )


def _check_columns(event: Event) -> None:
    """What a column can't hold: U+0000 in text, a number that is too large."""
    if "\0" in event.type + event.actor + event.trace + event.aggregate.type:
        raise Malformed("U+0000 in a text of the envelope")
    if not (0 <= event.tenant < 2**31 and 0 <= event.aggregate.version <= MAX_INTEGER):
        raise Malformed("a number of the envelope is out of range")


def _customer(event: Event) -> UUID | None:
    value = event.data.get("customer")
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _refuse_float(text: str) -> float:
    raise ValueError(f"the number {text} is not an integer")


_decoder = msgspec.json.Decoder(Event, float_hook=_refuse_float)
