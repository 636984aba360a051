"""From requests to batches: which commands are committed together, and who waits for whom.

A single request does not join a batch that would wait for an account that another batch in flight has (`claims`): it is
set aside until that one ends, for a tenth of a second at most, so that what is hot does not hold up what is cold. What
a command is about (a hold, an original, a loan) is read before it is queued, to learn whose accounts it moves; those
never change. Long lists have a lane of their own. What says something in its client's words finds out before whose
keys will seal it (`note_keys`); what says nothing never waits for that.

A unique violation (two callers racing with one id) runs the batch again and finds the winner's row. Any other
unexpected error bisects the batch, so that only the offending unit fails.

Nobody waits for what only a neighbour needs. Where an account can't be locked in time, what needs nothing that others
have locked at that moment is committed and answered at once; the rest waits apart (`infra.elsewhere`), without a lock
and without a batch, and is a 503 in the end. Where more holds are overdue on an account than a batch can release beside
its work, the others go on likewise; a batch of those that need it releases them first, in chunks, and what is still too
much after `BACKLOG_S` is a 503, and the next try finds less. What a batch does is in `batch`.
"""

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence

from msgspec import Struct

from amana.domain.book import Answer, Asked, replayed
from amana.domain.transfer import Key
from amana.infra import deadline
from amana.infra.bisecting import bisecting
from amana.infra.claims import Board
from amana.infra.collector import Collector, Overloaded
from amana.infra.deadline import DeadlineExceeded
from amana.infra.elsewhere import Elsewhere, HeldElsewhere
from amana.infra.postgres import DatabaseUnavailable, Pool, in_transaction, reading
from amana.infra.turns import Later
from amana.transactions.batch import Batch, Busy, Overdue
from amana.transactions.needs import Found, Needs
from amana.transactions.note_keys import NoteKeys
from amana.transactions.notes import Seals, merged
from amana.transactions.store import Store
from amana.transactions.units import needs_of, parts_of, plain_claims, weight_of
from amana.transactions.work import ExpireHolds, Unit
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
WARY_MS = 100
"""How long a batch waits for a lock while something is known to be locked by others: where one transaction hangs, it
may have the locks of many accounts, and every batch would find some that is new."""


class Job(Struct, frozen=True):
    """A unit on its way to a batch. `claims` are the accounts, ids, holds and loans that it names or moves.

    `seals` are what it takes to keep what it says in its client's words: None where it says nothing."""

    unit: Unit
    weight: int
    claims: set[Key]
    seals: Seals | None = None

    def claim(self, also: Mapping[Key, set[Key]]) -> None:
        """What turned out to be needed by whoever claims any of these."""
        self.claims.update([key for key, because in also.items() if not because.isdisjoint(self.claims)])


