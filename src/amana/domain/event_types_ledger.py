"""The events of transactions, declared: accounts, transfers, holds, loans.

What is written of a movement on the hot path is `events.MovementData`, whose members are those of the five types here;
a test holds the one to the others.
"""

from datetime import date
from uuid import UUID

from msgspec import field

from amana.domain.account import Freeze, Side
from amana.domain.event_kinds import ABSENT, Absent, Count, Data, DataRead, Digest, EventType, Instant, Whole
from amana.domain.lending import LoanOrigin


class AccountClosed(Data, frozen=True):
    """An account was closed, for ever."""

    account: UUID


class AccountFrozen(Data, frozen=True):
    """An account moves nothing, or is not debited, until it is opened again."""

    account: UUID
    frozen_for: Freeze


class AccountLimitChanged(Data, frozen=True):
    """A credit line was set, or an account's own limit or floor. Nothing else ever changes them."""

    account: UUID
    owner: UUID
    currency: str
    from_: Count | None = field(name="from")
    to: Count | None
    floor_from: Count | None
    floor_to: Count | None
    drawn: Whole
    customer: UUID | Absent = ABSENT


class AccountOpened(Data, frozen=True):
    """An account was opened: by a client, with a credit line, or with a loan."""

    account: UUID
    owner: UUID
    currency: str
    code: str
    normal_side: Side
    credit_limit: Count | None
    floor: Count | None


class AccountUnfrozen(Data, frozen=True):
    """A frozen account was opened again."""

    account: UUID


class MovedAccount(Data, frozen=True):
    """An account with its version and its four counters just after a movement."""

    account: UUID
    version: Count
    debits_pending: Count
    debits_posted: Count
    credits_pending: Count
    credits_posted: Count


class _Moved(Data, frozen=True):
    """What is said of every movement. `notes` commits to the client's reference and metadata."""

    transfer: UUID
    amount: Count
    currency: str
    code: str
    effective_on: date
    debit: MovedAccount
    credit: MovedAccount


class TransferPosted(_Moved, frozen=True):
    """A transfer moved. `command` is the loan command that it is a leg of."""

    reverses: UUID | Absent = ABSENT
    command: UUID | Absent = ABSENT
    notes: Digest | Absent = ABSENT


class HoldPlaced(_Moved, frozen=True):
    """An amount is reserved, until `expires_at` or for as long as it takes."""

    expires_at: Instant | Absent = ABSENT
    notes: Digest | Absent = ABSENT


class HoldCaptured(_Moved, frozen=True):
    """All or part of a hold was posted. `released` is what it gave back of the pending amounts: nothing after an
    expiry, and then `reason` says why it was forced. `final`: it ended the hold."""

    hold: UUID
    released: Count | Absent = ABSENT
    final: bool | Absent = ABSENT
    reason: str | Absent = ABSENT
    notes: Digest | Absent = ABSENT


class HoldVoided(_Moved, frozen=True):
    """What was left of a hold was given back."""

    hold: UUID
    released: Count
    command: UUID | Absent = ABSENT
    notes: Digest | Absent = ABSENT


class HoldExpired(_Moved, frozen=True):
    """A hold's time was over: what was left of it is no longer reserved."""

    hold: UUID
    released: Count


class _OfLoan(Data, frozen=True):
    loan: UUID
    customer: UUID
    outstanding: Count


class LoanBooked(_OfLoan, frozen=True):
    """A loan was booked, from an offer or as imported; its transfers are named."""

    product: str
    currency: str
    principal: Count
    fee: Count
    term_days: Count
    origin: LoanOrigin
    decision_id: UUID | None
    effective_at: Instant
    effective_on: date
    due_on: date
    transfers: list[UUID]


class LoanClosed(_OfLoan, frozen=True):
    """A repayment left nothing outstanding. A reversed repayment opens the loan again."""

    effective_at: Instant


class _OfRepayment(_OfLoan, frozen=True):
    repayment: UUID
    amount: Count
    fee_part: Count
    principal_part: Count
    excess: Count
    inferred: bool
    effective_at: Instant
    effective_on: date


class RepaymentReceived(_OfRepayment, frozen=True):
    """Money came in for a loan, and how it was shared out. `inferred`: the book did not say the amount."""


class RepaymentReversed(_OfRepayment, frozen=True):
    """A repayment was taken back, every leg of it; the loan owes it again."""

    reversal: UUID


class _OfReversal(_OfLoan, frozen=True):
    decision_id: UUID | None
    reversal: UUID


class LoanReversalStarted(_OfReversal, frozen=True):
    """The decision behind a loan is reversed, and the loan with it: it is `reversing` until its money has moved."""


class LoanReversalAbandoned(_OfReversal, frozen=True):
    """A loan is not undone after all: it goes on. `reversal` is that of its decision."""


class LoanReversed(_OfReversal, frozen=True):
    """A loan was undone by opposite transfers, in one group, under the command `reversed_by`. Its `repayments` went
    back with it, and what they had paid off, `returned`, to the customer's wallet."""

    effective_at: Instant
    effective_on: date
    repayments: list[UUID]
    returned: Count
    reversed_by: UUID
    transfers: list[UUID]


class OfferWithdrawn(Data, frozen=True):
    """An offer that was never booked is closed, because its decision is reversed."""

    customer: UUID
    offer: UUID
    reversal: UUID


class LedgerRecordRead(DataRead, frozen=True):
    """A key was shown accounts, transfers or loans by `route`: a template. `customers` are whose they are, also owners
    of accounts who are no customers; `rows` is how much it was; what was asked for by its id stands beside them."""


STREAM = "transactions"
_ABOUT: dict[str, tuple[type[Data], ...]] = {
    "account": (AccountClosed, AccountFrozen, AccountLimitChanged, AccountOpened, AccountUnfrozen),
    "hold": (HoldCaptured, HoldExpired, HoldPlaced, HoldVoided),
    "loan": (
        LoanBooked,
        LoanClosed,
        LoanReversalAbandoned,
        LoanReversalStarted,
        LoanReversed,
        RepaymentReceived,
        RepaymentReversed,
    ),
    "offer": (OfferWithdrawn,),
    "read": (LedgerRecordRead,),
    "transfer": (TransferPosted,),
}

LEDGER_EVENTS = tuple(
    EventType(data.__name__, 1, STREAM, aggregate, data) for aggregate, types in _ABOUT.items() for data in types
)
