"""What travels through a batch: commands, the rows that each must find locked or read, and how each is run.

A `Unit` is what one request carries; its commands are answered in their order.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from amana.domain import loan_commands, transfer_commands
from amana.domain.book import Answer, Book, Kind, once
from amana.domain.ids import derived_id
from amana.domain.lending import Loan
from amana.domain.order import Order
from amana.domain.transfer import Refused
from amana.transactions.account_work import ChangeAccount, OpenAccount, SetCreditLine
from amana.transactions.needs import REPAYMENT_LEGS, Found, Needs, OneCommand, need_loan_accounts
from amana.transactions.undoing import AbandonReversal, ReverseLoan, WithdrawOffer


class PostOrders(Struct, frozen=True):
    """A linked group of orders, or a single one; all of one tenant."""

    orders: Sequence[Order]

    @property
    def tenant(self) -> int:
        """Whose it is."""
        return self.orders[0].tenant

    @property
    def weight(self) -> int:
        """How many commands it counts for."""
        return len(self.orders)

    def first(self, needs: Needs) -> None:
        """A post or hold names its accounts; what is about something earlier must find it before its accounts."""
        for order in self.orders:
            needs.ids.add((order.tenant, order.id))
            needs.most += order.amount or 0
            if order.notes is not None:
                needs.has_notes = True
            if order.debit_account is not None and order.credit_account is not None:
                needs.accounts.add((order.tenant, order.debit_account))
                needs.accounts.add((order.tenant, order.credit_account))
                if order.notes is not None:
                    needs.noted.add((order.tenant, order.debit_account))
                    needs.noted.add((order.tenant, order.credit_account))
                if order.balancing is not None:
                    needs.exact.add((order.tenant, order.debit_account))
                    needs.exact.add((order.tenant, order.credit_account))
            elif order.original is not None:
                wanted = needs.originals if order.kind == Kind.REVERSAL else needs.holds
                wanted.add((order.tenant, order.original))

    def then(self, needs: Needs, found: Found, shards: int) -> None:
        """The accounts of originals and holds, whose locks also hold their sums."""
        for order in self.orders:
            if order.original is not None:
                key = order.tenant, order.original
                earlier = found.transfers.get(key) or found.holds.get(key)
                if earlier is not None:
                    needs.most += earlier.amount
                    needs.accounts.add((order.tenant, earlier.debit_account))
                    needs.accounts.add((order.tenant, earlier.credit_account))
                    if order.notes is not None:
                        needs.noted.add((order.tenant, earlier.debit_account))
                        needs.noted.add((order.tenant, earlier.credit_account))

    def run(self, book: Book) -> list[Answer]:
        """One answer for each order."""
        return transfer_commands.post_orders(book, self.orders)


@dataclass(frozen=True, slots=True)
class ExpireHolds:
    """Holds of a tenant that the sweeper found to be over. Whatever is over is released before any command runs."""

    tenant: int
    holds: Sequence[UUID]

    @property
    def weight(self) -> int:
        """How many commands it counts for."""
        return len(self.holds)

    def first(self, needs: Needs) -> None:
        """The holds must be known before their accounts are."""
        needs.holds.update((self.tenant, hold) for hold in self.holds)

    def then(self, needs: Needs, found: Found, shards: int) -> None:
        """The accounts of the holds."""
        for id_ in self.holds:
            hold = found.holds.get((self.tenant, id_))
            if hold is not None:
                needs.bystanders.add((self.tenant, hold.debit_account))
                needs.bystanders.add((self.tenant, hold.credit_account))

    def run(self, book: Book) -> list[Answer]:
        """No answers: nobody asked."""
        return []


@dataclass(frozen=True, slots=True)
class BookLoan(OneCommand):
    """A loan to book; `exposure_cap` comes from the fresh decision, None for an imported loan."""

    loan: Loan
    exposure_cap: int | None
    effective_at_given: bool

    def first(self, needs: Needs) -> None:
        """The offer's use is read after the lock on the customer's control account."""
        needs.ids.add(self.asked.key)
        needs.most += 2 * (self.loan.principal + self.loan.fee)  # receivables, and the exposure
        if self.loan.decision_id is not None:
            needs.offers.add((self.loan.tenant, self.loan.decision_id, self.loan.customer))

    def then(self, needs: Needs, found: Found, shards: int) -> None:
        """Every account of the loan; its own two do not exist yet."""
        need_loan_accounts(needs, self.loan, shards)

    def run(self, book: Book) -> list[Answer]:
        """One answer."""
        # A copy: a batch that is run again starts from what was asked. "Now" is the batch's own.
        loan = replace(self.loan, booked_at=book.now)
        if not self.effective_at_given:
            loan.effective_at = book.now
        return [loan_commands.book_loan(book, self.asked, loan, self.exposure_cap)]


@dataclass(frozen=True, slots=True)
class Repay(OneCommand):
    """Money received for a loan."""

    loan: UUID
    amount: int
    inferred: bool
    effective_at: datetime | None

    def first(self, needs: Needs) -> None:
        """The loan must be known before its accounts are."""
        needs.ids.add(self.asked.key)
        needs.most += 2 * self.amount
        needs.loans.add((self.asked.tenant, self.loan))

    def then(self, needs: Needs, found: Found, shards: int) -> None:
        """The lock on the loan's accounts is also the lock on the loan."""
        loan = found.loans.get((self.asked.tenant, self.loan))
        if loan is not None:
            need_loan_accounts(needs, loan, shards)

    def run(self, book: Book) -> list[Answer]:
        """One answer."""
        effective_at = self.effective_at or book.now
        return [loan_commands.repay_loan(book, self.asked, self.loan, self.amount, self.inferred, effective_at)]


@dataclass(frozen=True, slots=True)
class ReverseRepayment(OneCommand):
    """A repayment to take back."""

    loan: UUID
    repayment: UUID
    effective_at: datetime | None

    def first(self, needs: Needs) -> None:
        """Its legs' ids follow from the repayment's."""
        tenant = self.tenant
        needs.ids.add(self.asked.key)
        needs.loans.add((tenant, self.loan))
        needs.repayments.add((tenant, self.repayment))
        needs.originals.update((tenant, derived_id(self.repayment, leg)) for leg in REPAYMENT_LEGS)

    def then(self, needs: Needs, found: Found, shards: int) -> None:
        """The lock on the loan's accounts is also the lock on the loan."""
        loan = found.loans.get((self.asked.tenant, self.loan))
        if loan is not None:
            need_loan_accounts(needs, loan, shards)

    def run(self, book: Book) -> list[Answer]:
        """One answer."""
        effective_at = self.effective_at or book.now
        return [loan_commands.reverse_repayment(book, self.asked, self.loan, self.repayment, effective_at)]


@dataclass(frozen=True, slots=True)
class Refuse(OneCommand):
    """A command that was refused before it came to the ledger; the refusal sticks to its id like any other."""

    refused: Refused

    def first(self, needs: Needs) -> None:
        """Only its id."""
        needs.ids.add(self.asked.key)

    def then(self, needs: Needs, found: Found, shards: int) -> None:
        """Nothing more."""

    def run(self, book: Book) -> list[Answer]:
        """One answer."""
        return [once(book, self.asked, lambda: self.refused)]


Command = (
    PostOrders
    | ExpireHolds
    | OpenAccount
    | ChangeAccount
    | SetCreditLine
    | BookLoan
    | Repay
    | ReverseRepayment
    | WithdrawOffer
    | ReverseLoan
    | AbandonReversal
    | Refuse
)
Unit = Sequence[Command]
