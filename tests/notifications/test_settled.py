"""Requests and letters that were settled long ago go, where the settings ask for it, and what went is told."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import uuid4

import asyncpg
import msgspec
import pytest
from tests.notifications.happenings import CUSTOMER, TENANT, booked, message
from tests.relay.source import until

from amana.gateway import settled
from amana.gateway.settled import prune_settled, prune_settled_forever
from amana.infra import clock
from amana.infra.http import HttpClient, UpstreamUnavailable
from amana.infra.postgres import Pool
from amana.infra.settings import SETTLED_DAYS_MIN, Settings, SettingsError, load_settings
from amana.notifications import store
from amana.notifications.consumer import STREAMS, make_taker
from amana.notifications.events import Told
from amana.notifications.holds import Holds, Key
from amana.notifications.jobs import PRUNED_TYPE, requests_but_held
from amana.notifications.templates import TEMPLATES

DAYS = 30


@pytest.fixture
async def pool(tables: Pool) -> Pool:
    for stream in STREAMS:
        await make_taker(tables).begin(stream, 0)
    return tables


async def requests(pool: Pool, *ages: tuple[str, int]) -> None:
    """Requests in these states, settled so many days ago where they are."""
    now = clock.now()
    told = [Told(TENANT, uuid4(), "loan_closed", CUSTOMER, uuid4(), {}, now, None) for _ in ages]
    async with pool.acquire() as connection:
        await store.insert(connection, told)
    for one, (state, days) in zip(told, ages, strict=True):
        at = now - timedelta(days=days) if state in ("delivered", "failed", "expired") else None
        await pool.execute(
            "UPDATE requests SET state = $2, settled_at = $3, lease = request_id WHERE request_id = $1",
            store.request_id(one),
            state,
            at,
        )


async def letters(pool: Pool, *ages: tuple[str, int]) -> None:
    """Letters in these states, settled so many days ago where they are."""
    taker = make_taker(pool)
    await taker.take([message(at, "LoanBooked", booked())._replace(value=b"{") for at in range(len(ages))])
    for position, (state, days) in enumerate(ages):
        at = clock.now() - timedelta(days=days) if state in ("done", "discarded") else None
        await pool.execute(
            "UPDATE consumer_letters SET state = $2, settled_at = $3 WHERE position = $1", position, state, at
        )


class Desk(Holds):
    """Knows whom a hold keeps, without a service to ask; `after` is done when an answer was given, with its number."""

    def __init__(self, *held: Key, after: Callable[[int], Awaitable[None]] | None = None) -> None:
        self.customers = set(held)
        self.asked = 0
        self._after = after

    async def held(self) -> frozenset[Key]:
        answer = frozenset(self.customers)
        self.asked += 1
        if self._after is not None:
            await self._after(self.asked)
        return answer


async def prune(pool: Pool, desk: Holds | None = None) -> int:
    asked = await requests_but_held(pool, desk or Desk(), DAYS)()
    return await prune_settled(pool, PRUNED_TYPE, {"letters": make_taker(pool).store.prune, **asked}, DAYS)


async def seen(pool: Pool) -> int:
    """How many requests a lender sees, in a page of all and in one of the customer's."""
    async with pool.acquire() as connection:
        pages = [await store.list_page(connection, TENANT, 0, 100, None, who) for who in (None, CUSTOMER)]
    (all_of_them, _), (of_customer, _) = pages
    assert len(all_of_them) == len(of_customer)
    return len(of_customer)


async def told(pool: Pool) -> list[dict[str, int]]:
    rows = await pool.fetch("SELECT body FROM outbox WHERE type = $1 ORDER BY seq", PRUNED_TYPE)
    return [json.loads(row["body"])["data"] for row in rows]


async def test_only_what_was_settled_long_enough_ago_goes_and_is_told_in_the_same_transaction(pool: Pool) -> None:
    await requests(
        pool, ("delivered", 31), ("failed", 400), ("expired", 31), ("delivered", 29), ("waiting", 0), ("claimed", 0)
    )
    await letters(pool, ("done", 31), ("discarded", 31), ("done", 29), ("dead", 0), ("parked", 0))
    assert await prune(pool) == 3
    left = await pool.fetch("SELECT state FROM requests ORDER BY state")
    assert [row["state"] for row in left] == ["claimed", "delivered", "waiting"]
    left = await pool.fetch("SELECT state FROM consumer_letters ORDER BY state")
    assert [row["state"] for row in left] == ["dead", "done", "parked"]
    assert await told(pool) == [{"letters": 2, "requests": 3, "settled_days": DAYS}]
    assert await prune(pool) == 0
    assert len(await told(pool)) == 1, "of nothing nothing is told"


