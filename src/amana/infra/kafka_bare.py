"""librdkafka with nothing around it: what `amana bench events` holds the relay against."""

import time
from collections.abc import Sequence

import confluent_kafka

from amana.infra.kafka_client import Bootstrap, Worker, common

QUEUE_MESSAGES_MAX = 100_000
FLUSH_S = 60.0
POLL_S = 0.01


async def send_bare(bootstrap: Bootstrap, topic: str, messages: Sequence[tuple[bytes, bytes]]) -> float:
    """Seconds from the first (key, value) until the broker has them all, with the library's own idea of batches.

    As durable as the relay's (idempotent, all replicas); without headers, one deadline or care for gaps. Raises
    `TimeoutError` when they are not there after `FLUSH_S`.
    """
    worker = Worker("kafka-bare")
    client = confluent_kafka.Producer(
        {
            **common(bootstrap),
            "acks": "all",
            "enable.idempotence": True,
            "compression.type": "lz4",
            "queue.buffering.max.messages": QUEUE_MESSAGES_MAX,
        }
    )

    def send() -> float:
        client.produce(topic, b"")  # the first one waits for the producer's id
        client.flush(FLUSH_S)
        begun = time.perf_counter()
        for key, value in messages:
            while True:
                try:
                    client.produce(topic, value, key)
                except BufferError:
                    client.poll(POLL_S)
                else:
                    break
        if client.flush(FLUSH_S):
            raise TimeoutError(f"messages are left after {FLUSH_S:g} s")
        return time.perf_counter() - begun

    try:
        return await worker.run(send)
    finally:
        await worker.finish(client.purge)
