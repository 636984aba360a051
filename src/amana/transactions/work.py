"""What travels through a batch: commands, the rows that each must find locked or read, and how each is run.

A `Unit` is what one request carries; its commands are answered in their order.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from uuid import UUID

from amana.domain import commands, loan_commands
from amana.domain.account import Account, exposure_account_id, wallet_account_id
from amana.domain.book import Answer, Asked, Book, once
from amana.domain.ids import derived_id
from amana.domain.lending import Loan, loan_accounts
from amana.domain.transfer import Key, Refused, Transfer

REPAYMENT_LEGS = ("fee_repayment", "principal_repayment", "excess", "exposure_release")


@dataclass(slots=True)
class Needs:
    """The keys of the rows that a batch must see. `accounts` get locked, the rest is read after the locks."""

    ids: set[Key] = field(default_factory=set)
    accounts: set[Key] = field(default_factory=set)
    originals: set[Key] = field(default_factory=set)
    loans: set[Key] = field(default_factory=set)
    repayments: set[Key] = field(default_factory=set)
    offers: set[tuple[int, UUID, UUID]] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Found:
    """What never changes and so may be read before the locks: which accounts an original or a loan moves."""

    transfers: dict[Key, Transfer]
    loans: dict[Key, Loan]


@dataclass(frozen=True, slots=True)
class PostGroup:
    """A linked group of transfers, or a single one."""

    members: Sequence[tuple[Asked, Transfer]]

    def first(self, needs: Needs) -> None:
        """Ids and accounts are in the request itself."""
        for asked, transfer in self.members:
            needs.ids.add(asked.key)
            needs.accounts.add((asked.tenant, transfer.debit_account))
            needs.accounts.add((asked.tenant, transfer.credit_account))

    def then(self, needs: Needs, found: Found, shards: int) -> None:
        """Nothing more."""

    def run(self, book: Book) -> list[Answer]:
        """One answer for each member."""
        return commands.post_transfers(book, self.members)


@dataclass(frozen=True, slots=True)
class ReverseTransfer:
    """The opposite of a client's own transfer; `amount` None means all that is left."""

    asked: Asked
    original: UUID
    amount: int | None
    today: date

    def first(self, needs: Needs) -> None:
        """The original must be known before its accounts are."""
        needs.ids.add(self.asked.key)
        needs.originals.add((self.asked.tenant, self.original))

    def then(self, needs: Needs, found: Found, shards: int) -> None:
        """The original's accounts, whose locks also hold its sum of reversals."""
        original = found.transfers.get((self.asked.tenant, self.original))
        if original is not None:
            needs.accounts.add((self.asked.tenant, original.debit_account))
            needs.accounts.add((self.asked.tenant, original.credit_account))

    def run(self, book: Book) -> list[Answer]:
        """One answer."""
        return [commands.reverse_transfer(book, self.asked, self.original, self.amount, self.today)]


@dataclass(frozen=True, slots=True)
class OpenAccount:
    """Opens an account; `build` makes it from the batch's clock."""

    asked: Asked
    build: Callable[[datetime], Account]

    def first(self, needs: Needs) -> None:
        """An account is its own id."""
        needs.ids.add(self.asked.key)
        needs.accounts.add(self.asked.key)

    def then(self, needs: Needs, found: Found, shards: int) -> None:
        """Nothing more."""

    def run(self, book: Book) -> list[Answer]:
        """One answer."""
        return [commands.open_account(book, self.asked, self.build(book.now))]


@dataclass(frozen=True, slots=True)
class SetCreditLine:
    """What a customer may owe in a currency."""

    asked: Asked
    customer: UUID
    currency: str
    credit_limit: int

    def first(self, needs: Needs) -> None:
        """The control account and the wallet."""
        tenant = self.asked.tenant
        needs.ids.add(self.asked.key)
        needs.accounts.add((tenant, exposure_account_id(self.customer, self.currency)))
        needs.accounts.add((tenant, wallet_account_id(self.customer, self.currency)))

    def then(self, needs: Needs, found: Found, shards: int) -> None:
        """Nothing more."""

    def run(self, book: Book) -> list[Answer]:
        """One answer."""
        return [commands.set_credit_line(book, self.asked, self.customer, self.currency, self.credit_limit)]


