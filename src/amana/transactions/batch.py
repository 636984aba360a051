"""One batch of commands on one connection, inside a transaction: lock, read, compute purely, write.

Round trips of a batch of new transfers, whatever its size, with the BEGIN before and the COMMIT after it: lock all
accounts in key order; the clock and which ids are known; ids and counters; transfers (two: a COPY waits to be let in);
events (one, or two where there are many). In a batch of 30 they are a third of all that it takes.

Commands about something earlier (reversals, captures, repayments) add one read before the locks, to learn which
accounts they move (facts that never change), and up to five after. What is read in or before the locking statement may
be stale, so ids, originals, holds, loans and offers are read in new statements after the locks.
"""

from collections.abc import Iterator, Sequence

from amana.domain.book import Answer, Book
from amana.domain.event_types import VERSIONS
from amana.domain.events import Event, event_bytes
from amana.domain.ids import first_of_many
from amana.domain.transfer import Hold, Key, Movement
from amana.domain.transfer_commands import expire_holds
from amana.infra import clock
from amana.infra.connection import shorten_lock_timeout
from amana.infra.outbox import OutboxRow, append
from amana.infra.postgres import Connection, LockTimeout, RunAgain
from amana.infra.quick_uuid import of_number
from amana.infra.tasks import meanwhile
from amana.transactions import note_store, undoing_store
from amana.transactions.keeping import kept_notes
from amana.transactions.needs import Found, Needs
from amana.transactions.notes import Seals
from amana.transactions.reading_undone import read_undone
from amana.transactions.store import Store, accounts_of
from amana.transactions.work import Unit

OVERDUE_MAX = 1_000
"""Overdue holds that a batch releases beside its work: about a quarter of the time that it has."""


class Overdue(Exception):
    """On these accounts more holds are overdue than a batch can release beside its work; `holds` are some of them."""

    def __init__(self, accounts: set[Key], holds: Sequence[Key]) -> None:
        super().__init__(f"{len(accounts)} accounts with too many overdue holds")
        self.accounts = accounts
        self.holds = holds


class Busy(Exception):
    """A lock was waited for in vain: a transaction that hangs has it, or one from outside."""


