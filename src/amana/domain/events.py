"""The event envelope and its canonical bytes.

The bytes are canonical JSON in the sense of RFC 8785 and are what the audit log hashes: they are made once, stored as
written and never made again. To make that cheap, events hold only ASCII keys, strings, booleans, null and integers
within +-(2^53 - 1); with sorted keys msgspec then writes exactly what RFC 8785 asks (a test has `rfc8785` as oracle).

Personal data and free text never enter an event: pseudonymous ids and non-identifying scalars only.
"""

from collections.abc import Collection
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

import msgspec

MAX_INTEGER = 2**53 - 1
EVENT_BYTES_MAX = 0xFFFF
"""The longest event: what an entry bundle of the audit log's tiles can hold (C2SP tlog-tiles)."""
_encoder = msgspec.json.Encoder(order="deterministic")


class Aggregate(msgspec.Struct, frozen=True):
    """The thing that changed: its kind, its id and the version that the change gave it."""

    type: str
    id: UUID
    version: int


class SideData(msgspec.Struct, frozen=True, gc=False):
    """One account of a movement with its version and counters after it. Members in the order of their bytes."""

    account: UUID
    credits_pending: int
    credits_posted: int
    debits_pending: int
    debits_posted: int
    version: int


class Shaped(msgspec.Struct, frozen=True):
    """The data of an event in a fixed shape: members in the order of their bytes, and so are those of its parts."""

    def values(self) -> Collection[object]:
        """What its types let pass though it may have no place in an event; here nothing."""
        return ()

    def names(self) -> Collection[str]:
        """The keys that no type fixes; here none."""
        return ()


class MovementData(Shaped, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """The data of an event of one transfer, in the fixed shape that makes its bytes cheap.

    Its members are ASCII texts and counters within bounds, by their types.

    Members in the order of their bytes; what is None, or nothing released, is left out.
    """

    amount: int
    code: str
    command: UUID | None = None
    credit: SideData
    currency: str
    debit: SideData
    effective_on: date
    expires_at: str | None = None
    final: bool = False
    hold: UUID | None = None
    notes: str | None = None
    reason: str | None = None
    released: int = 0
    reverses: UUID | None = None
    transfer: UUID


class _Envelope(msgspec.Struct, frozen=True, gc=False):
    """Members in the order of their bytes."""

    actor: str
    aggregate: Any
    data: Any
    event_id: UUID
    occurred_at: str
    tenant: int
    trace: str
    type: str
    version: int


class _Aggregate(msgspec.Struct, frozen=True, gc=False):
    id: UUID
    type: str
    version: int


class Event(msgspec.Struct, frozen=True):
    """A past-tense fact, written with the change.

    `occurred_at` is UTC with microseconds; `actor` is an API key's id or `system:<name>`; `trace` is a W3C trace id or
    an empty string; `data` is a dict of JSON values of the kinds named above, or a `Shaped`.
    """

    event_id: UUID
    tenant: int
    type: str
    version: int
    occurred_at: datetime
    aggregate: Aggregate
    actor: str
    trace: str
    data: Any


@lru_cache(maxsize=64)  # all events of a batch have one instant
def utc_text(moment: datetime) -> str:
    """`2026-01-31T09:30:00.000000Z`: one spelling for every instant, so that equal instants have equal bytes."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="microseconds")[: -len("+00:00")] + "Z"


def event_bytes(event: Event) -> bytes:
    """The canonical bytes of `event`. An integer out of range, a float, a bytes value or an event that is too long is a
    bug: it raises."""
    shaped = event.data if isinstance(event.data, Shaped) else None
    if shaped is None:
        _check(event.data)
    else:
        kinds = set(map(type, shaped.values()))
        assert kinds <= _SCALARS, f"{kinds - _SCALARS} have no place in an event"
    body = _encoder.encode(
        _Envelope(
            event.actor,
            _Aggregate(event.aggregate.id, event.aggregate.type, event.aggregate.version),
            event.data,
            event.event_id,
            utc_text(event.occurred_at),
            event.tenant,
            event.trace,
            event.type,
            event.version,
        )
    )
    assert len(body) <= EVENT_BYTES_MAX, f"an event of {len(body)} bytes"
    if shaped is not None and not (body.isascii() and _LONG not in body.translate(_DIGITS)):
        _check_closely(shaped)
    return body


_SCALARS = frozenset({int, str, bool, type(None)})


_DIGITS = bytes(ord("0") if chr(byte).isdecimal() and byte < 128 else ord(" ") for byte in range(256))
_LONG = b"0" * len(str(MAX_INTEGER))
"""An event without so many digits in a row has no integer out of range, and without a byte beyond ASCII no such key."""


def _check_closely(data: Shaped) -> None:
    for name in data.names():
        assert name.isascii(), f"a key of an event is not ASCII text: {name!r}"
    numbers = [0, *(value for value in data.values() if isinstance(value, int))]
    assert -MAX_INTEGER <= min(numbers) <= max(numbers) <= MAX_INTEGER, f"integers out of range in an event: {numbers}"


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
