"""Reads the events that a borrower is told of: the fields that are needed, and which template they make.

The one place that knows the shape of events. What has no customer (an expired hold is of an account) makes nothing:
who owns an account is not said there.
"""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Annotated, Any, NamedTuple
from uuid import UUID

import msgspec
from msgspec import Meta

from amana.domain.money import MAX_AMOUNT, Currency
from amana.infra.consuming.records import Fact, Order, Unreadable
from amana.infra.kafka import Message

VERSION_MAX = {"DecisionMade": 2}
"""The newest version of a type that is read here; 1 of every other. What is read of them is in all up to it."""
PAST_AFTER = timedelta(days=1)
"""What took effect longer than this before it was recorded comes from an older book: nobody waits to be told of it."""


Minor = Annotated[int, Meta(ge=0, le=MAX_AMOUNT)]
Days = Annotated[int, Meta(ge=0, le=100_000)]
Name = Annotated[str, Meta(max_length=100)]


class Told(NamedTuple):
    """What a customer is to be told: a template, what it is about, its figures; `until` where the thing itself ends."""

    tenant: int
    event_id: UUID
    template: str
    customer: UUID
    about: UUID
    figures: dict[str, Any]
    occurred_at: datetime
    until: datetime | None


class _Loan(msgspec.Struct):
    customer: UUID
    outstanding: Minor
    effective_at: datetime


class _Booked(_Loan):
    currency: Currency
    principal: Minor
    fee: Minor
    due_on: date
    origin: str


class _Repaid(_Loan):
    amount: Minor
    inferred: bool


class _Price(msgspec.Struct):
    principal: Minor
    total_due: Minor
    term_days: Days


class _Decided(msgspec.Struct):
    customer: UUID
    currency: Currency
    request_to_borrow: bool
    as_of_past: bool
    offer_id: UUID | None
    outcome: str
    price: _Price | None
    reasons: Annotated[list[Name], Meta(max_length=1_000)]


class _Terms(msgspec.Struct):
    price: _Price


class _Overridden(msgspec.Struct):
    customer: UUID
    outcome: str
    terms: _Terms | None
    expires_at: datetime | None


class _Reversed(msgspec.Struct):
    customer: UUID
    withdrawn: list[UUID]


class _Appealed(msgspec.Struct):
    customer: UUID


class _Resolved(msgspec.Struct):
    customer: UUID
    outcome: str


class _Aggregate(msgspec.Struct):
    id: UUID
    version: int


class _Envelope(msgspec.Struct):
    event_id: UUID
    tenant: int
    type: str
    version: int
    occurred_at: datetime
    aggregate: _Aggregate
    data: msgspec.Raw


_Words = tuple[str, dict[str, Any], datetime | None]
"""A template, its figures, and when the thing itself ends."""


def _booked(data: _Booked, at: datetime) -> _Words | None:
    if data.origin != "offer" or _is_past(data, at):
        return None
    due = data.principal + data.fee
    figures = {
        "currency": data.currency,
        "principal": data.principal,
        "total_due": due,
        "due_on": data.due_on.isoformat(),
    }
    return "loan_disbursed", figures, None


def _repaid(template: str) -> Callable[[_Repaid, datetime], _Words | None]:
    def words(data: _Repaid, at: datetime) -> _Words | None:
        if data.inferred or _is_past(data, at):
            return None
        return template, {"amount": data.amount, "outstanding": data.outstanding}, None

    return words


def _closed(data: _Loan, at: datetime) -> _Words | None:
    return None if _is_past(data, at) else ("loan_closed", {}, None)


def _decided(data: _Decided, _at: datetime) -> _Words | None:
    """Only a request to borrow, made now; a second look at an offer tells nobody anything."""
    if not data.request_to_borrow or data.as_of_past or data.offer_id is not None:
        return None
    if data.outcome == "approve" and data.price is not None:
        return "offer_made", {"currency": data.currency, **msgspec.to_builtins(data.price)}, None
    template = {"decline": "request_declined", "refer": "request_referred"}.get(data.outcome)
    return None if template is None else (template, {"reasons": data.reasons}, None)


def _overridden(data: _Overridden, _at: datetime) -> _Words | None:
    if data.outcome == "decline":
        return "decision_changed_to_decline", {}, None
    if data.outcome != "approve" or data.terms is None:
        return None
    return "decision_changed_to_approve", msgspec.to_builtins(data.terms.price), data.expires_at


def _reversed(data: _Reversed, _at: datetime) -> _Words | None:
    return ("offer_withdrawn", {}, None) if data.withdrawn else None


def _appealed(_data: _Appealed, _at: datetime) -> _Words | None:
    return "appeal_received", {}, None


def _resolved(data: _Resolved, _at: datetime) -> _Words | None:
    template = {"upheld": "appeal_upheld", "changed": "appeal_changed"}.get(data.outcome)
    return None if template is None else (template, {}, None)


def _is_past(data: _Loan, at: datetime) -> bool:
    return at - data.effective_at > PAST_AFTER


class _Reader(NamedTuple):
    """How the data of one type of event is decoded and worded, and what its aggregate's version means."""

    decoder: msgspec.json.Decoder[Any]
    words: Callable[[Any, datetime], _Words | None]
    order: Order


def _reader(data: type[Any], words: Callable[[Any, datetime], _Words | None], order: Order) -> _Reader:
    return _Reader(msgspec.json.Decoder(data), words, order)


# A loan is told of in the order of its whole history: what is owed would be wrong in any other. Of a decision only
# what is newest counts: an offer that was withdrawn since is not announced.
READERS: dict[str, _Reader] = {
    "LoanBooked": _reader(_Booked, _booked, Order.WHOLE),
    "RepaymentReceived": _reader(_Repaid, _repaid("repayment_received"), Order.WHOLE),
    "RepaymentReversed": _reader(_Repaid, _repaid("repayment_returned"), Order.WHOLE),
    "LoanClosed": _reader(_Loan, _closed, Order.WHOLE),
    "DecisionMade": _reader(_Decided, _decided, Order.NEWER),
    "DecisionOverridden": _reader(_Overridden, _overridden, Order.NEWER),
    "DecisionReversed": _reader(_Reversed, _reversed, Order.NEWER),
    "DecisionAppealed": _reader(_Appealed, _appealed, Order.NEWER),
    "AppealResolved": _reader(_Resolved, _resolved, Order.NEWER),
}

_envelopes = msgspec.json.Decoder(_Envelope)


def read_event(message: Message) -> Fact | None:
    """What a message asks to be told; None where nobody is. Raises `Unreadable`: no event, or a version unknown here.

    A type that is not in `READERS` is another consumer's: new types of events stop nobody.
    """
    named = message.headers.get("type")
    if named is not None and named.decode("ascii", "replace") not in READERS:
        return None
    try:
        envelope = _envelopes.decode(message.value)
        reader = READERS.get(envelope.type)
        if reader is None:
            return None
        newest = VERSION_MAX.get(envelope.type, 1)
        if not 1 <= envelope.version <= newest:
            raise Unreadable("unknown_version", f"{envelope.type} version {envelope.version}; up to {newest} is known")
        data = reader.decoder.decode(envelope.data)
        words = reader.words(data, envelope.occurred_at)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Unreadable("not_an_event", str(error)) from error
    if words is None:
        return None
    template, figures, until = words
    told = Told(
        envelope.tenant,
        envelope.event_id,
        template,
        data.customer,
        envelope.aggregate.id,
        figures,
        envelope.occurred_at,
        until,
    )
    return Fact(told, envelope.tenant, envelope.aggregate.id, envelope.aggregate.version, reader.order)
