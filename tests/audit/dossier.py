"""The events of one customer's story, as the services write them: a decline, an override, the loan, a repayment."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from amana.audit.telling import shipped_words
from amana.domain.events import Aggregate, Event, event_bytes, utc_text

NAMES = UUID(int=47)
START = datetime(2026, 11, 3, 9, 0, tzinfo=UTC)
NANO = next(digest for digest, words in shipped_words().items() if "loan_overdue" in words and "no_livelihood" in words)


def named(text: str) -> UUID:
    return uuid5(NAMES, text)


class Story:
    """Events in the order of the log, by stream; each a minute after the one before it."""

    def __init__(self, tenant: int, customer: UUID) -> None:
        self.tenant = tenant
        self.customer = customer
        self.bodies: dict[str, list[bytes]] = {"eligibility": [], "transactions": []}
        self.now = START

    def say(
        self, stream: str, type_: str, aggregate: Aggregate, data: dict[str, Any], actor: str = "key1", version: int = 1
    ) -> None:
        self.now += timedelta(minutes=1)
        event = Event(
            event_id=named(f"{stream} {len(self.bodies[stream])}"),
            tenant=self.tenant,
            type=type_,
            version=version,
            occurred_at=self.now,
            aggregate=aggregate,
            actor=actor,
            trace="",
            data=data,
        )
        self.bodies[stream].append(event_bytes(event))

    def decision(self, id_: UUID, outcome: str = "decline", version: int = 2, **more: Any) -> None:
        now = utc_text(self.now)
        fact = {"value": 12, "source": "ledger", "as_of": now}
        facts: dict[str, Any] = {
            "current_days_past_due": fact,
            "blocked": {**fact, "value": True, "source": "customer"},
        }
        if version > 1:
            facts = {
                "customer": {"as_of": now, "values": {"blocked": True}},
                "ledger": {"as_of": now, "values": {"current_days_past_due": 12}},
            }
        data = {
            "customer": str(self.customer),
            "product": "nano",
            "currency": "NGN",
            "amount": 1_000_000,
            "term_days": None,
            "terms": None,
            "request_to_borrow": True,
            "offer_id": None,
            "as_of": utc_text(self.now),
            "as_of_past": False,
            "facts": facts,
            "facts_version": 1,
            "policy": {"name": "nano", "version": 1, "hash": NANO},
            "rules": {"nothing_overdue": "failed", "adult": "passed"},
            "points": {"punctuality": 80},
            "score": 455,
            "band": "d",
            "caps": {"product": 7_500_000},
            "exposure_cap": 0,
            "exposure": 0,
            "headroom": 0,
            "outcome": outcome,
            "limit": 0,
            "price": None,
            "reasons": ["loan_overdue"] if outcome == "decline" else [],
            **more,
        }
        self.say("eligibility", "DecisionMade", Aggregate("decision", id_, 1), data, version=version)

    def review(self, type_: str, decision: UUID, review: UUID, **more: Any) -> None:
        data = {"review": str(review), "customer": str(self.customer), "product": "nano", "standing": "x", "words": "d"}
        self.say("eligibility", type_, Aggregate("decision", decision, 2), {**data, **more}, actor="judge")

    def about_customer(self, type_: str, **data: Any) -> None:
        self.say(
            "eligibility", type_, Aggregate("customer", self.customer, 1), {"customer": str(self.customer), **data}
        )

    def of_loan(self, type_: str, loan: UUID, outstanding: int, **more: Any) -> None:
        data = {"loan": str(loan), "customer": str(self.customer), "outstanding": outstanding, **more}
        self.say("transactions", type_, Aggregate("loan", loan, 1), data)

    def booked(self, loan: UUID, decision: UUID | None) -> None:
        self.of_loan(
            "LoanBooked",
            loan,
            1_100_000,
            product="nano",
            currency="NGN",
            principal=1_000_000,
            fee=100_000,
            term_days=30,
            origin="offer",
            decision_id=None if decision is None else str(decision),
            effective_at=utc_text(self.now),
            effective_on="2026-11-03",
            due_on="2026-12-03",
            transfers=[],
        )


def whole_story(tenant: int, customer: UUID) -> Story:
    """Recorded, declined, contested, overridden, answered, booked, repaid in part; then blocked, and a second decision
    that is reversed. Somebody else's decision lies between."""
    story = Story(tenant, customer)
    first, second, override, loan = named("first"), named("second"), named("override"), named("loan")
    published = {"product": "nano", "policy_version": 1, "hash": NANO, "valid_from": utc_text(START), "replaces": None}
    story.say("eligibility", "PolicyPublished", Aggregate("policy", named("policy"), 1), published, actor="approver")
    story.about_customer(
        "CustomerFactsRecorded", facts_version=1, kyc_tier=2, blocked=False, known=["bvn"], consents={"bureau": True}
    )
    story.decision(first, version=1)
    other = Story(tenant, named("somebody else"))
    other.decision(named("theirs"), "approve")
    story.bodies["eligibility"].append(
        other.bodies["eligibility"][0].replace(
            str(named("eligibility 0")).encode(), str(named("theirs event")).encode()
        )
    )
    story.review("DecisionAppealed", first, named("appeal"))
    story.review(
        "DecisionOverridden",
        first,
        override,
        outcome="approve",
        supersedes=["nothing_overdue"],
        terms=None,
        expires_at=None,
    )
    story.review(
        "AppealResolved",
        first,
        named("answer"),
        appeal=str(named("appeal")),
        outcome="changed",
        changed_by=str(override),
    )
    story.booked(loan, override)
    story.of_loan("RepaymentReceived", loan, 700_000, repayment=str(named("repayment")), amount=400_000)
    story.about_customer("CustomerBlocked", facts_version=2, block=str(named("block")), code="fraud_watch", until=None)
    story.decision(second, "approve", offer_id=str(second), limit=1_000_000, product='<script>alert("x")</script>')
    story.review("DecisionReversed", second, named("reversal"), withdrawn=[str(second)])
    return story
