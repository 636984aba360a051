"""Reads of customers' data: written before they are answered, together, or nothing is shown."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest

from amana.domain.events import EVENT_BYTES_MAX
from amana.gateway import read_log
from amana.gateway.caller import Caller
from amana.gateway.read_log import NAMED_MAX, ReadLog
from amana.infra.collector import Overloaded
from amana.infra.postgres import DatabaseUnavailable, Pool, open_pool
from amana.infra.settings import Settings

ROUTE = "/v1/loans/{loan_id}"


@pytest.fixture
async def pool(settings: Settings) -> AsyncIterator[Pool]:
    opened = await open_pool(settings.transactions_database_url, "transactions", 4)
    yield opened
    await opened.close()


@pytest.fixture
def caller() -> Caller:
    """A key that nobody else uses: its records are found by it."""
    return Caller(tenant=1, key_id=uuid4().hex, scopes=frozenset(), trace="a" * 32, request_id="r")


async def recorded(pool: Pool, caller: Caller) -> list[dict[str, Any]]:
    """The events of this key, in order, each with the transaction that wrote it."""
    rows = await pool.fetch("SELECT body, xid::text FROM outbox WHERE type = 'LedgerRecordRead' ORDER BY seq")
    told = [msgspec.json.decode(row["body"]) | {"xid": row["xid"]} for row in rows]
    return [event for event in told if event["actor"] == caller.key_id]


async def test_a_read_is_durable_when_it_is_answered_and_says_who_read_what_of_whom(pool: Pool, caller: Caller) -> None:
    customer, loan = uuid4(), uuid4()
    await ReadLog(pool, "LedgerRecordRead").record(caller, ROUTE, (customer,), 1, loan=loan)
    (event,) = await recorded(pool, caller)
    assert event["data"] == {"route": ROUTE, "rows": 1, "customers": [str(customer)], "loan": str(loan)}
    assert (event["tenant"], event["trace"], event["aggregate"]["type"]) == (1, "a" * 32, "read")


async def test_reads_that_arrive_together_are_written_together(pool: Pool, caller: Caller) -> None:
    log = ReadLog(pool, "LedgerRecordRead")
    await asyncio.gather(*(log.record(caller, ROUTE, (UUID(int=at),), at) for at in range(600)))
    events = await recorded(pool, caller)
    assert sorted(event["data"]["rows"] for event in events) == list(range(600))
    assert len({event["event_id"] for event in events}) == 600
    assert len({event["xid"] for event in events}) <= 10


async def test_a_long_list_is_several_events_that_each_fit(pool: Pool, caller: Caller) -> None:
    shown = {uuid4() for _ in range(2 * NAMED_MAX + 1)}
    await ReadLog(pool, "LedgerRecordRead").record(caller, "/v1/transfers", shown, 1_000)
    events = await recorded(pool, caller)
    assert [len(event["data"]["customers"]) for event in events] == [NAMED_MAX, NAMED_MAX, 1]
    assert {UUID(id_) for event in events for id_ in event["data"]["customers"]} == shown
    assert all(len(msgspec.json.encode(event)) < EVENT_BYTES_MAX for event in events)


async def test_a_list_of_nothing_is_a_read_too(pool: Pool, caller: Caller) -> None:
    await ReadLog(pool, "LedgerRecordRead").record(caller, "/v1/transfers", (), 0)
    (event,) = await recorded(pool, caller)
    assert event["data"] == {"route": "/v1/transfers", "rows": 0, "customers": []}


async def test_nothing_is_shown_that_cannot_be_recorded(
    settings: Settings, pool: Pool, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_log, "WAITING_MAX", 4)
    impatient = await open_pool(settings.transactions_database_url, "transactions", 1, statement_timeout_ms=200)
    log = ReadLog(impatient, "LedgerRecordRead")
    owner = await asyncpg.connect(settings.owner_database_url)
    try:
        await owner.execute("BEGIN; LOCK transactions.outbox IN EXCLUSIVE MODE")
        reads = await asyncio.gather(*(log.record(caller, ROUTE, (), at) for at in range(6)), return_exceptions=True)
    finally:
        await owner.execute("ROLLBACK")
        await owner.close()
    assert {type(read) for read in reads} == {DatabaseUnavailable, Overloaded}
    assert await recorded(pool, caller) == []
    await log.record(caller, ROUTE, (), 7)
    await impatient.close()
    assert [event["data"]["rows"] for event in await recorded(pool, caller)] == [7]


async def test_what_was_taken_is_written_before_the_service_stops(pool: Pool, caller: Caller) -> None:
    log = ReadLog(pool, "LedgerRecordRead")
    reads = [asyncio.create_task(log.record(caller, ROUTE, (), at)) for at in range(50)]
    await asyncio.sleep(0)
    await log.drain()
    assert len(await recorded(pool, caller)) == 50
    await asyncio.gather(*reads)
