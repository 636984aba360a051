"""`amana reconcile`: everything that must agree inside Amana, compared; each difference is named.

Read-only, in one repeatable-read snapshot of the main database, so it may run while the services do. Events travel to
the audit log for a moment, so that comparison alone is tried again until it agrees or `settle_s` is over. Nothing is
ever repaired here: a correction is a new transfer, made by a person.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import msgspec

from amana.infra.postgres import Connection, open_pool, reading
from amana.infra.relay import SOURCES
from amana.infra.settings import Settings
from amana.infra.sql import load_queries

SQL = load_queries("amana.operate", "reconcile.sql")
CHECKS = (
    "trial_balance",
    "counters_and_entries",
    "chains",
    "holds_and_pending",
    "holds_and_transfers",
    "loans_and_accounts",
    "loans_and_repayments",
    "exposure_and_loans",
    "contra_and_exposure",
    "reversals_and_originals",
    "offers_and_loans",
    "reversals_and_loans",
    "loans_and_events",
    "transfers_and_events",
    "decisions_and_events",
    "reviews_and_events",
)
DIFFERENCES_MAX = 100
"""Of each check; the count goes on."""
BLOCK_EVENTS = 10_000
"""Positions in one block of the digests, as the statements have it."""
SETTLE_DEFAULT_S = 10.0
SETTLE_POLL_S = 0.25
STATEMENT_TIMEOUT_MS = 600_000
"""A comparison reads whole tables."""


class Difference(msgspec.Struct, frozen=True):
    """Something that does not agree: which check, about what, and both values."""

    check: str
    subject: str
    expected: str
    found: str


class Reconciliation(msgspec.Struct):
    """What was compared and what differs. `leaves` counts sealed events by stream."""

    checks: dict[str, int]
    counts: dict[str, int]
    trial_balance: dict[str, int]
    events: dict[str, int]
    leaves: dict[str, int]
    sealed: dict[str, int]
    differences: list[Difference]
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Nothing differs."""
        return not self.differences


async def reconcile(settings: Settings, settle_s: float = SETTLE_DEFAULT_S) -> Reconciliation:
    """Compares everything. Needs the owners' URLs (or any role that may read both databases)."""
    begun = time.monotonic()
    result = Reconciliation({}, {}, {}, {}, {}, {}, [])
    async with _connected(settings.owner_database_url) as main, _connected(settings.owner_audit_database_url) as audit:
        async with main.transaction(isolation="repeatable_read", readonly=True):
            await _compare_inside(main, result)
        await _compare_with_leaves(main, audit, result, settle_s)
    result.seconds = round(time.monotonic() - begun, 3)
    return result


@asynccontextmanager
async def _connected(dsn: str) -> AsyncIterator[Connection]:
    pool = await open_pool(dsn, "public", connections=1, statement_timeout_ms=STATEMENT_TIMEOUT_MS)
    try:
        async with reading(pool) as connection:
            yield connection
    finally:
        await pool.close()


async def _compare_inside(main: Connection, result: Reconciliation) -> None:
    for check in CHECKS:
        rows = await main.fetch(SQL[check])
        result.checks[check] = len(rows)
        result.differences += [Difference(check, *row.values()) for row in rows[:DIFFERENCES_MAX]]
    counts = await main.fetchrow(SQL["counts"])
    assert counts is not None
    result.counts = dict(counts)
    result.trial_balance = {row["currency"]: row["difference"] for row in await main.fetch(SQL["balances"])}


async def _compare_with_leaves(main: Connection, audit: Connection, result: Reconciliation, settle_s: float) -> None:
    deadline = time.monotonic() + settle_s
    while True:
        differences: list[Difference] = []
        for source in SOURCES:
            events = await _digests(main, f"{source}_digests")
            leaves = await _digests(audit, "leaf_digests", source)
            dropped = await audit.fetchval(SQL["leaves_dropped"], source)
            written = await main.fetchval(SQL[f"{source}_written"])
            result.events[source] = written
            result.leaves[source] = dropped + sum(count for count, _ in leaves.values())
            if written != sum(count for count, _ in events.values()):
                unsequenced = written - sum(count for count, _ in events.values())
                differences.append(Difference("events_sequenced", source, "0 without position", f"{unsequenced}"))
            differences += _differing_blocks(source, events, leaves, -(-dropped // BLOCK_EVENTS))
        sealed = {row["stream"]: row["size"] for row in await audit.fetch(SQL["sealed"])}
        result.sealed = {source: sealed[source] for source in SOURCES if source in sealed}  # not who read the log
        differences += [
            Difference("leaves_sealed", source, str(result.leaves[source]), str(result.sealed.get(source, 0)))
            for source in SOURCES
            if result.leaves[source] != result.sealed.get(source, 0)
        ]
        if not differences or time.monotonic() > deadline:
            break
        await asyncio.sleep(SETTLE_POLL_S)
    for check in ("events_sequenced", "events_and_leaves", "leaves_sealed"):
        result.checks[check] = sum(difference.check == check for difference in differences)
    result.differences += differences


async def _digests(connection: Connection, query: str, *arguments: str) -> dict[int, tuple[int, str]]:
    rows = await connection.fetch(SQL[query], *arguments)
    return {row["block"]: (row["count"], row["digest"]) for row in rows}


def _differing_blocks(
    source: str, events: Mapping[int, tuple[int, str]], leaves: Mapping[int, tuple[int, str]], first: int
) -> list[Difference]:
    """Of the blocks from `first` on: in those before retention has dropped leaves, whose hashes the verifier checks."""
    differences = []
    blocks = sorted(block for block in events.keys() | leaves.keys() if block >= first)
    for block in blocks[:DIFFERENCES_MAX]:
        ours, theirs = events.get(block, (0, "")), leaves.get(block, (0, ""))
        if ours != theirs:
            subject = f"{source}, positions {block * BLOCK_EVENTS} to {(block + 1) * BLOCK_EVENTS - 1}"
            difference = Difference("events_and_leaves", subject, _told(ours), _told(theirs))
            differences.append(difference)
    return differences


def _told(block: tuple[int, str]) -> str:
    return f"{block[0]} with digest {block[1][:16] or 'none'}"
