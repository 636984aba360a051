"""What a command must find locked or read before it runs: filled before the locks, from what never changes."""

from dataclasses import dataclass, field
from uuid import UUID

from amana.domain.book import Asked
from amana.domain.lending import Loan, loan_accounts
from amana.domain.transfer import Hold, Key, Transfer

LOAN_LEGS = ("exposure", "disbursement", "fee")
REPAYMENT_LEGS = ("fee_repayment", "principal_repayment", "excess", "exposure_release")


@dataclass(slots=True)
class Needs:
    """The keys of the rows that a batch must see. Accounts get locked, the rest is read after the locks.

    What is held beyond its time is released first on the `accounts` on which it could tell: those with a limit or
    floor, and those whose every figure counts (`exact`). `bystanders` are locked, but nothing is asked about them: so
    what a batch releases does not spread from account to account.
    """

    ids: set[Key] = field(default_factory=set)
    accounts: set[Key] = field(default_factory=set)
    exact: set[Key] = field(default_factory=set)
    bystanders: set[Key] = field(default_factory=set)
    originals: set[Key] = field(default_factory=set)
    holds: set[Key] = field(default_factory=set)
    loans: set[Key] = field(default_factory=set)
    repayments: set[Key] = field(default_factory=set)
    offers: set[tuple[int, UUID, UUID]] = field(default_factory=set)
    """(tenant, offer, customer)"""
    withdrawals: set[tuple[int, UUID, UUID]] = field(default_factory=set)
    """The same, of offers whose loans must be read with their repayments."""
    undone: set[Key] = field(default_factory=set)
    """Loans that must be read with their repayments and every leg of both."""
    noted: set[Key] = field(default_factory=set)
    """Accounts that are moved by what says something in its client's words."""
    has_notes: bool = False
    most: int = 0
    """All that the batch could move, in minor units of whatever currency. What can't fill a counter with that need not
    be exact for its counters' sake."""

    @property
    def is_about_earlier(self) -> bool:
        """Whether a command names something earlier instead of its accounts."""
        return bool(self.originals or self.holds or self.loans or self.withdrawals)

    def claims(self) -> set[Key]:
        """The ids, accounts and earlier things."""
        return self.accounts.union(self.bystanders, self.ids, self.holds, self.originals, self.loans)


@dataclass(frozen=True, slots=True)
class Found:
    """What never changes and so may be read before the locks: which accounts an original, hold or loan moves."""

    transfers: dict[Key, Transfer]
    holds: dict[Key, Hold]
    loans: dict[Key, Loan]


@dataclass(frozen=True, slots=True)
class OneCommand:
    """A command of a client's that is answered alone."""

    asked: Asked

    @property
    def tenant(self) -> int:
        """Whose it is."""
        return self.asked.tenant

    @property
    def weight(self) -> int:
        """How many commands it counts for."""
        return 1


def need_loan_accounts(needs: Needs, loan: Loan, shards: int) -> None:
    """Every account that a loan moves. Their locks are also the lock on the loan."""
    a = loan_accounts(loan.tenant, loan.id, loan.customer, loan.currency, shards)
    for account in (a.exposure, a.contra, a.principal, a.fee, a.funding, a.fee_income, a.wallet):
        needs.accounts.add((loan.tenant, account))