class Flow:
    """Takes units from requests and answers them in batches. `vault` has the keys that seal what clients say."""

    def __init__(self, pool: Pool, store: Store, vault: Vault) -> None:
        self.pool = pool
        self.store = store
        self._notes = NoteKeys(vault, pool, store.shards)
        self._elsewhere = Elsewhere(self._find_locked, waiters_max=QUEUE_MAX // 2, wait_max_s=LOCKED_S)
        board = Board(self._elsewhere)
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
            weigh=lambda job: job.weight,
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
        if (weight := weight_of(unit)) > BATCH_MAX:
            return asyncio.ensure_future(self._in_parts(unit))
        claims = plain_claims(unit)
        if claims is not None:
            return self._queue(Job(unit, weight, claims))
        needs = needs_of([unit])
        if needs.is_about_earlier:
            return asyncio.ensure_future(self._once_placed(unit))
        if not needs.has_notes:
            return self._queue(Job(unit, weight, needs.claims()))
        seals = self._notes.at_hand(needs.noted)
        if seals is None:
            return asyncio.ensure_future(self._once_sealable(unit, needs))
        return self._queue(Job(unit, weight, needs.claims(), seals))

    def _queue(self, job: Job) -> "asyncio.Future[list[Answer]]":
        lane = self._singles if job.weight <= SINGLE_MAX else self._lists
        return lane.enqueue(job)

    async def _once_placed(self, unit: Unit) -> list[Answer]:
        return await self._once_sealable(unit, await self._places.enqueue(unit))

    async def _once_sealable(self, unit: Unit, needs: Needs) -> list[Answer]:
        return await self._queue(Job(unit, weight_of(unit), needs.claims(), await self._seals(needs)))

    async def _seals(self, needs: Needs) -> Seals | None:
        """What it takes to keep what is said; nothing is waited for where nothing is, or all is at hand."""
        if not needs.has_notes:
            return None
        return self._notes.at_hand(needs.noted) or await self._notes.find(needs.noted)

    async def _find_places(self, units: list[Unit]) -> list[Needs | Exception]:
        """What each unit needs, now that what it is about is read: two round trips at the most for each kind."""
        async with reading(self.pool) as connection:
            found = await Batch.find_earlier(self.store, connection, needs_of(units))
        return [self._placed(unit, found) for unit in units]

    def _placed(self, unit: Unit, found: Found) -> Needs:
        needs = needs_of([unit])
        for command in unit:
            command.then(needs, found, self.store.shards)
        return needs

    async def _in_parts(self, unit: Unit) -> list[Answer]:
        """A long list, batch by batch in its order. What fails after a first part leaves the outcome unknown."""
        answers: list[Answer] = []
        until_s = time.monotonic() + LIST_S
        for part in parts_of(unit, BATCH_MAX):
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
        return await self._lists.enqueue(Job(unit, weight_of(unit), needs.claims(), await self._seals(needs)))

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
            batch = self._batch(jobs)
            try:
                return list(await in_transaction(self.pool, batch.run))
            except Overdue as overdue:
                held_back = [bool(job.claims & overdue.accounts) for job in jobs]
                if not all(held_back):
                    return await self._without(jobs, held_back, Later())
                if time.monotonic() > began_s + BACKLOG_S:
                    raise DatabaseUnavailable("too many holds are overdue on an account") from None
                await self._release(overdue.holds)
            except Busy:
                for job in jobs:
                    job.claim(batch.also)
                if any(held_back := await self._held_back(jobs)):
                    return await self._without(jobs, held_back, HeldElsewhere())
                if time.monotonic() > began_s + LOCKED_S:  # no account: all of them wait for it
                    raise DatabaseUnavailable("another transaction has its hands on the ledger") from None

    async def _release(self, holds: Sequence[Key]) -> None:
        units = [[ExpireHolds(tenant, [id_])] for tenant, id_ in sorted(holds)]
        try:
            await in_transaction(self.pool, Batch(self.store, units).run)
        except Busy:
            raise DatabaseUnavailable("another transaction has its hands on an overdue hold's account") from None

    def _batch(self, jobs: list[Job]) -> Batch:
        lock_ms = WARY_MS if self._elsewhere.holders else None
        return Batch(self.store, [job.unit for job in jobs], merged(job.seals for job in jobs), lock_ms=lock_ms)

    async def _held_back(self, jobs: list[Job]) -> list[bool]:
        """Whether each needs an account that others have locked at this moment."""
        until_s = deadline.current()
        deadline.enter(None)  # short as what is left may be, it is enough for those who need not wait
        try:
            locked = await self._find_locked(set().union(*(job.claims for job in jobs)))
        finally:
            deadline.enter(until_s)
        self._elsewhere.learn(locked)
        return [not job.claims.isdisjoint(locked) for job in jobs]

    async def _find_locked(self, keys: Collection[Key]) -> dict[Key, str]:
        async with reading(self.pool) as connection:
            return await self.store.find_locked(connection, keys)

    async def _without(self, jobs: list[Job], held_back: list[bool], why: Exception) -> list[list[Answer] | Exception]:
        """Those that need not wait go on; what comes of each, in the order of `jobs`."""
        going = [job for job, waits in zip(jobs, held_back, strict=True) if not waits]
        free = iter(await self._bisected(going) if going else ())
        return [why if waits else next(free) for waits in held_back]
