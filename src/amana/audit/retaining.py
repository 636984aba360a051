"""Drops the bodies of leaves whose retention is over: `amana audit retention --drop-bodies`. The owner's, never a
service's; the hashes stay, so the log still verifies.

What goes is a beginning of a stream, in whole bundles of 256 leaves, and only as far as all of this holds: every leaf
of it is past the longest retention of its stream; a signed checkpoint covers it; it is indexed; it is not the last
leaf; no loan is in it that was not over by its end; nothing in it concerns a customer under a legal hold. So a loan's
records are kept for the whole time after the loan. While a legal hold on everything stands nothing goes at all.

    plan  →  an event of the stream `accesses` says what goes and who does it  →  a checkpoint signs that event  →
    bodies go, oldest first, a batch at a time, each batch a transaction

Whatever is interrupted is gone on with by the next run. A trigger refuses every other loss (see the migration).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from amana.audit import held
from amana.audit.announcing import HeldBack, announce, until_signed
from amana.audit.dropped import BUNDLE_LEAVES, TYPE, Dropped, read_dropped
from amana.audit.held import Held, Wanted, first_leaf
from amana.audit.index_store import Index, bounds
from amana.audit.leaf import ACCESSES, LOGS
from amana.audit.postings import first_position
from amana.audit.retention import COUNT_TIMEOUT_MS, DAYS_OF_A_YEAR, REGULATED_YEARS, SQL, longest, years_before
from amana.audit.store import Rows, Store
from amana.domain.events import utc_text
from amana.infra.postgres import Pool, open_pool
from amana.infra.settings import Settings

BATCH_LEAVES = 10 * BUNDLE_LEAVES
"""Leaves that go in one transaction."""
RUN_LEAVES_MAX = 10_000_000
"""Leaves of a stream that go in one run."""


@dataclass(frozen=True, slots=True)
class Bodies:
    """Of a stream: bodies from `lowest` on are there, those before `below` may go, and `left` of them are there yet."""

    stream: str
    lowest: int
    below: int

    @property
    def left(self) -> int:
        """How many are there that may go."""
        return max(0, self.below - self.lowest)


async def plan_bodies(settings: Settings, now: datetime) -> list[Bodies]:
    """What may go of each stream. Raises `HeldBack` where it can't be known who is held, and `DatabaseUnavailable`."""
    async with held.asked(settings) as holds:
        pool = await _open(settings)
        try:
            return await _plan(pool, holds, _kept_from(settings, now))
        finally:
            await pool.close()


async def drop_bodies(settings: Settings, now: datetime, by: str) -> list[Bodies]:
    """Drops what may go, and says so in the log as done by `by`. What is left afterwards, by stream.

    Raises `HeldBack` while a legal hold on everything stands, where it can't be known which customers are held, or
    where the event is not signed in time (it then stands, and the next run goes on from it), and `DatabaseUnavailable`.
    """
    if settings.legal_hold:
        raise HeldBack(f"a legal hold stands: {settings.legal_hold}")
    kept_from = _kept_from(settings, now)
    async with held.asked(settings) as holds:
        pool = await _open(settings)
        try:
            planned = await _plan(pool, holds, kept_from)
            async with Store(pool).rows() as rows:
                known = {each.stream: await rows.dropped_below(each.stream) for each in planned}
            below = {each.stream: max(known[each.stream], each.below) for each in planned}
            if below != known:
                await _announce(pool, below, kept_from, by, now)
            await _until_signed(pool)
            for each in planned:
                await _drop(pool, holds, each)
            return await _plan(pool, holds, kept_from)
        finally:
            await pool.close()


async def dropped_of(rows: Rows, stream: str) -> Dropped | None:
    """What is gone of a stream by the word of a signed event of the log; None where nothing is."""
    announced = await rows.dropped(stream)
    signed = await rows.newest_checkpoint(ACCESSES)
    if announced is None or signed is None or announced.position >= signed.size:
        return None
    said = read_dropped(announced.body, stream)
    if said is None:
        return None
    lowest = await rows.lowest_position(stream)
    gone = said.below if lowest is None else min(said.below, lowest)
    return replace(said, below=gone) if gone else None


def _kept_from(settings: Settings, now: datetime) -> datetime:
    """Before this instant everything is past its retention."""
    return years_before(now, longest(max(REGULATED_YEARS, round(settings.retention_days / DAYS_OF_A_YEAR))))


async def _open(settings: Settings) -> Pool:
    return await open_pool(settings.owner_audit_database_url, "audit", 2, COUNT_TIMEOUT_MS)


async def _plan(pool: Pool, holds: Held, kept_from: datetime) -> list[Bodies]:
    wanted = await holds.subjects()
    async with Index(pool).rows() as index:
        extents = await index.indexed_to(LOGS)
    async with Store(pool).rows() as rows:
        planned = []
        for stream in LOGS:
            first, stop = bounds(stream, extents[stream])
            kept = await rows.connection.fetchval(SQL["first_kept_segment"], first, stop, kept_from)
            end = extents[stream].size if kept is None else first_position(kept)
            planned.append(await _bodies(rows, stream, end, wanted))
        return planned


async def _bodies(rows: Rows, stream: str, end: int, wanted: Wanted) -> Bodies:
    """What may go of a stream whose leaves before `end` are past their retention."""
    known = await rows.dropped_below(stream)
    lowest = await rows.lowest_position(stream) or 0
    sealed = await rows.newest_checkpoint(stream)
    ends = [end, sealed.size if sealed else 0, max(0, await rows.highest_position(stream)), lowest + RUN_LEAVES_MAX]
    open_loan = await rows.connection.fetchval(SQL["first_open_loan"], stream, lowest, min(ends))
    ends += [] if open_loan is None else [open_loan]
    below = max(known, min(ends) // BUNDLE_LEAVES * BUNDLE_LEAVES)
    first = await first_leaf(rows, stream, lowest, below, wanted)
    return Bodies(stream, lowest, below if first is None else first // BUNDLE_LEAVES * BUNDLE_LEAVES)


async def _announce(pool: Pool, until: Mapping[str, int], kept_from: datetime, by: str, now: datetime) -> None:
    """The event that says what goes, of every stream of which anything does or did."""
    below = {stream: bound for stream, bound in until.items() if bound}
    async with Store(pool).transaction() as rows:
        position = await announce(rows, TYPE, {"below": below, "kept_from": utc_text(kept_from)}, by, now)
        for stream, bound in below.items():
            await rows.connection.execute(SQL["announce_drop"], stream, bound, position)
            await rows.connection.execute(SQL["raise_floor"], stream, bound)


async def _until_signed(pool: Pool) -> None:
    """Until a checkpoint covers all that was announced."""
    async with Store(pool).rows() as rows:
        announced = await rows.connection.fetchval(SQL["last_announced"])
    if announced is not None:
        await until_signed(pool, announced)


async def _drop(pool: Pool, holds: Held, bodies: Bodies) -> None:
    """The bodies, oldest first, up to what concerns a customer who is held by then."""
    for start in range(bodies.lowest, bodies.below, BATCH_LEAVES):
        wanted, stop = await holds.subjects(), min(start + BATCH_LEAVES, bodies.below)
        async with Store(pool).rows() as rows:
            first = await first_leaf(rows, bodies.stream, start, stop, wanted)
        if first is not None:
            stop = first // BUNDLE_LEAVES * BUNDLE_LEAVES
        async with Store(pool).transaction() as rows:
            await rows.connection.execute(SQL["drop_leaves"], bodies.stream, start, stop)
        if first is not None:
            return
