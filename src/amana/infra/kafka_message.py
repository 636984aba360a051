"""A Kafka message as it is received."""

from typing import NamedTuple

import confluent_kafka


class Message(NamedTuple):
    """A message received."""

    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes
    headers: dict[str, bytes]


def message_of(message: confluent_kafka.Message) -> Message:
    """What librdkafka received, without headers that are no bytes."""
    return Message(
        message.topic() or "",
        _known(message.partition()),
        _known(message.offset()),
        message.key() or b"",
        message.value() or b"",
        {name: value for name, value in _headers(message) if isinstance(value, bytes)},
    )


def _headers(message: confluent_kafka.Message) -> list[tuple[str, str | bytes | None]]:
    try:
        headers = message.headers() or []
    except UnicodeDecodeError:  # a name that is no text: whoever sent it, it was not the relay
        return []
    return list(headers.items()) if isinstance(headers, dict) else headers


def _known(number: int | None) -> int:
    assert number is not None, "a message without a place"
    return number
