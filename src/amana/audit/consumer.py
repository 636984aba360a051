"""Where events come from: the broker, and the sources themselves for whatever the broker has not brought.

Both ways end in `flow.receive`, which stores each place in a stream once; so they need not know of each other, and
offsets are committed after the leaves are durable. A `Puller` asks its source every second how far it is. When the
first missing position is still the one of a second ago, it fetches from there: gaps close, a broker that lost its
memory is made good, and while it is away the log goes on.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence

import msgspec

from amana.audit import meters
from amana.audit.flow import RECEIVE_MAX, Received, receive
from amana.audit.irregularities import Irregularity, Seen, report, seen_in
from amana.audit.leaf import STREAMS
from amana.audit.store import Store
from amana.infra.breaker import pause
from amana.infra.http import HttpClient, UpstreamUnavailable
from amana.infra.kafka import Consumer, Message
from amana.infra.postgres import DatabaseUnavailable
from amana.infra.telemetry import logger
from amana.wire.events import EventPage

GROUP = "amana-audit"
TOPICS = tuple(f"amana.{stream}.events" for stream in STREAMS)
BATCH_WAIT_MS = 50
"""The longest that a message waits in the consumer for company."""
RETRY_PAUSE_S = 0.5

PULL_EVERY_S = 1.0
"""How often a source is asked, and so how long a gap stays open before it is filled from the source."""
PULL_PAGES_MAX = 100
"""Pages in one go; then the other work of the process gets its turn."""
PULL_TIMEOUT_MS = 10_000

log = logger("amana.audit.consumer")


async def consume(store: Store, consumer: Consumer, stop: asyncio.Event) -> None:
    """Stores what the broker brings, until `stop`; then closes `consumer`."""
    try:
        async for batch in consumer.batches(stop, size_max=RECEIVE_MAX, wait_ms=BATCH_WAIT_MS):
            if await _store_batch(store, batch, stop):
                await consumer.commit(batch)
    finally:
        await consumer.close()


async def _store_batch(store: Store, batch: Sequence[Message], stop: asyncio.Event) -> bool:
    """Stores a batch, waiting for the database as long as it takes. False when told to stop before that."""
    by_stream = _by_stream(batch)
    while not stop.is_set():
        try:
            for stream, events in by_stream.items():
                await take(store, stream, events)
        except DatabaseUnavailable as error:
            log.warning("database_unavailable", detail=str(error))
            await pause(RETRY_PAUSE_S, stop)
        else:
            return True
    return False


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
        stream = message.headers.get("stream", b"").decode("ascii", "replace")
        position = message.headers.get("position", b"")
        if stream in STREAMS and position.isdigit() and len(position) <= 18:
            events[stream].append((int(position), message.value))
        else:
            log.error("foreign_message", topic=message.topic, partition=message.partition, offset=message.offset)
    return events


class Source:
    """The service that a stream comes from."""

    def __init__(self, stream: str, url: str, internal_key: str, client: HttpClient) -> None:
        self.stream = stream
        self._url = f"{url.rstrip('/')}/v1/events"
        self._headers = {"Authorization": f"Bearer {internal_key}"}
        self._client = client

    async def page(self, after: int, limit: int) -> EventPage:
        """At most `limit` events after position `after`. Raises `UpstreamUnavailable`."""
        url = f"{self._url}?after={after}&limit={limit}"
        reply = await self._client.request("GET", url, headers=self._headers, timeout_ms=PULL_TIMEOUT_MS)
        if reply.status != 200:
            raise UpstreamUnavailable(f"GET {url}: status {reply.status}", outcome_known=True)
        try:
            page = msgspec.json.decode(reply.body, type=EventPage)
        except msgspec.MsgspecError as error:
            raise UpstreamUnavailable(f"GET {url}: {error}", outcome_known=True) from error
        if page.stream != self.stream:
            raise UpstreamUnavailable(f"GET {url}: answers for stream {page.stream}", outcome_known=True)
        return page


class Puller:
    """Keeps a stream complete."""

    def __init__(self, source: Source, store: Store) -> None:
        self._source = source
        self._store = store
        self._frontier: int | None = None

    async def pull(self) -> float:
        """Asks the source once, or as often as it takes to catch up. Returns the seconds to wait until the next time.

        At the first time, and when the first gap is still where it was left, everything is fetched; else one event, to
        learn how far the source is. Raises `UpstreamUnavailable` and `DatabaseUnavailable`.
        """
        frontier = await self._first_missing()
        whole = self._frontier in (None, frontier)
        hole = self._frontier is not None and await self._is_hole(frontier)
        for _ in range(PULL_PAGES_MAX if whole else 1):
            page = await self._source.page(frontier - 1, RECEIVE_MAX if whole else 1)
            await self._take(page, hole and whole)
            hole = False
            before, self._frontier = frontier, frontier
            frontier = self._frontier = await self._first_missing()
            if frontier in (before, page.last + 1):
                return PULL_EVERY_S
        return 0.0 if whole else PULL_EVERY_S

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
