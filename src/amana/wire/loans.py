"""Requests and responses about loans, and what eligibility and transactions ask of each other."""

from datetime import date, datetime
from typing import Annotated
from uuid import UUID

from msgspec import Meta

from amana.domain.lending import LoanOrigin, LoanStatus
from amana.domain.money import Currency
from amana.wire.common import END, Instant, Request, Response

STANDINGS_MAX = 1_000
Product = Annotated[str, Meta(min_length=1, max_length=40, pattern=rf"^[a-z][a-z0-9_-]*{END}")]
TermDays = Annotated[int, Meta(ge=1, le=3650)]
LOAN_AMOUNT_MAX = 10**12
"""Kobo: ten billion naira. A slip of the finger on a loan must not fill the counters of an account that all share."""
LoanAmount = Annotated[int, Meta(ge=1, le=LOAN_AMOUNT_MAX, description="Minor units (kobo), at least 1.")]
LoanFee = Annotated[int, Meta(ge=0, le=LOAN_AMOUNT_MAX, description="Minor units (kobo).")]


class ImportedTerms(Request):
    """A loan of an older book that the policy did not offer. Needs the scope `tape:import`."""

    customer: UUID
    product: Product
    currency: Currency
    principal: LoanAmount
    fee: LoanFee
    term_days: TermDays
    decision_id: UUID | None = None


class LoanRequest(Request):
    """A loan to book: exactly one of `offer_id` and `imported`.

    `effective_at`, the business instant, is now unless given; giving it needs the scope `tape:import`.
    """

    id: UUID
    offer_id: UUID | None = None
    imported: ImportedTerms | None = None
    effective_at: Instant | None = None


class LoanView(Response):
    """A loan as it stands. Amounts in minor units.

    `reversal` is the reversal of its decision, while the loan is `reversing` and when it is `reversed`.
    """

    id: UUID
    customer: UUID
    product: str
    currency: str
    principal: int
    fee: int
    term_days: int
    origin: LoanOrigin
    decision_id: UUID | None
    effective_at: datetime
    effective_on: date
    due_on: date
    principal_outstanding: int
    fee_outstanding: int
    outstanding: int
    status: LoanStatus
    closed_at: datetime | None
    booked_at: datetime
    reversal: UUID | None = None
    reversed_at: datetime | None = None
    replayed: bool = False


class RepaymentRequest(Request):
    """Money received for a loan. `inferred` marks an amount that a tape did not say."""

    id: UUID
    amount: LoanAmount
    inferred: bool = False
    effective_at: Instant | None = None


class RepaymentReversalRequest(Request):
    """Takes a repayment back (a returned payment)."""

    id: UUID
    effective_at: Instant | None = None


class RepaymentView(Response):
    """A repayment, how it was shared out, and what it left of the loan."""

    repayment: UUID
    loan: UUID
    amount: int
    fee_part: int
    principal_part: int
    excess: int
    inferred: bool
    effective_at: datetime
    effective_on: date
    loan_outstanding: int
    loan_status: LoanStatus
    reversed_by: UUID | None
    replayed: bool = False


class LoanPage(Response):
    """A customer's loans; `next` is the cursor of the next page, None at the end."""

    loans: list[LoanView]
    next: UUID | None


class RepaymentList(Response):
    """A loan's repayments in business order."""

    repayments: list[RepaymentView]


class StandingItem(Request):
    """One customer; with `as_of`, as things stood at that instant."""

    customer: UUID
    as_of: Instant | None = None


class StandingsRequest(Request):
    """Whose standing is asked for, in one currency."""

    currency: Currency
    items: Annotated[list[StandingItem], Meta(min_length=1, max_length=STANDINGS_MAX)]


class StandingView(Response):
    """What a customer owes and how they repaid. Zeros for a customer that the ledger does not know.

    Without `as_of` the exposure is the control account's, holds included; with it, what the loans owed then.
    `open_due_on` is the first due date of a loan that owes. `lasts`: nothing that is recorded takes effect at `as_of`
    or later, so that until the ledger records something only days pass.
    """

    customer: UUID
    credit_limit: int | None
    exposure: int
    loans_total: int
    loans_open: int
    loans_closed: int
    worst_days_past_due: int
    current_days_past_due: int
    largest_principal_repaid: int
    repaid_total: int
    first_loan_on: date | None
    last_closed_on: date | None
    as_of: datetime
    open_due_on: date | None = None
    lasts: bool = False


class Standings(Response):
    """In the order of the request."""

    standings: list[StandingView]


class OfferTerms(Response):
    """What eligibility confirms of an offer just before it is booked."""

    offer_id: UUID
    customer: UUID
    product: str
    currency: str
    principal: int
    fee: int
    term_days: int
    exposure_cap: int
    decision_id: UUID
    decided_at: datetime
    expires_at: datetime
