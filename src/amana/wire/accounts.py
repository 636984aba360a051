"""Requests and responses about accounts: what stands on them, what bounds them, how it came there."""

from datetime import date, datetime
from typing import Annotated
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from amana.domain.account import AccountStatus, Freeze, Side
from amana.domain.money import Currency
from amana.domain.transfer import Movement
from amana.wire.common import LIST_MAX, AmountOrZero, Code, Request, Response


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
    """An account to open. A code of the chart has its normal side (an account of another code takes either).

    With a `credit_limit` it may be drawn (debits over credits) up to it; with a `floor` that much must stay on its
    normal side; without either it moves without bound.
    """

    id: UUID
    owner: UUID
    currency: Currency
    normal_side: Side
    code: Code = "general"
    credit_limit: AmountOrZero | None = None
    floor: AmountOrZero | None = None


class AccountsRequest(Request):
    """Accounts to open, each on its own."""

    accounts: Annotated[list[AccountItem], Meta(min_length=1, max_length=LIST_MAX)]


class LimitsRequest(Request):
    """New bounds of an account; null lifts one, and what is not named stays. The balance may be past a new bound."""

    id: UUID
    credit_limit: AmountOrZero | UnsetType | None = UNSET
    floor: AmountOrZero | UnsetType | None = UNSET


class FreezeRequest(Request):
    """What a frozen account refuses: `debits` (money may still come in) or `all`."""

    id: UUID
    frozen_for: Freeze = Freeze.ALL


class AccountChangeRequest(Request):
    """A change without further terms."""

    id: UUID


class AccountChange(Response):
    """The account as the change left it."""

    id: UUID
    account: UUID
    status: AccountStatus
    frozen_for: Freeze | None
    credit_limit: int | None
    floor: int | None
    drawn: int
    replayed: bool


class AccountView(Response):
    """An account's counters. `balance` stands on the normal side.

    `headroom` (to the credit limit) and `available` (to the floor) are None without that bound.
    """

    id: UUID
    owner: UUID
    currency: str
    code: str
    normal_side: Side
    status: AccountStatus
    frozen_for: Freeze | None
    credit_limit: int | None
    headroom: int | None
    floor: int | None
    available: int | None
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
    """One side of a transfer, with the account's counters after it.

    `posted` and `pending` are what it added to the counters of its side: a hold only pends, a capture turns what was
    pending into posted, a void or expiry takes pending away.
    """

    version: int
    transfer: UUID
    kind: Movement
    side: Side
    posted: int
    pending: int
    debits_pending: int
    debits_posted: int
    credits_pending: int
    credits_posted: int
    posted_at: datetime
    effective_on: date


class EntryPage(Response):
    """An account's entries, oldest first; `next` is the cursor of the next page, None at the end."""

    entries: list[EntryView]
    next: int | None


class BalanceView(Response):
    """An account as it stood just before an instant. `version` is that of its last entry then, 0 before the first.

    Its `*_pending` are without what was held beyond its time by then.
    """

    account: UUID
    at: datetime
    version: int
    balance: int
    debits_pending: int
    debits_posted: int
    credits_pending: int
    credits_posted: int


class Statement(Response):
    """An account between two business dates (Africa/Lagos, both included), by the time of posting.

    `complete`: the last day is over, and the statement never changes again. Before that it is as it stands now.
    `opening_balance` + `posted_debits` and `posted_credits`, each on its side, give `closing_balance`, whatever page is
    asked for. `next` is the cursor of the next page of entries, None at the end.
    """

    account: UUID
    currency: str
    normal_side: Side
    first_on: date
    last_on: date
    complete: bool
    opening_balance: int
    closing_balance: int
    posted_debits: int
    posted_credits: int
    entries: list[EntryView]
    next: int | None


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
