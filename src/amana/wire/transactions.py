"""Requests and responses of the transactions service."""

from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

from msgspec import Meta, field

from amana.domain.account import AccountStatus, Side
from amana.domain.lending import LoanOrigin, LoanStatus
from amana.domain.money import Currency
from amana.domain.reasons import Reason
from amana.wire.common import END, LIST_MAX, Amount, AmountOrZero, Instant, Request, Response

STANDINGS_MAX = 1_000
Code = Annotated[
    str, Meta(min_length=1, max_length=40, pattern=rf"^[a-z][a-z0-9_]*{END}", description="What it is for.")
]
Product = Annotated[str, Meta(min_length=1, max_length=40, pattern=rf"^[a-z][a-z0-9_-]*{END}")]
TermDays = Annotated[int, Meta(ge=1, le=3650)]
LOAN_AMOUNT_MAX = 10**12
"""Kobo: ten billion naira. A slip of the finger on a loan must not fill the counters of an account that all share."""
LoanAmount = Annotated[int, Meta(ge=1, le=LOAN_AMOUNT_MAX, description="Minor units (kobo), at least 1.")]
LoanFee = Annotated[int, Meta(ge=0, le=LOAN_AMOUNT_MAX, description="Minor units (kobo).")]


class CreditLineRequest(Request):
    """What a customer may owe in one currency. Opens the control account and the wallet at the first time."""

    id: UUID
    customer: UUID
    currency: Currency
    credit_limit: AmountOrZero


class CreditLine(Response):
    """The line as it stands after the command."""

    id: UUID
    customer: UUID
    currency: str
    credit_limit: int
    exposure: int
    exposure_account: UUID
    wallet_account: UUID
    replayed: bool


class AccountItem(Request):
    """An account to open. With a `credit_limit` it may be drawn (debits over credits) up to it, else without bound."""

    id: UUID
    owner: UUID
    currency: Currency
    normal_side: Side
    code: Code = "general"
    credit_limit: AmountOrZero | None = None


class AccountsRequest(Request):
    """Accounts to open, each on its own."""

    accounts: Annotated[list[AccountItem], Meta(min_length=1, max_length=LIST_MAX)]


class TransferItem(Request):
    """One movement. `linked` ties it to the next item: they move together or not at all."""

    id: UUID
    debit_account: UUID
    credit_account: UUID
    amount: Amount
    currency: Currency
    code: Code = "transfer"
    linked: bool = False
    effective_on: date | None = None


class TransfersRequest(Request):
    """Transfers in the order in which they are to be tried."""

    transfers: Annotated[list[TransferItem], Meta(min_length=1, max_length=LIST_MAX)]


class ItemResult(Response):
    """What came of one item. `figures` stand behind a refusal; `retryable` is False for every stored refusal."""

    id: UUID
    status: str
    reason: Reason | None = None
    figures: dict[str, Any] = field(default_factory=dict)
    replayed: bool = False


class ItemResults(Response):
    """One result for each item, in input order."""

    results: list[ItemResult]


class ReversalRequest(Request):
    """A reversal of a transfer; without `amount`, of all that is left of it."""

    id: UUID
    amount: Amount | None = None


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
    """A loan as it stands. Amounts in minor units."""

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


class AccountView(Response):
    """An account's counters. `balance` stands on the normal side; `headroom` is None without a limit."""

    id: UUID
    owner: UUID
    currency: str
    code: str
    normal_side: Side
    status: AccountStatus
    credit_limit: int | None
    headroom: int | None
    balance: int
    debits_pending: int
    debits_posted: int
    credits_pending: int
    credits_posted: int
    version: int


class AccountPage(Response):
    """An owner's accounts; `next` is the cursor of the next page, None at the end."""

    accounts: list[AccountView]
    next: UUID | None


class EntryView(Response):
    """One side of a transfer, with the account's counters after it."""

    version: int
    transfer: UUID
    side: Side
    amount: int
    debits_posted: int
    credits_posted: int
    posted_at: datetime
    effective_on: date


class EntryPage(Response):
    """An account's entries, oldest first; `next` is the cursor of the next page, None at the end."""

    entries: list[EntryView]
    next: int | None


class TransferView(Response):
    """A posted transfer and how much of it was reversed."""

    id: UUID
    debit_account: UUID
    credit_account: UUID
    amount: int
    currency: str
    code: str
    effective_on: date
    posted_at: datetime
    reverses: UUID | None
    command: UUID | None
    reversed_amount: int


class TrialBalanceLine(Response):
    """The counters of all accounts of one currency and code."""

    currency: str
    code: str
    accounts: int
    debits_posted: int
    credits_posted: int
    debits_pending: int
    credits_pending: int


class TrialBalance(Response):
    """`difference` by currency is the sum of debits less the sum of credits: zero, or money was lost."""

    lines: list[TrialBalanceLine]
    difference: dict[str, int]


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
