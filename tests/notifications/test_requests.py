"""From events to requests, each once; from requests to a sender and back."""

import json
from datetime import timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest
from tests.consuming.things import at_once
from tests.notifications.happenings import CUSTOMER, DECISION, TENANT, booked, decided, loan, message, repaid, reviewed

from amana.gateway.caller import Caller
from amana.infra import clock
from amana.infra.kafka import Message
from amana.infra.postgres import Pool
from amana.notifications import flow, store
from amana.notifications.consumer import STREAMS, make_taker
from amana.notifications.events import Told
from amana.wire.notifications import DeliveryReport, NotificationState, NotificationView

SENDER = Caller(tenant=TENANT, key_id="sender", scopes=frozenset(), trace="", request_id="r")
STRANGER = Caller(tenant=TENANT + 1, key_id="other", scopes=frozenset(), trace="", request_id="r")


@pytest.fixture
async def pool(tables: Pool) -> Pool:
    for stream in STREAMS:
        await make_taker(tables).begin(stream, 0)
    return tables


async def listed(pool: Pool, state: NotificationState | None = None) -> list[NotificationView]:
    async with pool.acquire() as connection:
        return (await store.list_page(connection, TENANT, 0, 1_000, state, None))[0]


async def test_an_event_makes_its_request_once_though_it_comes_again_and_to_two_processes(pool: Pool) -> None:
    events = [message(at, "LoanBooked", booked(), aggregate=UUID(int=100 + at)) for at in range(20)]
    await at_once(*(make_taker(pool).take(events) for _ in range(3)))
    await pool.execute("UPDATE consumer_progress SET below = 0")  # even if its own progress were lost
    await pool.execute("DELETE FROM consumer_versions")
    await make_taker(pool).take(events)
    assert len(await listed(pool)) == 20


async def test_a_loan_is_told_in_the_order_of_its_history(pool: Pool) -> None:
    story = [
        message(0, "LoanBooked", booked(), version=1),
        message(1, "RepaymentReceived", repaid(), version=2),
        message(2, "RepaymentReversed", repaid(), version=3),
        message(3, "RepaymentReceived", repaid(outstanding=0), version=4),
        message(4, "LoanClosed", loan(), version=5),
    ]
    taker = make_taker(pool)
    await taker.take([story[0], *story[2:]])
    assert [one.template for one in await listed(pool)] == ["loan_disbursed"]
    await taker.take([story[1]])
    from amana.infra.consuming.letters import Letters

    await Letters(taker).release()
    assert [one.template for one in await listed(pool)] == [
        "loan_disbursed",
        "repayment_received",
        "repayment_returned",
        "repayment_received",
        "loan_closed",
    ]


async def test_an_offer_that_was_withdrawn_before_it_was_heard_of_is_not_announced(pool: Pool) -> None:
    made = message(0, "DecisionMade", decided("approve"), aggregate=DECISION)
    withdrawn = message(1, "DecisionReversed", reviewed(withdrawn=[str(DECISION)]), aggregate=DECISION, version=2)
    await make_taker(pool).take([withdrawn])
    await make_taker(pool).take([made])
    assert [one.template for one in await listed(pool)] == ["offer_withdrawn"]


async def test_no_amount_or_text_of_an_event_stops_the_others(pool: Pool) -> None:
    odd = [
        booked(principal=-1),
        booked(principal=2**200, fee=0),
        booked(due_on="\x00"),
        booked(due_on="{loan.__class__}"),
        booked(currency="\u2028" * 1_000),
    ]
    whole = json.loads(message(0, "LoanBooked", booked()).value)
    bodies = [json.dumps(whole | {"data": data}).encode() for data in odd]
    bodies.append(json.dumps(json.loads(bodies[0]) | {"tenant": 2**40}).encode())
    events = [
        message(at, "LoanBooked", booked(), aggregate=UUID(int=60 + at))._replace(value=body)
        for at, body in enumerate(bodies)
    ]
    good = message(len(events), "LoanBooked", booked(), aggregate=UUID(int=52))
    await make_taker(pool).take([*events, good])
    async with pool.acquire() as connection:
        below = await connection.fetchval("SELECT below FROM consumer_progress WHERE stream = 'transactions'")
    assert below == len(events) + 1
    assert UUID(int=52) in [one.about for one in await listed(pool)]


async def test_what_can_not_be_read_does_not_stop_the_others(pool: Pool) -> None:
    poison: list[Message] = [
        message(0, "LoanBooked", booked(), aggregate=UUID(int=50))._replace(value=b"{"),
        message(1, "LoanBooked", booked(), aggregate=UUID(int=51), of_type=9),
    ]
    good = message(2, "LoanBooked", booked(), aggregate=UUID(int=52))
    await make_taker(pool).take([*poison, good])
    assert [one.about for one in await listed(pool)] == [UUID(int=52)]
    rows = await pool.fetch("SELECT reason FROM consumer_letters ORDER BY position")
    assert [row["reason"] for row in rows] == ["not_an_event", "unknown_version"]


# --- the sender's side


async def waiting(pool: Pool, count: int, *, useful: timedelta = timedelta(days=1)) -> list[UUID]:
    """New requests; their ids."""
    now = clock.now()
    told = [
        Told(TENANT, uuid4(), "loan_closed", CUSTOMER, uuid4(), {}, now - timedelta(hours=1), now + useful)
        for _ in range(count)
    ]
    async with pool.acquire() as connection:
        await store.insert(connection, told)
    return [store.request_id(one) for one in told]