async def test_what_is_about_a_held_customer_stays_until_the_hold_is_released(pool: Pool) -> None:
    await requests(pool, *[("delivered", 40)] * 3)
    other = uuid4()
    await pool.execute(
        "UPDATE requests SET customer = $1 WHERE request_id = (SELECT request_id FROM requests LIMIT 1)", other
    )
    desk = Desk((TENANT, CUSTOMER), (TENANT + 1, other))
    assert await prune(pool, desk) == 1
    assert await pool.fetchval("SELECT count(*) FROM requests WHERE customer = $1", CUSTOMER) == 2
    assert await prune(pool, desk) == 0
    assert await prune(pool) == 2
    assert [each["requests"] for each in await told(pool)] == [1, 2]


async def test_many_requests_of_held_customers_stand_in_nobodys_way(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settled, "PRUNE_MAX", 2)
    await requests(pool, *[("delivered", 90)] * 5)
    await pool.execute("UPDATE requests SET customer = $1", uuid4())
    kept = {(TENANT, row["customer"]) for row in await pool.fetch("SELECT customer FROM requests")}
    await requests(pool, ("delivered", 40))
    assert await prune(pool, Desk(*kept)) == 1


async def test_a_hold_that_is_acknowledged_while_requests_are_about_to_go_keeps_what_was_in_sight(pool: Pool) -> None:
    await requests(pool, *[("delivered", 40)] * 2)

    async def place(answer: int) -> None:
        if answer == 1:  # the answer without the hold is on its way
            desk.customers.add((TENANT, CUSTOMER))
            assert await seen(pool) == 2, "this is what the hold is to keep"

    desk = Desk(after=place)
    assert await prune(pool, desk) == 0
    assert await seen(pool) == 2
    assert await prune(pool) == 2, "once it is released"


async def test_what_a_hold_comes_too_late_for_was_out_of_sight_when_it_was_acknowledged(pool: Pool) -> None:
    await requests(pool, ("delivered", 40))

    async def place(answer: int) -> None:
        if answer == 2:
            desk.customers.add((TENANT, CUSTOMER))
            assert await seen(pool) == 0

    desk = Desk(after=place)
    assert await prune(pool, desk) == 1
    assert await pool.fetchval("SELECT count(*) FROM requests") == 0


async def test_requests_that_were_to_go_when_their_process_died_are_back_in_sight_after_a_minute(pool: Pool) -> None:
    await requests(pool, *[("delivered", 40)] * 2)
    asked = await requests_but_held(pool, Desk(), DAYS)()
    assert await seen(pool) == 0
    assert await prune(pool) == 0, "another process leaves them to the one that is at it"
    await pool.execute("UPDATE requests SET leaving_at = leaving_at - INTERVAL '1 minute'")
    assert await seen(pool) == 2
    assert await prune_settled(pool, PRUNED_TYPE, asked, DAYS) == 0, "who was stopped for so long comes too late"
    assert await prune(pool) == 2


async def test_who_was_stopped_for_half_a_minute_deletes_nothing(pool: Pool) -> None:
    await requests(pool, ("delivered", 40))
    leaving = uuid4()
    async with pool.acquire() as connection:
        assert await store.leave(connection, leaving, DAYS, 10, ()) == 1
        await connection.execute("UPDATE requests SET leaving_at = leaving_at - INTERVAL '31 seconds'")
        assert await store.prune(connection, leaving, ()) == 0
        await connection.execute("UPDATE requests SET leaving_at = leaving_at + INTERVAL '5 seconds'")
        assert await store.prune(connection, uuid4(), ()) == 0, "nor does anybody else"
        assert await store.prune(connection, leaving, ()) == 1


async def test_what_is_in_sight_is_not_deleted_whoever_asks(pool: Pool) -> None:
    await requests(pool, ("delivered", 400))
    with pytest.raises(asyncpg.RestrictViolationError):
        await pool.execute("DELETE FROM requests")


