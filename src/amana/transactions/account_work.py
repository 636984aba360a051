"""Commands on accounts and credit lines, and the rows that each must find locked."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from amana.domain import account_commands
from amana.domain.account import Account, exposure_account_id, wallet_account_id
from amana.domain.book import Answer, Asked, Book
from amana.transactions.needs import Found, Needs, OneCommand


@dataclass(frozen=True, slots=True)
class OpenAccount(OneCommand):
    """Opens an account; `build` makes it from the batch's clock."""

    build: Callable[[datetime], Account]

    def first(self, needs: Needs) -> None:
        """An account is its own id."""
        needs.ids.add(self.asked.key)
        needs.accounts.add(self.asked.key)

    def then(self, needs: Needs, found: Found, shards: int) -> None:
        """Nothing more."""

    def run(self, book: Book) -> list[Answer]:
        """One answer."""
        return [account_commands.open_account(book, self.asked, self.build(book.now))]


@dataclass(frozen=True, slots=True)
class ChangeAccount(OneCommand):
    """New bounds or a new state for one account."""

    account: UUID
    change: Callable[[Book, Asked], Answer]

    def first(self, needs: Needs) -> None:
        """The account."""
        needs.ids.add(self.asked.key)
        needs.accounts.add((self.tenant, self.account))
        needs.exact.add((self.tenant, self.account))

    def then(self, needs: Needs, found: Found, shards: int) -> None:
        """Nothing more."""

    def run(self, book: Book) -> list[Answer]:
        """One answer."""
        return [self.change(book, self.asked)]


@dataclass(frozen=True, slots=True)
class SetCreditLine(OneCommand):
    """What a customer may owe in a currency."""

    customer: UUID
    currency: str
    credit_limit: int

    def first(self, needs: Needs) -> None:
        """The control account and the wallet."""
        tenant = self.tenant
        needs.ids.add(self.asked.key)
        needs.accounts.add((tenant, exposure_account_id(self.customer, self.currency)))
        needs.accounts.add((tenant, wallet_account_id(self.customer, self.currency)))

    def then(self, needs: Needs, found: Found, shards: int) -> None:
        """Nothing more."""

    def run(self, book: Book) -> list[Answer]:
        """One answer."""
        return [account_commands.set_credit_line(book, self.asked, self.customer, self.currency, self.credit_limit)]
