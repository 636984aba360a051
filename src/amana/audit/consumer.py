"""Where events come from: the broker, and the sources themselves for whatever the broker has not brought.

Both ways end in `flow.receive`, which stores each place in a stream once; so they need not know of each other, and
offsets are committed after the leaves are durable. A `Puller` asks its source every second how far it is. When the
first missing position is still the one of a second ago, it fetches from there: gaps close, a broker that lost its
memory is made good, and while it is away the log goes on.

The consumer is of the light form (`infra.consuming.light`): the leaves themselves are its progress, by place in the
stream, and what can't be read is no dead letter but a gap, which is fetched and reported until it is right. Order does
not matter to it, so nothing is parked.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence

from amana.audit import meters
from amana.audit.flow import RECEIVE_MAX, Received, receive
from amana.audit.irregularities import Irregularity, Seen, report, seen_in
from amana.audit.leaf import SOURCES
from amana.audit.store import Store
from amana.gateway.source import EventsPruned, Source
from amana.infra.consuming.light import run_light
from amana.infra.consuming.records import place_of
from amana.infra.kafka import Consumer, Message
from amana.infra.postgres import DatabaseUnavailable
from amana.infra.telemetry import logger
from amana.wire.events import EventPage

GROUP = "amana-audit"
TOPICS = tuple(f"amana.{stream}.events" for stream in SOURCES)
BATCH_WAIT_MS = 50
"""The longest that a message waits in the consumer for company."""

PULL_EVERY_S = 1.0
"""How often a source is asked, and so how long a gap stays open before it is filled from the source."""
PULL_PAGES_MAX = 100
"""Pages in one go; then the other work of the process gets its turn."""

log = logger("amana.audit.consumer")


async def consume(store: Store, consumer: Consumer, stop: asyncio.Event) -> None:
    """Stores what the broker brings, until `stop`; then closes `consumer`. The database is waited for."""

    async def store_batch(batch: Sequence[Message]) -> None:
        for stream, events in _by_stream(batch).items():
            await take(store, stream, events)

    await run_light(
        GROUP,
        consumer,
        store_batch,
        stop,
        waits_for=(DatabaseUnavailable,),
        batch_max=RECEIVE_MAX,
        wait_ms=BATCH_WAIT_MS,
    )


async def take(store: Store, stream: str, events: Sequence[tuple[int, bytes]]) -> Received:
    """Stores (position, bytes) of a stream, and counts and reports what is wrong. Raises `DatabaseUnavailable`."""
    received = await receive(store, stream, events)
    meters.count_received(stream, received)
    await report(store, stream, seen_in(received))
    return received


def _by_stream(batch: Sequence[Message]) -> dict[str, list[tuple[int, bytes]]]:
    """The events of a batch. A message without a known stream and a position is reported and left out: should it have
    been an event, its position stays a gap and is fetched from the source."""
    events: dict[str, list[tuple[int, bytes]]] = defaultdict(list)
    for message in batch:
        place = place_of(message)
        if place is not None and place.stream in SOURCES:
            events[place.stream].append((place.position, message.value))
        else:
            log.error("foreign_message", topic=message.topic, partition=message.partition, offset=message.offset)
    return events


class Puller:
    """Keeps a stream complete."""

    def __init__(self, source: Source, store: Store) -> None:
        self._source = source
        self._store = store
        self._frontier: int | None = None
        self._pruned_at: int | None = None
        """The first missing position of which it was told that the source has pruned it."""

    async def pull(self) -> float:
        """Asks the source once, or as often as it takes to catch up. Returns the seconds to wait until the next time.

        At the first time, and when the first gap is still where it was left, everything is fetched; else one event, to
        learn how far the source is. Raises `UpstreamUnavailable` and `DatabaseUnavailable`; `EventsPruned` where the
        source has no longer got what is missing, which is kept as an irregularity.
        """
        frontier = await self._first_missing()
        whole = self._frontier in (None, frontier)
        hole = self._frontier is not None and await self._is_hole(frontier)
        for _ in range(PULL_PAGES_MAX if whole else 1):
            page = await self._page(frontier, RECEIVE_MAX if whole else 1)
            await self._take(page, hole and whole)
            hole = False
            before, self._frontier = frontier, frontier
            frontier = self._frontier = await self._first_missing()
            if frontier in (before, page.last + 1):
                return PULL_EVERY_S
        return 0.0 if whole else PULL_EVERY_S

    async def _page(self, frontier: int, limit: int) -> EventPage:
        try:
            return await self._source.page(frontier - 1, limit)
        except EventsPruned as error:
            if self._pruned_at != frontier:
                await report(self._store, self._source.stream, [Seen(Irregularity.PRUNED, frontier, str(error))])
            self._pruned_at = frontier
            raise

    async def _take(self, page: EventPage, hole: bool) -> None:
        stream = self._source.stream
        if page.events:
            events = [(event.position, event.body.encode()) for event in page.events]
            received = await take(self._store, stream, events)
            if hole and received.stored:
                detail = f"{received.stored} events from here on had not come"
                await report(self._store, stream, [Seen(Irregularity.REFETCHED, events[0][0], detail)])
        async with self._store.rows() as rows:
            await rows.note_source_last(stream, page.last)

    async def _is_hole(self, frontier: int) -> bool:
        """Whether events behind the first missing one have come."""
        async with self._store.rows() as rows:
            return await rows.highest_position(self._source.stream) > frontier

    async def _first_missing(self) -> int:
        """The first position not stored. What a checkpoint covers was stored once: the verifier watches over that."""
        stream = self._source.stream
        async with self._store.rows() as rows:
            if self._frontier is None:
                newest = await rows.newest_checkpoint(stream)
                return await rows.first_missing(stream, newest.size if newest else 0)
            return await rows.first_missing(stream, self._frontier)
