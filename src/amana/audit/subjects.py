"""What an event can be found by: the things that it names, each as a key of the search index. Pure.

A subject is a kind and a name in the one spelling that events have (an id is lower-case hex with hyphens). Ids are
found by the names of the fields that hold them, so a new type of event that says `loan` is found by its loan.
"""

from datetime import datetime
from enum import IntEnum
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec


class Kind(IntEnum):
    """What a name is the name of. The numbers are in the keys: never changed, never used again."""

    TENANT = 0
    TYPE = 1
    ACTOR = 2
    TRACE = 3
    CUSTOMER = 4
    ACCOUNT = 5
    DECISION = 6
    LOAN = 7
    TRANSFER = 8
    HOLD = 9
    OTHER = 10


class Subject(NamedTuple):
    """A thing that an event names."""

    kind: Kind
    name: str


READ_TYPES = ("AuditRead", "CustomerRecordRead", "LedgerRecordRead", "NotificationsRead")
"""Types of events that say who read what: of the log, of what is known of customers, of the ledger, of what borrowers
are told."""
READS = frozenset(Subject(Kind.TYPE, type_) for type_ in READ_TYPES)


class Indexed(NamedTuple):
    """What the index needs to know of an event."""

    tenant: int
    occurred_at: datetime
    aggregate: str
    subjects: set[tuple[Kind, str]]
    """Each is equal to its `Subject`."""


FIELDS: dict[str, Kind] = {
    "customer": Kind.CUSTOMER,
    "owner": Kind.CUSTOMER,
    "customers": Kind.CUSTOMER,  # of a read: whom it was about
    "account": Kind.ACCOUNT,
    "decision_id": Kind.DECISION,
    "offer": Kind.DECISION,
    "offer_id": Kind.DECISION,  # an offer has the id of its decision, or of the review that made it
    "review": Kind.DECISION,
    "changed_by": Kind.DECISION,
    "withdrawn": Kind.DECISION,
    "loan": Kind.LOAN,
    "transfer": Kind.TRANSFER,
    "transfers": Kind.TRANSFER,
    "reverses": Kind.TRANSFER,
    "repayment": Kind.TRANSFER,
    "repayments": Kind.TRANSFER,
    "reversed_by": Kind.TRANSFER,
    "reversal": Kind.TRANSFER,  # of a repayment; that of a decision is found as a decision too, see `_named`
    "command": Kind.TRANSFER,  # of a loan's legs: the loan or the repayment
    "hold": Kind.HOLD,
}
"""The fields of `data` that hold an id, or a list of them. `debit` and `credit` hold an account each."""

SIDES = ("debit", "credit")
_COMMON = (Kind.TENANT, Kind.TYPE, Kind.ACTOR)

_AGGREGATES = {
    "customer": Kind.CUSTOMER,
    "account": Kind.ACCOUNT,
    "decision": Kind.DECISION,
    "offer": Kind.DECISION,
    "loan": Kind.LOAN,
    "transfer": Kind.TRANSFER,
    "hold": Kind.HOLD,
}
AGGREGATE_KINDS = (*dict.fromkeys(_AGGREGATES.values()), Kind.OTHER)
"""The kinds that the thing which changed can be of."""


class _Aggregate(msgspec.Struct):
    type: str
    id: str


class _Event(msgspec.Struct):
    """The members of an event that are indexed; the decoder steps over all others."""

    tenant: int
    type: str
    occurred_at: datetime
    aggregate: _Aggregate
    actor: str
    trace: str
    data: dict[str, Any]


class _Typed(msgspec.Struct):
    type: str


_decoder = msgspec.json.Decoder(_Event)
_type_decoder = msgspec.json.Decoder(_Typed)


_NUMBERS = {kind: str(kind.value) for kind in Kind}


def read_indexed(body: bytes) -> Indexed:
    """What the event in `body`, the bytes of a leaf, is found by."""
    event = _decoder.decode(body)
    subjects = _named(event)
    subjects.update(zip(_COMMON, ("", event.type, event.actor), strict=True))
    return Indexed(event.tenant, event.occurred_at, event.aggregate.id, subjects)


def read_type(body: bytes) -> str:
    """The type of the event in `body`: a tenth of the work, where nothing else is asked."""
    return _type_decoder.decode(body).type


def read_keys(body: bytes) -> tuple[datetime, set[int]]:
    """When the event in `body` happened, and the keys of what it is found by."""
    event = _decoder.decode(body)
    tenant = event.tenant
    keys = {_key(tenant, kind, name) for kind, name in _named(event)}
    keys.update(_common_keys(tenant, event.type, event.actor))
    return event.occurred_at, keys


def key_of(tenant: int, subject: Subject) -> int:
    """The key of a tenant's subject: 64 bits, signed, as PostgreSQL's bigint."""
    return _key(tenant, subject.kind, subject.name)


def _named(event: _Event) -> set[tuple[Kind, str]]:
    """What one event names and most others do not. Every event of a day goes through here, so these are plain pairs."""
    named = {(_AGGREGATES.get(event.aggregate.type, Kind.OTHER), event.aggregate.id)}
    if event.trace:
        named.add((Kind.TRACE, event.trace))
    for field, value in event.data.items():
        kind = FIELDS.get(field)
        if kind is not None:
            names = value if isinstance(value, list) else (value,)
            named.update((kind, name) for name in names if isinstance(name, str))
            if field == "reversal" and isinstance(value, str):
                named.add((Kind.DECISION, value))
        elif field in SIDES and isinstance(value, dict) and isinstance(account := value.get("account"), str):
            named.add((Kind.ACCOUNT, account))
    return named


def _key(tenant: int, kind: Kind, name: str) -> int:
    named = f"{tenant} {_NUMBERS[kind]} {name}".encode()
    return int.from_bytes(blake2b(named, digest_size=8).digest(), signed=True)


@lru_cache(maxsize=4_096)
def _common_keys(tenant: int, type_: str, actor: str) -> tuple[int, ...]:
    """Types and actors are few, and in every event."""
    return tuple(_key(tenant, kind, name) for kind, name in zip(_COMMON, ("", type_, actor), strict=True))
