"""Loans: how a booking, a repayment and its reversal become transfers.

A loan has its own principal and fee receivable; the customer has one exposure control account per currency that carries
the credit limit and moves in the same linked group:

    booking      exposure        ← exposure contra    principal + fee   (the ledger enforces the limit here)
                 principal rec.  ← funding            principal
                 fee rec.        ← fee income         fee
    repayment    funding         ← fee rec.           fee part          (fees first, then principal,
                 funding         ← principal rec.     principal part     the rest is the customer's)
                 funding         ← wallet             excess
                 exposure contra ← exposure           fee + principal part

Each line reads "debit ← credit". A fee counts as exposure: a limit bounds what is owed, not what was handed out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from uuid import UUID
from zoneinfo import ZoneInfo

from amana.domain.account import (
    AccountCode,
    exposure_account_id,
    fee_account_id,
    principal_account_id,
    wallet_account_id,
)
from amana.domain.ids import derived_id, shard_of, system_account_id
from amana.domain.transfer import Transfer

LAGOS = ZoneInfo("Africa/Lagos")


class LoanOrigin(StrEnum):
    """`offer`: booked from an approved offer. `imported`: an older book's loan that the policy did not offer."""

    OFFER = "offer"
    IMPORTED = "imported"


class LoanStatus(StrEnum):
    """A closed loan owes nothing; a reversed repayment opens it again. One that is `reversing` is owed and repaid until
    its money moves; then it is `reversed` for ever."""

    OPEN = "open"
    CLOSED = "closed"
    REVERSING = "reversing"
    REVERSED = "reversed"


@lru_cache(maxsize=64)  # all of a batch have one instant
def business_date(moment: datetime) -> date:
    """The date in Africa/Lagos: due dates, daily limits and days past due go by it."""
    return moment.astimezone(LAGOS).date()


@dataclass(slots=True)
class Loan:
    """A drawdown. Amounts in minor units; `effective_at` is the business instant of the disbursement; `reversal` is the
    one of its decision, from when it began to undo the loan; `reversed_by` the command that did."""

    tenant: int
    id: UUID
    customer: UUID
    product: str
    currency: str
    principal: int
    fee: int
    term_days: int
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

    @property
    def effective_on(self) -> date:
        """The business date of the disbursement."""
        return business_date(self.effective_at)

    @property
    def due_on(self) -> date:
        """When all of it is due."""
        return self.effective_on + timedelta(days=self.term_days)

    @property
    def principal_outstanding(self) -> int:
        """What is still owed of the principal; of a reversed loan nothing."""
        return 0 if self.reversed_by else self.principal - self.principal_paid

    @property
    def fee_outstanding(self) -> int:
        """What is still owed of the fee; of a reversed loan nothing."""
        return 0 if self.reversed_by else self.fee - self.fee_paid

    @property
    def outstanding(self) -> int:
        """What is still owed, fee included."""
        return self.principal_outstanding + self.fee_outstanding

    @property
    def status(self) -> LoanStatus:
        """Open while anything is owed, unless a reversal has to do with it."""
        if self.reversal is not None:
            return LoanStatus.REVERSED if self.reversed_by else LoanStatus.REVERSING
        return LoanStatus.OPEN if self.outstanding else LoanStatus.CLOSED


@dataclass(slots=True)
class Repayment:
    """Money received for a loan and how it was shared out; the parts sum to `amount`."""

    tenant: int
    id: UUID
    loan: UUID
    amount: int
    fee_part: int
    principal_part: int
    excess: int
    inferred: bool
    effective_at: datetime
    received_at: datetime
    reversed_by: UUID | None = None


def allocate(loan: Loan, amount: int) -> tuple[int, int, int]:
    """(fee part, principal part, excess) of `amount`: fees first, then principal; the parts sum to `amount`."""
    fee_part = min(amount, loan.fee_outstanding)
    principal_part = min(amount - fee_part, loan.principal_outstanding)
    return fee_part, principal_part, amount - fee_part - principal_part