class Batch:
    """Units that are committed together. `run` may be called again, in a new transaction, after `RunAgain`.

    A lock is waited for as long as the pool says, or `lock_ms` at most."""

    def __init__(
        self, store: Store, units: Sequence[Unit], seals: Seals | None = None, *, lock_ms: int | None = None
    ) -> None:
        self._store = store
        self._units = units
        self._lock_ms = lock_ms
        self._seals = seals  # None where no unit says anything in its client's words
        self.also: dict[Key, set[Key]] = {}
        """Accounts that only a first attempt showed to be needed, and which of the others made it so."""

    async def run(self, connection: Connection) -> list[list[Answer]]:
        """The answers of each unit's commands, in order. Raises `RunAgain`, `Overdue`, `Busy`, and whatever the
        database raises."""
        if self._lock_ms is not None:
            await shorten_lock_timeout(connection, self._lock_ms)
        try:
            return await self._run(connection)
        except LockTimeout:
            raise Busy from None

    async def _run(self, connection: Connection) -> list[list[Answer]]:
        book = await self._read(connection)
        locked = {key: account.version for key, account in book.accounts.items()}
        expire_holds(book)
        answers = [[answer for command in unit for answer in command.run(book)] for unit in self._units]
        await self._write(connection, book, locked)
        return answers

    @staticmethod
    async def find_earlier(store: Store, connection: Connection, needs: Needs) -> Found:
        """What never changes of the originals, holds and loans that commands are about."""
        loans = await store.find_loans(connection, needs.loans) if needs.loans else {}
        if needs.withdrawals:
            loans |= await undoing_store.find_loans_of_offers(connection, needs.withdrawals, store.shards)
        return Found(
            await store.find_transfers(connection, needs.originals) if needs.originals else {},
            await store.find_holds(connection, needs.holds) if needs.holds else {},
            loans,
        )

    async def _read(self, connection: Connection) -> Book:
        """The book of the batch."""
        store = self._store
        needs = Needs()
        for unit in self._units:
            for command in unit:
                command.first(needs)
        found = await self.find_earlier(store, connection, needs)
        for unit in self._units:
            for command in unit:
                command.then(needs, found, store.shards)
        rows = await store.lock_accounts(connection, needs.accounts | needs.bystanders | self.also.keys())
        known, accounts = await meanwhile(store.look_up_ids(connection, needs.ids), lambda: accounts_of(rows))
        book = Book(shards=store.shards, now=known.now, accounts=accounts)
        if self._seals is not None:
            book.prints_of = self._seals.prints_of
        if known.used:
            book.answers = await store.find_answers(connection, known.used)
        if known.used or needs.originals:
            book.transfers = await store.find_transfers(connection, known.used | needs.originals)
        await self._read_earlier(connection, needs, known.used, book)
        # What was committed between the two reads has accounts that are not locked: find it first, then lock.
        unseen = (
            (book.transfers.keys() & needs.originals) - found.transfers.keys()
            or (book.holds.keys() & needs.holds) - found.holds.keys()
            or book.loans.keys() - found.loans.keys()
        )
        if unseen:
            raise RunAgain
        await self._read_overdue(connection, needs, book)
        return book

    async def _read_earlier(self, connection: Connection, needs: Needs, used: set[Key], book: Book) -> None:
        """What reversals, captures, repayments and repeated ids are about."""
        store = self._store
        if needs.originals:
            book.reversed_amounts = await store.find_reversed_amounts(connection, needs.originals)
        if used:
            book.notes |= await note_store.find_notes(connection, used, store.shards, self._seals)
        if used or needs.holds:
            book.holds = await store.find_holds(connection, used | needs.holds)
        if needs.loans:
            book.loans = await store.find_loans(connection, needs.loans)
        if needs.repayments:
            book.repayments = await store.find_repayments(connection, needs.repayments)
        if needs.offers:
            book.offers_used = await store.find_offers_used(connection, needs.offers)
        if needs.withdrawals or needs.undone:
            await read_undone(store, connection, needs, book)

    async def _read_overdue(self, connection: Connection, needs: Needs, book: Book) -> None:
        """Adds the holds whose time is over where that could tell; all their accounts must be locked. A batch releases
        `OVERDUE_MAX` of them beside its work; where there are more it raises `Overdue`, having done nothing."""
        pending = [
            key
            for key, account in book.accounts.items()
            if (account.debits_pending or account.credits_pending)
            and (key in needs.exact or (key in needs.accounts and (account.is_bounded or account.may_fill(needs.most))))
        ]
        if pending:
            overdue = await self._store.find_overdue_holds(connection, pending, book.now, OVERDUE_MAX + 1)
            if len(overdue) > OVERDUE_MAX:
                touched = {account for hold in overdue.values() for account in _accounts_of(hold)}
                raise Overdue(touched.intersection(pending), list(overdue)[:OVERDUE_MAX])
            book.holds |= overdue
        unlocked = [
            (account, set(_accounts_of(hold)) - {account})
            for hold in book.holds.values()
            if hold.is_over(book.now)
            for account in _accounts_of(hold)
            if account not in book.accounts
        ]
        for account, others in unlocked:
            self.also.setdefault(account, set()).update(others)
        if unlocked:
            raise RunAgain

    async def _write(self, connection: Connection, book: Book, locked: dict[Key, int]) -> None:
        """Everything that the batch did. `locked` are the accounts that were there before, at their versions then."""
        store = self._store
        moved = [book.accounts[key] for key, version in locked.items() if book.accounts[key].version != version]
        # Ids come first, in their order: two batches that use the same ones meet there, and never in a circle.
        _, (transfers, events, notes) = await meanwhile(
            store.write_ids_and_counters(connection, book.ids_used(), moved),
            lambda: (store.transfer_rows(book.posted), event_rows(book), kept_notes(book, self._units, self._seals)),
        )
        if book.new_accounts:
            await store.insert_accounts(connection, book.new_accounts, book.now)
        if book.posted:
            await store.insert_transfers(connection, book.posted, transfers)
        if changed := [book.accounts[key] for key in book.changed_accounts if key in locked]:
            await store.update_account_terms(connection, changed)
        await self._write_holds(connection, book)
        if book.new_notes:
            await note_store.insert_notes(connection, notes, store.shards)
        await self._write_loans(connection, book)
        if book.new_answers:
            await store.insert_answers(connection, book.new_answers, book.now)
        await append(connection, events)

    async def _write_holds(self, connection: Connection, book: Book) -> None:
        placed = {(p.transfer.tenant, p.transfer.id) for p in book.posted if p.transfer.kind == Movement.HOLD}
        if placed:
            await self._store.insert_holds(connection, [book.holds[key] for key in placed])
        settled = {(p.transfer.tenant, p.transfer.hold) for p in book.posted if p.transfer.hold is not None}
        if settled - placed:
            await self._store.update_holds(connection, [book.holds[key] for key in settled - placed])

    async def _write_loans(self, connection: Connection, book: Book) -> None:
        store = self._store
        if book.new_loans:
            await store.insert_loans(connection, book.new_loans)
        new = {(loan.tenant, loan.id) for loan in book.new_loans}
        if book.changed_loans - new:
            await store.update_loans(connection, [book.loans[key] for key in book.changed_loans - new])
        if book.new_repayments:
            await store.insert_repayments(connection, book.new_repayments)
        if book.new_reversals:
            await store.reverse_repayments(connection, book.new_reversals)
        if book.new_withdrawals:
            await undoing_store.insert_withdrawals(connection, book.new_withdrawals, book.now, store.shards)


def _accounts_of(hold: Hold) -> Iterator[Key]:
    yield hold.tenant, hold.debit_account
    yield hold.tenant, hold.credit_account


def event_rows(book: Book) -> Sequence[OutboxRow]:
    """The drafts of a batch with ids, counted up from a random one, and the batch's time, as canonical bytes."""
    rows = []
    first = first_of_many(int(book.now.timestamp() * 1000), clock.random_74_bits())
    for number, draft in enumerate(book.drafts, first):
        event = Event(
            event_id=of_number(number),
            tenant=draft.tenant,
            type=draft.type,
            version=VERSIONS[draft.type],
            occurred_at=book.now,
            aggregate=draft.aggregate,
            actor=draft.actor,
            trace=draft.trace,
            data=draft.data,
        )
        rows.append(OutboxRow(draft.tenant, event.event_id, draft.aggregate.id, draft.type, event_bytes(event)))
    return rows
