"""A topic whose newest messages matter: one partition, in order, nothing compacted or dropped."""

import asyncio

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from amana.infra.kafka_client import ADMIN_TIMEOUT_S, Bootstrap, KafkaUnavailable, Worker, common

KEEP_ALL = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
READ_MAX = 500
"""Messages in one read."""


async def ensure_kept_topic(bootstrap: Bootstrap, topic: str) -> None:
    """Makes the topic where it is absent: one partition that keeps everything. Raises `KafkaUnavailable`."""
    await asyncio.to_thread(_ensure, bootstrap, topic)


def _ensure(bootstrap: Bootstrap, topic: str) -> None:
    admin = AdminClient(common(bootstrap))
    made = admin.create_topics([NewTopic(topic, num_partitions=1, config=KEEP_ALL)], request_timeout=ADMIN_TIMEOUT_S)
    try:
        made[topic].result()
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise KafkaUnavailable(f"create topic {topic}: {error}") from error


class Tail:
    """Reads the last messages of such a topic, then what is added. Remembers nothing elsewhere: it has no group."""

    def __init__(self, bootstrap: Bootstrap, topic: str, last: int) -> None:
        self._bootstrap = bootstrap
        self._place = TopicPartition(topic, 0)
        self._last = last
        self._worker = Worker("kafka-tail")
        self._client: confluent_kafka.Consumer | None = None
        self._lost = False

    async def read(self, wait_s: float) -> list[bytes]:
        """The next messages, at most `READ_MAX`, none after `wait_s`. Raises `KafkaUnavailable`: the next read begins
        again with the last messages."""
        return await self._worker.run(self._read, wait_s)

    async def close(self) -> None:
        """Frees the client."""
        await self._worker.finish(self._discard)

    def _read(self, wait_s: float) -> list[bytes]:
        if self._client is None:
            self._client = self._open()
        received = self._client.consume(READ_MAX, wait_s)
        problem = next((error for message in received if (error := message.error())), None)
        if problem or self._lost:
            self._discard()
            raise KafkaUnavailable(f"topic {self._place.topic}: {problem or 'the brokers were lost'}")
        return [message.value() or b"" for message in received]

    def _open(self) -> confluent_kafka.Consumer:
        _ensure(self._bootstrap, self._place.topic)
        self._lost = False
        client = confluent_kafka.Consumer(
            {
                **common(self._bootstrap),
                "group.id": "amana-tail",  # the client asks for one; nothing is ever committed
                "enable.auto.commit": False,
                "error_cb": self._on_error,
            }
        )
        try:
            first, end = client.get_watermark_offsets(self._place, timeout=ADMIN_TIMEOUT_S)
            client.assign([TopicPartition(self._place.topic, 0, max(first, end - self._last))])
        except KafkaException as error:
            client.close()
            raise KafkaUnavailable(f"topic {self._place.topic}: {error}") from error
        return client

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal() or error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._lost = True

    def _discard(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
