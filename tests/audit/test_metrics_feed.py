"""The trail follows the log: whole, in order, once, and again from nothing when it was lost."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4, uuid5

import pytest
from tests.audit.logs import Log
from tests.audit.metrics_database import TENANT, MetricsDatabase, outcomes

from amana.audit.flow import receive
from amana.audit.leaf import read_leaf
from amana.audit.metrics import feed as feeding
from amana.audit.metrics.feed import Feed
from amana.audit.metrics.loops import patient
from amana.audit.metrics.products import SQL as PRODUCTS
from amana.audit.metrics.trail import Seen, TrailRow, amount_band, commands_of, data_of, trail_row
from amana.audit.store import Store
from amana.domain.events import Aggregate, Event, event_bytes
from amana.infra import clock
from amana.infra.postgres import DatabaseUnavailable, Pool, open_pool
from amana.infra.settings import Settings
from amana.operate.metrics import rebuild

NOW = clock.now() - timedelta(hours=2)
NAMES = UUID(int=23)
LOAN, REPAYMENT = uuid5(NAMES, "loan"), uuid5(NAMES, "repayment")


def event(type_: str, about: str, id_: UUID, **data: Any) -> bytes:
    return event_bytes(Event(uuid4(), TENANT, type_, 1, NOW, Aggregate(about, id_, 1), "key", "", data))


def decision(outcome: str = "approve", **more: Any) -> bytes:
    policy = {"name": "nano", "version": 3, "hash": "0" * 64}
    data = {"product": "nano", "currency": "NGN", "amount": 1_500_000, "policy": policy, "outcome": outcome}
    return event("DecisionMade", "decision", uuid4(), **{**data, "request_to_borrow": True, **more})


def leg(code: str, command: UUID | None, amount: int = 700, **more: Any) -> bytes:
    named = more | ({} if command is None else {"command": str(command)})
    return event("TransferPosted", "transfer", uuid4(), amount=amount, code=code, currency="NGN", **named)


def booked(product: str = "nano") -> bytes:
    return event("LoanBooked", "loan", LOAN, loan=str(LOAN), product=product, principal=700, currency="NGN")


CUSTOMER_BLOCKED = event("CustomerBlocked", "customer", LOAN)


def row_of(body: bytes) -> TrailRow:
    leaf = read_leaf(0, body)
    seen = Seen(*(getattr(leaf, name) for name in Seen._fields))
    return trail_row(seen, data_of(body))


def repaid() -> bytes:
    return event("RepaymentReceived", "loan", LOAN, loan=str(LOAN), repayment=str(REPAYMENT), amount=700)


class World:
    """An audit log and a trail that is fed from it."""

    def __init__(self, log: Store, pool: Pool, metrics: MetricsDatabase) -> None:
        self.log, self.pool, self.metrics = log, pool, metrics

    async def receive(self, stream: str, bodies: Sequence[bytes], start: int = 0) -> None:
        await receive(self.log, stream, list(enumerate(bodies, start)))

    def feed(self, stream: str) -> Feed:
        return Feed(stream, self.log, self.pool, self.metrics.store)

    async def rows(self, columns: str) -> list[tuple[Any, ...]]:
        """The whole trail, in order of stream and position."""
        await self.metrics.settle()
        found = await self.metrics.owner.fetch(f"SELECT {columns} FROM timescale.audit_trail ORDER BY stream, position")
        return [tuple(row) for row in found]


@pytest.fixture
async def world(log_settings: Settings, metrics: MetricsDatabase) -> AsyncIterator[World]:
    pool = await open_pool(log_settings.audit_database_url, "audit", 4)
    yield World(Store(pool), pool, metrics)
    await pool.close()


@pytest.mark.parametrize(
    ("amount", "band"),
    [(0, 0), (1, 1), (2, 2), (4, 2), (5, 5), (9, 5), (10, 10), (750_000, 500_000), (2**53 - 1, 5 * 10**15), (-3, 0)],
)
def test_a_band_begins_at_one_two_or_five_times_a_power_of_ten(amount: int, band: int) -> None:
    assert amount_band(amount) == band


@pytest.mark.parametrize(
    "odd",
    [
        {"policy": None},
        {"policy": [1], "amount": "much"},
        {"policy": {"version": -1, "name": 7}},
        {"amount": -5, "outcome": None},
        {"product": "p" * 1_000},
        {"amount": True, "currency": {"a": 1}},
        {"outcome": "\x00"},
    ],
)
def test_an_event_that_is_odd_still_has_a_row(odd: dict[str, Any]) -> None:
    row = row_of(decision(**odd))
    assert (row.kind, row.tenant) == ("requested", TENANT)
    assert row.amount in (0, 1_500_000) and row.policy_version in (0, 3) and len(row.product) < 100


@pytest.mark.parametrize("data", [b"[]", b"null", b'"text"', b"7"])
def test_an_event_whose_data_is_no_object_has_a_row_that_counts_nothing(data: bytes) -> None:
    row = row_of(CUSTOMER_BLOCKED.replace(b"{}", data))
    assert (row.type, row.kind, row.product, row.amount) == ("CustomerBlocked", "", "", 0)
    assert commands_of(CUSTOMER_BLOCKED.replace(b"{}", data)) == ()


async def test_the_trail_tells_kinds_of_decisions_apart(world: World) -> None:
    bodies = [
        decision(),
        decision("decline", request_to_borrow=False),
        decision(as_of_past=True),
        event("DecisionOverridden", "decision", uuid4(), product="nano", outcome="approve"),
        event("CustomerBlocked", "customer", uuid4(), code="fraud_suspected"),
    ]
    await world.receive("eligibility", bodies)
    await world.feed("eligibility").step()
    assert await world.rows("kind, outcome, policy, policy_version, amount_band") == [
        ("requested", "approve", "nano", 3, 1_000_000),
        ("asked", "decline", "nano", 3, 1_000_000),
        ("replayed", "approve", "nano", 3, 1_000_000),
        ("overridden", "approve", "", 0, 0),
        ("", "", "", 0, 0),
    ]


async def test_the_legs_of_a_loan_have_its_product_and_other_transfers_have_none(world: World) -> None:
    legs = [leg("exposure", LOAN), leg("disbursement", LOAN), booked("airtime"), leg("rent", None)]
    await world.receive("transactions", legs)
    feed = world.feed("transactions")
    await feed.step()
    await world.receive("transactions", [leg("principal_repayment", REPAYMENT), repaid()], start=4)
    await feed.step()
    assert await world.rows("type, product, code") == [
        ("TransferPosted", "airtime", "exposure"),
        ("TransferPosted", "airtime", "disbursement"),
        ("LoanBooked", "airtime", ""),
        ("TransferPosted", "", ""),
        ("TransferPosted", "airtime", "principal_repayment"),
        ("RepaymentReceived", "airtime", ""),
    ]


async def test_the_product_of_a_loan_is_found_without_reading_the_log(log: Log) -> None:
    async with log.owner.transaction():
        await log.owner.execute("SET LOCAL search_path = audit; SET LOCAL plan_cache_mode = force_generic_plan")
        await log.owner.execute("SET LOCAL enable_seqscan = off")  # of a log that is as good as empty it would be right
        asked = await log.owner.prepare("EXPLAIN " + PRODUCTS["loans_booked"])
        plan = "\n".join(row[0] for row in await asked.fetch([TENANT], [LOAN]))
    assert "leaves_loans_booked" in plan, plan


async def test_a_leg_waits_for_the_event_of_its_loan_but_not_for_ever(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = world.feed("transactions")
    await world.receive("transactions", [leg("rent", None), leg("exposure", LOAN)])
    assert [await feed.step(), await feed.step()] == [feeding.EVERY_S] * 2
    assert await world.metrics.store.next_position("transactions") == 1
    monkeypatch.setattr(feeding, "WAIT_FOR_LOAN_S", 0.0)
    await feed.step()
    assert await world.rows("product, code") == [("", ""), ("", "exposure")]


async def test_a_loan_that_is_undone_counts_for_its_product_and_a_withdrawn_offer_holds_nothing_up(
    world: World,
) -> None:
    command, withdrawal = uuid4(), uuid4()
    undone = {"loan": str(LOAN), "outstanding": 0, "reversal": str(uuid4()), "reversed_by": str(command)}
    bodies = [
        booked(),
        leg("principal", command, reverses=str(uuid4())),
        event("LoanReversed", "loan", LOAN, **undone),
        event("HoldVoided", "hold", uuid4(), amount=700, code="payout", currency="NGN", command=str(withdrawal)),
        event("OfferWithdrawn", "offer", uuid4(), offer=str(uuid4()), reversal=str(uuid4())),
    ]
    await world.receive("transactions", bodies)
    await world.feed("transactions").step()
    assert await world.rows("type, kind, product") == [
        ("LoanBooked", "", "nano"),
        ("TransferPosted", "returned", "nano"),
        ("LoanReversed", "", "nano"),
        ("HoldVoided", "voided", ""),
        ("OfferWithdrawn", "", ""),
    ]


async def test_the_trail_stops_at_a_gap_and_goes_on_when_it_closes(world: World) -> None:
    bodies = [decision() for _ in range(5)]
    await world.receive("eligibility", bodies[:2])
    await world.receive("eligibility", bodies[3:], start=3)
    feed = world.feed("eligibility")
    await feed.step()
    assert await world.metrics.store.next_position("eligibility") == 2
    await world.receive("eligibility", bodies[2:3], start=2)
    await feed.step()
    assert await world.rows("position") == [(at,) for at in range(5)]


async def test_feeds_that_run_at_once_and_a_page_that_is_full_count_everything_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeding, "PAGE_EVENTS", 7)
    await world.receive("eligibility", [decision() for _ in range(50)])
    feeds = [world.feed("eligibility") for _ in range(3)]
    for _ in range(10):
        await asyncio.gather(*(feed.step() for feed in feeds))
    assert await world.rows("position") == [(at,) for at in range(50)]
    day = timedelta(days=1)
    assert outcomes(await world.metrics.decisions("hour", NOW - day, NOW + day)) == {"approve": 50}


async def test_a_trail_that_is_forgotten_comes_back_the_same(world: World) -> None:
    await world.receive("eligibility", [decision(), decision("decline")])
    await world.receive("transactions", [leg("exposure", LOAN), booked(), leg("rent", None, 2**53 - 1)])
    feeds = [world.feed(stream) for stream in ("eligibility", "transactions")]
    day = timedelta(days=1)

    async def seen() -> object:
        for feed in feeds:
            await feed.step()
        rows = await world.rows("stream, position, type, product, amount")
        counted = await world.metrics.decisions("day", NOW - day, NOW + day)
        return rows, counted, await world.metrics.transfers("day", NOW - day, NOW + day)

    before = await seen()
    told = await rebuild(world.metrics.settings.owner_metrics_database_url)
    assert told[0].startswith("Forgotten")
    assert await world.rows("position") == []
    assert await world.metrics.decisions("day", NOW - day, NOW + day) == []
    assert await seen() == before


async def test_a_loop_waits_longer_and_longer_for_a_database_that_is_away_and_then_goes_on() -> None:
    away = iter([True] * 8 + [False, True])

    async def step() -> float:
        if next(away):
            raise DatabaseUnavailable("away")
        return 0.25

    waiting = patient("trail of a test", step)
    pauses = [await waiting() for _ in range(10)]
    assert 0.5 <= pauses[0] <= 1.0 and 15 <= pauses[7] <= 30
    assert pauses[8] == 0.25
    assert 0.5 <= pauses[9] <= 1.0, "it begins again with the shortest"


async def test_a_loop_that_is_behind_rests_as_long_as_it_worked() -> None:
    async def step() -> float:
        await asyncio.sleep(0.1)
        return 0.0

    assert await patient("trail of a test", step)() >= 0.1


async def test_a_trail_made_anew_begins_behind_what_retention_dropped(world: World, log: Log) -> None:
    await world.receive("transactions", [repaid() for _ in range(256)])
    await log.tamper(
        "ALTER TABLE audit.drops DISABLE TRIGGER USER",
        "INSERT INTO audit.drops VALUES ('transactions', 256, 0)",
        "DELETE FROM audit.leaves WHERE position < 256",
    )
    await world.receive("transactions", [repaid(), repaid()], start=256)
    feed = world.feed("transactions")
    while not await feed.step():
        pass
    assert await world.rows("stream, position") == [("transactions", 256), ("transactions", 257)]
