"""Kafka through librdkafka: topics, a producer that keeps order, a consumer in batches.

The client blocks, so each producer and consumer has a worker thread of its own and asyncio in front: with one thread,
calls run in the order in which they were made.

A consumer joins its group where the brokers coordinate groups (`kafka_groups` finds out): partitions are shared among
the members, moved cooperatively, a few at a time, and what is done of those that are taken away is committed before.
The tests run on Apache Kafka 4.3 too (`make test-kafka`). Elsewhere each member reads every partition. Either way a
batch may come again, to whom it came or to another: whoever handles it drops duplicates by (stream, position).

What has been seen of the embedded broker (Tansu 0.6, memory only), and what we do about it:
- Headers, the idempotent producer and committed offsets work. A restarted broker has neither topics, nor offsets, nor
  the producer's id: an old producer then waits for ever and an old consumer goes on at its old offset in a new log. So
  a client that loses every broker is thrown away and made anew.
- Joining a group took 3 s with `max.poll.interval.ms` at 6 s, and had not happened after 20 s with the default of
  300 s. So consumers don't join there: they assign themselves every partition, and the group only names the
  committed offsets.
- The metadata field of a committed offset is not kept, so a topic's incarnation can't be written there; a consumer
  remembers it in memory.
- A synchronous commit blocked for 45 s when the broker was gone; so commits are asynchronous. Losing one only means
  that a batch comes twice.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from amana.infra.breaker import Backoff, pause
from amana.infra.kafka_client import (
    ADMIN_TIMEOUT_S,
    TOPIC_PARTITIONS,
    Bootstrap,
    Brokers,
    KafkaUnavailable,
    Worker,
    common,
    describe_topics,
    ensure_topics,
)
from amana.infra.kafka_groups import coordinates_groups
from amana.infra.kafka_message import Message, message_of
from amana.infra.kafka_producer import Producer, Record, Sent
from amana.infra.pace import Pace

__all__ = [
    "TOPIC_PARTITIONS",
    "Bootstrap",
    "Brokers",
    "Consumer",
    "KafkaUnavailable",
    "Message",
    "Producer",
    "Record",
    "Sent",
    "ensure_topics",
]

FETCH_KBYTES_MAX = 16 * 1024
"""What a consumer may hold in memory, fetched but not yet asked for."""
FETCH_WAIT_MS = 100
FIRST_WAIT_S = 0.25  # for a first message: how often a quiet consumer looks whether it is to stop
GATHER_MAX_S = 0.15
SESSION_TIMEOUT_MS = 10_000
"""How long the partitions of a member that was killed wait for another."""
REOPEN_FIRST_S = 0.1
REOPEN_MAX_S = 2.0

log = logging.getLogger("amana.kafka")


class Consumer:
    """Reads `topics` from where `group` committed, else from the beginning; at least once.

    Where the brokers coordinate groups this is a member and reads its share; else it reads every partition, and sees
    new ones when it is opened next.

    A topic that is not there yet is waited for. When every broker was lost the client is opened anew: at the committed
    offsets when the topic is still the same one, at the beginning when the broker came back with a new one.
    """

    def __init__(self, bootstrap: Bootstrap, group: str, topics: Sequence[str]) -> None:
        self._bootstrap = bootstrap
        self._group = group
        self._topics = list(topics)
        self._worker = Worker("kafka-consumer")
        self._client: confluent_kafka.Consumer | None = None
        self._lost = False
        self._incarnations: dict[str, str] = {}
        self._joins: bool | None = None
        self._done: dict[tuple[str, int], int] = {}

    @property
    def connected(self) -> bool:
        """Whether the brokers were there when last asked."""
        return self._client is not None and not self._lost

    async def batches(
        self, stop: asyncio.Event, size_max: int = 500, wait_ms: int = 200
    ) -> AsyncGenerator[list[Message], None]:
        """Batches of 1 to `size_max` messages, until `stop` is set. Each is gathered for `wait_ms`; longer, but at most
        `GATHER_MAX_S`, where the one before took long.

        A broker that is away is waited for. Call `commit` when a batch's effects are durable, before taking the next.
        """
        backoff = Backoff(REOPEN_FIRST_S, REOPEN_MAX_S)
        pace = Pace(wait_ms / 1000, max(wait_ms / 1000, GATHER_MAX_S))
        while not stop.is_set():
            try:
                batch = await self._worker.run(self._next, size_max, pace.rest_s())
            except KafkaUnavailable as error:
                log.info("consumer %s waits: %s", self._group, error)
                await pause(backoff.next_s(), stop)
                continue
            backoff.reset()
            pace.begin()
            if batch:
                yield batch

    async def commit(self, batch: Sequence[Message]) -> None:
        """Say that the effects of `batch`, the last one yielded, are durable. Never fails: at worst it comes again."""
        await self._worker.run(self._commit, batch)

    async def close(self) -> None:
        """Hand over commits under way and free the client."""
        await self._worker.finish(self._discard)

    def _next(self, size_max: int, wait_s: float) -> list[Message]:
        if self._client is None:
            self._client = self._open()
        received = self._client.consume(1, FIRST_WAIT_S)
        if received and size_max > 1:  # whoever came first does not wait for the others longer than was asked
            received += self._client.consume(size_max - 1, wait_s)
        for message in received:
            problem = message.error()
            if problem is not None:
                log.warning("consumer %s: %s", self._group, problem)
                self._lost = True
        if self._lost:
            # Whatever came with the bad news is dropped too: it was not committed and comes again.
            self._discard()
            raise KafkaUnavailable("the connection to the brokers was lost")
        return [message_of(message) for message in received]

    def _open(self) -> confluent_kafka.Consumer:
        partitions, incarnations = describe_topics(self._bootstrap, self._topics)
        if self._joins is None:
            self._joins = coordinates_groups(self._bootstrap)
        client = confluent_kafka.Consumer(
            {
                **common(self._bootstrap),
                "group.id": self._group,
                "partition.assignment.strategy": "cooperative-sticky",
                "session.timeout.ms": SESSION_TIMEOUT_MS,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": FETCH_WAIT_MS,
                "queued.max.messages.kbytes": FETCH_KBYTES_MAX,
                "error_cb": self._on_error,
            },
        )
        self._done.clear()
        try:
            if self._joins:
                client.subscribe(self._topics, on_revoke=self._on_revoke, on_lost=self._on_lost)
            else:
                committed = client.committed(partitions, timeout=ADMIN_TIMEOUT_S)
                client.assign([self._start(place, incarnations[place.topic]) for place in committed])
        except KafkaException as error:
            client.close()
            raise KafkaUnavailable(f"committed offsets of {self._group}: {error}") from error
        self._incarnations = incarnations
        self._lost = False
        return client

    def _start(self, place: TopicPartition, incarnation: str) -> TopicPartition:
        """Where to begin. An offset that may belong to an earlier topic of the same name is not trusted."""
        renewed = self._incarnations.get(place.topic, incarnation) != incarnation
        offset = confluent_kafka.OFFSET_BEGINNING if renewed or place.offset < 0 else place.offset
        return TopicPartition(place.topic, place.partition, offset)

    def _commit(self, batch: Sequence[Message]) -> None:
        ends = {(message.topic, message.partition): message.offset + 1 for message in batch}
        if self._client is None or not ends:
            return
        self._done |= ends
        try:
            offsets = [TopicPartition(topic, partition, end) for (topic, partition), end in ends.items()]
            self._client.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            log.info("consumer %s: commit: %s", self._group, error)

    def _on_revoke(self, client: confluent_kafka.Consumer, taken_away: list[TopicPartition]) -> None:
        """Partitions go to another member, or we leave: it should begin after what is done."""
        ends = [
            (place.topic, place.partition, self._done.pop((place.topic, place.partition), -1)) for place in taken_away
        ]
        offsets = [TopicPartition(topic, partition, end) for topic, partition, end in ends if end >= 0]
        if not offsets or self._lost:
            return
        try:
            client.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            log.info("consumer %s: commit at revocation: %s", self._group, error)

    def _on_lost(self, _client: confluent_kafka.Consumer, lost: list[TopicPartition]) -> None:
        """Partitions went to another member already: nothing of them may be committed."""
        for place in lost:
            self._done.pop((place.topic, place.partition), None)

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal() or error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._lost = True

    def _discard(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
