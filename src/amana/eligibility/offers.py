"""Looks at an offer again just before it is booked.

One read, when a decision at most 5 s old already speaks of that instant. Else the check's phases once more, at the
price that was offered, and the new decision is recorded whatever it says. Facts that change inside the 5 s, and between
this answer and the booking, are the documented residual; the exposure itself is checked again by the ledger under lock.
"""

from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from amana.domain.decision import Decision
from amana.domain.policy import Outcome
from amana.domain.pricing import Price, Terms
from amana.domain.reasons import Reason
from amana.domain.transfer import Refused
from amana.eligibility import store
from amana.eligibility.flow import Flow
from amana.eligibility.records import Check, Offer
from amana.gateway.caller import Caller
from amana.infra.postgres import reading

DECISION_AGE_MAX_MS = 5_000
"""For a booking now by the clock, and for one from a tape by the tape's own time too."""


class Confirmed(NamedTuple):
    """An offer that stands: its terms, and the decision that says so."""

    offer: Offer
    price: Price
    exposure_cap: int
    decision_id: UUID
    decided_at: datetime


async def confirm(flow: Flow, caller: Caller, offer_id: UUID, as_of: datetime | None) -> Confirmed | Refused:
    """Whether an offer still stands at `as_of` (now when None)."""
    async with reading(flow.pool) as connection:
        offer = await store.find_offer(connection, caller.tenant, offer_id)
    if offer is None:
        return Refused(Reason.OFFER_NOT_FOUND)
    if offer.expired:
        return Refused(Reason.OFFER_EXPIRED)
    price = offer.decision.price
    assert price is not None, "an approved decision has a price"
    if not _speaks_of(offer.newest_as_of, as_of) or offer.age_ms > DECISION_AGE_MAX_MS:
        return await _decide_again(flow, caller, offer, price, as_of)
    if not _stands(offer.newest_decision, price):
        return Refused(Reason.DECISION_CHANGED, {"decision_id": str(offer.newest_id)})
    cap = offer.newest_assessment.exposure_cap
    return Confirmed(offer, price, cap, offer.newest_id, offer.decided_at)


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


async def _decide_again(
    flow: Flow, caller: Caller, offer: Offer, price: Price, as_of: datetime | None
) -> Confirmed | Refused:
    answer = await flow.check(
        Check(
            tenant=caller.tenant,
            actor=caller.key_id,
            trace=caller.trace,
            id=None,
            customer=offer.customer,
            product=offer.product,
            amount=offer.decision.amount,
            currency=offer.currency,
            terms=Terms(fee=price.fee, term_days=price.term_days),
            as_of=as_of,
            offer_id=offer.offer_id,
        )
    )
    if isinstance(answer, Refused):
        return Refused(Reason.DECISION_CHANGED, {"reason": str(answer.reason)})
    if not _stands(answer.decision, price):
        return Refused(Reason.DECISION_CHANGED, {"decision_id": str(answer.decision_id)})
    return Confirmed(offer, price, answer.assessment.exposure_cap, answer.decision_id, answer.decided_at)
