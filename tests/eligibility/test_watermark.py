"""The watermark: it moves while nothing happens, and never past what was proven."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from tests.eligibility.ledger_copy import LedgerCopy, loan_event, open_copy
from tests.eligibility.standings_server import StandingsServer

from amana.eligibility import projection_store, watermark
from amana.eligibility.watermark import Watermark
from amana.gateway.source import Source
from amana.infra.http import HttpClient, UpstreamUnavailable
from amana.infra.postgres import reading
from amana.infra.settings import Settings

UID = UUID(int=7)
SLOW_CLOCK = datetime(2020, 1, 1, tzinfo=UTC)
"""What the tests' ledger takes for now."""


@pytest.fixture
async def copy(service_settings: Settings, http: HttpClient, service_url: str) -> AsyncIterator[LedgerCopy]:
    async with open_copy(service_settings, http, level=False) as opened:
        yield opened


@pytest.fixture
def moving(copy: LedgerCopy, service_settings: Settings, http: HttpClient) -> Watermark:
    source = Source("transactions", service_settings.transactions_url, service_settings.internal_key, http)
    return Watermark(copy.flow.pool, source)


def says(ledger: StandingsServer, last: int, behind: timedelta | None = timedelta(0)) -> None:
    settled_at = None if behind is None else SLOW_CLOCK - behind
    ledger.end = {"last": last, "published": last, "now": SLOW_CLOCK, "settled_at": settled_at}


async def lag(copy: LedgerCopy) -> timedelta | None:
    async with reading(copy.flow.pool) as connection:
        return await projection_store.find_lag(connection)


async def test_it_moves_while_nothing_happens_whatever_the_ledgers_clock_says(
    copy: LedgerCopy, moving: Watermark, ledger: StandingsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watermark, "BEAT_EVERY_S", 0.01)
    says(ledger, -1)
    stop = asyncio.Event()
    keeping = asyncio.create_task(moving.keep(stop))
    try:
        async with asyncio.timeout(10):
            seen: set[datetime] = set()
            while len(seen) < 3:
                proven = await copy.owner.fetchval("SELECT proven_at FROM ledger_watermark")
                seen |= set() if proven is None else {proven}
                await asyncio.sleep(0.01)
            ledger.down = True
            await asyncio.sleep(0.05)
            ledger.down = False
            while await copy.owner.fetchval("SELECT proven_at FROM ledger_watermark") <= max(seen):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    finally:
        stop.set()
        await keeping
    found = await lag(copy)
    assert found is not None and found < timedelta(seconds=2)
    assert await copy.owner.fetchval("SELECT ledger_at FROM ledger_watermark") == SLOW_CLOCK


async def test_it_is_as_far_behind_as_the_ledgers_own_stream(
    copy: LedgerCopy, moving: Watermark, ledger: StandingsServer
) -> None:
    says(ledger, -1, timedelta(seconds=7))
    beat = await moving.ask()
    assert beat is not None
    found = await moving.advance(beat)
    assert found is not None and timedelta(seconds=7) <= found < timedelta(seconds=9)
    says(ledger, -1, behind=None)
    beat = await moving.ask()
    assert beat is not None and await moving.advance(beat) is None


async def test_it_waits_for_what_the_consumer_has_not_taken_and_does_not_go_back(
    copy: LedgerCopy, moving: Watermark, ledger: StandingsServer
) -> None:
    says(ledger, -1, timedelta(seconds=3))
    early = await moving.ask()
    says(ledger, 0)
    beat = await moving.ask()
    assert early is not None and beat is not None
    assert await moving.advance(beat) is None
    assert await lag(copy) is None
    await copy.happens(loan_event(1, UID))
    assert await moving.advance(beat) is not None
    found = await moving.advance(early)  # another process was slower
    assert found is not None and found < timedelta(seconds=3)


async def test_a_stream_that_ends_below_what_was_taken_proves_nothing(
    copy: LedgerCopy, moving: Watermark, ledger: StandingsServer
) -> None:
    await copy.happens(loan_event(1, UID), loan_event(1, UID))
    says(ledger, 0)
    assert await moving.ask() is None
    says(ledger, 1)
    assert await moving.ask() is not None


async def test_a_stream_that_is_not_begun_proves_nothing(
    copy: LedgerCopy, moving: Watermark, ledger: StandingsServer
) -> None:
    await copy.owner.execute("TRUNCATE consumer_progress")
    assert await moving.ask() is None
    ledger.down = True
    await copy.taker.begin("transactions", 0)
    with pytest.raises(UpstreamUnavailable):
        await moving.ask()
