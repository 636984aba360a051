"""Traffic goes on: whatever is committed when the live rows are read is what is replayed, no more and no less."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from random import Random

import asyncpg
import pytest
from tests.chaos.site import until
from tests.operate.replay.conftest import PLACES, UNSEQUENCED, Database, ReadingFrom, Replaying
from tests.operate.replay.town import Town

from amana.infra.http import UpstreamUnavailable
from amana.operate.replay.options import CannotReplay, Log
from amana.operate.replay.sources import AuditDatabase
from amana.operate.stack import Stack, together

CALLERS = 4
THINK_S = 0.02
"""A caller's pause. Without it they take the cores that the replay needs, and it has ever more to read."""
SEQUENCED_S = 20.0
"""By when the relay has given positions to what was committed."""
VICTIMS = ("transactions", "eligibility", "relay")


@asynccontextmanager
async def traffic(town: Town) -> AsyncIterator[list[int]]:
    """Callers who move money, hold it, borrow and ask, for as long as the block; the list grows with every answer.

    A service that is away answers nothing, and they go on.
    """
    answered: list[int] = []

    async def call(number: int) -> None:
        random = Random(number)
        while True:
            with suppress(UpstreamUnavailable, AssertionError):
                match random.randrange(8):
                    case 0:
                        await town.lender.loan(await town.lender.customer())
                    case 1 | 2:
                        held = await town.move(kind="hold", amount=random.randrange(1, 90))
                        await town.say(f"/v1/transfers/{held}/{random.choice(('captures', 'voids'))}")
                    case _:
                        await town.move(amount=random.randrange(1, 9_000))
                answered.append(number)
            await asyncio.sleep(THINK_S)

    callers = [asyncio.create_task(call(number)) for number in range(CALLERS)]
    try:
        yield answered
    finally:
        for caller in callers:
            caller.cancel()
        await asyncio.gather(*callers, return_exceptions=True)


@pytest.mark.parametrize("place", PLACES)
async def test_traffic_while_it_runs_is_no_difference(
    replaying: Replaying, reading_from: ReadingFrom, town: Town, place: str
) -> None:
    options = await reading_from(place)
    async with traffic(town) as answered:
        for _ in range(3):
            before = len(answered)
            result = await replaying(**options)
            assert result.differences == []
            assert len(answered) > before, "nothing went on meanwhile"


async def test_events_that_have_no_position_yet_count_in_the_order_that_they_will_have(
    replaying: Replaying, site: Stack, town: Town, database: Database
) -> None:
    await site.services["relay"].stop()
    try:
        async with traffic(town) as answered:
            await until(lambda: len(answered) >= 40)
            result = await replaying()
        assert result.differences == []
        assert min(result.tails.values()) > 0
        waiting = await database.fetchval(UNSEQUENCED)
        assert waiting >= sum(result.tails.values())
    finally:
        await site.start_service("relay")
    assert (await replaying()).ok


async def test_services_that_are_killed_in_the_middle_leave_no_difference(
    replaying: Replaying, site: Stack, town: Town
) -> None:
    async with traffic(town) as answered:
        await until(lambda: len(answered) >= 15)
        for victim in VICTIMS:
            kill(site, victim)
        during = await replaying(log=Log.OUTBOX)
        await together([site.start_service(victim) for victim in VICTIMS])
        after = await replaying()
    assert during.differences == []
    assert after.differences == []


@asynccontextmanager
async def open_audit(site: Stack) -> AsyncIterator[asyncpg.Connection]:
    """The audit log in a transaction that comes to nothing."""
    connection = await asyncpg.connect(site.settings.owner_audit_database_url)
    transaction = connection.transaction()
    await transaction.start()
    try:
        yield connection
    finally:
        await transaction.rollback()
        await connection.close()


def kill(site: Stack, service: str) -> None:
    """SIGKILL."""
    pid = site.services[service].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


