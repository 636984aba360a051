"""What a client asks of the search, from its query parameters; and the opaque `next` of a page. Pure."""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Literal
from uuid import UUID

import msgspec

from amana.audit.search import Marks
from amana.audit.subjects import AGGREGATE_KINDS, Kind, Subject
from amana.audit.walk import BEGINNING_OF_TIME, END_OF_TIME, Group, Question
from amana.domain.reasons import Reason
from amana.wire.problems import FieldError, Refused, check_instant

Order = Literal["oldest", "newest"]

CURSOR_CHARS_MAX = 200
MARK_MAX = 1 << 50

KINDS: dict[str, tuple[Kind, ...]] = {
    "customer": (Kind.CUSTOMER,),
    "account": (Kind.ACCOUNT,),
    "decision": (Kind.DECISION,),
    "loan": (Kind.LOAN, Kind.TRANSFER),  # the legs of its booking name it as their command
    "transfer": (Kind.TRANSFER,),
    "hold": (Kind.HOLD,),
    "aggregate": AGGREGATE_KINDS,
}
"""What an id may be of, by the parameter that holds it."""


class _Cursor(msgspec.Struct, array_like=True, frozen=True):
    """The digest of the question, and a position for each of its streams."""

    asked: bytes
    marks: list[int]


_decoder = msgspec.msgpack.Decoder(_Cursor)


def ids_asked(ids: Mapping[str, UUID | None]) -> list[Group]:
    """A group for each id that is given; the names are those of `KINDS`."""
    return [frozenset(Subject(kind, str(id_)) for kind in KINDS[name]) for name, id_ in ids.items() if id_ is not None]


def texts_asked(types: Sequence[str] | None, actor: str | None, trace: str | None) -> list[Group]:
    """A group for the types (one of them is enough), one for the actor and one for the trace, where given."""
    groups: list[Group] = []
    if types:
        groups.append(frozenset(Subject(Kind.TYPE, name) for name in types))
    if actor is not None:
        groups.append(frozenset({Subject(Kind.ACTOR, actor)}))
    if trace is not None:
        groups.append(frozenset({Subject(Kind.TRACE, trace)}))
    return groups


def question(
    tenant: int,
    streams: Sequence[str],
    groups: Sequence[Group],
    since: datetime | None,
    until: datetime | None,
    order: Order,
    aggregate: UUID | None = None,
    hidden: Group = frozenset(),
) -> Question:
    """The question. Raises `Refused` where the time is empty or out of this world."""
    for name, instant in (("?from", since), ("?to", until)):
        if instant is not None:
            check_instant(instant, name)
    if since is not None and until is not None and since >= until:
        raise Refused(Reason.VALIDATION, errors=[FieldError("?to", "out_of_range", "`to` must be after `from`.")])
    return Question(
        tenant=tenant,
        streams=tuple(streams),
        groups=tuple(groups),
        since=since or BEGINNING_OF_TIME,
        until=until or END_OF_TIME,
        newest_first=order == "newest",
        aggregate=None if aggregate is None else str(aggregate),
        hidden=hidden,
    )


def write_cursor(asked: Question, marks: Marks | None) -> str | None:
    """The `next` of a page; None where there is no more."""
    if marks is None:
        return None
    packed = msgspec.msgpack.encode(_Cursor(_digest(asked), [marks[stream] for stream in asked.streams]))
    return urlsafe_b64encode(packed).decode().rstrip("=")


def read_cursor(asked: Question, text: str | None) -> Marks | None:
    """Where to go on. Raises `Refused` for what is no `next` of the same question."""
    if text is None:
        return None
    try:
        cursor = _decoder.decode(urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4)))
    except (UnicodeEncodeError, binascii.Error, ValueError, msgspec.MsgspecError):
        raise _not_ours() from None
    if cursor.asked != _digest(asked) or len(cursor.marks) != len(asked.streams):
        raise _not_ours()
    if not all(0 <= mark <= MARK_MAX for mark in cursor.marks):
        raise _not_ours()
    return dict(zip(asked.streams, cursor.marks, strict=True))


def _not_ours() -> Refused:
    detail = "Not the `next` of a page of the same question."
    return Refused(Reason.VALIDATION, errors=[FieldError("?after", "invalid", detail)])


def _digest(asked: Question) -> bytes:
    groups = sorted(sorted((subject.kind.value, subject.name) for subject in group) for group in asked.groups)
    times = (asked.since.timestamp(), asked.until.timestamp())
    told = repr((asked.tenant, asked.streams, groups, times, asked.newest_first, asked.aggregate))
    return blake2b(told.encode(), digest_size=8).digest()
