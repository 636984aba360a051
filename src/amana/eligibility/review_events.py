"""The events of reviews. Each points at its decision; who judged and why is in none of them, only a digest of it."""

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from amana.domain.decision_reversal import Step, UndoLoans, UndoTerms
from amana.domain.events import Aggregate, utc_text
from amana.domain.review import Case, ReviewKind, Standing
from amana.eligibility.events import SYSTEM, outbox_row
from amana.eligibility.reversal_records import Saga
from amana.eligibility.review_records import Review
from amana.infra.outbox import OutboxRow

TYPES = {
    ReviewKind.OVERRIDE: "DecisionOverridden",
    ReviewKind.APPEAL: "DecisionAppealed",
    ReviewKind.RESOLUTION: "AppealResolved",
    ReviewKind.REVERSAL: "DecisionReversed",
    ReviewKind.RESUMPTION: "DecisionReversalResumed",
    ReviewKind.ABANDONMENT: "DecisionReversalAbandoned",
}


def reviewed(review: Review, case: Case, trace: str, undo: UndoTerms | None = None) -> OutboxRow:
    """The event of a review. Its aggregate is the decision, at the version that the review gave it.

    A reversal with something to `undo` has only started; `all_undone` tells when it is over.
    """
    started = review.kind is ReviewKind.REVERSAL and review.standing is Standing.REVERSING
    type_ = "DecisionReversalStarted" if started else TYPES[review.kind]
    more = _started(review, undo) if started and undo is not None else _OF_KIND[review.kind](review)
    data = _of_review(review, case.customer, case.product) | more
    if review.kind is ReviewKind.RESOLUTION and review.standing is Standing.REVERSING:
        data["standing"] = str(Standing.REVERSED)  # as its readers know it: withdrawn for good
    aggregate = Aggregate("decision", review.decision_id, review.version)
    return outbox_row(review.tenant, type_, aggregate, review.reviewed_at, review.actor, trace, data)


def all_undone(saga: Saga, review: Review, version: int, now: datetime) -> OutboxRow:
    """`DecisionReversed` of a reversal that had something to undo: what became of each offer."""
    data = _of_review(review, saga.customer, saga.product) | _reversal(review, saga)
    data["standing"] = str(Standing.REVERSED)
    return outbox_row(
        saga.tenant, "DecisionReversed", Aggregate("decision", saga.decision_id, version), now, SYSTEM, "", data
    )


def stuck(saga: Saga, version: int, now: datetime) -> OutboxRow:
    """`DecisionReversalStuck`: a person is needed."""
    data = {
        "reversal": str(saga.reversal_id),
        "customer": str(saga.customer),
        "product": saga.product,
        "standing": str(Standing.REVERSING),
        "offers": [_step(step) | {"stuck_because": step.stuck_because} for step in saga.steps],
    }
    aggregate = Aggregate("decision", saga.decision_id, version)
    return outbox_row(saga.tenant, "DecisionReversalStuck", aggregate, now, SYSTEM, "", data)


def _of_review(review: Review, customer: UUID, product: str) -> dict[str, Any]:
    return {
        "review": str(review.review_id),
        "customer": str(customer),
        "product": product,
        "standing": str(review.standing),
        "words": review.words_digest,
    }


def _override(review: Review) -> dict[str, Any]:
    terms = None if review.terms is None else msgspec.to_builtins(review.terms)
    return {
        "outcome": review.outcome,
        "supersedes": review.asked.get("supersedes"),
        "terms": terms,
        "expires_at": None if review.expires_at is None else utc_text(review.expires_at),
    }


def _appeal(_review: Review) -> dict[str, Any]:
    return {}


def _resolution(review: Review) -> dict[str, Any]:
    return {
        "appeal": review.asked["appeal"],
        "outcome": review.outcome,
        "changed_by": review.asked.get("changed_by"),
    }


def _started(review: Review, undo: UndoTerms) -> dict[str, Any]:
    policy = {"name": undo.policy, "version": undo.policy_version, "hash": undo.policy_hash}
    return {
        "withdrawn": [str(offer) for offer in review.offers or ()],
        "loans": review.asked.get("loans", str(UndoLoans.KEEP)),
        "kept_because": None if undo.kept is None else str(undo.kept),
        "policy": None if undo.policy is None else policy,
        "terms": None if undo.terms is None else msgspec.to_builtins(undo.terms),
    }


def _reversal(review: Review, saga: Saga | None = None) -> dict[str, Any]:
    return {
        "withdrawn": [str(offer) for offer in review.offers or ()],
        "offers": [] if saga is None else [_step(step) for step in saga.steps],
    }


def _step(step: Step) -> dict[str, Any]:
    return {
        "offer": str(step.offer),
        "state": str(step.state),
        "loan": None if step.loan is None else str(step.loan),
        "kept_because": None if step.kept_because is None else str(step.kept_because),
    }


def _help(review: Review) -> dict[str, Any]:
    return {"reversal": review.asked["reversal"]}


_OF_KIND: dict[ReviewKind, Callable[[Review], dict[str, Any]]] = {
    ReviewKind.OVERRIDE: _override,
    ReviewKind.APPEAL: _appeal,
    ReviewKind.RESOLUTION: _resolution,
    ReviewKind.REVERSAL: _reversal,
    ReviewKind.RESUMPTION: _help,
    ReviewKind.ABANDONMENT: _help,
}