async def test_nothing_goes_while_nobody_says_whom_a_hold_keeps(pool: Pool) -> None:
    await requests(pool, ("delivered", 40))
    await letters(pool, ("done", 40))
    stop = asyncio.Event()
    settings = Settings(settled_days=DAYS, eligibility_url="http://127.0.0.1:1")
    async with HttpClient() as client:
        holds = Holds(client, settings)
        with pytest.raises(UpstreamUnavailable):
            await holds.held()
        kinds = {"letters": make_taker(pool).store.prune}
        asked = requests_but_held(pool, holds, DAYS)
        task = asyncio.create_task(prune_settled_forever(settings, pool, PRUNED_TYPE, kinds, stop, asked))
        await asyncio.sleep(0.5)
        stop.set()
        await task
    assert await pool.fetchval("SELECT count(*) FROM requests") == 1
    assert await pool.fetchval("SELECT count(*) FROM consumer_letters WHERE state = 'done'") == 1


async def test_a_request_that_went_is_not_told_again_though_its_event_comes_again(pool: Pool) -> None:
    event = message(0, "LoanBooked", booked())
    await make_taker(pool).take([event])
    await pool.execute("UPDATE requests SET state = 'delivered', settled_at = now() - interval '31 days'")
    assert await prune(pool) == 1
    await make_taker(pool).take([event])
    assert await pool.fetchval("SELECT count(*) FROM requests") == 0
    assert max(template.useful for template in TEMPLATES.values()) < timedelta(days=SETTLED_DAYS_MIN)


async def test_it_goes_in_bounded_parts_and_two_processes_share_the_work(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settled, "PRUNE_MAX", 10)
    await requests(pool, *[("delivered", 40)] * 35)
    went = await asyncio.gather(prune(pool), prune(pool))
    assert all(0 < each <= 10 for each in went)
    while await prune(pool):
        pass
    assert sum(each["requests"] for each in await told(pool)) == 35


async def test_what_can_not_be_told_does_not_go(pool: Pool) -> None:
    await requests(pool, ("delivered", 40))
    await pool.execute("ALTER TABLE outbox ADD CONSTRAINT nothing_goes_in CHECK (tenant < 0)")
    with pytest.raises(asyncpg.CheckViolationError):
        await prune(pool)
    assert await pool.fetchval("SELECT count(*) FROM requests") == 1


@pytest.mark.parametrize("state", ["waiting", "delivered"])
async def test_what_is_not_settled_for_a_week_is_kept_whoever_asks(pool: Pool, state: str) -> None:
    await requests(pool, (state, 6))
    with pytest.raises(asyncpg.RestrictViolationError):
        await pool.execute("DELETE FROM requests")
    await letters(pool, ("dead" if state == "waiting" else "done", 6))
    with pytest.raises(asyncpg.RestrictViolationError):
        await pool.execute("DELETE FROM consumer_letters")


async def test_nothing_goes_unasked_nor_while_a_legal_hold_stands(pool: Pool) -> None:
    await requests(pool, ("delivered", 400))
    asked = requests_but_held(pool, Desk(), DAYS)
    for settings in (Settings(), Settings(settled_days=DAYS, legal_hold="a suit")):
        await prune_settled_forever(settings, pool, PRUNED_TYPE, {}, asyncio.Event(), asked)
    assert await pool.fetchval("SELECT count(*) FROM requests") == 1
    stop = asyncio.Event()
    pruning = prune_settled_forever(Settings(settled_days=DAYS), pool, PRUNED_TYPE, {}, stop, asked)
    task = asyncio.create_task(pruning)

    async def gone() -> bool:
        return not await pool.fetchval("SELECT count(*) FROM requests")

    await until(gone)
    stop.set()
    await task


@pytest.mark.parametrize("days", ["1", "6", "36526", "-7", "a week"])
def test_too_short_a_time_stops_the_process(days: str) -> None:
    with pytest.raises(SettingsError, match="AMANA_SETTLED_DAYS"):
        load_settings({"AMANA_SETTLED_DAYS": days})


def test_for_ever_is_the_default() -> None:
    assert load_settings({}).settled_days == 0
    assert load_settings({"AMANA_SETTLED_DAYS": str(SETTLED_DAYS_MIN)}).settled_days == SETTLED_DAYS_MIN
    assert msgspec.structs.asdict(Settings())["settled_days"] == 0
