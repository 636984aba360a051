"""What of the log is shown, as it is shown."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from amana.audit.index_store import Standing
from amana.audit.store import Rows, StoredEvent
from amana.wire.audit import AccessView, AuditEventView, SearchableStream


async def sealed_sizes(rows: Rows, streams: Iterable[str]) -> dict[str, int]:
    """How many leaves of each stream the newest checkpoint covers."""
    newest = {stream: await rows.newest_checkpoint(stream) for stream in streams}
    return {stream: checkpoint.size if checkpoint else 0 for stream, checkpoint in newest.items()}


def searchable(standings: Mapping[str, Standing]) -> list[SearchableStream]:
    """What of each stream can be found, and how much of it was received."""
    return [
        SearchableStream(stream=stream, floor=stands.extent.floor, size=stands.extent.size, received=stands.received)
        for stream, stands in standings.items()
    ]


def event_view(event: StoredEvent, sealed: Mapping[str, int]) -> AuditEventView:
    """An event; `sealed` has the sealed size of its stream."""
    return AuditEventView(
        stream=event.stream,
        position=event.position,
        sealed=event.position < sealed[event.stream],
        event_id=event.event_id,
        received_at=event.received_at,
        body=event.body.decode(),
    )


_INDEX_NAMES = {"decision_id": "decision"}
_NOT_ASKED = {"route", "asked", "rows", "customers"}


def access_view(event: StoredEvent, sealed: Mapping[str, int]) -> AccessView:
    """A read, from its event."""
    told = msgspec.json.decode(event.body)
    data: dict[str, Any] = told["data"]
    ids = {_INDEX_NAMES.get(name, name): value for name, value in data.items() if name not in _NOT_ASKED}
    return AccessView(
        stream=event.stream,
        position=event.position,
        sealed=event.position < sealed[event.stream],
        event_id=event.event_id,
        read_at=event.occurred_at,
        actor=told["actor"],
        trace=told["trace"],
        route=data["route"],
        asked={**data.get("asked", {}), **ids},
        customers=data.get("customers", [data["customer"]] if "customer" in data else []),
        rows=data["rows"],
    )