async def test_what_the_audit_log_does_not_have_yet_is_waited_for_and_then_said(
    replaying: Replaying, site: Stack, town: Town, database: Database
) -> None:
    kill(site, "audit")
    try:
        await town.move(amount=5)
        async with asyncio.timeout(SEQUENCED_S):
            while await database.fetchval(UNSEQUENCED):  # noqa: ASYNC110  another process gives them
                await asyncio.sleep(0.05)
        with pytest.raises(CannotReplay, match="let audit catch up, or replay the outboxes"):
            await replaying(settle_s=0.5)
        assert (await replaying(log=Log.OUTBOX)).ok
    finally:
        await site.start_service("audit")
    assert (await replaying()).ok


async def test_what_came_before_its_turn_is_no_part_of_the_log_yet(site: Stack) -> None:
    async with open_audit(site) as connection:
        log = AuditDatabase("transactions", connection)
        whole = await log.last()
        await connection.execute(
            "INSERT INTO audit.leaves (stream, position, tenant, event_id, type, occurred_at, aggregate_type,"
            " aggregate_id, aggregate_version, customer, actor, trace, bytes)"
            " SELECT stream, position + 2, tenant, event_id, type, occurred_at, aggregate_type, aggregate_id,"
            " aggregate_version, customer, actor, trace, bytes"
            " FROM audit.leaves WHERE stream = 'transactions' AND position = $1",
            whole,
        )
        assert await log.last() == whole
        assert await AuditDatabase("a stream without a leaf", connection).last() == -1


async def test_a_log_with_a_gap_is_not_replayed(replaying: Replaying, site: Stack, database: Database) -> None:
    moved = "UPDATE transactions.positions SET position = position - 1000000000 WHERE position = 17"
    back = "UPDATE transactions.positions SET position = position + 1000000000 WHERE position < 0"
    await database.execute("ALTER TABLE transactions.positions DISABLE TRIGGER USER")
    await database.execute(moved)
    try:
        with pytest.raises(CannotReplay, match="transactions has no event at position 17"):
            await replaying(log=Log.OUTBOX)
    finally:
        await database.execute(back)
        await database.execute("ALTER TABLE transactions.positions ENABLE TRIGGER USER")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("type = 'LoanForgiven'", "LoanForgiven: no fold knows the event type LoanForgiven"),
        ("type = 'LoanClosed'", "it is filed as LoanClosed and says that it is LoanBooked"),
        (
            "body = replace(convert_from(body, 'UTF8'), '\"version\":1}', '\"version\":2}')::bytea",
            "no fold knows version 2",
        ),
        ("body = '{\"type\":'::bytea", "Input data was truncated"),
        (
            "body = replace(convert_from(body, 'UTF8'), '\"principal\":', '\"capital\":')::bytea",
            "missing required field",
        ),
    ],
)
async def test_an_event_that_can_not_be_read_is_named(
    replaying: Replaying, database: Database, change: str, said: str
) -> None:
    first = "(SELECT min(seq) FROM transactions.outbox WHERE type = 'LoanBooked')"
    (row,) = await database.fetch(f"SELECT seq, type, body FROM transactions.outbox WHERE seq = {first}")
    seq, type_, body = row
    position = await database.fetchval("SELECT position FROM transactions.positions WHERE seq = $1", seq)
    await database.execute("ALTER TABLE transactions.outbox DISABLE TRIGGER USER")
    await database.execute(f"UPDATE transactions.outbox SET {change} WHERE seq = $1", seq)
    try:
        with pytest.raises(CannotReplay, match=f"transactions, position {position}, .*{said}"):
            await replaying(log=Log.OUTBOX)
    finally:
        await database.execute("UPDATE transactions.outbox SET type = $2, body = $3 WHERE seq = $1", seq, type_, body)
        await database.execute("ALTER TABLE transactions.outbox ENABLE TRIGGER USER")


async def test_a_replay_that_is_broken_off_leaves_nothing_behind(replaying: Replaying, database: Database) -> None:
    for number in range(6):
        under_way = asyncio.ensure_future(replaying(rows_in_memory=50))
        await asyncio.sleep(0.1 * number)
        under_way.cancel()
        await asyncio.wait([under_way])
        assert under_way.cancelled() or not under_way.exception()
    left = "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'amana_replay_%'"
    assert await database.fetch(left) == []
