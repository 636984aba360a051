"""From requests to batches: which commands are committed together, and who waits for whom.

A single request does not join a batch that would wait for an account that another batch in flight has (`claims`): it is
set aside until that one ends, for a tenth of a second at most, so that what is hot does not hold up what is cold. What
a command is about (a hold, an original, a loan) is read before it is queued, to learn whose accounts it moves; those
never change. Long lists have a lane of their own. What says something in its client's words finds out before whose
keys will seal it (`note_keys`); what says nothing never waits for that.

A unique violation (two callers racing with one id) runs the batch again and finds the winner's row. Any other
unexpected error bisects the batch, so that only the offending unit fails. Where more holds are overdue on an account
than a batch can release beside its work, they are released first, in chunks, while the rest of the batch goes on; what
is still too much after `BACKLOG_S` is a 503, and the next try finds less. Where an account can't be locked in time,
what needs nothing that others have locked at that moment goes first; the rest goes on waiting, and is a 503 in the
end. What a batch does is in `batch`.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence

from msgspec import Struct

from amana.domain.book import Answer, Asked, replayed
from amana.domain.transfer import Key
from amana.infra.bisecting import bisecting
from amana.infra.claims import Board
from amana.infra.collector import Collector, Overloaded
from amana.infra.deadline import DeadlineExceeded
from amana.infra.postgres import DatabaseUnavailable, Pool, in_transaction, reading
from amana.transactions.batch import Batch, Busy, Overdue
from amana.transactions.needs import Found, Needs
from amana.transactions.note_keys import NoteKeys
from amana.transactions.notes import Seals, merged
from amana.transactions.store import Store
from amana.transactions.work import Command, ExpireHolds, Unit
from amana.vault.vault import Vault

SINGLE_MAX = 50
"""Commands; a longer list has a lane of its own, so that single requests never wait behind bulk."""
BATCH_MAX = 500
"""Commands committed together, in each lane. A longer list goes in several batches, one after the other: more would
hold up the single requests, and bring nothing."""
BATCHES_IN_FLIGHT = 2
"""Of each lane. While one batch commits, the next computes."""
QUEUE_MAX = 4_000
LISTS_QUEUE_MAX = 40
"""Requests waiting in each lane, at most half of them of one tenant; beyond it they are shed with a 503."""
LIST_S = 30.0
"""After which no further part of a long list is begun."""
BACKLOG_S = 2.0
"""How long a batch is kept back to release overdue holds before it."""
LOCKED_S = 4.0
"""After which an account that others keep locked is not waited for once more: longer than the server lets a transaction
of a process that was stopped live."""


class Job(Struct, frozen=True):
    """A unit on its way to a batch. `claims` are the accounts, ids, holds and loans that it names or moves.

    `seals` are what it takes to keep what it says in its client's words: None where it says nothing."""

    unit: Unit
    claims: set[Key]
    seals: Seals | None = None


