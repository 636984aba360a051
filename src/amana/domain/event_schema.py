"""The JSON Schema of every version of every event, made from the declarations.

Readers must pass over fields that they do not know, so a schema does not forbid them.
"""

from typing import Any, TypeAlias

import msgspec

from amana.domain.event_kinds import EventType, Instant
from amana.domain.event_types import CATALOGUE, Catalogue
from amana.domain.events import Event
from amana.domain.policy_schema import DIALECT

SCHEMA_ID = "urn:amana:schema:events"

Json: TypeAlias = dict[str, Any]


def events_schema(catalogue: Catalogue = CATALOGUE) -> Json:
    """One schema (draft 2020-12) that any event fits; `$defs` has each version under `Type.vN`, what they share beside.

    One thing a schema can't refuse: to it `5.0` is an integer, and an event's bytes say `5`.
    """
    named = {type_.title: _version(type_) for type_ in catalogue.types}
    _, shared = _components(*(type_.data for type_ in catalogue.types))
    return {
        "$schema": DIALECT,
        "$id": SCHEMA_ID,
        "title": "An event of Amana",
        "oneOf": [{"$ref": f"#/$defs/{title}"} for title in named],
        "$defs": {**named, "Envelope": _envelope(), **{name: shared[name] for name in sorted(shared)}},
    }


def events_schema_text() -> str:
    """The schema as indented JSON with a newline at its end."""
    return msgspec.json.format(msgspec.json.encode(events_schema()), indent=2).decode() + "\n"


def _version(type_: EventType) -> Json:
    (data,), _ = _components(type_.data)
    return {
        "title": type_.title,
        "allOf": [{"$ref": "#/$defs/Envelope"}],
        "properties": {
            "type": {"const": type_.name},
            "version": {"const": type_.version},
            "aggregate": {"properties": {"type": {"const": type_.aggregate}}},
            "data": data,
        },
    }


def _envelope() -> Json:
    """What every event says, whatever its data."""
    of_event = msgspec.json.schema(Event)["$defs"]
    (instant,), _ = _components(Instant)
    aggregate = {name: value for name, value in of_event["Aggregate"].items() if name != "title"}
    fields = {**of_event["Event"]["properties"], "occurred_at": instant, "aggregate": aggregate}
    return {
        "description": of_event["Event"]["description"],
        "type": "object",
        "properties": fields,
        "required": list(fields),
    }


def _components(*types: Any) -> tuple[tuple[Json, ...], Json]:
    return msgspec.json.schema_components(types, ref_template="#/$defs/{name}")
