"""Requests and responses of the reviews of a decision: overrides, appeals, resolutions, reversals."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta

from amana.domain.decision_reversal import SagaState, StepState, UndoLoans
from amana.domain.loan_reversal import Kept
from amana.domain.policy import LoanReversal
from amana.domain.review import AppealState, OverrideOutcome, ResolutionOutcome, ReviewKind, Standing
from amana.wire.common import Amount, Request, Response
from amana.wire.eligibility import DecisionView, OfferView, PriceView, TermDays

TTL_S_MAX = 30 * 86_400
OfferTtlS = Annotated[int, Meta(ge=60, le=TTL_S_MAX, description="Seconds that the offer stands, at most 30 days.")]
Reviewer = Annotated[str, Meta(min_length=1, max_length=100, description="Who judges. Kept apart, never in events.")]
Why = Annotated[str, Meta(min_length=1, max_length=2_000, description="In plain words. Kept apart, never in events.")]


class OverrideRequest(Request):
    """A person decides otherwise.

    To `approve` needs `amount`, `exposure_cap` (what the customer may owe in all, at most the product's cap) and
    `ttl_s`, for which the offer stands; `term_days` is the decision's unless given. To `decline` takes none of them.
    A decision that was overridden before is overridden again only by naming that override in `supersedes`.
    """

    id: UUID
    outcome: OverrideOutcome
    reviewer: Reviewer
    reason: Why
    amount: Amount | None = None
    exposure_cap: Amount | None = None
    term_days: TermDays | None = None
    ttl_s: OfferTtlS | None = None
    supersedes: UUID | None = None


class AppealRequest(Request):
    """The customer contests a decision. `reason` is what they say."""

    id: UUID
    reason: Why


class ResolutionRequest(Request):
    """A person answers an appeal: `upheld`, or `changed` by an override or reversal made since, which it names."""

    id: UUID
    outcome: ResolutionOutcome
    reviewer: Reviewer
    reason: Why
    changed_by: UUID | None = None


class DecisionReversalRequest(Request):
    """Withdraws a decision.

    `loans` that were booked from it are kept unless `reverse` is said; then they are undone where the product's policy
    allows it, and that is not for the key that asked for the decision.
    """

    id: UUID
    reviewer: Reviewer
    reason: Why
    loans: UndoLoans = UndoLoans.KEEP


class ReversalHelpRequest(Request):
    """A person has a stuck reversal go on, having looked at what stopped it; or gives up what is left of it."""

    id: UUID
    reviewer: Reviewer
    reason: Why


class ReviewView(Response):
    """One review. What does not belong to its kind is null.

    `version` and `standing` are the decision's after it, `actor` the key's id. A resumption or abandonment names the
    `reversal` that it helps on. `overruled` are the knock-outs against
    which an override stands, `offer` is what may be booked under an approving one. `withdrawn` are the offers that a
    reversal ended. `reviewer` and `reason` are shown to keys with the scope `decisions:override`, and null once they
    are erased; `words_digest` is the salted SHA-256 of them that the event carries.
    """

    id: UUID
    decision_id: UUID
    kind: ReviewKind
    version: int
    standing: Standing
    reviewed_at: datetime
    actor: str
    outcome: OverrideOutcome | ResolutionOutcome | None
    amount: int | None
    exposure_cap: int | None
    price: PriceView | None
    overruled: list[str] | None
    offer: OfferView | None
    supersedes: UUID | None
    appeal: UUID | None
    changed_by: UUID | None
    withdrawn: list[UUID] | None
    reversal: UUID | None
    words_digest: str
    reviewer: str | None
    reason: str | None


class ReviewAnswer(Response):
    """What came of a request to review.

    `booked` is there for a reversal: `no` where the decision never made an offer, else `unknown`, because loans are
    the ledger's and this service does not know whether one of the `withdrawn` offers had become one before.
    """

    review: ReviewView
    standing: Standing
    booked: Literal["no", "unknown"] | None
    replayed: bool


class AppealView(Response):
    """An appeal. `reason` is shown to keys with the scope `decisions:override`, and null once it is erased."""

    id: UUID
    decision_id: UUID
    customer: UUID
    product: str
    state: AppealState
    filed_at: datetime
    resolution_id: UUID | None
    resolution: ResolutionOutcome | None
    reason: str | None


class AppealPage(Response):
    """Appeals in one state, oldest first; `next` is the cursor of the next page, None at the end."""

    appeals: list[AppealView]
    next: UUID | None


class UndoneOffer(Response):
    """One offer of a reversed decision: where it is, the loan that it was booked as, and why that is kept.

    `stuck_because` is the ledger's reason for refusing the next step; a person is to look at it.
    """

    offer: UUID
    state: StepState
    loan: UUID | None
    kept_because: Kept | None
    stuck_because: str | None


class ReversalView(Response):
    """A reversal and how far it has come. `loans` says what was asked about them, `terms` how they go back.

    `running`: it goes on by itself. `stuck`: it waits for a person. `over`: nothing more happens.
    """

    id: UUID
    decision_id: UUID
    customer: UUID
    product: str
    state: SagaState
    loans: UndoLoans
    terms: LoanReversal | None
    begun_at: datetime
    over_at: datetime | None
    offers: list[UndoneOffer]


class ReversalPage(Response):
    """Reversals in one state, oldest first; `next` is the cursor of the next page, None at the end."""

    reversals: list[ReversalView]
    next: UUID | None


class ReviewedDecision(DecisionView):
    """A recorded decision, explained whole, with how it stands now and its reviews in order (the newest 100).

    `reversal` is there once the decision was reversed and had offers to undo. An approving override's id finds the
    decision that it overrode. Of a decision that looked at an offer again, the
    standing and the reviews are those of the decision that made the offer.
    """

    standing: Standing
    review_count: int
    reviews: list[ReviewView]
    reversal: ReversalView | None
