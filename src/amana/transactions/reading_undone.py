"""What a batch reads, after its locks, of loans that are to go back as a whole."""

from amana.domain.book import Book
from amana.domain.ids import derived_id
from amana.infra.postgres import Connection
from amana.transactions.needs import LOAN_LEGS, REPAYMENT_LEGS, Needs
from amana.transactions.store import Store
from amana.transactions.undoing_store import find_loans_of_offers, find_repayments_of_loans


async def read_undone(store: Store, connection: Connection, needs: Needs, book: Book) -> None:
    """Adds the loans of offers, and of loans what was repaid and every transfer of both: up to four round trips."""
    undone = set(needs.undone)
    if needs.withdrawals:
        loans = await find_loans_of_offers(connection, needs.withdrawals, store.shards)
        undone |= loans.keys()
        book.loans |= {key: loan for key, loan in loans.items() if key not in book.loans}
    if not undone:
        return
    repayments = await find_repayments_of_loans(connection, undone, store.shards)
    book.repayments |= {key: repayment for key, repayment in repayments.items() if key not in book.repayments}
    if needs.undone:
        legs = {
            (tenant, derived_id(id_, leg))
            for places, codes in ((needs.undone, LOAN_LEGS), (repayments.keys(), REPAYMENT_LEGS))
            for tenant, id_ in places
            for leg in codes
        }
        book.transfers |= await store.find_transfers(connection, legs)
        book.reversed_amounts |= await store.find_reversed_amounts(connection, legs)
