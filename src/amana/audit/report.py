"""The report on one customer, made from the log's events alone. Pure.

Events come in the order of the log. A decision is followed by what people did to it, a loan by its repayments; what is
neither is told as it happened.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from amana.audit.store import StoredEvent
from amana.audit.telling import shipped_words, tell
from amana.wire.audit_reports import (
    CustomerReport,
    DecisionReport,
    FactUsed,
    LoanReport,
    LogState,
    Place,
    PolicyUsed,
    ReasonSaid,
    Step,
)

CHANGES = ("DecisionOverridden", "DecisionAppealed", "AppealResolved", "DecisionReversed")
FACTS = ("CustomerFactsRecorded", "CustomerBlocked", "CustomerBlockLifted")
POLICY_STEPS = ("PolicyDrafted", "PolicyApproved", "PolicyPublished", "PolicyRetired", "PolicyWithdrawn")
_TOLD_AS_THEY_ARE = (
    *("request_to_borrow", "product", "currency", "amount", "term_days", "outcome", "limit", "price"),
    *("rules", "score", "band", "caps", "exposure"),
)
_OF_DECISIONS = {*_TOLD_AS_THEY_ARE, "reasons", "policy", "facts"}
LOAN_STEPS = ("LoanBooked", "RepaymentReceived", "RepaymentReversed", "LoanClosed")


class Gathered(NamedTuple):
    """What a report is made of. `sealed` is by stream; `complete` is whether `events` are all there are.

    `reads` are who read it, newest first and not all where `more_reads`; None where that is not to be shown."""

    events: Sequence[StoredEvent]
    policy_events: Sequence[StoredEvent]
    sealed: Mapping[str, int]
    log: list[LogState]
    complete: bool
    reads: Sequence[StoredEvent] | None
    more_reads: bool


def make_report(customer: UUID, gathered: Gathered, made_at: datetime) -> CustomerReport:
    """The report."""
    steps = [step_of(event, gathered.sealed) for event in gathered.events]
    by_type: dict[str, list[Step]] = defaultdict(list)
    for step in steps:
        by_type[step.type].append(step)
    changes = _by_aggregate(gathered, CHANGES)
    policies = _policies(step_of(event, gathered.sealed) for event in gathered.policy_events)
    loans = [_loan(booked, _of_loan(steps, booked.data["loan"])) for booked in by_type["LoanBooked"]]
    made = [(event, step) for event, step in zip(gathered.events, steps, strict=True) if step.type == "DecisionMade"]
    decisions = [_decision(event, step, changes, policies, loans) for event, step in made if _is_whole(step.data)]
    grouped = {*CHANGES, *FACTS, *LOAN_STEPS}
    return CustomerReport(
        customer=customer,
        made_at=made_at,
        complete=gathered.complete,
        events=len(steps),
        decisions=decisions,
        loans=loans,
        facts=[step for step in steps if step.type in FACTS],
        other=[step for step in steps if step.type not in grouped and not _is_decision(step)],
        reads=None if gathered.reads is None else [step_of(event, gathered.sealed) for event in gathered.reads],
        more_reads=gathered.more_reads,
        log=gathered.log,
    )


def _is_whole(data: Mapping[str, Any]) -> bool:
    """Whether a decision says all that is told of one; what was written in another shape is told as it is."""
    return data.keys() >= _OF_DECISIONS


def _is_decision(step: Step) -> bool:
    return step.type == "DecisionMade" and _is_whole(step.data)


def step_of(event: StoredEvent, sealed: Mapping[str, int]) -> Step:
    """An event as a step."""
    body = msgspec.json.decode(event.body)
    return Step(
        at=event.occurred_at,
        type=body["type"],
        told=tell(body["type"], body["data"]),
        actor=body["actor"],
        place=place_of(event, sealed),
        data=body["data"],
    )


def place_of(event: StoredEvent, sealed: Mapping[str, int]) -> Place:
    """Where an event is."""
    return Place(
        stream=event.stream,
        position=event.position,
        event_id=event.event_id,
        sealed=event.position < sealed[event.stream],
    )


def aggregate_of(event: StoredEvent) -> str:
    """The id of the thing that an event is about."""
    return str(msgspec.json.decode(event.body)["aggregate"]["id"])


def _by_aggregate(gathered: Gathered, types: Sequence[str]) -> dict[str, list[Step]]:
    found: dict[str, list[Step]] = defaultdict(list)
    for event in gathered.events:
        step = step_of(event, gathered.sealed)
        if step.type in types:
            found[aggregate_of(event)].append(step)
    return found


def _policies(steps: Iterable[Step]) -> dict[tuple[str, str], list[Step]]:
    """The steps of each version, by product and hash."""
    found: dict[tuple[str, str], list[Step]] = defaultdict(list)
    for step in steps:
        found[(str(step.data.get("product")), str(step.data.get("hash")))].append(step)
    return found


def _decision(
    event: StoredEvent,
    step: Step,
    changes: Mapping[str, list[Step]],
    policies: Mapping[tuple[str, str], list[Step]],
    loans: Sequence[LoanReport],
) -> DecisionReport:
    data, decision = step.data, aggregate_of(event)
    policy = data["policy"]
    since = changes.get(decision, [])
    offers = {decision, *(str(change.data.get("review")) for change in since)}
    same = {name: data[name] for name in _TOLD_AS_THEY_ARE}
    return DecisionReport(
        decision=UUID(decision),
        decided_at=step.at,
        place=step.place,
        asked_by=step.actor,
        standing=_standing(data["outcome"], since),
        reasons=_reasons(policy["hash"], data["reasons"]),
        policy=PolicyUsed(**policy, steps=policies.get((data["product"], policy["hash"]), [])),
        facts=_facts(data["facts"]),
        changes=since,
        loans=[loan.loan for loan in loans if str(loan.decision) in offers],
        **same,
    )


def _facts(told: Mapping[str, Mapping[str, Any]]) -> list[FactUsed]:
    """The facts of a decision by name. Version 1 of its event says the source and instant of each; since then each
    source says its own."""
    found: list[FactUsed] = []
    for name, one in told.items():
        if "values" in one:
            said = {"source": name, "as_of": one["as_of"]}
            found += [FactUsed(name=fact, value=value, **said) for fact, value in one["values"].items()]
        else:
            found.append(FactUsed(name=name, **one))
    return sorted(found, key=lambda fact: fact.name)


def _standing(outcome: str, changes: Sequence[Step]) -> str:
    """What a decision comes to after what people did, in the order they did it."""
    standing = outcome
    for change in changes:
        match change.type:
            case "DecisionOverridden":
                standing = f"overridden: {change.data['outcome']}"
            case "DecisionReversed":
                standing = "reversed"
    return standing


def _reasons(digest: str, codes: Sequence[str]) -> list[ReasonSaid]:
    words = shipped_words().get(digest, {})
    return [ReasonSaid(code=code, words=words.get(code)) for code in codes]


def _of_loan(steps: Sequence[Step], loan: str) -> list[Step]:
    return [step for step in steps if step.type in LOAN_STEPS and step.data.get("loan") == loan]


def _loan(booked: Step, history: Sequence[Step]) -> LoanReport:
    data: dict[str, Any] = booked.data
    return LoanReport(
        loan=UUID(data["loan"]),
        decision=None if data["decision_id"] is None else UUID(data["decision_id"]),
        product=data["product"],
        currency=data["currency"],
        principal=data["principal"],
        fee=data["fee"],
        due_on=data["due_on"],
        outstanding=history[-1].data["outstanding"],
        history=list(history),
    )
