"""Events by the million for the audit bench: shaped and sized like those of a lender's day, made from templates.

Of ten events six are transfers, half of them with the settlement account; two are decisions, one is a booking and one
a repayment. Customers and accounts are drawn unevenly: a tenth of them have half of the events.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from amana.audit.leaf import Leaf
from amana.bench.movements import seeded
from amana.domain.event_types import VERSIONS
from amana.domain.events import Aggregate, Event, MovementData, SideData, event_bytes, utc_text

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
STEP = timedelta(milliseconds=250)
"""Between two events of the whole: ten million are a month."""
EVENTS_PER_CUSTOMER = 40
ACCOUNTS_PER_CUSTOMER = 2
KEYS = ("key1", "key2", "key3", "key4", "system:transactions")
MIX = ("TransferPosted",) * 6 + ("DecisionMade",) * 2 + ("LoanBooked", "RepaymentReceived")
STREAM_OF = {"DecisionMade": "eligibility"}
SAMPLED = 200
"""Customers, accounts and decisions each of which the truth is kept, to hold answers to it."""

_MARKS = {name: UUID(int=(0xA0 << 120) + at) for at, name in enumerate(("event", "of", "customer", "debit", "credit"))}
_AT = datetime(1999, 9, 9, 9, 9, 9, tzinfo=UTC)
_TRACE, _ACTOR = "f" * 32, "the-actor-mark"
SETTLEMENT = UUID(int=(0xB0 << 120) + 1)


class Made(NamedTuple):
    """An event's stream and its leaf."""

    stream: str
    leaf: Leaf


class Truth(NamedTuple):
    """How many events name each of the sampled ids, by parameter and id."""

    customer: Counter[UUID]
    account: Counter[UUID]
    decision: Counter[UUID]


