"""Redrives and gives up letters: key by key, in the order of their stream, one transaction each.

A letter that succeeds lets the next one of its key through, and so on, until one fails again or none is left; from then
on the key's new events are handled as they come. What is taken meanwhile is parked behind, because each of these
transactions locks the progress rows that taking locks too. To do it twice changes nothing: what is done is done.
"""

from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeAlias

from amana.infra.consuming import meters
from amana.infra.consuming.planning import State
from amana.infra.consuming.records import HANDLER_FAILED, Order, Unreadable, read
from amana.infra.consuming.store import KeptLetter
from amana.infra.consuming.taking import Taker
from amana.infra.postgres import Connection, DatabaseUnavailable, in_transaction, reading
from amana.infra.telemetry import logger

REDRIVE_MAX = 500
"""Letters of one redrive; whoever asked is told that there is more."""
RIPE_MAX = 100

log = logger("amana.consuming")

Find: TypeAlias = Callable[[Connection], Awaitable[KeptLetter | None]]


class Failed(NamedTuple):
    """A letter that failed again: its number, the reason's code, what was wrong."""

    letter: int
    reason: str
    error: str


class Redriven(NamedTuple):
    """What came of a redrive: how many letters are done, which failed again, and the last dead one looked at.

    `more`: the bound was reached.
    """

    done: int
    failed: list[Failed]
    last: int = 0
    more: bool = False


class Refusal(NamedTuple):
    """Why nothing was done about a letter: `not_found`, `settled` (done or discarded before) or `behind` another."""

    reason: str
    behind: int | None = None


