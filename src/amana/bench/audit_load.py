"""Copies made events and the rows of their search index into an audit database: the rows the service would write."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from rich.console import Console

from amana.audit.leaf import Leaf
from amana.audit.postings import SEGMENT_LEAVES, build_postings
from amana.bench.audit_events import Maker
from amana.infra.postgres import Connection
from amana.infra.sql import load_queries

SQL = load_queries("amana.bench", "audit.sql")

COPIED_LEAVES = SEGMENT_LEAVES * 8
COLUMNS = (
    *("stream", "position", "tenant", "event_id", "type", "occurred_at", "aggregate_type", "aggregate_id"),
    *("aggregate_version", "customer", "actor", "trace", "bytes"),
)


async def load(connection: Connection, maker: Maker, events: int, console: Console) -> float:
    """Copies leaves and index rows in; how many seconds it took."""
    begun = time.monotonic()
    waiting: dict[str, list[Leaf]] = defaultdict(list)
    done = 0
    for made in maker.events():
        waiting[made.stream].append(made.leaf)
        if len(waiting[made.stream]) == COPIED_LEAVES:
            done += await _copy(connection, made.stream, waiting[made.stream])
            waiting[made.stream] = []
            if done % (COPIED_LEAVES * 32) == 0:
                console.print(f"  {done:,} of {events:,} events are there after {time.monotonic() - begun:.0f} s")
    for stream, leaves in waiting.items():
        if leaves:
            await _copy(connection, stream, leaves)
    for stream, count in maker.counts.items():
        await connection.execute(SQL["index_is_built"], stream, count)
    await connection.execute(SQL["refresh_statistics"])
    return time.monotonic() - begun


async def _copy(connection: Connection, stream: str, leaves: list[Leaf]) -> int:
    """Copies a run of whole segments, or the end of a stream; how many leaves."""
    built = await asyncio.to_thread(build_postings, stream, leaves[0].position, [leaf.body for leaf in leaves])
    for span in built.segments:
        await connection.execute(SQL["make_postings"], span.number)
    records: Iterator[tuple[Any, ...]] = ((stream, *leaf) for leaf in leaves)
    await connection.copy_records_to_table("leaves", schema_name="audit", columns=COLUMNS, records=records)
    await connection.copy_records_to_table("postings", schema_name="audit", records=built.postings)
    await connection.copy_records_to_table("segments", schema_name="audit", records=built.segments)
    await connection.copy_records_to_table("blocks", schema_name="audit", records=built.blocks)
    return len(leaves)