@dataclass(frozen=True, slots=True)
class BookLoan:
    """A loan to book; `exposure_cap` comes from the fresh decision, None for an imported loan."""

    asked: Asked
    loan: Loan
    exposure_cap: int | None
    effective_at_given: bool

    def first(self, needs: Needs) -> None:
        """The offer's use is read after the lock on the customer's control account."""
        needs.ids.add(self.asked.key)
        if self.loan.decision_id is not None:
            needs.offers.add((self.loan.tenant, self.loan.decision_id, self.loan.customer))

    def then(self, needs: Needs, found: Found, shards: int) -> None:
        """Every account of the loan; its own two do not exist yet."""
        _need_loan_accounts(needs, self.loan, shards)

    def run(self, book: Book) -> list[Answer]:
        """One answer."""
        # A copy: a batch that is run again starts from what was asked. "Now" is the batch's own.
        loan = replace(self.loan, booked_at=book.now)
        if not self.effective_at_given:
            loan.effective_at = book.now
        return [loan_commands.book_loan(book, self.asked, loan, self.exposure_cap)]


@dataclass(frozen=True, slots=True)
class Repay:
    """Money received for a loan."""

    asked: Asked
    loan: UUID
    amount: int
    inferred: bool
    effective_at: datetime | None

    def first(self, needs: Needs) -> None:
        """The loan must be known before its accounts are."""
        needs.ids.add(self.asked.key)
        needs.loans.add((self.asked.tenant, self.loan))

    def then(self, needs: Needs, found: Found, shards: int) -> None:
        """The lock on the loan's accounts is also the lock on the loan."""
        loan = found.loans.get((self.asked.tenant, self.loan))
        if loan is not None:
            _need_loan_accounts(needs, loan, shards)

    def run(self, book: Book) -> list[Answer]:
        """One answer."""
        effective_at = self.effective_at or book.now
        return [loan_commands.repay_loan(book, self.asked, self.loan, self.amount, self.inferred, effective_at)]


@dataclass(frozen=True, slots=True)
class ReverseRepayment:
    """A repayment to take back."""

    asked: Asked
    loan: UUID
    repayment: UUID
    effective_at: datetime | None

    def first(self, needs: Needs) -> None:
        """Its legs' ids follow from the repayment's."""
        tenant = self.asked.tenant
        needs.ids.add(self.asked.key)
        needs.loans.add((tenant, self.loan))
        needs.repayments.add((tenant, self.repayment))
        needs.originals.update((tenant, derived_id(self.repayment, leg)) for leg in REPAYMENT_LEGS)

    def then(self, needs: Needs, found: Found, shards: int) -> None:
        """The lock on the loan's accounts is also the lock on the loan."""
        loan = found.loans.get((self.asked.tenant, self.loan))
        if loan is not None:
            _need_loan_accounts(needs, loan, shards)

    def run(self, book: Book) -> list[Answer]:
        """One answer."""
        effective_at = self.effective_at or book.now
        return [loan_commands.reverse_repayment(book, self.asked, self.loan, self.repayment, effective_at)]


@dataclass(frozen=True, slots=True)
class Refuse:
    """A command that was refused before it came to the ledger; the refusal sticks to its id like any other."""

    asked: Asked
    refused: Refused

    def first(self, needs: Needs) -> None:
        """Only its id."""
        needs.ids.add(self.asked.key)

    def then(self, needs: Needs, found: Found, shards: int) -> None:
        """Nothing more."""

    def run(self, book: Book) -> list[Answer]:
        """One answer."""
        return [once(book, self.asked, lambda: self.refused)]


Command = Refuse | PostGroup | ReverseTransfer | OpenAccount | SetCreditLine | BookLoan | Repay | ReverseRepayment
Unit = Sequence[Command]


def _need_loan_accounts(needs: Needs, loan: Loan, shards: int) -> None:
    a = loan_accounts(loan.tenant, loan.id, loan.customer, loan.currency, shards)
    for account in (a.exposure, a.contra, a.principal, a.fee, a.funding, a.fee_income, a.wallet):
        needs.accounts.add((loan.tenant, account))
