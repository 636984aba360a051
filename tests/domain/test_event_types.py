"""Events read by their declarations: every one that the domain writes, older versions, and what is not to be read."""

from typing import Any
from uuid import UUID

import msgspec
import pytest
from tests.declared import fault
from tests.domain.test_events import EVENT_ID, LOAN_ID, NOON

from amana.domain.event_kinds import ABSENT, Absent, Count, Data, EventType
from amana.domain.event_types import CATALOGUE, VERSIONS, Catalogue, UnreadableEvent, Upcaster
from amana.domain.event_types_ledger import (
    HoldCaptured,
    HoldExpired,
    HoldPlaced,
    HoldVoided,
    LoanClosed,
    TransferPosted,
)
from amana.domain.events import Aggregate, Event, MovementData, SideData, event_bytes

CLOSED = {
    "loan": str(LOAN_ID),
    "customer": str(EVENT_ID),
    "outstanding": 0,
    "effective_at": "2026-03-02T12:00:00.000000Z",
}


def body_of(type_: str, data: object, version: int = 1, about: str = "loan") -> bytes:
    return event_bytes(Event(EVENT_ID, 1, type_, version, NOON, Aggregate(about, LOAN_ID, 3), "key", "", data))


def test_an_event_is_read_with_its_data_typed() -> None:
    event = CATALOGUE.read(body_of("LoanClosed", CLOSED))
    assert event == Event(
        EVENT_ID, 1, "LoanClosed", 1, NOON, Aggregate("loan", LOAN_ID, 3), "key", "", LoanClosed(
            loan=LOAN_ID, customer=EVENT_ID, outstanding=0, effective_at="2026-03-02T12:00:00.000000Z"
        ),
    )  # fmt: skip
    assert fault(body_of("LoanClosed", CLOSED), "transactions") == ""


def test_fields_that_a_reader_does_not_know_are_passed_over() -> None:
    assert CATALOGUE.read(body_of("LoanClosed", CLOSED | {"mood": "glad"})) == CATALOGUE.read(
        body_of("LoanClosed", CLOSED)
    )


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "not an event"),
        (b"[]", "not an event"),
        (b'{"type":"LoanClosed"}', "missing required field `event_id`"),
        (b"\xff", "not an event"),
        (b"[" * 100_000, "not an event"),
        (body_of("LoanEaten", CLOSED), "'LoanEaten' version 1: the type is not declared"),
        (body_of("LoanClosed", CLOSED, version=9), "'LoanClosed' version 9: its newest version here is 1"),
        (body_of("LoanClosed", CLOSED, version=0), "'LoanClosed' version 0: its newest version here is 1"),
        (body_of("LoanClosed", []), "data of LoanClosed version 1: Expected `object`, got `array`"),
        (body_of("LoanClosed", CLOSED | {"loan": None}), "Expected `uuid`, got `null` - at `$.loan`"),
        (body_of("LoanClosed", CLOSED | {"outstanding": -1}), "`int` >= 0 - at `$.outstanding`"),
        (body_of("LoanClosed", CLOSED | {"outstanding": "7"}), "Expected `int`, got `str` - at `$.outstanding`"),
        (body_of("LoanClosed", CLOSED | {"effective_at": "2026-03-02T12:00:00Z"}), "at `$.effective_at`"),
        (
            body_of("LoanClosed", {name: CLOSED[name] for name in CLOSED if name != "customer"}),
            "missing required field `customer`",
        ),
    ],
    ids=lambda value: value[:60] if isinstance(value, str) else "",
)
def test_what_is_no_declared_event_is_refused_with_what_is_wrong(body: bytes, told: str) -> None:
    with pytest.raises(UnreadableEvent) as refused:
        CATALOGUE.read(body)
    assert told in str(refused.value)


