"""How long each kind of record is kept, what is past that, and dropping the part of the index that is.

Only whole partitions of the search index are dropped here, and only below a signed checkpoint; their events are then
found by position and id alone. Bodies are another matter: see `retaining`.
"""

from dataclasses import dataclass
from datetime import datetime

from amana.audit.index_store import Extent, Index, bounds
from amana.audit.leaf import ACCESSES, LOGS, NOTIFICATIONS
from amana.audit.postings import PARTITION_SEGMENTS, SEGMENT_LEAVES, first_position
from amana.audit.store import Store
from amana.infra.postgres import Connection, open_pool, reading
from amana.infra.settings import Settings
from amana.infra.sql import load_queries

SQL = load_queries("amana.audit", "retention.sql")
COUNT_TIMEOUT_MS = 600_000
PARTITION_LEAVES = PARTITION_SEGMENTS * SEGMENT_LEAVES

CONSUMER_LENDING = "FCCPC Digital, Electronic, Online or Non-traditional Consumer Lending Regulations 2025: five years"
SETTING = "the lender's own rule: AMANA_RETENTION_DAYS"
REGULATED_YEARS = 5
DAYS_OF_A_YEAR = 365.25


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of record: the types of events that it is, the least that a rule keeps it for, and which rule."""

    name: str
    stream: str
    types: tuple[str, ...]
    years_min: int
    source: str


KINDS = (
    Kind(
        "decisions and their reviews",
        "eligibility",
        (
            *("DecisionMade", "DecisionOverridden", "DecisionAppealed", "AppealResolved", "DecisionReversed"),
            *("DecisionReversalStarted", "DecisionReversalStuck"),
            *("DecisionReversalResumed", "DecisionReversalAbandoned"),
        ),
        REGULATED_YEARS,
        CONSUMER_LENDING,
    ),
    Kind(
        "what is known of customers, blocks, consents",
        "eligibility",
        ("CustomerFactsRecorded", "CustomerBlocked", "CustomerBlockLifted", "LegalHoldPlaced", "LegalHoldReleased"),
        REGULATED_YEARS,
        CONSUMER_LENDING,
    ),
    Kind(
        "policies",
        "eligibility",
        ("PolicyDrafted", "PolicyApproved", "PolicyPublished", "PolicyRetired", "PolicyWithdrawn"),
        REGULATED_YEARS,
        CONSUMER_LENDING,
    ),
    Kind(
        "loans and repayments",
        "transactions",
        (
            *("LoanBooked", "LoanClosed", "RepaymentReceived", "RepaymentReversed"),
            *("LoanReversalStarted", "LoanReversalAbandoned", "LoanReversed", "OfferWithdrawn"),
        ),
        REGULATED_YEARS,
        CONSUMER_LENDING,
    ),
    Kind("reads of customers' records", "eligibility", ("CustomerRecordRead",), 0, SETTING),
    Kind("reads of accounts, transfers and loans", "transactions", ("LedgerRecordRead",), 0, SETTING),
    Kind("reads of notifications", NOTIFICATIONS, ("NotificationsRead",), 0, SETTING),
    Kind("reads of the audit log", ACCESSES, ("AuditRead",), 0, SETTING),
)
"""Every type of event that is in none of these is kept by the lender's own rule."""
ELSE = "everything else"


@dataclass(frozen=True, slots=True)
class PastRetention:
    """A kind of record: for how many years it is kept and why, and what there is that is older."""

    kind: str
    stream: str
    years: int
    source: str
    kept_from: datetime
    events: int
    bytes: int
    oldest: datetime | None


@dataclass(frozen=True, slots=True)
class DroppableIndex:
    """What of a stream's index may be dropped: up to before `position`, in so many partitions; or was."""

    stream: str
    position: int
    partitions: int
    dropped: bool


@dataclass(frozen=True, slots=True)
class RetentionReport:
    """What is past its retention."""

    at: datetime
    records: list[PastRetention]
    index: list[DroppableIndex]


