"""From requests to batches: which commands are committed together, and who waits for whom.

A single request never joins a batch that would wait for an account that another batch in flight has (`claims`): it is
set aside until that one ends, so that what is hot does not hold up what is cold. Long lists have a lane of their own.

A unique violation (two callers racing with one id) runs the batch again and finds the winner's row. Any other
unexpected error bisects the batch, so that only the offending unit fails. What a batch does is in `batch`.
"""

import asyncio
from collections.abc import Collection, Iterator

from amana.domain.book import Answer, Asked, replayed
from amana.domain.transfer import Key
from amana.infra.claims import Board
from amana.infra.collector import Collector, Overloaded, bisecting
from amana.infra.postgres import DatabaseUnavailable, Pool, in_transaction, reading
from amana.transactions.batch import Batch
from amana.transactions.store import Store
from amana.transactions.work import Command, Needs, Unit

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


class Flow:
    """Takes units from requests and answers them in batches."""

    def __init__(self, pool: Pool, store: Store) -> None:
        self.pool = pool
        self.store = store
        run = bisecting(self._run, whole=(DatabaseUnavailable,))
        board = Board()
        self._singles: Collector[Unit, list[Answer]] = Collector(
            run,
            batch_max=BATCH_MAX,
            batches_in_flight=BATCHES_IN_FLIGHT,
            queue_max=QUEUE_MAX,
            weigh=_weight_of,
            group=_tenant_of,
            claims=_claims_of,
            board=board,
        )
        self._lists: Collector[Unit, list[Answer]] = Collector(
            run,
            batch_max=BATCH_MAX,
            batches_in_flight=BATCHES_IN_FLIGHT,
            queue_max=LISTS_QUEUE_MAX,
            weigh=_weight_of,
            group=_tenant_of,
            claims=_claims_of,
            board=board,
            yields=False,
        )

    async def submit(self, unit: Unit) -> list[Answer]:
        """The answers of a unit's commands, in order. Raises `Overloaded` or `DatabaseUnavailable`."""
        return await self.enqueue(unit)

    def enqueue(self, unit: Unit) -> "asyncio.Future[list[Answer]]":
        """The same as a future. `Overloaded` may come at once."""
        weight = _weight_of(unit)
        if weight <= SINGLE_MAX:
            return self._singles.enqueue(unit)
        if weight <= BATCH_MAX:
            return self._lists.enqueue(unit)
        return asyncio.shield(self._in_parts(unit))

    async def _in_parts(self, unit: Unit) -> list[Answer]:
        """A long list, batch by batch in its order. What fails after a first part leaves the outcome unknown."""
        answers: list[Answer] = []
        for part in _parts_of(unit):
            try:
                answers += await self._lists.enqueue(part)
            except (DatabaseUnavailable, Overloaded) as error:
                if not answers:
                    raise
                raise DatabaseUnavailable(str(error), outcome_known=False) from error
        return answers

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
        return list(await in_transaction(self.pool, Batch(self.store, units).run))


def _tenant_of(unit: Unit) -> int:
    return unit[0].tenant


def _claims_of(unit: Unit) -> Collection[Key]:
    """The accounts, ids and holds that the unit's commands name."""
    needs = Needs()
    for command in unit:
        command.first(needs)
    claims = needs.accounts
    claims.update(needs.ids, needs.holds, needs.originals, needs.loans)
    return claims


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
