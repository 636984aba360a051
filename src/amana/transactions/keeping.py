"""What of a batch's notes is kept: sealed for the owners of the accounts, who are certain once these are locked."""

from collections.abc import Iterator, Sequence
from uuid import UUID

from amana.domain.book import Book
from amana.domain.order import Order
from amana.domain.transfer import Hold, Key, Transfer
from amana.transactions.notes import KeptNotes, Owners, Seals
from amana.transactions.work import PostOrders, Unit


def kept_notes(book: Book, units: Sequence[Unit], seals: Seals | None) -> Sequence[tuple[Key, KeptNotes]]:
    """The new notes of a book as they are kept, by transfer."""
    if not book.new_notes:
        return []
    assert seals is not None, "who says something has found what it takes to seal it"
    moved = {(posted.transfer.tenant, posted.transfer.id): posted.transfer for posted in book.posted}
    said = {(order.key, id(order.notes)): order for order in _orders_of(units)}
    return [
        (key, seals.seal(key, _owners_of(book, moved.get(key) or said[key, id(notes)]), notes, moved=key in moved))
        for key, notes in book.new_notes
    ]


def _orders_of(units: Sequence[Unit]) -> Iterator[Order]:
    for unit in units:
        for command in unit:
            if isinstance(command, PostOrders):
                yield from command.orders


def _owners_of(book: Book, of: Transfer | Order) -> Owners:
    """Whose accounts a transfer moves, or would have moved had it not been refused."""
    named: Transfer | Hold | Order = of
    if of.debit_account is None and of.original is not None:
        earlier = of.tenant, of.original
        named = book.transfers.get(earlier) or book.holds.get(earlier) or of
    return Owners(_owner_of(book, of.tenant, named.debit_account), _owner_of(book, of.tenant, named.credit_account))


def _owner_of(book: Book, tenant: int, account: UUID | None) -> UUID | None:
    found = None if account is None else book.account(tenant, account)
    return None if found is None else found.owner
