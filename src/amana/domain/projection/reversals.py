"""Reversals that undo what followed: how each stands and, when it is stuck or over, what became of each offer.

While one runs, its steps move on with the answers of the ledger, whose own events tell of them. Eligibility tells when
a person is needed and when all is over: until then no more is said of a step than that it is there.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec

from amana.domain.decision_reversal import UndoTerms
from amana.domain.loan_reversal import Kept
from amana.domain.policy import LoanReversal
from amana.domain.projection.eligibility_rows import ReversalRow, ReversalStepRow
from amana.domain.projection.state import Key, Needs, State
from amana.domain.projection.told import Reviewed, Told

_terms = msgspec.json.Decoder(LoanReversal | None)


class Closed(msgspec.Struct, frozen=True, gc=False):
    """An offer that is never booked, because its decision is reversed. The ledger tells it."""

    customer: UUID
    offer: UUID
    reversal: UUID


class PolicyTold(msgspec.Struct, frozen=True, gc=False):
    """The policy by which loans are undone."""

    name: str
    version: int
    hash: str


class OfferTold(msgspec.Struct, frozen=True, gc=False):
    """What became of an offer, or where it is stuck."""

    offer: UUID
    state: str
    loan: UUID | None
    kept_because: str | None
    stuck_because: str | None = None


class Begun(Reviewed, frozen=True, kw_only=True):
    """A reversal with something to undo, and how loans are undone; `terms` are a `LoanReversal`."""

    kept_because: Kept | None = None
    policy: PolicyTold | None = None


class Halted(msgspec.Struct, frozen=True):
    """A reversal that needs a person."""

    standing: str
    reversal: UUID
    offers: list[OfferTold]


class Helped(Reviewed, frozen=True, kw_only=True):
    """What a person did about a reversal that was stuck."""

    reversal: UUID


class Ended(Reviewed, frozen=True, kw_only=True):
    """The end of a reversal. One that had nothing to undo says nothing of offers."""

    offers: tuple[OfferTold, ...] = ()


def needs_begun(told: Told[Begun], _state: State) -> Needs:
    """The reversal and its steps, so that nothing is begun twice unseen."""
    yield "reversals", (told.tenant, told.data.review)
    for offer in told.data.withdrawn:
        yield "reversal_steps", (told.tenant, told.data.review, offer)


def begin(state: State, told: Told[Begun], position: int | None) -> None:
    """A step for each offer of the decision."""
    data, key = told.data, (told.tenant, told.data.review)
    if key in state.reversals:
        state.object_to(position, f"reversal {data.review}", "begun already", "begun")
    state.reversals[key] = ReversalRow(
        *key,
        told.aggregate.id,
        "running",
        msgspec.json.encode(_undo(data), order="deterministic"),
        told.occurred_at,
        sorted(data.withdrawn),
        position=position,
    )
    for offer in data.withdrawn:
        state.reversal_steps[*key, offer] = ReversalStepRow(*key, offer, position=position)


def _undo(data: Begun) -> UndoTerms:
    terms, policy = _terms.decode(data.terms), data.policy
    if policy is None:
        return UndoTerms(terms=terms, kept=data.kept_because)
    return UndoTerms(
        terms=terms,
        kept=data.kept_because,
        policy=policy.name,
        policy_version=policy.version,
        policy_hash=policy.hash,
    )


def needs_halted(told: Told[Halted], state: State) -> Needs:
    """The reversal and, once it is known, its steps."""
    return _needs(state, (told.tenant, told.data.reversal))


def halt(state: State, told: Told[Halted], position: int | None) -> None:
    """It waits for a person: where each step is, is said."""
    reversal = _move(state, told, told.data.reversal, "stuck", position)
    if reversal is not None:
        _say(state, reversal, told.data.offers)


def needs_helped(told: Told[Helped], state: State) -> Needs:
    """The reversal and, once it is known, its steps."""
    return _needs(state, (told.tenant, told.data.reversal))


def go_on(state: State, told: Told[Helped], position: int | None) -> None:
    """It runs again: where its steps are is not said any more."""
    reversal = _move(state, told, told.data.reversal, "running", position)
    for offer in reversal.steps if reversal is not None else ():
        key = told.tenant, told.data.reversal, offer
        state.reversal_steps[key] = ReversalStepRow(*key, position=position)


def needs_ended(told: Told[Ended], state: State) -> Needs:
    """The reversal and, once it is known, its steps."""
    return _needs(state, (told.tenant, told.data.review))


def end(state: State, told: Told[Ended], position: int | None) -> None:
    """All is undone, as far as it is. A reversal without offers never began, and is over at once."""
    data = told.data
    if not data.offers and (told.tenant, data.review) not in state.reversals:
        return
    reversal = _move(state, told, data.review, "over", position)
    if reversal is not None:
        reversal.over_at, reversal.over_version = told.occurred_at, told.aggregate.version
        _say(state, reversal, data.offers)


def _needs(state: State, key: Key) -> Needs:
    yield "reversals", key
    reversal = state.reversals.get(key)
    for offer in reversal.steps if reversal is not None else ():
        yield "reversal_steps", (*key, offer)


def _move(state: State, told: Told[Any], id_: UUID, to: str, position: int | None) -> ReversalRow | None:
    reversal = state.reversals.get((told.tenant, id_))
    if reversal is None:
        state.object_to(position, f"reversal {id_}", "never begun", to)
    elif reversal.state == "over":
        state.object_to(position, f"reversal {id_}", "over", to)
    else:
        reversal.state, reversal.position = to, position
    return reversal


def _say(state: State, reversal: ReversalRow, offers: Sequence[OfferTold]) -> None:
    for said in offers:
        step = state.reversal_steps.get((reversal.tenant, reversal.reversal_id, said.offer))
        if step is None:
            about = f"reversal {reversal.reversal_id}, offer {said.offer}"
            state.object_to(reversal.position, about, "no step", said.state)
            continue
        step.state, step.loan, step.position = said.state, said.loan, reversal.position
        step.kept_because, step.stuck_because = said.kept_because, said.stuck_because
