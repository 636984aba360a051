"""What follows from reversed decisions, worked off by every process, one reversal by one of them at a time.

    take what is due (SKIP LOCKED), COMMIT  →  ask the ledger  →  BEGIN, the decision locked, the step moved on and what
                                                                  came of the whole, with its event, COMMIT  →  ...

No transaction is open while the ledger is asked. Taking a reversal moves its time on, so that whoever dies with it is
followed by another after `LEASE_S`; one that was only slow finds its step moved on, and its answer counts no more. What
the ledger is asked is idempotent by its id, so nothing happens twice whoever asks (`domain.decision_reversal`).

A ledger that is away is asked again after 1, 2, 4 ... s, at most a minute, `ATTEMPTS_MAX` times; then, and whenever it
refuses, a person is needed.
"""

import asyncio
import random
from contextlib import suppress
from datetime import datetime

import msgspec

from amana.domain.decision_reversal import SagaState, Step, after, state_of
from amana.domain.reasons import Reason
from amana.domain.review import Standing
from amana.eligibility import reversal_store, review_store
from amana.eligibility.records import Key
from amana.eligibility.reversal_ledger import UndoingLedger
from amana.eligibility.reversal_records import Saga
from amana.eligibility.review_events import all_undone, stuck
from amana.infra.http import UpstreamUnavailable
from amana.infra.outbox import append
from amana.infra.postgres import Connection, DatabaseUnavailable, Pool, in_transaction, reading
from amana.infra.telemetry import logger

LOOK_EVERY_S = 1.0
TAKEN_MAX = 4
"""Reversals that one process works on at a time."""
LEASE_S = 30
"""Longer than the ledger is waited for and a transaction takes."""
PAUSE_S = 5.0
"""Before the ledger is asked again for what only time settles."""
BACKOFF_S, BACKOFF_MAX_S = 1.0, 60.0
ATTEMPTS_MAX = 1_000
"""Without an answer of the ledger: about 16 hours."""

_log = logger(__name__)


class Undoing:
    """Works off what is due, until it is cancelled."""

    def __init__(self, pool: Pool, ledger: UndoingLedger) -> None:
        self._pool, self._ledger = pool, ledger
        self._nudged = asyncio.Event()

    def nudge(self) -> None:
        """Something is due now: do not wait for the next turn."""
        self._nudged.set()

    async def run(self) -> None:
        """Until cancelled. What fails is due again after its lease."""
        while True:
            self._nudged.clear()
            taken = 0
            try:
                taken = await self.turn()
            except DatabaseUnavailable as error:
                _log.warning("reversals not looked at", error=type(error).__name__)
            except Exception as error:
                _log.error("reversals not looked at", exc_info=error)
            if not taken:
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_EVERY_S):
                        await self._nudged.wait()

    async def turn(self) -> int:
        """Takes what is due and works on it. Returns how many reversals that were."""
        taken = await in_transaction(self._pool, lambda c: reversal_store.claim_due(c, TAKEN_MAX, LEASE_S))
        outcomes = await asyncio.gather(*(self._advance(key) for key in taken), return_exceptions=True)
        for key, outcome in zip(taken, outcomes, strict=True):
            if isinstance(outcome, DatabaseUnavailable):
                _log.warning("a reversal waits", reversal=str(key[1]), error=type(outcome).__name__)
            elif isinstance(outcome, BaseException):
                _log.error("a reversal waits", reversal=str(key[1]), exc_info=outcome)
        return len(taken)

    async def _advance(self, key: Key) -> None:
        """One step of one reversal; then it is due again, if it is not over."""
        async with reading(self._pool) as connection:
            saga = await reversal_store.find_reversal(connection, *key)
        assert saga is not None, "a reversal is never deleted"
        if saga.attempts > ATTEMPTS_MAX:  # whatever it was that kept failing
            return await self._postpone(saga)
        step = next((step for step in saga.steps if step.goes_on), None)
        if step is None:  # a person gave up the last one
            return await self._settle(saga, None, None)
        try:
            reply = await self._ledger.ask(saga, step)
        except (UpstreamUnavailable, msgspec.DecodeError) as error:
            _log.warning("the ledger did not answer", reversal=str(saga.reversal_id), detail=str(error))
            return await self._postpone(saga)
        await self._settle(saga, step, after(step, reply, saga.age))

    async def _settle(self, saga: Saga, before: Step | None, step: Step | None) -> None:
        """Writes what came of a step, and of the whole reversal with it."""

        async def work(connection: Connection) -> None:
            await review_store.lock_standing(connection, saga.tenant, saga.decision_id)
            waits = False
            if before is not None and step is not None:
                waits = step.goes_on and step.state is before.state
                await reversal_store.change_step(connection, saga, before, step)
            await _conclude(connection, saga, PAUSE_S if waits else 0.0)

        await in_transaction(self._pool, work)

    async def _postpone(self, saga: Saga) -> None:
        async def work(connection: Connection) -> None:
            await review_store.lock_standing(connection, saga.tenant, saga.decision_id)
            if saga.attempts < ATTEMPTS_MAX:
                return await reversal_store.postpone(connection, saga, backoff_s(saga.attempts))
            await reversal_store.stick_steps(connection, saga, Reason.UNAVAILABLE)
            await _conclude(connection, saga, 0.0)

        await in_transaction(self._pool, work)


async def _conclude(connection: Connection, saga: Saga, pause_s: float) -> None:
    """How a locked reversal stands by its steps: it goes on, needs a person, or is over. Each is told once."""
    found = await reversal_store.find_reversal(connection, saga.tenant, saga.reversal_id)
    assert found is not None, "a reversal is never deleted"
    if found.state is not SagaState.RUNNING:
        return  # somebody else concluded
    state = state_of(found.steps)
    if state is SagaState.RUNNING:
        return await reversal_store.set_state(connection, found, state, pause_s)
    standing = Standing.REVERSED if state is SagaState.OVER else Standing.REVERSING
    version = await reversal_store.move_version(connection, found, standing)
    now = await reversal_store.read_clock(connection)
    over = (now, version) if state is SagaState.OVER else None
    await reversal_store.set_state(connection, found, state, pause_s, over)
    await _tell(connection, found, state, version, now)


async def _tell(connection: Connection, saga: Saga, state: SagaState, version: int, now: datetime) -> None:
    if state is SagaState.STUCK:
        return await append(connection, [stuck(saga, version, now)])
    review = await review_store.find_review(connection, saga.tenant, saga.reversal_id)
    assert review is not None, "every reversal is a review"
    await append(connection, [all_undone(saga, review, version, now)])


def backoff_s(attempts: int) -> float:
    """How long to wait after so many attempts, with jitter."""
    return min(BACKOFF_MAX_S, BACKOFF_S * 2.0 ** min(attempts - 1, 10)) * (0.5 + random.random() / 2)  # noqa: S311  jitter
