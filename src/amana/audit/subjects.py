"""What an event can be found by: the things that it names, each as a key of the search index. Pure.

A subject is a kind and a name in the one spelling that events have (an id is lower-case hex with hyphens). Ids are
found by the names of the fields that hold them, so a new type of event that says `loan` is found by its loan.
"""

from collections.abc import Iterator, Mapping
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
    subjects: set[Subject]


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


_decoder = msgspec.json.Decoder(_Event)


def read_indexed(body: bytes) -> Indexed:
    """What the event in `body`, the bytes of a leaf, is found by."""
    event = _decoder.decode(body)
    subjects = {
        Subject(Kind.TENANT, ""),
        Subject(Kind.TYPE, event.type),
        Subject(Kind.ACTOR, event.actor),
        Subject(_AGGREGATES.get(event.aggregate.type, Kind.OTHER), event.aggregate.id),
        *_named(event.data),
    }
    if event.trace:
        subjects.add(Subject(Kind.TRACE, event.trace))
    return Indexed(event.tenant, event.occurred_at, event.aggregate.id, subjects)


def key_of(tenant: int, subject: Subject) -> int:
    """The key of a tenant's subject: 64 bits, signed, as PostgreSQL's bigint."""
    if subject.kind <= Kind.ACTOR:
        return _common_key(tenant, subject)
    return _key(tenant, subject)


def _named(data: Mapping[str, Any]) -> Iterator[Subject]:
    for field in data.keys() & FIELDS.keys():
        value = data[field]
        for name in value if isinstance(value, list) else (value,):
            if isinstance(name, str):
                yield Subject(FIELDS[field], name)
    if isinstance(reversal := data.get("reversal"), str):
        yield Subject(Kind.DECISION, reversal)
    for field in SIDES:
        side = data.get(field)
        if isinstance(side, dict) and isinstance(side.get("account"), str):
            yield Subject(Kind.ACCOUNT, side["account"])


def _key(tenant: int, subject: Subject) -> int:
    named = f"{tenant} {subject.kind.value} {subject.name}".encode()
    return int.from_bytes(blake2b(named, digest_size=8).digest(), signed=True)


_common_key = lru_cache(maxsize=4_096)(_key)
"""Types and actors are few, and in every event."""
