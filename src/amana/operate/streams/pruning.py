"""`amana events prune`: lets the outboxes of the services go of events that the audit log has. The owner's, never a
service's, and never unasked.

What goes is a beginning of a stream: everything that happened before an instant. All of it has to be published, taken
by every consumer, and proved to be in the log (`sealed`); where any of that is missing nothing goes, of any stream.
While a legal hold on everything stands nothing goes at all; while one on a customer does, nothing of which the log has
only hashes any more: the outbox is the last to say it.

    plan and prove  →  an event of the log's own stream says what goes and who does it  →  a checkpoint signs it  →
    where each stream begins is raised  →  events go, oldest first, a chunk at a time, each chunk a transaction

No step waits for a service, and none makes one wait: what goes is behind every reader. Whatever is interrupted is gone
on with by the next run. A trigger refuses every other loss (see the migrations).
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from typing import NamedTuple

from amana.audit import held
from amana.audit.announcing import HeldBack, announce, until_signed
from amana.audit.custody import Custody
from amana.audit.store import Store
from amana.domain.events import utc_text
from amana.infra.postgres import Connection, Pool, in_transaction, open_pool, reading
from amana.infra.relay import SOURCES
from amana.infra.settings import Settings
from amana.operate.streams.sealed import SQL, Proof, Sealed

CHUNK_EVENTS = 2_000
"""Events that go in one transaction."""
CHUNK_PAUSE_S = 0.02
"""Between two of them, so that what the services commit is not behind a prune in the write-ahead log."""
STATEMENT_TIMEOUT_MS = 60_000
TYPE = "OutboxPruned"


class Outbox(NamedTuple):
    """A stream at its service: events before `below` were announced to go, those from `lowest` on are there yet."""

    stream: str
    last: int
    published: int
    below: int
    lowest: int

    @property
    def oldest(self) -> int:
        """The first position that stays."""
        return max(self.below, self.lowest)


class Part(NamedTuple):
    """Of a stream: events from `oldest` on were there, those before `below` may go or are gone, `events` of them."""

    stream: str
    oldest: int
    below: int
    events: int


class _Places(NamedTuple):
    """Where the outboxes and the log are."""

    outboxes: dict[str, Pool]
    audit: Pool


async def plan(settings: Settings, before: datetime, streams: Sequence[str] = SOURCES) -> list[Part]:
    """What would go of each stream: the whole proof, and nothing is changed.

    Raises `HeldBack`, `CustodyError` and `DatabaseUnavailable`.
    """
    _require_no_hold(settings)
    async with _opened(settings, streams) as places:
        stand = [await _stands(stream, places.outboxes[stream]) for stream in streams]
        proved = {each.stream: await _proved(settings, places, each, before) for each in stand}
        return [_part(each, proved[each.stream]) for each in stand]


async def prune(
    settings: Settings, before: datetime, by: str, now: datetime, streams: Sequence[str] = SOURCES
) -> list[Part]:
    """Prunes what happened before an instant, and says so in the log as done by `by`. What went of each stream.

    Raises as `plan` does; `HeldBack` also where the announcement is not signed in time.
    """
    _require_no_hold(settings)
    async with _opened(settings, streams) as places:
        stand = [await _stands(stream, places.outboxes[stream]) for stream in streams]
        proved = {each.stream: await _proved(settings, places, each, before) for each in stand}
        found = {stream: sealed for stream, sealed in proved.items() if sealed}
        if found:
            await _announce(places, found, before, by, now)
        parts = [_part(each, proved[each.stream]) for each in stand]
        for part in parts:
            await _drop(places.outboxes[part.stream], part)
        return parts


def _require_no_hold(settings: Settings) -> None:
    if settings.legal_hold:
        raise HeldBack(f"a legal hold stands: {settings.legal_hold}")


@asynccontextmanager
async def _opened(settings: Settings, streams: Sequence[str]) -> AsyncIterator[_Places]:
    async with AsyncExitStack() as stack:

        async def pool(dsn: str, schema: str) -> Pool:
            opened = await open_pool(dsn, schema, 2, STATEMENT_TIMEOUT_MS)
            stack.push_async_callback(opened.close)
            return opened

        outboxes = {stream: await pool(settings.owner_database_url, stream) for stream in streams}
        yield _Places(outboxes, await pool(settings.owner_audit_database_url, "audit"))


async def _stands(stream: str, pool: Pool) -> Outbox:
    async with reading(pool) as connection:
        row = await connection.fetchrow(SQL["stands"])
    assert row is not None, "the migration of this schema inserted no row into stream"
    return Outbox(stream, row["last_position"], row["published"], row["below"], row["lowest"])


async def _proved(settings: Settings, places: _Places, outbox: Outbox, before: datetime) -> Sealed | None:
    """What may go beyond what was announced before; None where nothing may. Raises `HeldBack`."""
    keys = await asyncio.to_thread(Custody.of(settings).keys, outbox.stream)
    proof = Proof(outbox.stream, places.outboxes[outbox.stream], Store(places.audit), keys)
    sealed = await proof.of_older(outbox.oldest, outbox.last, before)
    if sealed is None:
        return None
    if outbox.published < sealed.below - 1:
        raise HeldBack(
            f"the relay is behind: it has published {outbox.stream} up to position {outbox.published:,},"
            f" and position {sealed.below - 1:,} is older than that"
        )
    await _require_not_the_last(settings, places, outbox)
    async with reading(places.outboxes[outbox.stream]) as connection:
        for row in await connection.fetch(SQL["consumers"], outbox.stream):
            if row["below"] < sealed.below:
                raise HeldBack(
                    f"the consumer {row['consumer']} of {row['service']} is behind: it has taken {outbox.stream}"
                    f" up to before position {row['below']:,}, and {sealed.below - 1:,} is older than that."
                    f" It moved last at {row['advanced_at']:%Y-%m-%dT%H:%M:%SZ}; one that is gone for good is retired"
                    f" with `amana events retire {row['consumer']} --service {row['service']} --stream {outbox.stream}`"
                )
    return sealed


async def _require_not_the_last(settings: Settings, places: _Places, outbox: Outbox) -> None:
    """Raises `HeldBack` where retention dropped bodies that the outbox has yet, and customers are held."""
    async with Store(places.audit).rows() as rows:
        dropped = await rows.dropped_below(outbox.stream)
    if dropped <= outbox.oldest:
        return
    async with held.asked(settings) as holds:
        if await holds.subjects():
            raise HeldBack(
                f"customers are held, and the outbox of {outbox.stream} is the last to have the events from position"
                f" {outbox.oldest:,} to before {dropped:,}: the log dropped their bodies"
            )


def _part(outbox: Outbox, sealed: Sealed | None) -> Part:
    below = sealed.below if sealed else outbox.below
    return Part(outbox.stream, outbox.lowest, below, max(0, below - outbox.lowest))


async def _announce(places: _Places, found: dict[str, Sealed], before: datetime, by: str, now: datetime) -> None:
    """Says in the log what goes; once that is signed, where each stream begins."""
    data = {
        "below": {stream: sealed.below for stream, sealed in found.items()},
        "sealed": {stream: sealed.size for stream, sealed in found.items()},
        "happened_before": utc_text(before),
    }
    async with Store(places.audit).transaction() as rows:
        position = await announce(rows, TYPE, data, by, now)
    await until_signed(places.audit, position)
    for stream, sealed in found.items():
        async with reading(places.outboxes[stream]) as connection:
            await connection.execute(SQL["announce"], sealed.below, position, sealed.note)


async def _drop(pool: Pool, part: Part) -> None:
    """The events, oldest first."""
    for start in range(part.oldest, part.below, CHUNK_EVENTS):
        stop = min(start + CHUNK_EVENTS, part.below)

        async def chunk(connection: Connection, start: int = start, stop: int = stop) -> None:
            await connection.execute(SQL["take_turns"])
            await connection.execute(SQL["drop_events"], start, stop)
            await connection.execute(SQL["drop_positions"], start, stop)

        await in_transaction(pool, chunk)
        await asyncio.sleep(CHUNK_PAUSE_S)
