"""Writing what a batch does while the batch goes on: the database works on one part while the next is computed.

Two batches of a busy ledger nearly always have an account in common, so the time between the locks and the COMMIT is
what bounds it; half of that time would go by with either side waiting for the other. Transfers and events are only ever
added, so a part of them can leave before the last command has run; whatever changes a row waits for the end.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeAlias

from amana.domain.book import Book, Draft
from amana.domain.event_types import VERSIONS
from amana.domain.events import Event, event_bytes
from amana.domain.ids import uuid7
from amana.domain.transfer import Posted
from amana.infra import clock
from amana.infra.outbox import OutboxRow, append
from amana.infra.postgres import Connection
from amana.transactions.store import Store

Statement: TypeAlias = Callable[[], Coroutine[Any, Any, None]]

PART_MAX = 125
"""Commands that are run before what they did is handed to the database."""


class Writer:
    """Hands over what a book gathers. One statement at a time is under way; whatever it raises, the next call does."""

    def __init__(self, store: Store, connection: Connection, book: Book) -> None:
        self._store = store
        self._connection = connection
        self._book = book
        self._posted: Sequence[Posted] = ()
        self._drafts: Sequence[Draft] = ()
        self._posted_end = self._drafts_end = 0
        self._events: Sequence[OutboxRow] = ()
        self._sent: asyncio.Task[None] | None = None

    async def part(self, *others: Statement) -> None:
        """A part of the commands has run, and nothing that they did will be taken back: hands it over. The database
        works on `others` while the rows are made."""
        book = self._book
        posted, drafts = book.posted[self._posted_end :], book.drafts[self._drafts_end :]
        self._posted_end, self._drafts_end = len(book.posted), len(book.drafts)
        await self._send(append(self._connection, self._events))
        for other in others:
            await self._send(other())
        rows = self._store.transfer_rows(posted)
        self._events = event_rows(book, drafts)
        await self._send(self._store.insert_transfers(self._connection, posted, rows))

    async def rest(self, *others: Statement) -> None:
        """All commands have run: hands over what is left, with `others`, and waits for everything."""
        await self.part(*others)
        await self._send(append(self._connection, self._events))
        self._events = ()
        await self.settle()

    async def settle(self) -> None:
        """Waits for what is under way. Call it before anything else uses the connection."""
        sent, self._sent = self._sent, None
        if sent is not None:
            await sent

    async def _send(self, statement: Coroutine[Any, Any, None]) -> None:
        try:
            await self.settle()
        except BaseException:
            statement.close()
            raise
        self._sent = asyncio.create_task(statement)
        await asyncio.sleep(0)  # it leaves


def event_rows(book: Book, drafts: Sequence[Draft]) -> Sequence[OutboxRow]:
    """Drafts of a batch with ids and the batch's time, as canonical bytes."""
    rows = []
    unix_ms = int(book.now.timestamp() * 1000)
    for draft in drafts:
        event = Event(
            event_id=uuid7(unix_ms, clock.random_74_bits()),
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
