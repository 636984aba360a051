"""What only a real Apache Kafka can show: signing in over TLS, and a topic that somebody deletes.

Everything else about the broker is tested by the other files here, which run on one too (`make test-kafka`).
"""

import asyncio
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient
from tests.kafka.server import ApacheKafka
from tests.relay.source import Source, assert_each_thing_in_order, until
from tests.relay.test_kafka import assert_each_key_in_order, new_topic, numbers, producing, receive, records
from tests.relay.test_relay import first_of_each, received, relaying, take

from amana.infra.kafka import Consumer, KafkaUnavailable, Sent, ensure_topics
from amana.infra.publisher import topic_of


@pytest.fixture
def kafka(apache_kafka: ApacheKafka | None) -> ApacheKafka:
    if apache_kafka is None:
        pytest.skip("needs Apache Kafka: make test-kafka")
    return apache_kafka


async def test_a_client_that_signs_in_over_tls_sends_and_receives(kafka: ApacheKafka) -> None:
    topic = await new_topic(kafka.secured)
    async with producing(kafka.secured) as producer:
        assert await producer.send(topic, records(0, 500), 10) == Sent(500, "")
    consumer = Consumer(kafka.secured, topic, [topic])
    got = await receive(consumer, 500)
    await consumer.close()
    assert numbers(got) == list(range(500))
    assert_each_key_in_order(got)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"password": "wrong"}, "_AUTHENTICATION"),
        ({"username": "nobody"}, "_AUTHENTICATION"),
        ({"ca_file": ""}, "certificate verify failed"),
        ({"security_protocol": "plaintext", "sasl_mechanism": "", "ca_file": ""}, "_ALL_BROKERS_DOWN|_TRANSPORT"),
    ],
    ids=["another password", "another user", "nobody vouches for the broker", "in the clear"],
)
async def test_who_may_not_in_is_unavailable_and_told_why(
    kafka: ApacheKafka, change: dict[str, Any], told: str
) -> None:
    with pytest.raises(KafkaUnavailable, match=told) as refused:
        await ensure_topics(kafka.secured._replace(**change), ["any"])
    assert kafka.secured.password not in str(refused.value) + repr(kafka.secured)


async def test_a_relay_signs_in_over_tls(kafka: ApacheKafka, source: Source) -> None:
    async with relaying(source, kafka.secured):
        await source.write(1_000)
        got = await received(kafka.secured, source.stream, 999)
    assert_each_thing_in_order([message.value.decode() for message in first_of_each(got)])


async def test_a_topic_that_somebody_deleted_is_made_again_and_publishing_goes_on(
    kafka: ApacheKafka, source: Source
) -> None:
    topic = topic_of(source.stream)
    async with relaying(source, kafka.bootstrap):
        await source.write(100)

        async def published(position: int) -> bool:
            return bool((await source.stands())["published"] >= position)

        await until(lambda: published(99))
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
        (deleted,) = admin.delete_topics([topic]).values()
        await asyncio.to_thread(deleted.result, 10)
        await source.write(100)
        await until(lambda: published(199))
    consumer, seen = Consumer(kafka.bootstrap, topic, [topic]), set[int]()
    while not seen >= set(range(100, 200)):
        seen |= {int(message.headers["position"]) for message in await take(consumer, 1)}
    await consumer.close()
