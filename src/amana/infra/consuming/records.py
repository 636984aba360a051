"""What a consumer sees of a message: its place, and what its codec makes of it."""

from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

from amana.infra.kafka import Message
from amana.infra.postgres import Connection

POSITION_DIGITS_MAX = 18
KEY_BYTES_MAX = 200
"""A key is an aggregate's id. A longer one orders nothing; it is kept as the header `original_key`."""
TENANT_MAX = 2**31 - 1
VERSION_MAX = 2**53 - 1
VALUE_BYTES_MAX = 256 * 1024
"""A larger event is a dead letter unread. The largest that Amana writes is a decision with all its facts: 4 KiB."""
FOREIGN = "foreign"
TOO_LARGE = "too_large"
CODEC_FAILED = "codec_failed"
HANDLER_FAILED = "handler_failed"
OUT_OF_RANGE = "out_of_range"


class Place(NamedTuple):
    """Where an event stands: the relay gives positions, dense from 0 in each stream."""

    stream: str
    position: int


class Order(StrEnum):
    """What the version of an event's aggregate means to who applies it.

    ALONE: nothing; each event has an effect of its own. NEWER: one that is not newer than what was applied is ignored.
    WHOLE: the same, and one after a gap waits until what is missing came, or can't come any more.
    """

    ALONE = "alone"
    NEWER = "newer"
    WHOLE = "whole"


class Fact(NamedTuple):
    """A decoded event: what the handler gets (`event`), and how it is ordered among those of its aggregate."""

    event: Any
    tenant: int
    aggregate: UUID
    version: int
    order: Order


class Unreadable(Exception):
    """A message can't be read, or not handled: `reason` is a stable code, the text says what is wrong, `attempts` how
    often it was tried."""

    def __init__(self, reason: str, detail: str, attempts: int = 1) -> None:
        super().__init__(detail)
        self.reason = reason
        self.attempts = attempts


Codec: TypeAlias = Callable[[Message], Fact | None]
"""What a message says; None where the consumer has nothing to do with it. Raises `Unreadable`."""
Handler: TypeAlias = Callable[[Connection, Sequence[Any]], Awaitable[None]]
"""Applies events, in their order, in the transaction of `Connection`; no remote call. All of them or, raising, none."""


class Read(NamedTuple):
    """A message as it was read: its place (None for a foreign one), and what it says or why it can't be handled. With
    neither, there is nothing to do."""

    message: Message
    place: Place | None
    fact: Fact | None = None
    problem: Unreadable | None = None


def read(codec: Codec, message: Message) -> Read:
    """Reads one message. Never raises: whatever the codec raises is a problem of the message."""
    place = place_of(message)
    if len(message.key) > KEY_BYTES_MAX:
        detail = f"a key of {len(message.key)} bytes; at most {KEY_BYTES_MAX} are read"
        headers = message.headers | {"original_key": message.key}
        return Read(message._replace(key=b"", headers=headers), place, None, Unreadable(TOO_LARGE, detail))
    if place is None:
        return Read(message, None, None, Unreadable(FOREIGN, "no stream and position in its headers"))
    if len(message.value) > VALUE_BYTES_MAX:
        detail = f"{len(message.value)} bytes; at most {VALUE_BYTES_MAX} are read"
        return Read(message, place, None, Unreadable(TOO_LARGE, detail))
    try:
        return Read(message, place, _within_bounds(codec(message)))
    except Unreadable as error:
        return Read(message, place, None, error)
    except Exception as error:
        return Read(message, place, None, Unreadable(CODEC_FAILED, f"{type(error).__name__}: {error}"))


def _within_bounds(fact: Fact | None) -> Fact | None:
    """What no column could hold is no event."""
    if fact is not None and not (0 <= fact.tenant <= TENANT_MAX and 0 <= fact.version <= VERSION_MAX):
        raise Unreadable(OUT_OF_RANGE, f"tenant {fact.tenant}, version {fact.version}")
    return fact


def place_of(message: Message) -> Place | None:
    """The place that the relay wrote into the headers; None for a message that is none of its."""
    stream = message.headers.get("stream", b"").decode("ascii", "replace")
    position = message.headers.get("position", b"")
    if not stream or not position.isdigit() or len(position) > POSITION_DIGITS_MAX:
        return None
    return Place(stream, int(position))
