"""`amana reconcile`: everything that must agree inside Amana, compared; each difference is named.

Read-only, in one repeatable-read snapshot of the main database, so it may run while the services do. Events travel to
the audit log for a moment, so that comparison alone is tried again until it agrees or `settle_s` is over. Nothing is
ever repaired here: a correction is a new transfer, made by a person.

Events that the services have pruned are read from the audit log, so that rows are held to all of them. Where retention
dropped their bodies there too nobody knows them any more: then a row without an event is passed over.
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
from amana.operate.replay.scratch import pipe

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
EVENT_CHECKS = {
    "loans_and_events": "transactions",
    "transfers_and_events": "transactions",
    "decisions_and_events": "eligibility",
    "reviews_and_events": "eligibility",
}
"""Those that look at events, and at which stream."""
COMPARED_TYPES = {
    "transactions": (
        *("LoanBooked", "RepaymentReceived", "RepaymentReversed", "LoanReversed"),
        *("TransferPosted", "HoldPlaced", "HoldCaptured", "HoldVoided", "HoldExpired"),
    ),
    "eligibility": (
        *("DecisionMade", "DecisionOverridden", "DecisionAppealed", "AppealResolved", "DecisionReversed"),
        *("DecisionReversalStarted", "DecisionReversalResumed", "DecisionReversalAbandoned"),
    ),
}
"""The types of events that the statements of these checks name."""
NO_EVENT = "0 events"
"""How they say it."""
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
    """What was compared and what differs. `leaves` counts sealed events by stream, `pruned` those that were read from
    the log because their source has pruned them, and `forgotten` those of them that the log has dropped too."""

    checks: dict[str, int]
    counts: dict[str, int]
    trial_balance: dict[str, int]
    events: dict[str, int]
    leaves: dict[str, int]
    sealed: dict[str, int]
    differences: list[Difference]
    pruned: dict[str, int] = {}
    forgotten: dict[str, int] = {}
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
        await main.execute(SQL["make_sealed"])
        async with main.transaction(isolation="repeatable_read", readonly=True):
            await _read_pruned(main, audit, result)
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


async def _read_pruned(main: Connection, audit: Connection, result: Reconciliation) -> None:
    """Puts beside the outboxes, for this connection alone, what this snapshot of them no longer has."""
    for source, types in COMPARED_TYPES.items():
        stands = await main.fetchrow(SQL[f"{source}_written"])
        assert stands is not None
        if oldest := stands["oldest"]:
            result.pruned[source] = oldest
            await pipe(audit, SQL["sealed_before"], main, "sealed_events", source, oldest, list(types))
            if forgotten := min(oldest, await audit.fetchval(SQL["leaves_dropped"], source) or 0):
                result.forgotten[source] = forgotten


async def _compare_inside(main: Connection, result: Reconciliation) -> None:
    for check in CHECKS:
        rows = await main.fetch(SQL[check])
        if EVENT_CHECKS.get(check) in result.forgotten:
            rows = [row for row in rows if row["found"] != NO_EVENT]
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
            stands = await main.fetchrow(SQL[f"{source}_written"])
            assert stands is not None
            dropped = await audit.fetchval(SQL["leaves_dropped"], source) or 0
            start = max(stands["oldest"], dropped)
            leaves = await _digests(audit, "leaf_digests", source, start)
            result.events[source] = stands["oldest"] + stands["written"]
            result.leaves[source] = await audit.fetchval(SQL["leaves_from"], source, dropped) + dropped
            if unsequenced := stands["written"] - stands["placed"]:
                differences.append(Difference("events_sequenced", source, "0 without position", f"{unsequenced}"))
            differences += _differing_blocks(source, await _digests(main, f"{source}_digests", start), leaves)
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


async def _digests(connection: Connection, query: str, *arguments: str | int) -> dict[int, tuple[int, str]]:
    rows = await connection.fetch(SQL[query], *arguments)
    return {row["block"]: (row["count"], row["digest"]) for row in rows}


def _differing_blocks(
    source: str, events: Mapping[int, tuple[int, str]], leaves: Mapping[int, tuple[int, str]]
) -> list[Difference]:
    """What differs of what both have: of what retention dropped the verifier checks the hashes."""
    differences = []
    blocks = sorted(events.keys() | leaves.keys())
    for block in blocks[:DIFFERENCES_MAX]:
        ours, theirs = events.get(block, (0, "")), leaves.get(block, (0, ""))
        if ours != theirs:
            subject = f"{source}, positions {block * BLOCK_EVENTS} to {(block + 1) * BLOCK_EVENTS - 1}"
            difference = Difference("events_and_leaves", subject, _told(ours), _told(theirs))
            differences.append(difference)
    return differences


def _told(block: tuple[int, str]) -> str:
    return f"{block[0]} with digest {block[1][:16] or 'none'}"
