"""Commands that undo what followed from a decision: an offer withdrawn, its loan reversed, or left as it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from amana.domain import loan_reversal
from amana.domain.account import exposure_account_id
from amana.domain.book import Answer, Book
from amana.domain.loan_reversal import Undoing
from amana.domain.policy import LoanReversal
from amana.transactions.needs import Found, Needs, OneCommand, need_loan_accounts

WEIGHT = 50
"""A loan goes back with up to 400 transfers: ten of them fill a batch."""


@dataclass(frozen=True, slots=True)
class WithdrawOffer(OneCommand):
    """An offer that is to be booked no more."""

    wanted: Undoing

    def first(self, needs: Needs) -> None:
        """The offer's use is read after the lock on the customer's control account."""
        wanted, tenant = self.wanted, self.tenant
        needs.ids.add(self.asked.key)
        needs.offers.add((tenant, wanted.offer, wanted.customer))
        needs.withdrawals.add((tenant, wanted.offer, wanted.customer))
        needs.accounts.add((tenant, exposure_account_id(wanted.customer, wanted.currency)))
        needs.holds.update((tenant, hold) for hold in wanted.holds)

    def then(self, needs: Needs, found: Found, shards: int) -> None:
        """The accounts of the holds. The control account's lock is also the lock on the loan."""
        _need_hold_accounts(needs, found, self.tenant, self.wanted.holds)

    def run(self, book: Book) -> list[Answer]:
        """One answer."""
        return [loan_reversal.withdraw_offer(book, self.asked, self.wanted)]


@dataclass(frozen=True, slots=True)
class ReverseLoan(OneCommand):
    """A loan whose money goes back."""

    loan: UUID
    reversal: UUID
    terms: LoanReversal
    holds: tuple[UUID, ...]

    @property
    def weight(self) -> int:
        """How many commands it counts for."""
        return WEIGHT

    def first(self, needs: Needs) -> None:
        """The loan must be known before its accounts are."""
        needs.ids.add(self.asked.key)
        needs.loans.add((self.tenant, self.loan))
        needs.undone.add((self.tenant, self.loan))
        needs.holds.update((self.tenant, hold) for hold in self.holds)

    def then(self, needs: Needs, found: Found, shards: int) -> None:
        """Every account of the loan, and of the holds."""
        loan = found.loans.get((self.tenant, self.loan))
        if loan is not None:
            needs.most += 4 * (loan.principal + loan.fee)
            need_loan_accounts(needs, loan, shards)
        _need_hold_accounts(needs, found, self.tenant, self.holds)

    def run(self, book: Book) -> list[Answer]:
        """One answer."""
        return [loan_reversal.reverse_loan(book, self.asked, self.loan, self.reversal, self.terms, self.holds)]


@dataclass(frozen=True, slots=True)
class AbandonReversal(OneCommand):
    """A loan that is not undone after all."""

    loan: UUID
    reversal: UUID

    def first(self, needs: Needs) -> None:
        """The loan must be known before its accounts are."""
        needs.ids.add(self.asked.key)
        needs.loans.add((self.tenant, self.loan))

    def then(self, needs: Needs, found: Found, shards: int) -> None:
        """The lock on the loan's accounts is also the lock on the loan."""
        loan = found.loans.get((self.tenant, self.loan))
        if loan is not None:
            need_loan_accounts(needs, loan, shards)

    def run(self, book: Book) -> list[Answer]:
        """One answer."""
        return [loan_reversal.abandon_reversal(book, self.asked, self.loan, self.reversal)]


def _need_hold_accounts(needs: Needs, found: Found, tenant: int, holds: Sequence[UUID]) -> None:
    for id_ in holds:
        hold = found.holds.get((tenant, id_))
        if hold is not None:
            needs.accounts.add((tenant, hold.debit_account))
            needs.accounts.add((tenant, hold.credit_account))
