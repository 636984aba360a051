"""Accounts: where balances accumulate, and the chart of accounts that Amana itself uses.

An account has four counters: debits and credits, pending and posted. Two bounds are optional:

- `credit_limit` bounds what is drawn, `debits_posted + debits_pending - credits_posted`: an exposure control account
  with limit 250,000.00 may owe that much and no more;
- `floor` bounds what must stay on the normal side, holds on the way out included: a customer's wallet with floor 0
  never pays out more than came in, and a bank account of the lender's own (debit side) never more than it holds.

Pending amounts on the way in are never spendable.
"""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from msgspec import Struct

from amana.domain.ids import derived_id
from amana.domain.money import MAX_AMOUNT


class Side(StrEnum):
    """The side on which an account's balance normally stands."""

    DEBIT = "debit"
    CREDIT = "credit"


class AccountStatus(StrEnum):
    """A frozen account moves nothing (or is not debited) until it is opened again; a closed one never moves again."""

    OPEN = "open"
    FROZEN = "frozen"
    CLOSED = "closed"


class Freeze(StrEnum):
    """What a frozen account refuses: debits only (money may still come in), or everything."""

    DEBITS = "debits"
    ALL = "all"


class AccountCode(StrEnum):
    """The chart of accounts. `general` is for whatever else a lender keeps in the same ledger."""

    FUNDING = "funding"
    CAPITAL = "capital"
    FEE_INCOME = "fee_income"
    SUSPENSE = "suspense"
    SETTLEMENT = "settlement"
    LIQUIDITY = "liquidity"
    EXPOSURE = "exposure"
    EXPOSURE_CONTRA = "exposure_contra"
    WALLET = "wallet"
    PRINCIPAL_RECEIVABLE = "principal_receivable"
    FEE_RECEIVABLE = "fee_receivable"
    GENERAL = "general"


NORMAL_SIDE: dict[AccountCode, Side] = {
    AccountCode.FUNDING: Side.DEBIT,
    AccountCode.CAPITAL: Side.CREDIT,
    AccountCode.FEE_INCOME: Side.CREDIT,
    AccountCode.SUSPENSE: Side.CREDIT,
    AccountCode.SETTLEMENT: Side.DEBIT,
    AccountCode.LIQUIDITY: Side.DEBIT,
    AccountCode.EXPOSURE: Side.DEBIT,
    AccountCode.EXPOSURE_CONTRA: Side.CREDIT,
    AccountCode.WALLET: Side.CREDIT,
    AccountCode.PRINCIPAL_RECEIVABLE: Side.DEBIT,
    AccountCode.FEE_RECEIVABLE: Side.DEBIT,
}

SYSTEM_CODES = (AccountCode.FUNDING, AccountCode.FEE_INCOME, AccountCode.EXPOSURE_CONTRA)
"""Opened for a tenant, currency and shard at its first use, one sub-account in each shard."""

RESERVED_CODES = frozenset(
    {
        AccountCode.EXPOSURE,
        AccountCode.EXPOSURE_CONTRA,
        AccountCode.PRINCIPAL_RECEIVABLE,
        AccountCode.FEE_RECEIVABLE,
    }
)
"""Move only with their loan, in one linked group: a plain transfer on one would part the loan from its accounts."""

OWN_CODES = RESERVED_CODES.union(SYSTEM_CODES, {AccountCode.WALLET})
"""Opened by Amana for its own commands, which count on them: nobody closes them."""


class Account(Struct):
    """One account as the ledger last saw it. Amounts in minor units.

    `version` counts the movements on it, `last_transfer` is the newest of them, `revision` counts its own events
    (opened, limit changed, frozen ...). `frozen_for` is None unless it is frozen.
    """

    tenant: int
    id: UUID
    owner: UUID
    currency: str
    code: str
    normal_side: str
    credit_limit: int | None
    last_posted_at: datetime
    status: str = AccountStatus.OPEN
    debits_pending: int = 0
    debits_posted: int = 0
    credits_pending: int = 0
    credits_posted: int = 0
    version: int = 0
    revision: int = 1
    floor: int | None = None
    frozen_for: str | None = None
    last_transfer: UUID | None = None

    @property
    def balance(self) -> int:
        """What stands posted on the normal side; negative where it stands on the other."""
        net = self.debits_posted - self.credits_posted
        return net if self.normal_side == Side.DEBIT else -net

    @property
    def drawn(self) -> int:
        """What counts against the credit limit, pending debits included."""
        return self.debits_posted + self.debits_pending - self.credits_posted

    @property
    def headroom(self) -> int | None:
        """How much more may be drawn: 0 above the limit, None without one."""
        return None if self.credit_limit is None else max(0, self.credit_limit - self.drawn)

    @property
    def available(self) -> int | None:
        """How much may still leave before the floor is reached, holds included: 0 below it, None without one."""
        if self.floor is None:
            return None
        if self.normal_side == Side.CREDIT:
            return max(0, -self.drawn - self.floor)
        return max(0, self.debits_posted - self.credits_posted - self.credits_pending - self.floor)

    @property
    def is_bounded(self) -> bool:
        """Whether a limit or floor makes what is held on it count."""
        return self.credit_limit is not None or self.floor is not None

    def may_fill(self, amount: int) -> bool:
        """Whether `amount` more could be too much for a counter, pending amounts included."""
        most = max(self.debits_posted + self.debits_pending, self.credits_posted + self.credits_pending)
        return most + amount > MAX_AMOUNT

    @property
    def is_settled(self) -> bool:
        """Nothing stands on it and nothing is held: it may be closed."""
        return self.debits_posted == self.credits_posted and not self.debits_pending and not self.credits_pending


def exposure_account_id(customer: UUID, currency: str) -> UUID:
    """The customer's exposure control account in `currency`: known without a look-up."""
    return derived_id(customer, f"exposure/{currency}")


def wallet_account_id(customer: UUID, currency: str) -> UUID:
    """Where money that is the customer's own stands (an overpayment, say)."""
    return derived_id(customer, f"wallet/{currency}")


def principal_account_id(loan: UUID) -> UUID:
    """The loan's principal receivable."""
    return derived_id(loan, "principal")


def fee_account_id(loan: UUID) -> UUID:
    """The loan's fee receivable."""
    return derived_id(loan, "fee")
