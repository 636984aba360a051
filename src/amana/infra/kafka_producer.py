"""A Kafka producer that keeps order, whatever fails."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException

from amana.infra.kafka_client import Bootstrap, Worker, common

POLL_S = 0.05
"""How often a blocking wait looks whether its client is being closed."""
LINGER_MS = 100
"""How long a batch may fill up while records are queued. When all are, they are flushed, which does not linger."""
QUEUE_MESSAGES_MAX = 10_000
QUEUE_KBYTES_MAX = 64 * 1024
"""What a producer may hold in memory."""


class Record(NamedTuple):
    """A message to send. The key decides the partition."""

    key: bytes
    value: bytes
    headers: list[tuple[str, str | bytes | None]]


class Sent(NamedTuple):
    """How many records, from the first, the broker has acknowledged without a gap; and why not all, else ''."""

    acknowledged: int
    failure: str


class Producer:
    """Sends lists of records to a topic, in order, without gaps.

    Within a partition the broker's log never holds a record before one that was sent earlier, not even when a send
    fails half-way: one request is in flight per connection, retries are the idempotent producer's, a permanent error
    stops the client (`enable.gapless.guarantee`), and messages have no time-out of their own, because librdkafka's
    would expire the head of a queue and let its tail go. The deadline is ours: when it passes, everything unsent is
    purged at once. A send that was not acknowledged whole, or the loss of every broker, ends this producer (`usable` is
    False): close it and make another.
    """

    def __init__(self, bootstrap: Bootstrap) -> None:
        self.usable = True
        self._worker = Worker("kafka-producer")
        self._client = confluent_kafka.Producer(
            {
                **common(bootstrap),
                "acks": "all",
                "enable.idempotence": True,
                "enable.gapless.guarantee": True,
                "max.in.flight.requests.per.connection": 1,
                "message.timeout.ms": 0,
                "linger.ms": LINGER_MS,
                "compression.type": "lz4",
                "queue.buffering.max.messages": QUEUE_MESSAGES_MAX,
                "queue.buffering.max.kbytes": QUEUE_KBYTES_MAX,
                "error_cb": self._on_error,
            },
        )

    async def send(self, topic: str, records: Sequence[Record], deadline_s: float) -> Sent:
        """Send `records` and wait until the broker has them all, something failed, or `deadline_s` is over."""
        return await self._worker.run(self._send, topic, records, deadline_s)

    async def check(self) -> bool:
        """Whether the producer is still usable; notices a broker that went away while nothing was sent."""
        await self._worker.run(self._look)
        return self.usable

    async def close(self) -> None:
        """Drop what is unsent and free the client."""
        await self._worker.finish(self._close)

    def _look(self) -> None:
        try:
            self._client.poll(0)
        except KafkaException:  # fatal, such as a gap that a purge made certain
            self.usable = False

    def _send(self, topic: str, records: Sequence[Record], deadline_s: float) -> Sent:
        deadline = time.monotonic() + deadline_s
        reports = _Reports(len(records))
        try:
            self._client.poll(0)
            for index, record in enumerate(records):
                self._produce(topic, record, partial(reports.note, index), deadline)
            while reports.waiting and not reports.failure and time.monotonic() < deadline:
                self._client.flush(POLL_S)
                self._stop_if_lost()
        except (KafkaException, BufferError) as error:
            reports.failure = str(error)
        if reports.waiting or reports.failure:
            self.usable = False
            self._client.purge()
            reports.failure = reports.failure or f"not acknowledged in {deadline_s:.1f} s"
        return Sent(reports.prefix(), reports.failure)

    def _produce(self, topic: str, record: Record, note: "_Note", deadline: float) -> None:
        """Queue one record; a full queue is waited for (never past the deadline), so nothing is dropped."""
        self._stop_if_lost()
        while True:
            try:
                self._client.produce(topic, record.value, record.key, on_delivery=note, headers=record.headers)
            except BufferError:
                if time.monotonic() >= deadline:
                    raise
                self._client.poll(POLL_S)
            else:
                return

    def _stop_if_lost(self) -> None:
        if self._worker.closing or not self.usable:
            raise KafkaException(KafkaError(KafkaError._ALL_BROKERS_DOWN))

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal() or error.code() == KafkaError._ALL_BROKERS_DOWN:
            self.usable = False

    def _close(self) -> None:
        self._client.purge()  # without it close() waits for a broker that may never come back
        with suppress(KafkaException):  # a client that stopped itself to prevent a gap says so once more
            self._client.close()


_Note = Callable[[KafkaError | None, confluent_kafka.Message], None]


class _Reports:
    """Delivery reports of one send: which records are acknowledged, how many are still open, the first failure."""

    def __init__(self, count: int) -> None:
        self.waiting = count
        self.failure = ""
        self._acknowledged = bytearray(count)

    def note(self, index: int, error: KafkaError | None, _message: confluent_kafka.Message) -> None:
        self.waiting -= 1
        if error is None:
            self._acknowledged[index] = 1
        else:
            self.failure = self.failure or str(error)

    def prefix(self) -> int:
        gap = self._acknowledged.find(0)
        return len(self._acknowledged) if gap < 0 else gap
