"""What eligibility asks of the ledger when a decision is reversed: offers closed, loans undone or left as they are."""

from uuid import UUID

from amana.domain.lending import LoanStatus
from amana.domain.loan_reversal import Kept, OfferOutcome
from amana.domain.money import Currency
from amana.domain.policy import LoanReversal
from amana.wire.common import Request, Response


class OfferWithdrawalRequest(Request):
    """Closes an offer for ever, or finds the loan that it was booked as.

    `reversal` is the reversal of its decision. `terms` are the policy's, under which a loan may be undone; without them
    it is kept, because of `kept_because`.
    """

    id: UUID
    customer: UUID
    currency: Currency
    reversal: UUID
    terms: LoanReversal | None = None
    kept_because: Kept | None = None


class OfferWithdrawalView(Response):
    """What became of the offer. `voided` are the holds that were open under its or its loan's reference."""

    offer: UUID
    outcome: OfferOutcome
    loan: UUID | None
    kept_because: Kept | None
    voided: list[UUID]
    replayed: bool


class LoanReversalRequest(Request):
    """Moves all money of a loan back, in one linked group."""

    id: UUID
    reversal: UUID
    terms: LoanReversal


class LoanReversalView(Response):
    """A loan that was undone. `returned` went to the customer's wallet: what they had paid, in minor units."""

    loan: UUID
    returned: int
    voided: list[UUID]
    replayed: bool


class LoanReversalAbandonmentRequest(Request):
    """Leaves a loan that is `reversing` as it is."""

    id: UUID
    reversal: UUID


class LoanReversalAbandonmentView(Response):
    """A loan that goes on."""

    loan: UUID
    status: LoanStatus
    replayed: bool
