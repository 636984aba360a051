"""Holds events as they were written to their declarations."""

from collections.abc import Iterable

import asyncpg
import msgspec

from amana.domain.event_types import CATALOGUE, UnreadableEvent
from amana.infra.relay import SOURCES

TOLD_MAX = 5
PAGE = 1_000


def fault(body: bytes, stream: str) -> str:
    """How an event of `stream` differs from its declaration; empty when it does not.

    It is read by its declaration and written again from what was read: bytes that come back whole held no field too
    many, none too few, and none of another kind.
    """
    try:
        event = CATALOGUE.read(body)
    except UnreadableEvent as error:
        return str(error)
    written = msgspec.json.decode(body)
    if msgspec.json.encode({**written, "data": event.data}, order="sorted") != body:
        fields = {field.encode_name for field in msgspec.structs.fields(event.data)}
        return f"{event.type}: undeclared or spelled otherwise, perhaps {set(written['data']) - fields}"
    declared = next(t for t in CATALOGUE.types if (t.name, t.version) == (written["type"], written["version"]))
    if (stream, event.aggregate.type) != (declared.stream, declared.aggregate):
        return f"{event.type}: in stream {stream}, about {event.aggregate.type}"
    return ""


def faults(bodies: Iterable[bytes], stream: str) -> list[str]:
    """The first few."""
    found = (told for body in bodies if (told := fault(body, stream)))
    return [told for told, _ in zip(found, range(TOLD_MAX), strict=False)]


async def faults_in(dsn: str) -> list[str]:
    """Of every event in the outboxes of a database, the first few of each stream."""
    connection = await asyncpg.connect(dsn)
    found: list[str] = []
    try:
        for stream in SOURCES:
            async with connection.transaction():
                cursor = await connection.cursor(f"SELECT body FROM {stream}.outbox ORDER BY seq")
                while (rows := await cursor.fetch(PAGE)) and len(found) < TOLD_MAX:
                    found += faults((row["body"] for row in rows), stream)
    finally:
        await connection.close()
    return found
