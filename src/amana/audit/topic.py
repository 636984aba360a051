"""The broker as a place for checkpoints: the newest one of a stream goes to a topic, and what that has is looked at.

Whoever writes the database does not write the broker. While it is away sealing goes on; afterwards the newest
checkpoint vouches for those that were left out.
"""

import asyncio

from amana.audit import meters
from amana.audit.custody import Custody
from amana.infra.kafka import Bootstrap, KafkaUnavailable, Producer, Record
from amana.infra.kafka_tail import Tail, ensure_kept_topic
from amana.infra.telemetry import logger

PUBLISH_EVERY_S = 1.0
AWAY_PAUSE_S = 1.0
SEND_TIMEOUT_S = 5.0
READ_WAIT_S = 1.0
LAST_NOTES = 100
"""Of what is there at start, so many are looked at: the newest, and those it may disagree with."""
FIRST_LOOK_S = 5.0
"""How long the first signature after a start waits for the topic to be looked at."""

log = logger("amana.audit.topic")


def checkpoint_topic(stream: str) -> str:
    """Where the checkpoints of a stream are published."""
    return f"amana.{stream}.checkpoints"


class CheckpointTopic:
    """Publishes and watches the checkpoints of one stream."""

    def __init__(self, bootstrap: Bootstrap, stream: str, custody: Custody, topic: str = "") -> None:
        self._bootstrap = bootstrap
        self._stream = stream
        self._custody = custody
        self._topic = topic or checkpoint_topic(stream)
        self._tail = Tail(bootstrap, self._topic, LAST_NOTES)
        self._producer: Producer | None = None
        self._published = ""
        self._looked = asyncio.Event()
        self._away = False

    async def publish(self) -> float:
        """Sends the newest checkpoint if it was not sent yet. Returns the seconds to wait until the next time."""
        note = await asyncio.to_thread(self._custody.newest_note, self._stream)
        if not note or note == self._published:
            return PUBLISH_EVERY_S
        try:
            await self._send(note)
        except KafkaUnavailable as error:
            return self._is_away(error)
        self._published = note
        self._away = False
        meters.PLACE_AWAY.labels(self._stream, "topic").set(0)
        return PUBLISH_EVERY_S

    async def watch(self) -> float:
        """Looks at what the topic has, and then at what is added. Returns the seconds to wait until the next time."""
        try:
            notes = await self._tail.read(READ_WAIT_S)
        except KafkaUnavailable as error:
            self._looked.set()
            return self._is_away(error)
        for note in notes:
            await asyncio.to_thread(self._custody.witness, self._stream, note.decode(errors="replace"))
        if not notes:
            self._looked.set()
        return 0.0

    async def first_look(self) -> None:
        """Waits until the topic was looked at once, or can't be, for `FIRST_LOOK_S` at most."""
        try:
            await asyncio.wait_for(self._looked.wait(), FIRST_LOOK_S)
        except TimeoutError:
            log.warning("topic_not_looked_at", stream=self._stream)
            self._looked.set()

    async def close(self) -> None:
        """Frees the clients."""
        await self._tail.close()
        if self._producer:
            await self._producer.close()

    async def _send(self, note: str) -> None:
        if self._producer is None:
            await ensure_kept_topic(self._bootstrap, self._topic)
            self._producer = Producer(self._bootstrap)
        sent = await self._producer.send(self._topic, [Record(b"", note.encode(), [])], SEND_TIMEOUT_S)
        if not sent.acknowledged:
            await self._producer.close()
            self._producer = None
            raise KafkaUnavailable(f"topic {self._topic}: {sent.failure}")

    def _is_away(self, error: KafkaUnavailable) -> float:
        if not self._away:
            log.warning("topic_away", stream=self._stream, detail=str(error))
        self._away = True
        meters.PLACE_AWAY.labels(self._stream, "topic").set(1)
        return AWAY_PAUSE_S