async def report(pool: Pool, lease: UUID, id_: UUID, outcome: str, *, final: bool = False) -> tuple[str, str | None]:
    """(status, state) of one report."""
    asked = DeliveryReport(id=id_, outcome="delivered" if outcome == "delivered" else "failed", final=final)
    (result,) = await flow.report(pool, TENANT, lease, [asked])
    return result.reason or ("replayed" if result.replayed else "ok"), result.state


async def over(pool: Pool) -> None:
    """The time of every lease and pause is over."""
    await pool.execute("UPDATE requests SET due_at = clock_timestamp() - interval '1 s'")


async def test_senders_that_claim_at_once_never_get_the_same_request(pool: Pool) -> None:
    ids = await waiting(pool, 30)
    claims = [flow.claim(pool, SENDER, 10, 60) for _ in range(5)]
    got: list[UUID] = []

    async def one(claim: object) -> None:
        _, _, found = await claim  # type: ignore[misc]
        got.extend(view.id for view in found)

    await at_once(*(one(claim) for claim in claims))
    assert sorted(got) == sorted(ids)
    assert (await flow.claim(pool, SENDER, 10, 60))[2] == []
    assert (await flow.claim(pool, STRANGER, 10, 60))[2] == []


async def test_what_a_sender_was_handed_is_a_read_in_the_same_transaction_and_an_empty_claim_is_none(
    pool: Pool,
) -> None:
    await waiting(pool, 3)
    await flow.claim(pool, STRANGER, 10, 60)
    await flow.claim(pool, SENDER, 2, 60)
    (row,) = await pool.fetch("SELECT tenant, type, body, xid::text FROM outbox")
    event = json.loads(row["body"])
    assert (row["tenant"], row["type"], event["actor"]) == (TENANT, "NotificationsRead", "sender")
    assert event["data"] == {"customers": [str(CUSTOMER)], "route": "/v1/notifications:claim", "rows": 2}
    claimed = await pool.fetch("SELECT xmin::text FROM requests WHERE state = 'claimed'")
    assert {at["xmin"] for at in claimed} == {row["xid"]}


async def test_a_claim_whose_read_can_not_be_recorded_hands_out_nothing(pool: Pool) -> None:
    await waiting(pool, 1)
    await pool.execute("ALTER TABLE outbox ADD CONSTRAINT nothing_goes_in CHECK (tenant < 0)")
    with pytest.raises(asyncpg.CheckViolationError):
        await flow.claim(pool, SENDER, 10, 60)
    assert [(one.state, one.attempts) for one in await listed(pool)] == [("waiting", 0)]


async def test_what_was_delivered_is_settled_and_said_twice_it_is_once(pool: Pool) -> None:
    (id_,) = await waiting(pool, 1)
    lease, _, _ = await flow.claim(pool, SENDER, 10, 60)
    assert await report(pool, lease, id_, "delivered") == ("ok", "delivered")
    assert await report(pool, lease, id_, "delivered") == ("replayed", "delivered")
    assert await report(pool, lease, id_, "failed", final=True) == ("lease_lost", "delivered")
    assert await report(pool, lease, uuid4(), "delivered") == ("not_found", None)
    await over(pool)
    assert (await flow.claim(pool, SENDER, 10, 60))[2] == []


async def test_a_lease_that_ran_over_is_given_to_another_and_the_first_may_not_report(pool: Pool) -> None:
    (id_,) = await waiting(pool, 1)
    first, _, _ = await flow.claim(pool, SENDER, 10, 60)
    await over(pool)
    second, _, found = await flow.claim(pool, SENDER, 10, 60)
    assert [(view.id, view.attempts) for view in found] == [(id_, 2)]
    assert await report(pool, first, id_, "delivered") == ("lease_lost", "claimed")
    assert await report(pool, second, id_, "delivered") == ("ok", "delivered")


async def test_a_failure_is_tried_again_a_bounded_number_of_times(pool: Pool) -> None:
    (id_,) = await waiting(pool, 1)
    for attempt in range(1, store.ATTEMPTS_MAX + 1):
        lease, _, found = await flow.claim(pool, SENDER, 10, 60)
        assert [view.attempts for view in found] == [attempt]
        outcome = await report(pool, lease, id_, "failed")
        assert outcome == ("ok", "failed" if attempt == store.ATTEMPTS_MAX else "waiting")
        assert (await flow.claim(pool, SENDER, 10, 60))[2] == []
        await over(pool)
    assert (await flow.claim(pool, SENDER, 10, 60))[2] == []


async def test_a_final_failure_is_not_tried_again(pool: Pool) -> None:
    (id_,) = await waiting(pool, 1)
    lease, _, _ = await flow.claim(pool, SENDER, 10, 60)
    assert await report(pool, lease, id_, "failed", final=True) == ("ok", "failed")


async def test_what_is_too_late_to_be_told_expires_and_a_sender_that_never_reports_fails_it(pool: Pool) -> None:
    (late,) = await waiting(pool, 1, useful=timedelta(seconds=-1))
    (silent,) = await waiting(pool, 1)
    for _ in range(store.ATTEMPTS_MAX):
        lease, _, found = await flow.claim(pool, SENDER, 10, 60)
        assert [view.id for view in found] == [silent]
        await over(pool)
    async with pool.acquire() as connection:
        assert await store.sweep(connection) == 2
        assert await store.sweep(connection) == 0
    settled = {view.id: (view.state, view.error) for view in await listed(pool)}
    assert settled == {late: ("expired", None), silent: ("failed", "no_report")}
    assert await report(pool, lease, silent, "delivered") == ("lease_lost", "failed")
