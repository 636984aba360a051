"""Reversals with something to undo, as their events tell them: begun, stuck, gone on with, over."""

from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from tests.domain.test_projection import NOW

from amana.domain.decision_reversal import UndoTerms
from amana.domain.events import Aggregate, Event, event_bytes
from amana.domain.loan_reversal import Kept
from amana.domain.policy import LoanReversal, OnRepaid, PrincipalFrom
from amana.domain.projection.folds import fold_of, read
from amana.domain.projection.state import State

TENANT = 7
CUSTOMER, DECISION, REVERSAL, LOAN = (UUID(int=number) for number in range(1, 5))
FIRST, SECOND = UUID(int=11), UUID(int=12)
TERMS = {"within_days": 3, "repaid": "return", "principal_from": "funding"}
POLICY = {"name": "nano", "version": 2, "hash": "ab"}


def tell(state: State, type_: str, version: int, **data: Any) -> None:
    """Folds one event about the decision."""
    common = {"customer": str(CUSTOMER), "product": "nano", "standing": "reversing", "words": "cd"}
    common |= {} if type_ == "DecisionReversalStuck" else {"review": str(uuid4())}
    aggregate = Aggregate("decision", DECISION, version)
    body = event_bytes(Event(uuid4(), TENANT, type_, 1, NOW, aggregate, "k", "", common | data))
    fold = fold_of(type_)
    assert fold is not None
    told = read(type_, fold, body)
    for part in fold.parts:
        part.apply(state, told, version)


def begin(state: State, **more: Any) -> None:
    how = {"loans": "reverse", "kept_because": None, "policy": POLICY, "terms": TERMS} | more
    offers = [str(SECOND), str(FIRST)]
    tell(state, "DecisionReversalStarted", 2, review=str(REVERSAL), withdrawn=offers, **how)


def offer(id_: UUID, where: str, **more: Any) -> dict[str, Any]:
    return {"offer": str(id_), "state": where, "loan": None, "kept_because": None} | more


def steps(state: State) -> list[tuple[str | None, UUID | None, str | None, str | None]]:
    """By offer: where it is, its loan, why that is kept and why it is stuck."""
    rows = [state.reversal_steps[TENANT, REVERSAL, id_] for id_ in (FIRST, SECOND)]
    return [(row.state, row.loan, row.kept_because, row.stuck_because) for row in rows]


UNSAID = (None, None, None, None)


def test_a_reversal_is_told_from_its_beginning_to_its_end() -> None:
    state = State(1)
    begin(state)
    reversal = state.reversals[TENANT, REVERSAL]
    assert (reversal.decision_id, reversal.state, reversal.steps) == (DECISION, "running", [FIRST, SECOND])
    assert steps(state) == [UNSAID, UNSAID]
    stuck = offer(SECOND, "reversing", loan=str(LOAN), stuck_because="insufficient_funds")
    offers = [offer(FIRST, "unbooked", stuck_because=None), stuck]
    tell(state, "DecisionReversalStuck", 3, reversal=str(REVERSAL), offers=offers)
    assert reversal.state == "stuck"
    assert steps(state) == [("unbooked", None, None, None), ("reversing", LOAN, None, "insufficient_funds")]
    tell(state, "DecisionReversalAbandoned", 4, reversal=str(REVERSAL))
    assert reversal.state == "running"
    assert steps(state) == [UNSAID, UNSAID]
    kept = offer(SECOND, "kept", loan=str(LOAN), kept_because="abandoned")
    tell(state, "DecisionReversed", 5, review=str(REVERSAL), withdrawn=[], offers=[offer(FIRST, "unbooked"), kept])
    assert (reversal.state, reversal.over_at, reversal.over_version, reversal.position) == ("over", NOW, 5, 5)
    assert steps(state) == [("unbooked", None, None, None), ("kept", LOAN, "abandoned", None)]
    assert state.contradictions == []


RETURNED = LoanReversal(within_days=3, repaid=OnRepaid.RETURN, principal_from=PrincipalFrom.FUNDING)


@pytest.mark.parametrize(
    ("said", "undo"),
    [
        ({}, UndoTerms(terms=RETURNED, kept=None, policy="nano", policy_version=2, policy_hash="ab")),
        (
            {"terms": None, "kept_because": "not_allowed", "policy": None},
            UndoTerms(terms=None, kept=Kept.NOT_ALLOWED),
        ),
    ],
)
def test_how_loans_are_undone_is_told_as_it_is_kept(said: dict[str, Any], undo: UndoTerms) -> None:
    state = State(1)
    begin(state, **said)
    assert state.reversals[TENANT, REVERSAL].undo == msgspec.json.encode(undo, order="deterministic")


def test_a_reversal_that_had_nothing_to_undo_leaves_no_row() -> None:
    state = State(1)
    tell(state, "DecisionReversed", 2, review=str(REVERSAL), withdrawn=[], standing="reversed")
    assert (state.reversals, state.reversal_steps, state.contradictions) == ({}, {}, [])


def test_what_can_not_be_is_a_contradiction() -> None:
    for type_, data in (
        ("DecisionReversalStuck", {"reversal": str(REVERSAL), "offers": []}),
        ("DecisionReversalResumed", {"reversal": str(REVERSAL)}),
        ("DecisionReversed", {"review": str(REVERSAL), "withdrawn": [], "offers": [offer(FIRST, "unbooked")]}),
    ):
        state = State(1)
        tell(state, type_, 2, **data)
        assert [found.folded for found in state.contradictions] == ["never begun"], type_
    state = State(1)
    begin(state)
    begin(state)
    tell(state, "DecisionReversed", 3, review=str(REVERSAL), withdrawn=[], offers=[offer(LOAN, "unbooked")])
    tell(state, "DecisionReversalResumed", 4, reversal=str(REVERSAL))
    found = [one.folded for one in state.contradictions if not one.folded.startswith("version")]
    assert found == ["begun already", "no step", "over"]
