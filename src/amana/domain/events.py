"""The event envelope and its canonical bytes.

The bytes are canonical JSON in the sense of RFC 8785 and are what the audit log hashes: they are made once, stored as
written and never made again. To make that cheap, events hold only ASCII keys, strings, booleans, null and integers
within +-(2^53 - 1); with sorted keys msgspec then writes exactly what RFC 8785 asks (a test has `rfc8785` as oracle).

Personal data and free text never enter an event: pseudonymous ids and non-identifying scalars only.
"""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

MAX_INTEGER = 2**53 - 1
_encoder = msgspec.json.Encoder(order="deterministic")


class Aggregate(msgspec.Struct, frozen=True):
    """The thing that changed: its kind, its id and the version that the change gave it."""

    type: str
    id: UUID
    version: int


class Event(msgspec.Struct, frozen=True):
    """A past-tense fact, written with the change.

    `occurred_at` is UTC with microseconds; `actor` is an API key's id or `system:<name>`; `trace` is a W3C trace id or
    an empty string; `data` holds JSON values of the kinds named above.
    """

    event_id: UUID
    tenant: int
    type: str
    version: int
    occurred_at: datetime
    aggregate: Aggregate
    actor: str
    trace: str
    data: dict[str, Any]


def utc_text(moment: datetime) -> str:
    """`2026-01-31T09:30:00.000000Z`: one spelling for every instant, so that equal instants have equal bytes."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def event_bytes(event: Event) -> bytes:
    """The canonical bytes of `event`. An integer out of range, a float or a bytes value is a bug: it raises."""
    _check(event.data)
    return _encoder.encode(
        {
            "actor": event.actor,
            "aggregate": {
                "id": str(event.aggregate.id),
                "type": event.aggregate.type,
                "version": event.aggregate.version,
            },
            "data": event.data,
            "event_id": str(event.event_id),
            "occurred_at": utc_text(event.occurred_at),
            "tenant": event.tenant,
            "trace": event.trace,
            "type": event.type,
            "version": event.version,
        }
    )


def _check(value: object) -> None:
    match value:
        case None | bool() | str():
            return
        case int():
            assert -MAX_INTEGER <= value <= MAX_INTEGER, f"integer out of range in an event: {value}"
        case dict():
            for key, item in value.items():
                assert isinstance(key, str) and key.isascii(), f"key of an event is not ASCII text: {key!r}"
                _check(item)
        case list() | tuple():
            for item in value:
                _check(item)
        case _:
            raise AssertionError(f"a {type(value).__name__} has no place in an event")
