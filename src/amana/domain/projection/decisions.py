"""Decisions as they were made and as they stand after their reviews, offers and appeals included."""

from typing import Any

import msgspec

from amana.domain.decision import Decision, canonical
from amana.domain.policy import Outcome
from amana.domain.pricing import Price
from amana.domain.projection.eligibility_rows import AppealRow, DecisionRow, ReviewRow, StandingRow
from amana.domain.projection.reversals import Halted
from amana.domain.projection.state import Needs, State
from amana.domain.projection.told import Decided, Reviewed, Told
from amana.domain.review import OverrideTerms

KINDS = {
    "DecisionOverridden": "override",
    "DecisionAppealed": "appeal",
    "AppealResolved": "resolution",
    "DecisionReversed": "reversal",
    "DecisionReversalStarted": "reversal",
    "DecisionReversalResumed": "resumption",
    "DecisionReversalAbandoned": "abandonment",
}
_terms = msgspec.json.Decoder(OverrideTerms | None)


def decide(state: State, told: Told[Decided], position: int | None) -> None:
    """A decision is written once; what people did about it later is in its standing."""
    data, price = told.data, told.data.price
    decision = Decision(
        outcome=Outcome(data.outcome),
        amount=data.amount,
        limit=data.limit,
        price=None
        if price is None
        else Price(price.principal, price.fee, price.total_due, price.rate_bps, price.term_days),
        reasons=tuple(data.reasons),
    )
    state.decisions.append(
        DecisionRow(
            told.tenant,
            told.aggregate.id,
            data.customer,
            data.product,
            data.amount,
            data.currency,
            data.term_days if data.terms is None else data.terms.term_days,
            None if data.terms is None else data.terms.fee,
            data.as_of if data.as_of_past else None,
            data.request_to_borrow,
            data.offer_id,
            data.outcome,
            data.policy.version,
            data.policy.hash,
            canonical(decision),
            data.request_to_borrow and decision.outcome is Outcome.APPROVE,
            told.actor,
            position,
        )
    )


def needs_nothing(_told: object, _state: State) -> Needs:
    """What is written once needs no row."""
    return ()


def needs_reviewed(told: Told[Reviewed], _state: State) -> Needs:
    """The decision's standing, and the appeal."""
    yield "decision_standings", (told.tenant, told.aggregate.id)
    if told.data.appeal is not None:
        yield "appeals", (told.tenant, told.data.appeal)


def step(state: State, told: Told[Halted], position: int | None) -> None:
    """A reversal that went on without a person: it got stuck."""
    _stand(state, told, told.data.standing, position)


def needs_step(told: Told[Halted], _state: State) -> Needs:
    """The decision's standing."""
    yield "decision_standings", (told.tenant, told.aggregate.id)


def review(state: State, told: Told[Reviewed], position: int | None) -> None:
    """A review, and how it leaves its decision. The end of a reversal that had something to undo is no other review."""
    data, kind, decision = told.data, KINDS[told.type], told.aggregate
    stands = state.decision_standings.get((told.tenant, decision.id))
    if told.type == "DecisionReversed" and stands is not None and stands.standing == "reversing":
        _stand(state, told, data.standing, position)
        return
    # To resolve an appeal changes nothing about how the decision stands.
    how = stands.standing if kind == "resolution" and stands is not None else data.standing
    terms = _terms.decode(data.terms) if kind == "override" else None
    state.reviews.append(
        ReviewRow(
            told.tenant,
            data.review,
            decision.id,
            decision.version,
            kind,
            how,
            data.outcome,
            None if terms is None else msgspec.json.encode(terms, order="deterministic"),
            data.expires_at,
            data.withdrawn if kind == "reversal" else None,
            told.actor,
            data.words,
            told.occurred_at,
            position,
        )
    )
    standing = _stand(state, told, how, position)
    if kind == "override":
        standing.override_id = data.review
    _change_appeal(state, told, position)


def _stand(state: State, told: Told[Any], how: str, position: int | None) -> StandingRow:
    decision = told.aggregate
    standing = state.decision_standings.get((told.tenant, decision.id))
    if standing is None:
        standing = StandingRow(told.tenant, decision.id, 1, "active")
        state.decision_standings[told.tenant, decision.id] = standing
    if decision.version != standing.version + 1:
        folded = f"version {standing.version + 1}"
        state.object_to(position, f"decision {decision.id}", folded, f"version {decision.version}")
    standing.version, standing.standing, standing.position = decision.version, how, position
    return standing


def _change_appeal(state: State, told: Told[Reviewed], position: int | None) -> None:
    data, decision = told.data, told.aggregate
    if told.type == "DecisionAppealed":
        state.appeals[told.tenant, data.review] = AppealRow(
            told.tenant,
            data.review,
            decision.id,
            "open",
            told.occurred_at,
            decision.version,
            position=position,
        )
    elif data.appeal is not None:
        appeal = state.appeals.get((told.tenant, data.appeal))
        if appeal is None:
            state.object_to(position, f"appeal {data.appeal}", "never filed", "resolved")
        else:
            appeal.state, appeal.resolution_id, appeal.position = "resolved", data.review, position
