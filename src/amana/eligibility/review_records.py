"""What eligibility keeps of reviews, as values."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec

from amana.domain.book import Asked, Json
from amana.domain.commitments import Words
from amana.domain.decision_reversal import UndoTerms
from amana.domain.money import Currency
from amana.domain.pricing import Price
from amana.domain.privacy import Processing
from amana.domain.review import AppealState, OverrideTerms, ResolutionOutcome, ReviewKind, Standing
from amana.eligibility.records import Look


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A review that was judged and is not stored yet. `version` and `standing` are the decision's after it."""

    asked: Asked
    decision_id: UUID
    version: int
    standing: Standing
    words: Words
    outcome: str | None = None
    terms: OverrideTerms | None = None
    ttl_s: int | None = None
    offers: tuple[UUID, ...] | None = None
    undo: UndoTerms | None = None


class Review(msgspec.Struct, frozen=True, kw_only=True):
    """A stored review. `asked` holds the request's fields but for `words`.

    They are in `sealed` until they are opened, and None once they are erased.
    """

    tenant: int
    review_id: UUID
    decision_id: UUID
    version: int
    kind: ReviewKind
    asked: Json
    standing: Standing
    outcome: str | None
    terms: OverrideTerms | None
    expires_at: datetime | None
    offers: tuple[UUID, ...] | None
    actor: str
    words_digest: str
    reviewed_at: datetime
    words: Words | None = None
    sealed: bytes | None = None


def stored(draft: Draft, reviewed_at: datetime, expires_at: datetime | None) -> Review:
    """What a draft is once the database has given it its instant."""
    asked = draft.asked
    return Review(
        tenant=asked.tenant,
        review_id=asked.id,
        decision_id=draft.decision_id,
        version=draft.version,
        kind=ReviewKind(asked.kind),
        asked=asked.request,
        standing=draft.standing,
        outcome=draft.outcome,
        terms=draft.terms,
        expires_at=expires_at,
        offers=draft.offers,
        actor=asked.actor,
        words_digest=draft.words.digest(),
        reviewed_at=reviewed_at,
        words=draft.words,
    )


class Stands(NamedTuple):
    """How a decision stands, at which version, and its newest override."""

    version: int
    standing: Standing
    override_id: UUID | None


UNREVIEWED = Stands(1, Standing.ACTIVE, None)


class Appeal(msgspec.Struct, frozen=True, kw_only=True):
    """An appeal as the work list shows it. `sealed` holds the customer's own words, None once they are erased."""

    appeal_id: UUID
    decision_id: UUID
    customer: UUID
    product: str
    state: AppealState
    filed_at: datetime
    resolution_id: UUID | None
    resolution: ResolutionOutcome | None
    sealed: bytes | None


class OverrideOffer(msgspec.Struct, frozen=True, kw_only=True):
    """The offer of an approving override, and the newest decision that looked at it, if one did.

    `decision_id` is the decision that was overridden; `standing` and `override_id` are its,
    `processing` is the customer's.
    """

    offer_id: UUID
    decision_id: UUID
    customer: UUID
    product: str
    currency: Currency
    network: str | None
    terms: OverrideTerms
    expires_at: datetime
    expired: bool
    standing: Standing
    override_id: UUID | None
    processing: Processing
    newest: Look | None

    @property
    def amount(self) -> int:
        """What is offered."""
        return self.terms.amount

    @property
    def price(self) -> Price:
        """What it costs."""
        return self.terms.price
