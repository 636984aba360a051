"""The events of reviews. Each points at its decision; who judged and why is in none of them, only a digest of it."""

from typing import Any

import msgspec

from amana.domain.events import Aggregate, utc_text
from amana.domain.review import Case, ReviewKind
from amana.eligibility.events import outbox_row
from amana.eligibility.review_records import Review
from amana.infra.outbox import OutboxRow

TYPES = {
    ReviewKind.OVERRIDE: "DecisionOverridden",
    ReviewKind.APPEAL: "DecisionAppealed",
    ReviewKind.RESOLUTION: "AppealResolved",
    ReviewKind.REVERSAL: "DecisionReversed",
}


def reviewed(review: Review, case: Case, trace: str) -> OutboxRow:
    """The event of a review. Its aggregate is the decision, at the version that the review gave it."""
    data = {
        "review": str(review.review_id),
        "customer": str(case.customer),
        "product": case.product,
        "standing": str(review.standing),
        "words": review.words_digest,
        **_OF_KIND[review.kind](review),
    }
    aggregate = Aggregate("decision", review.decision_id, review.version)
    return outbox_row(review.tenant, TYPES[review.kind], aggregate, review.reviewed_at, review.actor, trace, data)


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


def _reversal(review: Review) -> dict[str, Any]:
    return {"withdrawn": [str(offer) for offer in review.offers or ()]}


_OF_KIND = {
    ReviewKind.OVERRIDE: _override,
    ReviewKind.APPEAL: _appeal,
    ReviewKind.RESOLUTION: _resolution,
    ReviewKind.REVERSAL: _reversal,
}