class Flow:
    """Takes units from requests and answers them in batches. `vault` has the keys that seal what clients say."""

    def __init__(self, pool: Pool, store: Store, vault: Vault) -> None:
        self.pool = pool
        self.store = store
        self._notes = NoteKeys(vault, pool, store.shards)
        board = Board()
        self._bisected = bisecting(self._run, whole=(DatabaseUnavailable,))
        self._singles = self._lane(board, QUEUE_MAX, yields=True)
        self._lists = self._lane(board, LISTS_QUEUE_MAX, yields=False)
        self._places: Collector[Unit, Needs] = Collector(
            self._find_places, batch_max=BATCH_MAX, batches_in_flight=BATCHES_IN_FLIGHT, queue_max=QUEUE_MAX
        )

    def _lane(self, board: Board, queue_max: int, *, yields: bool) -> Collector[Job, list[Answer]]:
        return Collector(
            self._bisected,
            batch_max=BATCH_MAX,
            batches_in_flight=BATCHES_IN_FLIGHT,
            queue_max=queue_max,
            weigh=lambda job: _weight_of(job.unit),
            group=lambda job: job.unit[0].tenant,
            claims=lambda job: job.claims,
            board=board,
            yields=yields,
        )

    async def submit(self, unit: Unit) -> list[Answer]:
        """The answers of a unit's commands, in order. Raises `Overloaded` or `DatabaseUnavailable`."""
        return await self.enqueue(unit)

    def enqueue(self, unit: Unit) -> "asyncio.Future[list[Answer]]":
        """The same as a future. `Overloaded`, and `DatabaseUnavailable` without a key file, may come at once. One that
        is cancelled before its batch begins is left out of it."""
        if _weight_of(unit) > BATCH_MAX:
            return asyncio.ensure_future(self._in_parts(unit))
        needs = _needs_of([unit])
        if needs.is_about_earlier:
            return asyncio.ensure_future(self._once_placed(unit))
        if not needs.has_notes:
            return self._queue(Job(unit, needs.claims()))
        seals = self._notes.at_hand(needs.noted)
        if seals is None:
            return asyncio.ensure_future(self._once_sealable(unit, needs))
        return self._queue(Job(unit, needs.claims(), seals))

    def _queue(self, job: Job) -> "asyncio.Future[list[Answer]]":
        lane = self._singles if _weight_of(job.unit) <= SINGLE_MAX else self._lists
        return lane.enqueue(job)

    async def _once_placed(self, unit: Unit) -> list[Answer]:
        return await self._once_sealable(unit, await self._places.enqueue(unit))

    async def _once_sealable(self, unit: Unit, needs: Needs) -> list[Answer]:
        return await self._queue(Job(unit, needs.claims(), await self._seals(needs)))

    async def _seals(self, needs: Needs) -> Seals | None:
        """What it takes to keep what is said; nothing is waited for where nothing is, or all is at hand."""
        if not needs.has_notes:
            return None
        return self._notes.at_hand(needs.noted) or await self._notes.find(needs.noted)

    async def _find_places(self, units: list[Unit]) -> list[Needs | Exception]:
        """What each unit needs, now that what it is about is read: two round trips at the most for each kind."""
        async with reading(self.pool) as connection:
            found = await Batch.find_earlier(self.store, connection, _needs_of(units))
        return [self._placed(unit, found) for unit in units]

    def _placed(self, unit: Unit, found: Found) -> Needs:
        needs = _needs_of([unit])
        for command in unit:
            command.then(needs, found, self.store.shards)
        return needs

    async def _in_parts(self, unit: Unit) -> list[Answer]:
        """A long list, batch by batch in its order. What fails after a first part leaves the outcome unknown."""
        answers: list[Answer] = []
        until_s = time.monotonic() + LIST_S
        for part in _parts_of(unit):
            try:
                answers += await self._part(part, until_s)
            except (DatabaseUnavailable, Overloaded, DeadlineExceeded) as error:
                if not answers:
                    raise
                raise DatabaseUnavailable(str(error), outcome_known=False) from error
        return answers

    async def _part(self, unit: Unit, until_s: float) -> list[Answer]:
        if time.monotonic() > until_s:
            raise Overloaded
        needs = await self._places.enqueue(unit)
        return await self._lists.enqueue(Job(unit, needs.claims(), await self._seals(needs)))

    async def find_answer(self, asked: Asked) -> Answer | None:
        """The answer that is kept under the id of a command, or an `id_conflict`; None when the id is new."""
        async with reading(self.pool) as connection:
            known = await self.store.find_answers(connection, [asked.key])
        return replayed(asked, known[asked.key]) if known else None

    async def drain(self) -> None:
        """Waits for what is queued: for a clean stop."""
        await self._places.drain()
        await asyncio.sleep(0)  # what was placed last goes on to its lane
        await self._notes.drain()
        await asyncio.sleep(0)
        await self._singles.drain()
        await self._lists.drain()

    async def _run(self, jobs: list[Job]) -> list[list[Answer] | Exception]:
        began_s = time.monotonic()
        while True:
            batch = Batch(self.store, [job.unit for job in jobs], merged(job.seals for job in jobs))
            try:
                return list(await in_transaction(self.pool, batch.run))
            except Overdue as overdue:
                held_back = [bool(job.claims & overdue.accounts) for job in jobs]
                if not all(held_back):
                    return await self._apart(jobs, held_back)
                if time.monotonic() > began_s + BACKLOG_S:
                    raise DatabaseUnavailable("too many holds are overdue on an account") from None
                holds = [[ExpireHolds(tenant, [id_])] for tenant, id_ in sorted(overdue.holds)]
                await in_transaction(self.pool, Batch(self.store, holds).run)
            except Busy:
                locked = await self._locked(jobs)
                held_back = [bool(job.claims & locked) for job in jobs]
                if any(held_back) and not all(held_back):
                    return await self._apart(jobs, held_back)
                if time.monotonic() > began_s + LOCKED_S:
                    raise DatabaseUnavailable("another transaction has its hands on an account") from None

    async def _locked(self, jobs: list[Job]) -> set[Key]:
        """The accounts of the jobs that other transactions have locked now."""
        async with reading(self.pool) as connection:
            return await self.store.find_locked(connection, set().union(*(job.claims for job in jobs)))

    async def _apart(self, jobs: list[Job], held_back: Sequence[bool]) -> list[list[Answer] | Exception]:
        """Those that need not wait for overdue holds or a locked account go first; what comes of each, in the order of
        `jobs`."""
        sides = {
            side: iter(await self._bisected([job for job, late in zip(jobs, held_back, strict=True) if late is side]))
            for side in (False, True)
        }
        return [next(sides[late]) for late in held_back]


def _needs_of(units: Sequence[Unit]) -> Needs:
    needs = Needs()
    for unit in units:
        for command in unit:
            command.first(needs)
    return needs


def _weight_of(unit: Unit) -> int:
    return sum(command.weight for command in unit)


def _parts_of(unit: Unit) -> Iterator[Unit]:
    """The unit in pieces of at most `BATCH_MAX`; a linked group stays whole."""
    part: list[Command] = []
    weight = 0
    for command in unit:
        if part and weight + command.weight > BATCH_MAX:
            yield part
            part, weight = [], 0
        part.append(command)
        weight += command.weight
    yield part