class Maker:
    """Makes `count` events of a tenant; `truth` fills as they are made."""

    def __init__(self, tenant: int, count: int, seed: int) -> None:
        self.truth = Truth(Counter(), Counter(), Counter())
        self.counts: Counter[str] = Counter()
        """How many events of each stream were made."""
        self._tenant = tenant
        self._count = count
        self._draw = seeded(seed)
        self._customers = max(SAMPLED * 2, count // EVENTS_PER_CUSTOMER)
        self._templates = {type_: _template(tenant, type_) for type_ in set(MIX)}

    def events(self) -> Iterator[Made]:
        """The events in order of time, each at the next position of its stream."""
        for number in range(self._count):
            type_ = self._draw.choice(MIX)
            stream = STREAM_OF.get(type_, "transactions")
            yield Made(stream, self._leaf(type_, self.counts[stream], number))
            self.counts[stream] += 1

    def _leaf(self, type_: str, position: int, number: int) -> Leaf:
        draw = self._draw
        customer_number = self._uneven(self._customers)
        ids = {
            "event": UUID(int=draw.getrandbits(128)),
            "of": UUID(int=draw.getrandbits(128)),
            "customer": _named(1, customer_number),
            "debit": _named(2, self._uneven(self._customers * ACCOUNTS_PER_CUSTOMER)),
            "credit": SETTLEMENT if draw.random() < 0.5 else _named(2, draw.randrange(self._customers)),
        }
        at = BEGINNING + number * STEP
        actor, trace = draw.choice(KEYS), f"{draw.getrandbits(128):032x}"
        body = self._templates[type_]
        for name, mark in _MARKS.items():
            body = body.replace(str(mark).encode(), str(ids[name]).encode())
        for mark_text, text in ((_TRACE, trace), (_ACTOR, actor), (utc_text(_AT), utc_text(at))):
            body = body.replace(mark_text.encode(), text.encode())
        customer = None if type_ == "TransferPosted" else ids["customer"]
        self._note(type_, ids, customer)
        kind = {"TransferPosted": "transfer", "DecisionMade": "decision"}.get(type_, "loan")
        return Leaf(position, self._tenant, ids["event"], type_, at, kind, ids["of"], 1, customer, actor, trace, body)

    def _uneven(self, count: int) -> int:
        """A number below `count`: every second one from the first tenth."""
        return self._draw.randrange(count // 10) if self._draw.random() < 0.5 else self._draw.randrange(count)

    def _note(self, type_: str, ids: dict[str, UUID], customer: UUID | None) -> None:
        if customer is not None and _is_sampled(customer, self.truth.customer):
            self.truth.customer[customer] += 1
        if type_ == "TransferPosted":
            for account in {ids["debit"], ids["credit"]} - {SETTLEMENT}:
                if _is_sampled(account, self.truth.account):
                    self.truth.account[account] += 1
        if type_ == "DecisionMade" and len(self.truth.decision) < SAMPLED and self._draw.random() < 0.01:
            self.truth.decision[ids["of"]] = 1


def _is_sampled(id_: UUID, known: Counter[UUID]) -> bool:
    """The first that come, and those only: each is counted from its first event on."""
    return id_ in known or (len(known) < SAMPLED and known.total() < SAMPLED * 4)


def _named(kind: int, number: int) -> UUID:
    return UUID(int=(kind << 120) + number * 0x9E3779B97F4A7C15 % (1 << 100))


def _template(tenant: int, type_: str) -> bytes:
    """An event of the type with marks where each one differs."""
    aggregate = {"TransferPosted": "transfer", "DecisionMade": "decision"}.get(type_, "loan")
    return event_bytes(
        Event(
            event_id=_MARKS["event"],
            tenant=tenant,
            type=type_,
            version=VERSIONS[type_],
            occurred_at=_AT,
            aggregate=Aggregate(aggregate, _MARKS["of"], 1),
            actor=_ACTOR,
            trace=_TRACE,
            data=_movement() if type_ == "TransferPosted" else _DATA[type_],
        )
    )


def _movement() -> MovementData:
    side = {"credits_pending": 0, "credits_posted": 123_456_789, "debits_pending": 0, "debits_posted": 98_765_432}
    return MovementData(
        amount=1_234_500,
        code="airtime",
        credit=SideData(account=_MARKS["credit"], version=12_345, **side),
        currency="NGN",
        debit=SideData(account=_MARKS["debit"], version=12_345, **side),
        effective_on=date(2026, 1, 1),
        transfer=_MARKS["of"],
    )


_FACTS = ("age_years", "bank_known", "blocked", "exposure", "kyc_tier", "loans_closed", "loans_open", "monthly_income")
_DATA = {
    "DecisionMade": {
        "customer": str(_MARKS["customer"]),
        "product": "nano",
        "currency": "NGN",
        "amount": 1_000_000,
        "request_to_borrow": True,
        "facts": {
            "ledger": {
                "as_of": "2026-01-01T00:00:00.000000Z",
                "values": {f"{name}{more}": 12_345 for name in _FACTS for more in ("", "_recent")},
            }
        },
        "policy": {"name": "nano", "version": 3, "hash": "0" * 64},
        "rules": dict.fromkeys(_FACTS, "passed"),
        "points": dict.fromkeys(_FACTS, 20),
        "reasons": ["short_repayment_history", "new_customer"],
        "outcome": "approve",
        "limit": 1_000_000,
    },
    "LoanBooked": {
        "customer": str(_MARKS["customer"]),
        "loan": str(_MARKS["of"]),
        "outstanding": 1_100_000,
        "product": "nano",
        "currency": "NGN",
        "principal": 1_000_000,
        "fee": 100_000,
        "due_on": "2026-02-01",
    },
    "RepaymentReceived": {
        "customer": str(_MARKS["customer"]),
        "loan": str(_MARKS["of"]),
        "outstanding": 0,
        "amount": 1_100_000,
        "excess": 0,
        "effective_on": "2026-02-01",
    },
}
