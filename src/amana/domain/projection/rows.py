"""The rows that the folds rebuild: the columns of the live tables that events can say.

The fields are the columns, in the order of `scratch.sql`. `position` is that of the event that last touched the row,
None while it has none. What a live table has beyond these is listed, with the reason, in `operate/replay/columns.py`.
"""

from datetime import date, datetime
from typing import NamedTuple
from uuid import UUID

from msgspec import Struct


class AccountRow(Struct, gc=False):
    """An account: counters, bounds, state."""

    tenant: int
    id: UUID
    shard: int
    owner: UUID
    currency: str
    code: str
    normal_side: str
    credit_limit: int | None
    floor: int | None
    opened_at: datetime
    last_posted_at: datetime
    status: str = "open"
    frozen_for: str | None = None
    debits_pending: int = 0
    debits_posted: int = 0
    credits_pending: int = 0
    credits_posted: int = 0
    version: int = 0
    last_transfer: UUID | None = None
    revision: int = 1
    position: int | None = None


class HoldRow(Struct, gc=False):
    """What became of a hold."""

    tenant: int
    id: UUID
    shard: int
    debit_account: UUID
    credit_account: UUID
    amount: int
    currency: str
    code: str
    ttl_s: int | None
    expires_at: datetime | None
    captured: int = 0
    state: str = "open"
    version: int = 1
    position: int | None = None


class TransferRow(NamedTuple):
    """A movement, and both accounts as it left them."""

    tenant: int
    id: UUID
    shard: int
    kind: str
    debit_account: UUID
    credit_account: UUID
    amount: int
    currency: str
    code: str
    effective_on: date
    posted_at: datetime
    original: UUID | None
    released: int
    command: UUID | None
    debit_version: int
    debit_previous: UUID | None
    debit_debits_pending: int
    debit_debits_posted: int
    debit_credits_pending: int
    debit_credits_posted: int
    credit_version: int
    credit_previous: UUID | None
    credit_debits_pending: int
    credit_debits_posted: int
    credit_credits_pending: int
    credit_credits_posted: int
    position: int | None


class MarkRow(NamedTuple):
    """A place to begin a walk along an account's chain."""

    tenant: int
    account: UUID
    version: int
    shard: int
    transfer: UUID
    posted_at: datetime
    position: int | None


class LoanRow(Struct, gc=False):
    """A loan and what is paid of it."""

    tenant: int
    id: UUID
    shard: int
    customer: UUID
    product: str
    currency: str
    principal: int
    fee: int
    term_days: int
    due_on: date
    origin: str
    decision_id: UUID | None
    effective_at: datetime
    booked_at: datetime
    principal_paid: int = 0
    fee_paid: int = 0
    closed_at: datetime | None = None
    version: int = 1
    reversal: UUID | None = None
    reversed_by: UUID | None = None
    reversed_at: datetime | None = None
    position: int | None = None

    @property
    def outstanding(self) -> int:
        """What is still owed, fee included; of a loan that was undone nothing."""
        return 0 if self.reversed_by else self.principal + self.fee - self.principal_paid - self.fee_paid


class RepaymentRow(Struct, gc=False):
    """Money received for a loan, and whether it was taken back."""

    tenant: int
    id: UUID
    shard: int
    loan: UUID
    amount: int
    fee_part: int
    principal_part: int
    excess: int
    inferred: bool
    effective_at: datetime
    received_at: datetime
    reversed_by: UUID | None = None
    reversal_effective_at: datetime | None = None
    position: int | None = None


class WithdrawnRow(NamedTuple):
    """An offer that is never booked, in its customer's shard."""

    tenant: int
    offer: UUID
    shard: int
    reversal: UUID
    withdrawn_at: datetime
    position: int | None
