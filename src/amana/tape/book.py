"""The clean book: customers, loans and repayments, typed, in kobo and UTC, with ids that are always the same.

Every id is derived from the book's key and the lender's own reference, and a customer's loans and repayments share the
customer's bucket (ledger shard). So replaying a book twice names the same things and changes nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from hashlib import sha256
from uuid import UUID

from amana.domain.ids import derived_id

CREDIT_LIMIT_DEFAULT = 25_000_000
"""Kobo: what a credit line is opened with when the mapping names no limit for the product."""


@dataclass(frozen=True, slots=True)
class TapeCustomer:
    """A borrower as the lender's record describes them; None is "the book does not say". Income in kobo a month."""

    id: UUID
    ref: str
    kyc_tier: int
    birth_date: date | None = None
    employment: str | None = None
    monthly_income: int | None = None
    bank_code: str | None = None
    phone: str | None = None


@dataclass(frozen=True, slots=True)
class TapeLoan:
    """A loan as it was made: kobo, instants in UTC. `closed_at` None is still open at the end of the book.

    `requested` is the amount that the borrower asked for: the principal where the fee comes on top, principal and fee
    together where the fee is deducted from the payout (an airtime advance).
    """

    id: UUID
    ref: str
    customer: UUID
    product: str
    requested: int
    principal: int
    fee: int
    term_days: int
    applied_at: datetime
    disbursed_at: datetime
    first_repaid_at: datetime | None = None
    closed_at: datetime | None = None

    @property
    def total_due(self) -> int:
        """Principal and fee, kobo."""
        return self.principal + self.fee


@dataclass(frozen=True, slots=True)
class TapeRepayment:
    """Money that came back for a loan, kobo. `inferred`: the book does not state it (see `amana.tape.infer`)."""

    id: UUID
    ref: str
    loan: UUID
    amount: int
    paid_at: datetime
    reversed_at: datetime | None = None
    inferred: bool = False


@dataclass(frozen=True, slots=True)
class Book:
    """A loan book in one currency. Tuples keep the order of the files; `credit_limits` is kobo by product."""

    key: str
    currency: str
    customers: tuple[TapeCustomer, ...]
    loans: tuple[TapeLoan, ...]
    repayments: tuple[TapeRepayment, ...]
    credit_limits: Mapping[str, int] = field(default_factory=dict)

    def credit_limit(self, product: str) -> int:
        """The credit limit, kobo, that a borrower of `product` starts with."""
        return self.credit_limits.get(product, CREDIT_LIMIT_DEFAULT)


def customer_id(key: str, ref: str) -> UUID:
    """The id of a customer: from the book's key and the lender's reference, spread evenly over the buckets."""
    return derived_id(UUID(bytes=sha256(f"{key}/{ref}".encode()).digest()[:16]), "customer")


def loan_id(customer: UUID, ref: str) -> UUID:
    """The id of a loan, in its customer's bucket."""
    return derived_id(customer, f"loan/{ref}")


def repayment_id(loan: UUID, ref: str) -> UUID:
    """The id of a repayment, in its loan's bucket."""
    return derived_id(loan, f"repayment/{ref}")
