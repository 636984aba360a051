"""What the Kafka producer and consumer share: where brokers are, librdkafka's settings, a thread, topics, the error."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeAlias, TypeVar

from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from amana.infra.settings import Settings

ADMIN_TIMEOUT_S = 3.0
TROUBLE_MAX = 3
"""How much of what a client complained of meanwhile an error repeats."""
TOPIC_PARTITIONS = 4
"""Of a topic that we create, where nothing else is said."""

T = TypeVar("T")


class Brokers(NamedTuple):
    """Where brokers are and how they are spoken to; the fields are as in `Settings`."""

    bootstrap: str
    security_protocol: str = "plaintext"
    sasl_mechanism: str = ""
    username: str = ""
    password: str = ""
    ca_file: str = ""
    partitions: int = TOPIC_PARTITIONS
    """Of a topic that we create."""

    def __repr__(self) -> str:
        """Without the password, wherever it is told."""
        return f"Brokers({self.bootstrap!r}, {self.security_protocol!r}, {self.username!r})"

    @classmethod
    def of(cls, settings: Settings) -> "Brokers":
        """The brokers that a process was told of."""
        return cls(*(getattr(settings, f"kafka_{name}") for name in cls._fields))


Bootstrap: TypeAlias = Brokers | str
"""Brokers; only their `host:port` where they are spoken to in the clear."""


class KafkaUnavailable(Exception):
    """The broker does not answer, or not as it should. It may be tried again."""


async def ensure_topics(bootstrap: Bootstrap, names: Sequence[str], partitions: int | None = None) -> None:
    """Create the topics that are absent, with the broker's default replication. Raises `KafkaUnavailable`."""
    await asyncio.to_thread(_ensure_topics, bootstrap, names, partitions or _brokers(bootstrap).partitions)


def _ensure_topics(bootstrap: Bootstrap, names: Sequence[str], partitions: int) -> None:
    trouble: list[str] = []
    told: dict[str, Any] = {"error_cb": lambda error: trouble.append(str(error))}
    admin = AdminClient(common(bootstrap) | told)
    wanted = [NewTopic(name, num_partitions=partitions) for name in names]
    for name, made in admin.create_topics(wanted, request_timeout=ADMIN_TIMEOUT_S).items():
        try:
            made.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                admin.poll(0)  # a refused password or certificate is told there alone
                raise KafkaUnavailable("; ".join([f"create topic {name}: {error}", *trouble[:TROUBLE_MAX]])) from error


def describe_topics(bootstrap: Bootstrap, topics: list[str]) -> tuple[list[TopicPartition], dict[str, str]]:
    """Every partition of `topics`, and each topic's id, which is new when a topic is made anew.

    Raises `KafkaUnavailable`, also where a topic is not there.
    """
    admin = AdminClient(common(bootstrap))
    partitions: list[TopicPartition] = []
    incarnations: dict[str, str] = {}
    for topic, answer in admin.describe_topics(TopicCollection(topics), request_timeout=ADMIN_TIMEOUT_S).items():
        try:
            description = answer.result()
        except KafkaException as error:
            raise KafkaUnavailable(f"topic {topic}: {error}") from error
        partitions += [TopicPartition(topic, partition.id) for partition in description.partitions]
        incarnations[topic] = str(description.topic_id)
    return partitions, incarnations


class Worker:
    """One thread for one blocking client: calls run one at a time, in order."""

    def __init__(self, name: str) -> None:
        self.closing = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def run(self, call: Callable[..., T], *arguments: object) -> T:
        """What `call` gives, run in the thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)

    async def finish(self, call: Callable[[], None]) -> None:
        """Run the last call, once; what runs now sees `closing` and comes back soon."""
        if self.closing:
            return
        self.closing = True
        await self.run(call)
        self._thread.shutdown(wait=False)


def common(bootstrap: Bootstrap) -> dict[str, str | int | float | bool]:
    """The settings of every client."""
    brokers = _brokers(bootstrap)
    named = {
        "sasl.mechanism": brokers.sasl_mechanism,
        "sasl.username": brokers.username,
        "sasl.password": brokers.password,
        "ssl.ca.location": brokers.ca_file,
    }
    return {
        "bootstrap.servers": brokers.bootstrap,
        "security.protocol": brokers.security_protocol,
        **{name: value for name, value in named.items() if value},
        "log_level": 2,  # librdkafka repeats itself on stderr while a broker is down; errors reach us through error_cb
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 1_000,
    }


def _brokers(bootstrap: Bootstrap) -> Brokers:
    return Brokers(bootstrap) if isinstance(bootstrap, str) else bootstrap
