"""Takes batches of messages: effect and progress in one transaction, and what fails alone.

A batch is one transaction: lock the progress rows → in new statements, which places were taken ahead of a gap and
whether a letter is open (then also which keys are blocked), and which versions were applied → plan purely → apply →
keep letters, note versions, take what is new → COMMIT. What continues `below` is taken by moving that, and costs no
row. Five round trips and the handler's own, whatever the size; two more where versions count, one where something is
ahead of a gap, one where letters are open, and two where some are kept.

A batch whose handler fails is taken in halves, in order, until one message fails alone. That one is tried again
`ATTEMPTS_MAX` times in all and is a dead letter then; the rest went through. A database that is away, or says that it
can't now, is nobody's fault: `DatabaseUnavailable` comes out, nothing was taken, and the caller tries again later.

At most `LETTERS_MAX` letters are open, and `LETTERS_OF_KEY_MAX` of one key. When one more would be, `Full` comes out
and nothing of the batch was taken: the consumer holds rather than lose an event or forget an order. What it holds is
still in the broker and at the source; redriving or discarding makes room.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter

from amana.infra.breaker import Backoff
from amana.infra.consuming import meters
from amana.infra.consuming.planning import Known, Plan, State, plan
from amana.infra.consuming.records import HANDLER_FAILED, Codec, Handler, Order, Place, Read, Unreadable, read
from amana.infra.consuming.store import Store
from amana.infra.kafka import Message
from amana.infra.postgres import Connection, DatabaseUnavailable, Pool, in_transaction
from amana.infra.telemetry import logger

TAKE_MAX = 500
"""Messages in one transaction."""
ATTEMPTS_MAX = 3
RETRY_FIRST_S = 0.1
RETRY_MAX_S = 1.0
LETTERS_MAX = 100_000
LETTERS_OF_KEY_MAX = 1_000

log = logger("amana.consuming")


class Full(Exception):
    """No more letters may be kept."""


class Taker:
    """Takes messages for one consumer. `pool` sees the schema with its tables."""

    def __init__(
        self,
        name: str,
        pool: Pool,
        codec: Codec,
        handler: Handler,
        *,
        letters_max: int = LETTERS_MAX,
        letters_of_key_max: int = LETTERS_OF_KEY_MAX,
    ) -> None:
        self.name = name
        self.pool = pool
        self.codec = codec
        self.handler = handler
        self.store = Store(name)
        self._letters_max = letters_max
        self._letters_of_key_max = letters_of_key_max

    async def begin(self, stream: str, at: int) -> None:
        """Begins a stream at position `at`, unless it was begun before. Raises `DatabaseUnavailable`."""

        async def work(connection: Connection) -> None:
            await self.store.begin_stream(connection, stream, at)

        await in_transaction(self.pool, work)

    async def take(self, messages: Sequence[Message]) -> None:
        """Takes messages; duplicates fall out. Raises `DatabaseUnavailable` and `Full`, with a beginning taken."""
        for first in range(0, len(messages), TAKE_MAX):
            await self._halving([read(self.codec, message) for message in messages[first : first + TAKE_MAX]])

    async def _halving(self, reads: list[Read]) -> None:
        try:
            await self._in_one(reads)
        except (DatabaseUnavailable, Full):
            raise
        except Exception as error:
            failure = error
        else:
            return
        if len(reads) == 1:
            await self._again(reads[0], failure)
            return
        middle = len(reads) // 2
        await self._halving(reads[:middle])
        await self._halving(reads[middle:])

    async def _again(self, one: Read, failure: Exception) -> None:
        """Tries a message that failed alone; gives it up at last."""
        backoff = Backoff(RETRY_FIRST_S, RETRY_MAX_S)
        for _ in range(ATTEMPTS_MAX - 1):
            await asyncio.sleep(backoff.next_s())
            meters.RETRIES.labels(self.name).inc()
            try:
                await self._in_one([one])
            except (DatabaseUnavailable, Full):
                raise
            except Exception as error:
                failure = error
            else:
                return
        log.error("handler_failed", consumer=self.name, place=one.place, exc_info=failure)
        problem = Unreadable(HANDLER_FAILED, f"{type(failure).__name__}: {failure}", ATTEMPTS_MAX)
        await self._in_one([one._replace(fact=None, problem=problem)])

    async def _in_one(self, reads: list[Read]) -> None:
        """One transaction for all; counted and told once it is committed."""

        async def work(connection: Connection) -> tuple[Plan, Counter[str]]:
            return await self._work(connection, reads)

        made, counts = await in_transaction(self.pool, work)
        for outcome, count in counts.items():
            meters.TAKEN.labels(self.name, outcome).inc(count)
        for letter in made.letters:
            if letter.state is State.DEAD:
                meters.DEAD_LETTERS.labels(self.name, letter.reason).inc()
                place = letter.read.place
                log.error("dead_letter", consumer=self.name, reason=letter.reason, place=place, detail=letter.error)

    async def _work(self, connection: Connection, reads: list[Read]) -> tuple[Plan, Counter[str]]:
        below = await self.store.lock_progress(connection)
        placed = {one.place: one for one in reads if one.place is not None and _is_due(one.place, below)}
        before, letters = await self.store.look(connection, list(placed)) if placed else (set[Place](), False)
        # In order of position, which is the order of each key: what was sent again is out.
        fresh = sorted(placed.keys() - before)
        taken = [placed[place] for place in fresh]
        foreign = [one for one in reads if one.place is None or one.place.stream not in below]
        known = await self._known(connection, taken, below.copy(), letters=letters)
        made = plan([*(_foreign(one) for one in foreign), *taken], known)
        if made.facts:
            await self.handler(connection, [fact.event for fact in made.facts])
        await self._keep(connection, made)
        for stream, places in groupby(fresh, attrgetter("stream")):
            await self.store.take(connection, stream, below[stream], [place.position for place in places])
        return made, _counted(reads, len(fresh), made)

    async def _known(self, connection: Connection, taken: list[Read], below: dict[str, int], *, letters: bool) -> Known:
        """What has to be known of messages that are new."""
        known = Known(below)
        keys = {one.message.key for one in taken if one.fact is not None or one.problem is not None}
        if keys and letters:
            known.blocked, known.waiting = await self.store.blocked(connection, keys)
        ordered = {
            (one.fact.tenant, one.fact.aggregate) for one in taken if one.fact and one.fact.order is not Order.ALONE
        }
        if ordered:
            known.versions = await self.store.versions(connection, ordered)
        return known

    async def _keep(self, connection: Connection, made: Plan) -> None:
        if made.versions:
            await self.store.note_versions(connection, made.versions)
        for letter in made.letters:
            await self.store.keep(connection, letter)
        if made.letters:
            keys = {letter.read.message.key for letter in made.letters if letter.read.place is not None}
            total, fullest = await self.store.open_letters(
                connection, keys, self._letters_max + 1, self._letters_of_key_max + 1
            )
            if total > self._letters_max or fullest > self._letters_of_key_max:
                raise Full(f"{total} letters are open, {fullest} of one key")


def _is_due(place: Place, below: dict[str, int]) -> bool:
    """Whether a place is of a stream that was begun, and not below what was taken of it."""
    first = below.get(place.stream)
    return first is not None and place.position >= first


def _foreign(one: Read) -> Read:
    """A message of a stream that this consumer has not begun is none of its own either."""
    if one.place is None:
        return one
    return Read(one.message, None, None, Unreadable("foreign", f"the stream {one.place.stream} is not consumed here"))


def _counted(reads: list[Read], fresh: int, made: Plan) -> Counter[str]:
    letters = Counter(letter.state.value for letter in made.letters)
    counts = Counter({"applied": len(made.facts), "older": made.older, **letters})
    foreign = sum(letter.read.place is None for letter in made.letters)
    counts["duplicate"] = max(0, len(reads) - fresh - foreign)
    counts["nothing_to_do"] = fresh - len(made.facts) - made.older - (len(made.letters) - foreign)
    return counts
