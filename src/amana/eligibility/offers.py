"""Looks at an offer again just before it is booked.

One read, when a decision at most 5 s old already speaks of that instant. Else the check's phases once more, at the
price that was offered, and the new decision is recorded whatever it says. Facts that change inside the 5 s, and between
this answer and the booking, are the documented residual; the exposure itself is checked again by the ledger under lock.

An override's offer is looked at in the same way, by a decision at most 5 s old, but a person has overruled some of what
that may say: see `domain.review.cap_now`. An offer whose decision was reversed or overridden since is not confirmed;
that is read last, so that no confirmation which begins after a review was answered says yes.
"""

from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from amana.domain.decision import Assessment, Decision
from amana.domain.policy import Outcome
from amana.domain.pricing import Price, Terms
from amana.domain.privacy import Processing
from amana.domain.reasons import Reason
from amana.domain.review import cap_now, refuse_withdrawn
from amana.domain.transfer import Refused
from amana.eligibility import review_store, store
from amana.eligibility.flow import Flow
from amana.eligibility.records import Check, Look, Offer
from amana.eligibility.review_records import OverrideOffer
from amana.gateway.caller import Caller
from amana.infra.postgres import reading

DECISION_AGE_MAX_MS = 5_000
"""For a booking now by the clock, and for one from a tape by the tape's own time too."""


class Confirmed(NamedTuple):
    """An offer that stands: its terms, and the decision that says so."""

    offer: Offer | OverrideOffer
    price: Price
    exposure_cap: int
    decision_id: UUID
    decided_at: datetime


async def confirm(flow: Flow, caller: Caller, offer_id: UUID, as_of: datetime | None) -> Confirmed | Refused:
    """Whether an offer still stands at `as_of` (now when None)."""
    offer = await _find(flow, caller.tenant, offer_id)
    if offer is None:
        return Refused(Reason.OFFER_NOT_FOUND)
    if offer.processing is not Processing.OPEN:
        return Refused(Reason.CUSTOMER_RESTRICTED)
    if refused := refuse_withdrawn(offer_id, offer.standing, offer.override_id):
        return refused
    if offer.expired:
        return Refused(Reason.OFFER_EXPIRED)
    looked = _recent(offer, as_of)
    if looked is None:
        answer = await flow.check(_check(caller, offer, as_of))
        if isinstance(answer, Refused):
            return Refused(Reason.DECISION_CHANGED, {"reason": str(answer.reason)})
        if refused := await _refuse_withdrawn_meanwhile(flow, caller.tenant, offer):
            return refused
        assert isinstance(answer.assessment, Assessment), "what looks at an offer is computed"
        looked = Look(
            decision_id=answer.decision_id,
            as_of=as_of,
            assessment=answer.assessment,
            decision=answer.decision,
            decided_at=answer.decided_at,
            age_ms=0,
        )
    cap = _cap(offer, looked)
    if cap is None:
        return Refused(Reason.DECISION_CHANGED, {"decision_id": str(looked.decision_id)})
    return Confirmed(offer, offer.price, cap, looked.decision_id, looked.decided_at)


async def _find(flow: Flow, tenant: int, offer_id: UUID) -> Offer | OverrideOffer | None:
    async with reading(flow.pool) as connection:
        offer = await store.find_offer(connection, tenant, offer_id)
        return offer or await review_store.find_override_offer(connection, tenant, offer_id)


async def _refuse_withdrawn_meanwhile(flow: Flow, tenant: int, offer: Offer | OverrideOffer) -> Refused | None:
    async with reading(flow.pool) as connection:
        stands = await review_store.find_standing(connection, tenant, offer.decision_id)
    return refuse_withdrawn(offer.offer_id, stands.standing, stands.override_id)


def _recent(offer: Offer | OverrideOffer, as_of: datetime | None) -> Look | None:
    """The newest look at the offer, where it still speaks of that instant."""
    newest = offer.newest
    is_recent = newest is not None and _speaks_of(newest.as_of, as_of) and newest.age_ms <= DECISION_AGE_MAX_MS
    return newest if is_recent else None


def _cap(offer: Offer | OverrideOffer, looked: Look) -> int | None:
    """What the customer may owe in all, None where the decision that looked at the offer ends it."""
    if isinstance(offer, OverrideOffer):
        return cap_now(offer.terms, looked.assessment, looked.decision)
    return looked.assessment.exposure_cap if _stands(looked.decision, offer.price) else None


def _speaks_of(decided: datetime | None, wanted: datetime | None) -> bool:
    """Whether a decision as of `decided` (None is "as of when it was made") still holds at `wanted` (None is now)."""
    if decided is None or wanted is None:
        return decided is wanted
    return timedelta(0) <= wanted - decided <= timedelta(milliseconds=DECISION_AGE_MAX_MS)


def _stands(decision: Decision, offered: Price) -> bool:
    """Whether the newest decision approves what was offered.

    A policy that deducts fees which were added prices the same terms as another loan, or not at all.
    """
    price = decision.price
    if decision.outcome is not Outcome.APPROVE or price is None:
        return False
    return (price.principal, price.fee, price.term_days) == (offered.principal, offered.fee, offered.term_days)


def _check(caller: Caller, offer: Offer | OverrideOffer, as_of: datetime | None) -> Check:
    price = offer.price
    return Check(
        tenant=caller.tenant,
        actor=caller.key_id,
        trace=caller.trace,
        id=None,
        customer=offer.customer,
        product=offer.product,
        amount=offer.amount,
        currency=offer.currency,
        network=offer.network,
        terms=Terms(fee=price.fee, term_days=price.term_days),
        as_of=as_of,
        offer_id=offer.offer_id,
    )
