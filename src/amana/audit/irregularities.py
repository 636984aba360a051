"""What was not as it should be in what came from a source: told in the log and the metrics, and kept to be asked for.

The log itself stays right through all of it: what came first stays, what is no event is not stored, what is missing is
fetched from the source.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from amana.audit import meters
from amana.audit.flow import Received
from amana.audit.store import Store
from amana.infra.postgres import Record
from amana.infra.sql import load_queries
from amana.infra.telemetry import logger

SQL = load_queries("amana.audit", "irregularities.sql")
KEPT_MAX = 10_000
"""Of one stream and kind; more are counted and logged only."""
DETAIL_CHARS_MAX = 500

log = logger("amana.audit.irregularities")


class Irregularity(StrEnum):
    """What was wrong."""

    CONFLICT = "conflict"
    """An event came again with other bytes."""
    DOUBLED = "doubled"
    """The source gave one event two positions."""
    MALFORMED = "malformed"
    """What came is no event in its canonical bytes."""
    REFETCHED = "refetched"
    """Events did not come and were fetched from the source."""
    PRUNED = "pruned"
    """Events are missing, and their source has pruned them: no service has them any more."""


class Seen(NamedTuple):
    """One of them, at a position."""

    kind: Irregularity
    position: int
    detail: str


class Kept(NamedTuple):
    """One as it is kept."""

    kind: str
    position: int
    detail: str
    times: int
    first_at: datetime
    last_at: datetime


def seen_in(received: Received) -> list[Seen]:
    """What was wrong with a batch."""
    seen = [Seen(Irregularity.CONFLICT, position, "came again with other bytes") for position in received.conflicts]
    for position, other in received.doubled:
        seen.append(Seen(Irregularity.DOUBLED, position, f"the same event is at {other} too"))
    return seen + [Seen(Irregularity.MALFORMED, position, detail) for position, detail in received.malformed]


async def report(store: Store, stream: str, seen: Sequence[Seen]) -> None:
    """Logs, counts and keeps. Raises `DatabaseUnavailable`."""
    if not seen:
        return
    for kind, position, detail in seen:
        meters.IRREGULARITIES.labels(stream, kind).inc()
        tell = log.info if kind is Irregularity.REFETCHED else log.error
        tell("irregularity", stream=stream, kind=str(kind), position=position, detail=detail)
    one_each = {(each.kind, each.position): each for each in sorted(seen)}.values()
    async with store.rows() as rows:
        await rows.connection.execute(
            SQL["keep"],
            stream,
            [each.kind for each in one_each],
            [each.position for each in one_each],
            [each.detail[:DETAIL_CHARS_MAX].replace("\0", " ") for each in one_each],
            KEPT_MAX,
        )


async def count(store: Store, stream: str) -> dict[str, int]:
    """How many are kept, by kind."""
    async with store.rows() as rows:
        found: list[Record] = await rows.connection.fetch(SQL["count"], stream)
    return {str(kind): 0 for kind in Irregularity} | {row["kind"]: row["count"] for row in found}


async def newest(store: Store, stream: str, limit: int) -> list[Kept]:
    """The last ones seen, newest first."""
    async with store.rows() as rows:
        return [Kept(*row) for row in await rows.connection.fetch(SQL["newest"], stream, limit)]
