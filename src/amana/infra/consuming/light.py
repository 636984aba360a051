"""The light form: for a consumer whose effect is not rows beside which its progress could stand.

Offsets are committed after the effect. Nothing is kept of a message that can't be handled, so this is only for effects
that heal by themselves: a cache whose entries age, a log that fetches what it misses from the source.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from amana.infra.breaker import Backoff, pause
from amana.infra.consuming import meters
from amana.infra.consuming.records import place_of
from amana.infra.kafka import Consumer, Message
from amana.infra.publisher import topic_of
from amana.infra.telemetry import logger

BATCH_MAX = 500
BATCH_WAIT_MS = 200
ATTEMPTS_MAX = 3

log = logger("amana.consuming")


class Highest:
    """Passes over what was seen: positions of a partition grow, except where a second relay sends again what was sent.

    A message without a place is always new.
    """

    def __init__(self) -> None:
        self._highest: dict[tuple[str, int], int] = {}

    def new(self, messages: Sequence[Message]) -> list[Message]:
        """Those of `messages` that are further in their partition than everything that was noted."""
        return [message for message in messages if self._is_new(message)]

    def note(self, messages: Sequence[Message]) -> None:
        """These were handled."""
        for message in messages:
            place = place_of(message)
            if place is not None:
                at = (place.stream, message.partition)
                self._highest[at] = max(place.position, self._highest.get(at, -1))

    def _is_new(self, message: Message) -> bool:
        place = place_of(message)
        return place is None or place.position > self._highest.get((place.stream, message.partition), -1)


async def run_light(
    name: str,
    consumer: Consumer,
    handle: Callable[[Sequence[Message]], Awaitable[object]],
    stop: asyncio.Event,
    *,
    waits_for: tuple[type[Exception], ...] = (),
    batch_max: int = BATCH_MAX,
    wait_ms: int = BATCH_WAIT_MS,
) -> None:
    """Hands batches to `handle` until `stop`; then closes `consumer`.

    An exception of `waits_for` is waited out, however long; any other is tried `ATTEMPTS_MAX` times, then the batch is
    counted as dropped and left behind.
    """
    try:
        async for batch in consumer.batches(stop, size_max=batch_max, wait_ms=wait_ms):
            if await _handled(name, batch, handle, stop, waits_for):
                await consumer.commit(batch)
    finally:
        await consumer.close()


async def _handled(
    name: str,
    batch: Sequence[Message],
    handle: Callable[[Sequence[Message]], Awaitable[object]],
    stop: asyncio.Event,
    waits_for: tuple[type[Exception], ...],
) -> bool:
    """Whether the batch is over; False when told to stop before."""
    backoff, attempts = Backoff(), 0
    while not stop.is_set():
        try:
            await handle(batch)
        except waits_for as error:
            log.warning("waits", consumer=name, detail=str(error))
        except Exception:
            attempts += 1
            if attempts == ATTEMPTS_MAX:
                meters.TAKEN.labels(name, "dropped").inc(len(batch))
                log.exception("batch_dropped", consumer=name, messages=len(batch))
                return True
        else:
            _count(name, batch)
            return True
        meters.RETRIES.labels(name).inc()
        await pause(backoff.next_s(), stop)
    return False


def _count(name: str, batch: Sequence[Message]) -> None:
    meters.TAKEN.labels(name, "applied").inc(len(batch))
    # Only of a topic that is named after its stream: a label is not made of what anybody may send.
    places = [place for one in batch if (place := place_of(one)) and one.topic == topic_of(place.stream)]
    for place in places:
        meters.POSITION.labels(name, place.stream).set(place.position)