def years_of(kind: Kind | None, setting: int) -> int:
    """How many years a kind is kept; None is every other type."""
    return max(setting, kind.years_min) if kind else setting


def longest(setting: int) -> int:
    """For how many years the kind is kept that is kept longest."""
    return max(setting, *(years_of(kind, setting) for kind in KINDS))


def years_before(instant: datetime, years: int) -> datetime:
    """The same day and time so many years earlier; 29 February becomes the 28th."""
    try:
        return instant.replace(year=instant.year - years)
    except ValueError:
        return instant.replace(year=instant.year - years, day=28)


async def report_retention(settings: Settings, now: datetime, *, drop: bool = False) -> RetentionReport:
    """What is past its retention; with `drop` the part of the index that is wholly so is dropped.

    Counts what is old leaf by leaf: for a job, not for a request. With the rights of the owner. Raises
    `DatabaseUnavailable`.
    """
    years = max(REGULATED_YEARS, round(settings.retention_days / DAYS_OF_A_YEAR))
    pool = await open_pool(settings.owner_audit_database_url, "audit", 2, COUNT_TIMEOUT_MS)
    try:
        async with Index(pool).rows() as rows:
            extents = await rows.indexed_to(LOGS)
        async with Store(pool).rows() as stored:
            sealed = {stream: await stored.newest_checkpoint(stream) for stream in LOGS}
        async with reading(pool) as connection:
            records = [record for stream in LOGS for record in await _past(connection, stream, years, now)]
            index = [
                await _index(
                    connection,
                    stream,
                    extents[stream],
                    newest.size if (newest := sealed[stream]) else 0,
                    _all_past(stream, years, now),
                    drop,
                )
                for stream in LOGS
            ]
    finally:
        await pool.close()
    return RetentionReport(now, records, index)


def _all_past(stream: str, setting: int, now: datetime) -> datetime:
    """Before this instant every kind of the stream is past its retention."""
    years = [years_of(kind, setting) for kind in KINDS if kind.stream == stream]
    return years_before(now, max([*years, setting]))


async def _past(connection: Connection, stream: str, setting: int, now: datetime) -> list[PastRetention]:
    kinds: list[Kind | None] = [kind for kind in KINDS if kind.stream == stream]
    named = {type_ for kind in kinds if kind for type_ in kind.types}
    records = []
    for kind in [*kinds, None]:
        years = years_of(kind, setting)
        kept_from = years_before(now, years)
        rows = await connection.fetch(SQL["events_before"], stream, 1 << 50, kept_from)
        found = [row for row in rows if (row["type"] in kind.types if kind else row["type"] not in named)]
        records.append(
            PastRetention(
                kind=kind.name if kind else ELSE,
                stream=stream,
                years=years,
                source=kind.source if kind else SETTING,
                kept_from=kept_from,
                events=sum(row["events"] for row in found),
                bytes=sum(row["bytes"] for row in found),
                oldest=min((row["oldest"] for row in found), default=None),
            )
        )
    return records


async def _index(
    connection: Connection, stream: str, extent: Extent, sealed: int, before: datetime, drop: bool
) -> DroppableIndex:
    first, stop = bounds(stream, extent)
    kept = await connection.fetchval(SQL["first_kept_segment"], first, stop, before) if extent.size else None
    end = min(first_position(kept) if kept is not None else extent.size, sealed)
    whole = end // PARTITION_LEAVES
    begin = first - first % PARTITION_SEGMENTS if extent.size else first
    parts = [begin + at * PARTITION_SEGMENTS for at in range(whole - first_position(begin) // PARTITION_LEAVES)]
    position = max(extent.floor, whole * PARTITION_LEAVES)
    if drop and parts:
        async with connection.transaction():
            for part in parts:
                await connection.fetchval(SQL["drop_postings"], part)
            await connection.execute(SQL["raise_floor"], stream, position)
    return DroppableIndex(stream, position, len(parts), drop and bool(parts))