def test_a_fault_is_found_in_an_event_that_is_not_as_declared() -> None:
    assert "{'mood'}" in fault(body_of("LoanClosed", CLOSED | {"mood": "glad"}), "transactions")
    assert "in stream eligibility" in fault(body_of("LoanClosed", CLOSED), "eligibility")
    assert "about hold" in fault(body_of("LoanClosed", CLOSED, about="hold"), "transactions")
    assert "spelled otherwise" in fault(body_of("LoanClosed", CLOSED | {"loan": LOAN_ID.hex}), "transactions")
    assert fault(b"{}", "transactions")


SIDE = SideData(EVENT_ID, 1, 2, 3, 4, 5)
OF_ALL = MovementData(
    amount=5, code="nano", credit=SIDE, currency="NGN", debit=SIDE, effective_on=NOON.date(), transfer=LOAN_ID
)
OPTIONAL: dict[type[Data], dict[str, Any]] = {
    TransferPosted: {"command": EVENT_ID, "notes": "0" * 64, "reverses": EVENT_ID},
    HoldPlaced: {"expires_at": "2026-03-02T12:00:00.000000Z", "notes": "0" * 64},
    HoldCaptured: {"final": True, "notes": "0" * 64, "reason": "late", "released": 3},
    HoldVoided: {"command": EVENT_ID, "notes": "0" * 64},
    HoldExpired: {},
}
ALWAYS: dict[type[Data], dict[str, Any]] = {
    HoldCaptured: {"hold": EVENT_ID},
    HoldVoided: {"hold": EVENT_ID, "released": 5},
}
ALWAYS[HoldExpired] = ALWAYS[HoldVoided]


@pytest.mark.parametrize("type_", OPTIONAL, ids=lambda type_: type_.__name__)
def test_the_fixed_shape_of_a_movement_is_that_of_its_declarations(type_: type[Data]) -> None:
    about = "transfer" if type_ is TransferPosted else "hold"
    least = msgspec.structs.replace(OF_ALL, **ALWAYS.get(type_, {}))
    for data in (least, msgspec.structs.replace(least, **OPTIONAL[type_])):
        assert fault(body_of(type_.__name__, data, about=about), "transactions") == ""
    declared = {field.name for field in msgspec.structs.fields(type_) if field.default is ABSENT}
    assert declared == OPTIONAL[type_].keys()


def test_a_decision_of_version_1_is_read_as_one_that_says_each_source_once() -> None:
    about = {"source": "ledger", "as_of": "2026-03-02T11:59:59.000000Z"}
    facts = {
        "loans_open": about | {"value": 2},
        "kyc_tier": {"source": "customer", "as_of": "2026-03-01T08:00:00.000000Z", "value": 1},
        "days_since_last_closed": about | {"value": None},
    }
    event = CATALOGUE.read(body_of("DecisionMade", DECIDED | {"facts": facts}, about="decision"))
    assert (event.version, VERSIONS["DecisionMade"]) == (2, 2)
    said = {
        "ledger": {"as_of": about["as_of"], "values": {"loans_open": 2, "days_since_last_closed": None}},
        "customer": {"as_of": "2026-03-01T08:00:00.000000Z", "values": {"kyc_tier": 1}},
    }
    newer = body_of("DecisionMade", DECIDED | {"facts": said}, version=2, about="decision")
    assert event == CATALOGUE.read(newer)
    assert fault(newer, "eligibility") == ""
    assert "data of DecisionMade version 2" in fault(
        body_of("DecisionMade", DECIDED | {"facts": facts}, version=2, about="decision"), "eligibility"
    )


DECIDED: dict[str, Any] = {
    "customer": str(EVENT_ID),
    "product": "nano",
    "currency": "NGN",
    "amount": 1_000_000,
    "term_days": None,
    "terms": None,
    "request_to_borrow": True,
    "offer_id": None,
    "as_of": "2026-03-02T12:00:00.000000Z",
    "as_of_past": False,
    "facts_version": 1,
    "policy": {"name": "nano", "version": 1, "hash": "0" * 64},
    "rules": {"adult": "passed"},
    "points": {"identity": 5},
    "score": 500,
    "band": "c",
    "caps": {"product": 7_500_000, "repeat": None},
    "exposure_cap": 1,
    "exposure": 0,
    "headroom": 1,
    "outcome": "decline",
    "limit": 0,
    "price": None,
    "reasons": ["loan_overdue"],
}