@dataclass(frozen=True, slots=True)
class _Accounts:
    """The accounts that a loan moves."""

    exposure: UUID
    contra: UUID
    principal: UUID
    fee: UUID
    funding: UUID
    fee_income: UUID
    wallet: UUID


def loan_accounts(tenant: int, loan: UUID, customer: UUID, currency: str, shards: int) -> _Accounts:
    """The accounts of a loan, all in its customer's shard and all known without a look-up."""
    shard = shard_of(customer, shards)

    def system(code: AccountCode) -> UUID:
        return system_account_id(tenant, currency, code, shard, shards)

    return _Accounts(
        exposure=exposure_account_id(customer, currency),
        contra=system(AccountCode.EXPOSURE_CONTRA),
        principal=principal_account_id(loan),
        fee=fee_account_id(loan),
        funding=system(AccountCode.FUNDING),
        fee_income=system(AccountCode.FEE_INCOME),
        wallet=wallet_account_id(customer, currency),
    )


def booking_legs(loan: Loan, shards: int) -> list[Transfer]:
    """The linked group that books `loan`. The control account comes first, so a refusal names the limit."""
    accounts = loan_accounts(loan.tenant, loan.id, loan.customer, loan.currency, shards)
    legs = [
        ("exposure", accounts.exposure, accounts.contra, loan.principal + loan.fee),
        ("disbursement", accounts.principal, accounts.funding, loan.principal),
        ("fee", accounts.fee, accounts.fee_income, loan.fee),
    ]
    limited = loan.origin == LoanOrigin.OFFER
    return list(_transfers(loan, loan.id, legs, loan.effective_at, limited))


def repayment_legs(loan: Loan, repayment: Repayment, shards: int) -> list[Transfer]:
    """The linked group that records `repayment` as it was allocated."""
    accounts = loan_accounts(loan.tenant, loan.id, loan.customer, loan.currency, shards)
    legs = [
        ("fee_repayment", accounts.funding, accounts.fee, repayment.fee_part),
        ("principal_repayment", accounts.funding, accounts.principal, repayment.principal_part),
        ("excess", accounts.funding, accounts.wallet, repayment.excess),
        (
            "exposure_release",
            accounts.contra,
            accounts.exposure,
            repayment.fee_part + repayment.principal_part,
        ),
    ]
    return list(_transfers(loan, repayment.id, legs, repayment.effective_at, limited=False))


def reversal_legs(
    loan: Loan, repayment: Repayment, reversal: UUID, effective_at: datetime, shards: int
) -> list[Transfer]:
    """The opposite of every leg of `repayment`. It may leave the customer above the limit: the debt is back anyway."""
    legs = repayment_legs(loan, repayment, shards)
    on = business_date(effective_at)
    return [opposite(leg, derived_id(reversal, leg.code), reversal, on) for leg in legs]


def opposite(leg: Transfer, id_: UUID, command: UUID, effective_on: date, *, limited: bool = False) -> Transfer:
    """The whole of a leg the other way, naming it."""
    return Transfer(
        tenant=leg.tenant,
        id=id_,
        debit_account=leg.credit_account,
        credit_account=leg.debit_account,
        amount=leg.amount,
        currency=leg.currency,
        code=leg.code,
        effective_on=effective_on,
        original=leg.id,
        command=command,
        limit_applies=limited,
    )


def _transfers(
    loan: Loan,
    command: UUID,
    legs: list[tuple[str, UUID, UUID, int]],
    effective_at: datetime,
    limited: bool,
) -> Iterator[Transfer]:
    """The legs that move anything, with ids that a retry makes again."""
    for code, debit, credit, amount in legs:
        if amount:
            yield Transfer(
                tenant=loan.tenant,
                id=derived_id(command, code),
                debit_account=debit,
                credit_account=credit,
                amount=amount,
                currency=loan.currency,
                code=code,
                effective_on=business_date(effective_at),
                command=command,
                limit_applies=limited,
            )
