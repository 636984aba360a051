"""The AsyncAPI document: what Amana sends to the broker, made from the declarations of events.

Payloads are those of `events.schema.json`, which stands beside it.
"""

from typing import Any, TypeAlias

import msgspec

from amana.domain.event_kinds import EventType
from amana.domain.event_types import CATALOGUE
from amana.infra.kafka import TOPIC_PARTITIONS
from amana.infra.publisher import topic_of
from amana.infra.relay import SOURCES

Json: TypeAlias = dict[str, Any]

PAYLOADS = "events.schema.json"
HEADERS = {
    "stream": "The stream of the event, which has the name of its service.",
    "position": "Its place in the stream, from 0 without a gap, in decimal. Sent again, an event has the same one.",
    "event_id": "As in the event.",
    "type": "As in the event.",
    "tenant": "As in the event, in decimal.",
}
DESCRIPTION = (
    "Facts that Amana wrote down in the transaction of the change that they tell of. Each is sent at least once; a "
    "reader drops what it has seen by `stream` and `position`. The key is the id of the aggregate, so that the events "
    "of one thing keep their order within a partition. The payload is canonical JSON (RFC 8785), byte for byte what "
    "the audit log seals. The same stream is served over HTTP by position: `GET /v1/events`. Readers pass over fields "
    "that they do not know; a type or version that they do not know is newer than they are."
)


def asyncapi_text() -> str:
    """The document (AsyncAPI 3.0) as indented JSON with a newline at its end."""
    return msgspec.json.format(msgspec.json.encode(asyncapi()), indent=2).decode() + "\n"


def asyncapi() -> Json:
    """A channel for each stream, with a message for each version of each of its types."""
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Events of Amana", "version": "1.0.0", "description": DESCRIPTION},
        "defaultContentType": "application/json",
        "channels": {stream: _channel(stream) for stream in SOURCES},
        "operations": {f"publish_{stream}": _operation(stream) for stream in SOURCES},
        "components": {
            "messages": {type_.title: _message(type_) for type_ in CATALOGUE.types if type_.stream in SOURCES},
            "schemas": {"headers": _headers()},
        },
    }


def _channel(stream: str) -> Json:
    return {
        "address": topic_of(stream),
        "title": f"The events of {stream}",
        "messages": {title: {"$ref": f"#/components/messages/{title}"} for title in _titles(stream)},
        "bindings": {"kafka": {"topic": topic_of(stream), "partitions": TOPIC_PARTITIONS, "bindingVersion": "0.5.0"}},
    }


def _operation(stream: str) -> Json:
    return {
        "action": "send",
        "channel": {"$ref": f"#/channels/{stream}"},
        "messages": [{"$ref": f"#/channels/{stream}/messages/{title}"} for title in _titles(stream)],
    }


def _message(type_: EventType) -> Json:
    key = {"type": "string", "format": "uuid", "description": f"The id of the {type_.aggregate}."}
    return {
        "name": type_.name,
        "title": type_.title,
        "summary": type_.meaning,
        "headers": {"$ref": "#/components/schemas/headers"},
        "payload": {"$ref": f"{PAYLOADS}#/$defs/{type_.title}"},
        "bindings": {"kafka": {"key": key, "bindingVersion": "0.5.0"}},
    }


def _headers() -> Json:
    properties = {name: {"type": "string", "description": text} for name, text in HEADERS.items()}
    return {"type": "object", "properties": properties, "required": list(HEADERS)}


def _titles(stream: str) -> list[str]:
    return [type_.title for type_ in CATALOGUE.types if type_.stream == stream]
