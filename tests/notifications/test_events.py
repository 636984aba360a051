"""Which events tell a borrower something, and in which words."""

from datetime import timedelta
from typing import Any

import pytest
from tests.notifications.happenings import (
    CUSTOMER,
    DECISION,
    NOW,
    booked,
    decided,
    loan,
    message,
    overridden,
    repaid,
    reviewed,
)

from amana.domain.event_types import VERSIONS
from amana.infra.consuming.records import Unreadable
from amana.notifications.events import READERS, read_event
from amana.notifications.templates import TEMPLATES, newest_wording, text_of


@pytest.mark.parametrize(
    ("type_", "data", "template", "text"),
    [
        (
            "LoanBooked",
            booked(),
            "loan_disbursed",
            "Your loan of ₦10,000.00 has been paid out. Please repay ₦13,000.00 by 2026-04-01.",
        ),
        (
            "RepaymentReceived",
            repaid(),
            "repayment_received",
            "We received your payment of 4,000.00. You still owe 9,000.00.",
        ),
        (
            "RepaymentReversed",
            repaid(),
            "repayment_returned",
            "Your payment of 4,000.00 was returned by your bank or wallet. You now owe 9,000.00.",
        ),
        ("LoanClosed", loan(), "loan_closed", "Your loan is fully repaid. Thank you."),
        (
            "DecisionMade",
            decided("approve"),
            "offer_made",
            "You can borrow ₦10,000.00 now and repay ₦13,000.00 in 30 days. This offer ends soon.",
        ),
        ("DecisionMade", decided("decline"), "request_declined", TEMPLATES["request_declined"].wordings[0]),
        ("DecisionMade", decided("refer"), "request_referred", TEMPLATES["request_referred"].wordings[0]),
        (
            "DecisionOverridden",
            overridden("approve"),
            "decision_changed_to_approve",
            "We looked again: you can borrow 10,000.00 and repay 13,000.00 in 30 days.",
        ),
        (
            "DecisionOverridden",
            overridden("decline"),
            "decision_changed_to_decline",
            TEMPLATES["decision_changed_to_decline"].wordings[0],
        ),
        (
            "DecisionReversed",
            reviewed(withdrawn=[str(DECISION)]),
            "offer_withdrawn",
            TEMPLATES["offer_withdrawn"].wordings[0],
        ),
        ("DecisionAppealed", reviewed(), "appeal_received", TEMPLATES["appeal_received"].wordings[0]),
        ("AppealResolved", reviewed(outcome="upheld"), "appeal_upheld", TEMPLATES["appeal_upheld"].wordings[0]),
        ("AppealResolved", reviewed(outcome="changed"), "appeal_changed", TEMPLATES["appeal_changed"].wordings[0]),
    ],
)
def test_a_borrower_is_told(type_: str, data: dict[str, Any], template: str, text: str) -> None:
    fact = read_event(message(0, type_, data))
    assert fact is not None
    told = fact.event
    assert (told.template, told.customer, told.occurred_at) == (template, CUSTOMER, NOW)
    assert text_of(template, newest_wording(template), told.figures) == text


@pytest.mark.parametrize("version", [1, 2])
def test_a_decision_is_told_of_whatever_version_its_event_has(version: int) -> None:
    fact = read_event(message(0, "DecisionMade", decided("approve"), of_type=version))
    assert fact is not None and fact.event.customer == CUSTOMER


@pytest.mark.parametrize(
    ("type_", "data"),
    [
        ("LoanBooked", booked(origin="imported")),
        ("LoanBooked", booked(effective_at=NOW - timedelta(days=2))),
        ("RepaymentReceived", repaid(inferred=True)),
        ("RepaymentReceived", repaid(effective_at=NOW - timedelta(days=40))),
        ("LoanClosed", loan(NOW - timedelta(days=2))),
        ("DecisionMade", decided("approve", request_to_borrow=False)),
        ("DecisionMade", decided("approve", offer_id=str(DECISION))),
        ("DecisionMade", decided("approve", as_of_past=True)),
        ("DecisionReversed", reviewed(withdrawn=[])),
        ("HoldExpired", {"amount": 5}),
        ("SomethingNewHappened", {}),
    ],
)
def test_nobody_is_told(type_: str, data: dict[str, Any]) -> None:
    assert read_event(message(0, type_, data)) is None


@pytest.mark.parametrize(
    ("type_", "data", "of_type", "reason"),
    [
        ("LoanBooked", booked(), 2, "unknown_version"),
        ("LoanBooked", booked(), 0, "unknown_version"),
        ("DecisionMade", decided("approve"), 3, "unknown_version"),
        ("LoanBooked", {}, 1, "not_an_event"),
        ("LoanBooked", booked(customer="Ada"), 1, "not_an_event"),
        ("LoanBooked", booked(principal="much"), 1, "not_an_event"),
        ("LoanBooked", booked(principal=-1), 1, "not_an_event"),
        ("LoanBooked", booked(due_on="soon"), 1, "not_an_event"),
        ("LoanBooked", booked(currency="N" * 1_000), 1, "not_an_event"),
        ("DecisionMade", decided("approve", reasons=None), 1, "not_an_event"),
    ],
)
def test_an_event_that_is_not_what_it_says_is_unreadable(
    type_: str, data: dict[str, Any], of_type: int, reason: str
) -> None:
    with pytest.raises(Unreadable) as raised:
        read_event(message(0, type_, data, of_type=of_type))
    assert raised.value.reason == reason


@pytest.mark.parametrize("value", [b"", b"{", b"null", b"[]", b"\xff", b"[" * 10_000, b'{"type": "LoanBooked"}'])
def test_bytes_that_are_no_event_are_unreadable(value: bytes) -> None:
    received = message(0, "LoanBooked", booked())._replace(value=value)
    with pytest.raises(Unreadable):
        read_event(received)
    with pytest.raises(Unreadable):
        read_event(received._replace(headers={}))


def test_every_event_that_is_read_is_one_that_is_written() -> None:
    assert set(READERS) <= set(VERSIONS)


def test_wordings_name_only_figures_that_their_events_have() -> None:
    assert {template.code for template in TEMPLATES.values()} == set(TEMPLATES)
    for template in TEMPLATES.values():
        assert template.wordings, template.code
        for wording in template.wordings:
            assert len(wording) <= 160, "one SMS"
