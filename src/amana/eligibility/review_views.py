"""From reviews to responses. What a person wrote is shown to those who judge, and to nobody else."""

from uuid import UUID

import msgspec

from amana.domain.review import OverrideOutcome, ResolutionOutcome
from amana.eligibility import views
from amana.eligibility.explaining import Explained
from amana.eligibility.judging import Done
from amana.eligibility.reversal_records import Saga
from amana.eligibility.review_records import Appeal, Review
from amana.gateway.caller import Caller
from amana.wire.eligibility import OfferView, PriceView
from amana.wire.reviews import (
    AppealView,
    ReversalView,
    ReviewAnswer,
    ReviewedDecision,
    ReviewView,
    UndoneOffer,
)

MAY_JUDGE = "decisions:override"
_OUTCOMES: dict[str, OverrideOutcome | ResolutionOutcome] = {
    str(outcome): outcome for outcomes in (OverrideOutcome, ResolutionOutcome) for outcome in outcomes
}


def answer_view(caller: Caller, done: Done) -> ReviewAnswer:
    """The answer to a request to review."""
    review = done.review
    return ReviewAnswer(
        review=review_view(review, with_words=caller.may(MAY_JUDGE)),
        standing=review.standing,
        booked=None if review.offers is None else "unknown" if review.offers else "no",
        replayed=done.replayed,
    )


def review_view(review: Review, *, with_words: bool) -> ReviewView:
    """One review."""
    terms, asked, words = review.terms, review.asked, review.words if with_words else None
    offer = None if review.expires_at is None else OfferView(id=review.review_id, expires_at=review.expires_at)
    return ReviewView(
        id=review.review_id,
        decision_id=review.decision_id,
        kind=review.kind,
        version=review.version,
        standing=review.standing,
        reviewed_at=review.reviewed_at,
        actor=review.actor,
        outcome=None if review.outcome is None else _OUTCOMES[review.outcome],
        amount=None if terms is None else terms.amount,
        exposure_cap=None if terms is None else terms.exposure_cap,
        price=None if terms is None else PriceView(**msgspec.structs.asdict(terms.price)),
        overruled=None if terms is None else list(terms.overruled),
        offer=offer,
        supersedes=_id(asked.get("supersedes")),
        appeal=_id(asked.get("appeal")),
        changed_by=_id(asked.get("changed_by")),
        withdrawn=None if review.offers is None else list(review.offers),
        reversal=_id(asked.get("reversal")),
        words_digest=review.words_digest,
        reviewer=None if words is None else words.reviewer,
        reason=None if words is None else words.reason,
    )


def appeal_view(appeal: Appeal, reason: str | None) -> AppealView:
    """One appeal of the work list, with what the customer wrote where the caller may read it."""
    return AppealView(
        id=appeal.appeal_id,
        decision_id=appeal.decision_id,
        customer=appeal.customer,
        product=appeal.product,
        state=appeal.state,
        filed_at=appeal.filed_at,
        resolution_id=appeal.resolution_id,
        resolution=appeal.resolution,
        reason=reason,
    )


def reviewed_decision(explained: Explained, *, with_words: bool) -> ReviewedDecision:
    """A decision with its reviews."""
    return ReviewedDecision(
        **msgspec.structs.asdict(views.decision_view(explained.found, explained.policy)),
        standing=explained.stands.standing,
        review_count=explained.review_count,
        reviews=[review_view(review, with_words=with_words) for review in explained.reviews],
        reversal=None if explained.reversal is None else reversal_view(explained.reversal),
    )


def reversal_view(saga: Saga) -> ReversalView:
    """A reversal and its steps."""
    return ReversalView(
        id=saga.reversal_id,
        decision_id=saga.decision_id,
        customer=saga.customer,
        product=saga.product,
        state=saga.state,
        loans=saga.undo.asked,
        terms=saga.undo.terms,
        begun_at=saga.begun_at,
        over_at=saga.over_at,
        offers=[
            UndoneOffer(
                offer=step.offer,
                state=step.state,
                loan=step.loan,
                kept_because=step.kept_because,
                stuck_because=step.stuck_because,
            )
            for step in saga.steps
        ],
    )


def _id(text: str | None) -> UUID | None:
    return None if text is None else UUID(text)