# A type with three versions, as one will look: the old shapes stay, each with the way to the next.


class LoanMovedV1(Data, frozen=True):
    """A loan moved."""

    loan: UUID
    to: str


class LoanMovedV2(Data, frozen=True):
    """A loan moved, for a fee."""

    loan: UUID
    to: str
    fee: Count | None


class LoanMoved(Data, frozen=True):
    """A loan moved to a branch."""

    loan: UUID
    branch: str
    fee: Count | None
    by: str | Absent = ABSENT


SHAPES: tuple[type[Data], ...] = (LoanMovedV1, LoanMovedV2, LoanMoved)
MOVED = [EventType("LoanMoved", version, "transactions", "loan", data) for version, data in enumerate(SHAPES, 1)]
UPCASTERS: dict[tuple[str, int], Upcaster] = {
    ("LoanMoved", 1): lambda old: LoanMovedV2(loan=old.loan, to=old.to, fee=None),
    ("LoanMoved", 2): lambda old: LoanMoved(loan=old.loan, branch=old.to, fee=old.fee),
}


@pytest.mark.parametrize(
    ("version", "data", "read"),
    [
        (1, {"loan": str(LOAN_ID), "to": "Kano"}, LoanMoved(loan=LOAN_ID, branch="Kano", fee=None)),
        (2, {"loan": str(LOAN_ID), "to": "Kano", "fee": 7}, LoanMoved(loan=LOAN_ID, branch="Kano", fee=7)),
        (
            3,
            {"loan": str(LOAN_ID), "branch": "Kano", "fee": 7, "by": "key"},
            LoanMoved(loan=LOAN_ID, branch="Kano", fee=7, by="key"),
        ),
    ],
)
def test_an_older_version_is_read_as_it_was_declared_and_raised_step_by_step(
    version: int, data: dict[str, object], read: LoanMoved
) -> None:
    catalogue = Catalogue(reversed(MOVED), UPCASTERS)
    event = catalogue.read(body_of("LoanMoved", data, version))
    assert (event.version, event.data) == (3, read)
    assert catalogue.newest == {"LoanMoved": 3}


def test_an_older_version_is_held_to_its_own_declaration() -> None:
    with pytest.raises(UnreadableEvent, match="data of LoanMoved version 1: Object missing required field `to`"):
        Catalogue(MOVED, UPCASTERS).read(body_of("LoanMoved", {"loan": str(LOAN_ID), "branch": "Kano"}, 1))


@pytest.mark.parametrize(
    ("types", "upcasters"),
    [
        (MOVED[1:], {("LoanMoved", 2): UPCASTERS["LoanMoved", 2]}),
        ([MOVED[0], MOVED[2]], UPCASTERS),
        (MOVED, {("LoanMoved", 1): UPCASTERS["LoanMoved", 1]}),
        (MOVED[:1], UPCASTERS),
        ([*MOVED, MOVED[0]], UPCASTERS),
    ],
    ids=["no first version", "a gap", "no way up", "a way to nowhere", "one version twice"],
)
def test_a_catalogue_that_is_not_whole_is_a_bug(
    types: list[EventType], upcasters: dict[tuple[str, int], Upcaster]
) -> None:
    with pytest.raises(AssertionError):
        Catalogue(types, upcasters)


def test_every_declared_type_says_when_it_is_written_and_has_a_version_to_write() -> None:
    assert all(type_.meaning.endswith(".") for type_ in CATALOGUE.types)
    assert {type_.name for type_ in CATALOGUE.types} == VERSIONS.keys()