class Letters:
    """The letters of a taker's consumer."""

    def __init__(self, taker: Taker) -> None:
        self._taker = taker
        self._store = taker.store

    async def redrive(self, letter: int) -> Redriven | Refusal:
        """Redrives one letter, and what stands behind it. Only the first of a key may go: order is kept."""
        found = await self._head(letter)
        if isinstance(found, Refusal):
            return found
        return await self._one(letter) if found is None else await self.redrive_key(found)

    async def redrive_key(self, key: bytes, limit: int = REDRIVE_MAX) -> Redriven:
        """Redrives all of a key, in order, until one fails. Raises `DatabaseUnavailable`; then a beginning is done."""
        done = 0
        while done < limit:
            outcome = await self._next(key, dead_too=True)
            if outcome is None:
                return Redriven(done, [])
            if isinstance(outcome, Failed):
                return Redriven(done, [outcome])
            done += 1
        return Redriven(done, [], more=True)

    async def redrive_all(self, after: int = 0) -> Redriven:
        """Redrives every key whose dead letter has a number over `after`, about `REDRIVE_MAX` letters in all."""
        done, failed = 0, list[Failed]()
        while done + len(failed) < REDRIVE_MAX:
            async with reading(self._taker.pool) as connection:
                rows = await self._store.dead(connection, after, 1)
            if not rows:
                return Redriven(done, failed, after)
            after = rows[0]["letter"]
            foreign = rows[0]["stream"] is None or not rows[0]["key"]
            one = await (self._one(after) if foreign else self.redrive_key(rows[0]["key"], REDRIVE_MAX - done))
            done += one.done
            failed += one.failed
            if one.more:
                return Redriven(done, failed, after - 1, more=True)
        return Redriven(done, failed, after, more=True)

    async def discard(self, letter: int) -> Redriven | Refusal:
        """Gives up one letter, the first of its key; then what stands behind it is redriven."""
        found = await self._head(letter)
        if isinstance(found, Refusal):
            return found

        async def work(connection: Connection) -> bool:
            await self._store.lock_progress(connection)
            kept = await self._store.lock_letter(connection, letter)
            if kept is not None:
                await self._store.settle(connection, letter, State.DISCARDED)
            return kept is not None

        if not await in_transaction(self._taker.pool, work):
            return Refusal("settled")
        meters.REDRIVES.labels(self._taker.name, "discarded").inc()
        log.warning("letter_discarded", consumer=self._taker.name, letter=letter)
        return Redriven(0, []) if found is None else await self.redrive_key(found)

    async def release(self) -> int:
        """Applies what waited for a gap and lacks nothing any more; how many letters."""
        async with reading(self._taker.pool) as connection:
            keys = await self._store.ripe(connection, RIPE_MAX)
        released = 0
        for key in keys:
            while await self._next(key, dead_too=False) is True:
                released += 1
        return released

    async def _head(self, letter: int) -> bytes | Refusal | None:
        """The key of a letter that is the first of its key; None for one that is of no key."""
        async with reading(self._taker.pool) as connection:
            found = await self._store.find_letter(connection, letter)
            if found is None:
                return Refusal("not_found")
            if found["state"] in (State.DONE, State.DISCARDED):
                return Refusal("settled")
            if found["stream"] is None or not found["key"]:
                return None
            first = await self._store.first_of_key(connection, found["key"])
        if first is not None and first.letter != letter:
            return Refusal("behind", first.letter)
        return bytes(found["key"])

    async def _next(self, key: bytes, *, dead_too: bool) -> bool | Failed | None:
        """Redrives the first letter of a key: True when it is done, None when there is none (that may go)."""

        async def find(connection: Connection) -> KeptLetter | None:
            kept = await self._store.first_of_key(connection, key)
            return kept if kept is not None and (dead_too or await self._is_ripe(connection, kept)) else None

        return await self._settled(find)

    async def _is_ripe(self, connection: Connection, kept: KeptLetter) -> bool:
        below = await self._store.lock_progress(connection)
        place = kept.place
        return kept.state is State.WAITING and place is not None and place.position <= below.get(place.stream, 0)

    async def _one(self, letter: int) -> Redriven:
        """Redrives a letter that is of no key."""

        async def find(connection: Connection) -> KeptLetter | None:
            return await self._store.lock_letter(connection, letter)

        outcome = await self._settled(find)
        return Redriven(int(outcome is True), [outcome] if isinstance(outcome, Failed) else [])

    async def _settled(self, find: Find) -> bool | Failed | None:
        """Handles the letter that `find` locks: done, or dead again."""
        tried: list[KeptLetter] = []

        async def handle(connection: Connection) -> bool:
            await self._store.lock_progress(connection)
            kept = await find(connection)
            if kept is None:
                return False
            tried[:] = [kept]
            await self._apply(connection, kept)
            await self._store.settle(connection, kept.letter, State.DONE)
            return True

        try:
            if not await in_transaction(self._taker.pool, handle):
                return None
        except DatabaseUnavailable:
            raise
        except Exception as error:
            if not tried:
                raise
            reason = error.reason if isinstance(error, Unreadable) else HANDLER_FAILED
            text = str(error) if isinstance(error, Unreadable) else f"{type(error).__name__}: {error}"
            failed = Failed(tried[0].letter, reason, text)
        else:
            meters.REDRIVES.labels(self._taker.name, "done").inc()
            return True
        return await self._failed(failed)

    async def _apply(self, connection: Connection, kept: KeptLetter) -> None:
        """The effect of one letter. Raises `Unreadable`, and whatever the handler raises."""
        one = read(self._taker.codec, kept.message)
        if one.problem is not None:
            raise one.problem
        if one.fact is None:
            return
        aggregate = (one.fact.tenant, one.fact.aggregate)
        if one.fact.order is not Order.ALONE:
            applied = await self._store.versions(connection, [aggregate])
            if one.fact.version <= applied.get(aggregate, 0):
                return
            await self._store.note_versions(connection, {aggregate: one.fact.version})
        await self._taker.handler(connection, [one.fact.event])

    async def _failed(self, failed: Failed) -> Failed:
        async def work(connection: Connection) -> None:
            await self._store.died_again(connection, failed.letter, failed.reason, failed.error, 1)

        await in_transaction(self._taker.pool, work)
        meters.REDRIVES.labels(self._taker.name, "failed").inc()
        log.error("redrive_failed", consumer=self._taker.name, letter=failed.letter, reason=failed.reason)
        return failed
