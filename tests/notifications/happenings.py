"""Events as the services write them, and as the relay sends them."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from amana.domain.events import Aggregate, Event, event_bytes, utc_text
from amana.infra.kafka import Message

TENANT = 7
NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
CUSTOMER, LOAN, DECISION = (UUID(int=number) for number in (1, 2, 3))
PRICE = {"principal": 1_000_000, "fee": 300_000, "total_due": 1_300_000, "rate_bps": 3_000, "term_days": 30}


def message(
    position: int, type_: str, data: dict[str, Any], *, aggregate: UUID = LOAN, version: int = 1, of_type: int = 1
) -> Message:
    """An event at a position."""
    stream = "transactions" if type_.startswith(("Loan", "Repayment", "Hold")) else "eligibility"
    event = Event(uuid4(), TENANT, type_, of_type, NOW, Aggregate("thing", aggregate, version), "key", "", data)
    headers = {"stream": stream.encode(), "position": b"%d" % position, "type": type_.encode()}
    return Message(f"amana.{stream}.events", 0, position, str(aggregate).encode(), event_bytes(event), headers)


def loan(effective_at: datetime = NOW, **more: Any) -> dict[str, Any]:
    """What every event of a loan says."""
    return {
        "loan": str(LOAN),
        "customer": str(CUSTOMER),
        "outstanding": 900_000,
        "effective_at": utc_text(effective_at),
    } | more


def booked(effective_at: datetime = NOW, **more: Any) -> dict[str, Any]:
    """The data of LoanBooked."""
    terms = {
        "product": "nano",
        "currency": "NGN",
        "principal": 1_000_000,
        "fee": 300_000,
        "term_days": 30,
        "origin": "offer",
        "decision_id": str(DECISION),
        "effective_on": "2026-03-02",
        "due_on": "2026-04-01",
        "transfers": [],
    }
    return loan(effective_at) | terms | more


def repaid(effective_at: datetime = NOW, **more: Any) -> dict[str, Any]:
    """The data of RepaymentReceived and RepaymentReversed."""
    return loan(effective_at) | {"repayment": str(uuid4()), "amount": 400_000, "inferred": False} | more


def decided(outcome: str, **more: Any) -> dict[str, Any]:
    """The data of DecisionMade, as far as anybody is told of it."""
    return {
        "customer": str(CUSTOMER),
        "product": "nano",
        "currency": "NGN",
        "amount": 1_000_000,
        "request_to_borrow": True,
        "as_of_past": False,
        "offer_id": None,
        "outcome": outcome,
        "price": PRICE if outcome == "approve" else None,
        "reasons": [] if outcome == "approve" else ["bank_not_eligible"],
    } | more


def reviewed(**more: Any) -> dict[str, Any]:
    """The data of an event of a review."""
    return {"review": str(uuid4()), "customer": str(CUSTOMER), "product": "nano", "standing": "x", "words": "0"} | more


def overridden(outcome: str) -> dict[str, Any]:
    """The data of DecisionOverridden."""
    terms = {"amount": 1_000_000, "exposure_cap": 1_300_000, "price": PRICE} if outcome == "approve" else None
    expires_at = utc_text(NOW + timedelta(hours=1)) if terms else None
    return reviewed(outcome=outcome, supersedes=None, terms=terms, expires_at=expires_at)
