"""One batch of commands: lock, read, compute purely, write, commit.

Round trips of a batch: one to find the accounts of reversals and repayments where there are any (facts that never
change), one that locks all accounts in key order, up to seven reads, up to nine array-shaped writes, BEGIN and COMMIT;
the same for one command and for thousands. What is read in or before the locking statement may be stale, so ids,
originals, loans and offers are read in new statements after the locks.

A unique violation (two callers racing with one id) runs the batch again and finds the winner's row. Any other
unexpected error bisects the batch, so that only the offending unit fails.
"""

from collections.abc import Sequence

from amana.domain.account import Account
from amana.domain.book import Answer, Asked, Book, replayed
from amana.domain.events import Event, event_bytes
from amana.domain.ids import uuid7
from amana.domain.transfer import Key
from amana.infra import clock
from amana.infra.collector import Collector, bisecting
from amana.infra.outbox import OutboxRow, append
from amana.infra.postgres import Connection, DatabaseUnavailable, Pool, RunAgain, in_transaction, reading
from amana.transactions.store import Store
from amana.transactions.work import Found, Needs, Unit

SINGLE_MAX = 50
"""Commands; a longer list has a lane of its own, so that single requests never wait behind bulk."""
BATCH_MAX = 400
LIST_BATCH_MAX = 2_000
"""Commands committed together, in each lane: computed well within the time-out that frees a paused process's locks."""
BATCHES_IN_FLIGHT = 2
"""While one batch commits, the next computes. More would only wait for the same system accounts."""
QUEUE_MAX = 2_000
LISTS_QUEUE_MAX = 20
"""Requests waiting in each lane; beyond it they are shed with a 503."""


class Flow:
    """Takes units from requests and answers them in batches."""

    def __init__(self, pool: Pool, store: Store) -> None:
        self.pool = pool
        self.store = store
        run = bisecting(self._run, whole=(DatabaseUnavailable,))
        self._singles: Collector[Unit, list[Answer]] = Collector(
            run, batch_max=BATCH_MAX, batches_in_flight=BATCHES_IN_FLIGHT, queue_max=QUEUE_MAX, weigh=len
        )
        self._lists: Collector[Unit, list[Answer]] = Collector(
            run, batch_max=LIST_BATCH_MAX, batches_in_flight=1, queue_max=LISTS_QUEUE_MAX, weigh=len
        )

    async def submit(self, unit: Unit) -> list[Answer]:
        """The answers of a unit's commands, in order. Raises `Overloaded` or `DatabaseUnavailable`."""
        return await (self._lists if len(unit) > SINGLE_MAX else self._singles).submit(unit)

    async def find_answer(self, asked: Asked) -> Answer | None:
        """The answer that is kept under the id of a command, or an `id_conflict`; None when the id is new."""
        async with reading(self.pool) as connection:
            known = await self.store.find_answers(connection, [asked.key])
        return replayed(asked, known[asked.key]) if known else None

    async def drain(self) -> None:
        """Waits for what is queued: for a clean stop."""
        await self._singles.drain()
        await self._lists.drain()

    async def _run(self, units: list[Unit]) -> list[list[Answer] | Exception]:
        return list(await in_transaction(self.pool, lambda connection: self._batch(connection, units)))

    async def _batch(self, connection: Connection, units: list[Unit]) -> list[list[Answer]]:
        book = await self._read(connection, units)
        locked = set(book.accounts)
        answers = [[answer for command in unit for answer in command.run(book)] for unit in units]
        await self._write(connection, book, locked)
        return answers

    async def _read(self, connection: Connection, units: list[Unit]) -> Book:
        store = self.store
        needs = Needs()
        for unit in units:
            for command in unit:
                command.first(needs)
        found = Found(
            await store.find_transfers(connection, needs.originals) if needs.originals else {},
            await store.find_loans(connection, needs.loans) if needs.loans else {},
        )
        for unit in units:
            for command in unit:
                command.then(needs, found, store.shards)
        accounts = await store.lock_accounts(connection, needs.accounts)
        book = Book(shards=store.shards, now=await store.clock(connection), accounts=accounts)
        book.answers = await store.find_answers(connection, needs.ids)
        book.transfers = await store.find_transfers(connection, needs.ids | needs.originals)
        if needs.originals:
            book.reversed_amounts = await store.find_reversed_amounts(connection, needs.originals)
        if needs.loans:
            book.loans = await store.find_loans(connection, needs.loans)
        # What was committed between the two reads has accounts that are not locked: find it first, then lock.
        if not (book.transfers.keys() & needs.originals <= found.transfers.keys()):
            raise RunAgain
        if not (book.loans.keys() <= found.loans.keys()):
            raise RunAgain
        if needs.repayments:
            book.repayments = await store.find_repayments(connection, needs.repayments)
        if needs.offers:
            book.offers_used = await store.find_offers_used(connection, needs.offers)
        return book

    async def _write(self, connection: Connection, book: Book, locked: set[Key]) -> None:
        store = self.store
        if book.new_accounts:
            await store.insert_accounts(connection, book.new_accounts)
        changed = _changed_accounts(book, locked)
        if changed:
            await store.update_accounts(connection, changed)
        if book.posted:
            await store.insert_transfers(connection, book.posted)
        if book.new_loans:
            await store.insert_loans(connection, book.new_loans)
        new = {(loan.tenant, loan.id) for loan in book.new_loans}
        if book.changed_loans - new:
            await store.update_loans(connection, [book.loans[key] for key in sorted(book.changed_loans - new)])
        if book.new_repayments:
            await store.insert_repayments(connection, book.new_repayments)
        if book.new_reversals:
            await store.reverse_repayments(connection, book.new_reversals)
        if book.new_answers:
            await store.insert_answers(connection, book.new_answers, book.now)
        await append(connection, event_rows(book))


def _changed_accounts(book: Book, locked: set[Key]) -> list[Account]:
    """Accounts that were there before and moved or got a new limit."""
    touched = set(book.new_limits)
    for posted in book.posted:
        transfer = posted.transfer
        touched.add((transfer.tenant, transfer.debit_account))
        touched.add((transfer.tenant, transfer.credit_account))
    return [book.accounts[key] for key in sorted(touched) if key in locked]


def event_rows(book: Book) -> Sequence[OutboxRow]:
    """The drafts of a batch with ids and the batch's time, as canonical bytes."""
    rows = []
    unix_ms = int(book.now.timestamp() * 1000)
    for draft in book.drafts:
        event = Event(
            event_id=uuid7(unix_ms, clock.random_74_bits()),
            tenant=draft.asked.tenant,
            type=draft.type,
            version=1,
            occurred_at=book.now,
            aggregate=draft.aggregate,
            actor=draft.asked.actor,
            trace=draft.asked.trace,
            data=draft.data,
        )
        body = event_bytes(event)
        rows.append(OutboxRow(event.tenant, event.event_id, event.aggregate.id, event.type, body))
    return rows
