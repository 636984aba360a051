"""One leaf: the bytes of an event, checked, and the columns read from them. Pure."""

from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple
from uuid import UUID

import msgspec

from amana.domain.events import EVENT_BYTES_MAX, MAX_INTEGER, Event, event_bytes

STREAMS = ("eligibility", "transactions")
"""What happens to borrowers and their money: searched, reported and counted."""
NOTIFICATIONS = "notifications"
"""Who read what borrowers are told, and nothing that happened to them."""
SOURCES = (*STREAMS, NOTIFICATIONS)
"""What comes from elsewhere: one log for each source of events."""
ACCESSES = "accesses"
"""The log's own stream: who read what of it."""
LOGS = (*SOURCES, ACCESSES)
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
    return _read_plain(position, body) or _read_any(position, body)


def _read_plain(position: int, body: bytes) -> Leaf | None:
    """The leaf where it is easily seen to be canonical, in a quarter of the time; else None, which says nothing yet."""
    if len(body) > EVENT_BYTES_MAX or not body.isascii():
        return None
    try:
        seen = _plain_decoder.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    # An instant without microseconds is written shorter here, so those few events are left to `_read_any`.
    if _encoder.encode(seen) != body or seen.occurred_at.tzinfo is not UTC:
        return None
    if "\0" in seen.type + seen.actor + seen.trace + seen.aggregate.type:
        return None
    aggregate = seen.aggregate
    return Leaf(
        position,
        seen.tenant,
        seen.event_id,
        seen.type,
        seen.occurred_at,
        aggregate.type,
        aggregate.id,
        aggregate.version,
        _customer(seen.data),
        seen.actor,
        seen.trace,
        body,
    )


def _read_any(position: int, body: bytes) -> Leaf:
    """The leaf for any bytes: this is what decides. Raises `Malformed`."""
    if len(body) > EVENT_BYTES_MAX:
        raise Malformed(f"{len(body)} bytes; an event has at most {EVENT_BYTES_MAX}")
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
        customer=_customer(event.data),
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


def _customer(data: Any) -> UUID | None:
    value = data.get("customer") if isinstance(data, dict) else None
    if not isinstance(value, str):
        return None
    try:
        return msgspec.convert(value, UUID)
    except msgspec.ValidationError:
        pass  # which knows fewer spellings
    try:
        return UUID(value)
    except ValueError:
        return None


def _refuse_float(text: str) -> float:
    raise ValueError(f"the number {text} is not an integer")


_decoder = msgspec.json.Decoder(Event, float_hook=_refuse_float)

_Integer = Annotated[int, msgspec.Meta(ge=-MAX_INTEGER, le=MAX_INTEGER)]
_Scalar = None | bool | _Integer | str
_Item = _Scalar | list[_Scalar] | dict[str, _Scalar]
_Value = _Scalar | list[_Item] | dict[str, _Item]


class _PlainAggregate(msgspec.Struct, frozen=True, gc=False):
    id: UUID
    type: str
    version: Annotated[int, msgspec.Meta(ge=0, le=MAX_INTEGER)]


class _Plain(msgspec.Struct, frozen=True, gc=False):
    """An event that is not deeply nested. Members in the order of their bytes: encoding it again gives the bytes."""

    actor: str
    aggregate: _PlainAggregate
    data: dict[str, _Value]
    event_id: UUID
    occurred_at: Annotated[datetime, msgspec.Meta(tz=True)]
    tenant: Annotated[int, msgspec.Meta(ge=0, lt=2**31)]
    trace: str
    type: str
    version: _Integer


_plain_decoder = msgspec.json.Decoder(_Plain)
_encoder = msgspec.json.Encoder(order="deterministic")
