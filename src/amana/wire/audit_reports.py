"""What compliance gets: the report on one customer, the register of a month, what is past its retention."""

from datetime import datetime
from typing import Any
from uuid import UUID

from amana.wire.common import Response


class Place(Response):
    """Where in the log an event is: its proof is at `/v1/audit/events/{event_id}/proof` once it is sealed."""

    stream: str
    position: int
    event_id: UUID
    sealed: bool


class Step(Response):
    """Something that happened: in one sentence, and `data` as the event says it."""

    at: datetime
    type: str
    told: str
    actor: str
    place: Place
    data: dict[str, Any]


class ReasonSaid(Response):
    """A reason of a decision, and the words that its policy has for the customer; null where the policy is not one that
    Amana ships, whose words the log does not hold."""

    code: str
    words: str | None


class FactUsed(Response):
    """A fact that a decision rests on: who said so, and as of when."""

    name: str
    value: Any
    source: str
    as_of: str


class PolicyUsed(Response):
    """The policy that decided. `steps` is how this version came into force, as far as the log tells."""

    name: str
    version: int
    hash: str
    steps: list[Step]


class DecisionReport(Response):
    """A decision: what was asked, what was decided and why, and everything that changed it since.

    `standing` is what it comes to now: its outcome, or `overridden: ...`, or `reversed`.
    """

    decision: UUID
    decided_at: datetime
    place: Place
    asked_by: str
    request_to_borrow: bool
    product: str
    currency: str
    amount: int | None
    term_days: int | None
    outcome: str
    standing: str
    limit: int
    price: dict[str, Any] | None
    reasons: list[ReasonSaid]
    policy: PolicyUsed
    rules: dict[str, Any]
    score: int | None
    band: str | None
    caps: dict[str, Any]
    exposure: int | None
    facts: list[FactUsed]
    changes: list[Step]
    loans: list[UUID]


class LoanReport(Response):
    """A loan of the customer and what became of it. `decision` is the decision that it came of, null for an import."""

    loan: UUID
    decision: UUID | None
    product: str
    currency: str
    principal: int
    fee: int
    due_on: str
    outstanding: int
    history: list[Step]


class LogState(Response):
    """A stream of the log when the report was made: how much of it could be found, and its newest checkpoint.

    What stood before position `floor` was dropped by retention, or its index was.
    """

    stream: str
    floor: int
    searched: int
    received: int
    size: int
    note: str | None
    verifier_key: str


class CustomerReport(Response):
    """Everything that the audit log has of one customer, in order of time.

    `complete` is false where there is more than fits a report, or where events were received that can't be found yet.
    `reads` is who read the customer's records, the newest first, null without the scope `audit:accesses`; `more_reads`
    says that there are older ones, at `/v1/audit/accesses`.
    """

    customer: UUID
    made_at: datetime
    complete: bool
    events: int
    decisions: list[DecisionReport]
    loans: list[LoanReport]
    facts: list[Step]
    other: list[Step]
    reads: list[Step] | None
    more_reads: bool
    log: list[LogState]
