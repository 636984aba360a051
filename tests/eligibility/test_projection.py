"""The projection of standings: it saves the question to the ledger, and never says what the ledger no longer would."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import msgspec
import pytest
from tests.eligibility.conftest import GOOD_STANDING, KEPT, Lender
from tests.eligibility.ledger_copy import LedgerCopy, as_message, facts, hold_event, loan_event, open_copy
from tests.eligibility.standings_server import StandingsServer
from tests.eligibility.test_persons import new_number

from amana.domain.facts import Source, Through
from amana.eligibility import consumer, customer_store
from amana.eligibility.projection import LAG_MAX, STREAM
from amana.infra.consuming.letters import Letters, Redriven
from amana.infra.http import HttpClient, UpstreamUnavailable
from amana.infra.postgres import DatabaseUnavailable
from amana.infra.settings import Settings


@pytest.fixture
async def copy(service_settings: Settings, http: HttpClient, service_url: str) -> AsyncIterator[LedgerCopy]:
    async with open_copy(service_settings, http) as opened:
        yield opened


def asked(ledger: StandingsServer) -> int:
    """How many customers the ledger was asked about since it was last counted."""
    number = sum(len(request.items) for _, request in ledger.calls)
    ledger.calls.clear()
    return number


async def test_whom_the_ledger_was_asked_about_once_it_is_not_asked_about_again(
    copy: LedgerCopy, lender: Lender, good: str, ledger: StandingsServer
) -> None:
    first = await copy.check(lender.tenant, good)
    assert asked(ledger) == 1
    second = await copy.check(lender.tenant, good)
    assert asked(ledger) == 0
    assert second.decision == first.decision
    assert second.assessment.exposure == first.assessment.exposure


async def test_an_explanation_says_which_way_the_ledgers_facts_came_and_as_of_when(
    copy: LedgerCopy, lender: Lender, good: str, ledger: StandingsServer
) -> None:
    ids = [(await copy.check(lender.tenant, good)).decision_id for _ in range(2)]
    told = [(await lender.send("GET", f"/v1/decisions/{id_}"))[1] for id_ in ids]
    assert [one["ledger_through"] for one in told] == ["ledger", "projection"]
    row = await copy.row(good)
    watermark = await copy.owner.fetchval("SELECT ledger_at FROM ledger_watermark")
    as_of = [fact["as_of"] for fact in told[1]["facts"] if fact["source"] == "ledger"]
    assert {datetime.fromisoformat(one) for one in as_of} == {max(row["as_of"], watermark)}
    events = await copy.owner.fetch("SELECT body FROM outbox WHERE aggregate_id = ANY($1) ORDER BY seq", ids)
    data = [msgspec.json.decode(event["body"])["data"] for event in events]
    assert [one.get("ledger_through") for one in data] == [None, "projection"]


@pytest.mark.parametrize("event", [loan_event, hold_event])
async def test_an_event_that_concerns_a_customer_is_followed_by_the_truth(
    copy: LedgerCopy,
    lender: Lender,
    good: str,
    ledger: StandingsServer,
    event: Callable[[int, UUID], dict[str, object]],
) -> None:
    await copy.check(lender.tenant, good)
    ledger.known[lender.tenant, UUID(good)] = GOOD_STANDING | {"exposure": 700_000}
    await copy.happens(event(lender.tenant, UUID(good)), event(lender.tenant, uuid4()))
    asked(ledger)
    assert (await copy.check(lender.tenant, good)).assessment.exposure == 700_000
    assert asked(ledger) == 1
    assert await copy.level()
    assert (await copy.check(lender.tenant, good)).assessment.exposure == 700_000
    assert asked(ledger) == 0


async def test_an_event_of_another_customer_or_lender_changes_nothing(
    copy: LedgerCopy, lender: Lender, good: str, ledger: StandingsServer
) -> None:
    await copy.check(lender.tenant, good)
    await copy.happens(loan_event(lender.tenant + 1, UUID(good)), hold_event(lender.tenant + 1, UUID(good)))
    await copy.happens(loan_event(lender.tenant, uuid4()), {"tenant": lender.tenant, "data": {"account": uuid4()}})
    asked(ledger)
    await copy.check(lender.tenant, good)
    assert asked(ledger) == 0


async def test_a_projection_that_lags_is_not_asked_until_it_is_level_again(
    copy: LedgerCopy, lender: Lender, good: str, ledger: StandingsServer
) -> None:
    await copy.check(lender.tenant, good)
    asked(ledger)
    await copy.passes(LAG_MAX.total_seconds())
    assert facts(await copy.check(lender.tenant, good)).ledger_through is Through.LEDGER
    assert asked(ledger) == 1
    ledger.down = True
    with pytest.raises(UpstreamUnavailable):
        await copy.check(lender.tenant, good)
    ledger.down = False
    asked(ledger)
    assert await copy.level()
    assert facts(await copy.check(lender.tenant, good)).ledger_through is Through.PROJECTION
    assert asked(ledger) == 0


async def test_a_paused_consumer_holds_the_watermark_and_a_restarted_one_moves_it(
    copy: LedgerCopy, lender: Lender, good: str, ledger: StandingsServer
) -> None:
    await copy.check(lender.tenant, good)
    before = (await copy.row(good))["moves"]
    late = [as_message(copy.position + at, loan_event(lender.tenant, UUID(good))) for at in range(3)]
    copy.position += len(late)
    assert not await copy.level()
    another = copy.process()
    await another.take(late[1:])
    assert not await copy.level()  # a gap
    await another.take(late)
    await copy.taker.take(late[:2])
    assert await copy.level()
    row = await copy.row(good)
    assert (row["moves"] - before, row["as_of"]) == (2, None)  # once for each batch that had something new


async def test_a_new_database_asks_the_ledger_and_keeps_nothing_until_it_is_level(
    service_settings: Settings, http: HttpClient, lender: Lender, good: str, ledger: StandingsServer
) -> None:
    async with open_copy(service_settings, http, level=False) as copy:
        for _ in range(2):
            await copy.check(lender.tenant, good)
            assert asked(ledger) == 1
        assert await copy.row(good) is None
        assert await copy.level()
        assert [await _asks(copy, lender, good, ledger) for _ in range(2)] == [1, 0]


async def _asks(copy: LedgerCopy, lender: Lender, customer: str, ledger: StandingsServer) -> int:
    await copy.check(lender.tenant, customer)
    return asked(ledger)


async def test_what_the_ledger_said_before_an_event_is_not_kept_after_it(
    copy: LedgerCopy, lender: Lender, good: str, ledger: StandingsServer
) -> None:
    for event in (loan_event, hold_event):  # at the first question, when there is no row yet, and at a later one
        ledger.hold = asyncio.Event()
        ledger.asked.clear()
        answering = asyncio.create_task(copy.check(lender.tenant, good))
        await ledger.asked.wait()
        await copy.happens(event(lender.tenant, UUID(good)))
        ledger.hold.set()
        await answering
        ledger.hold = None
        assert (await copy.row(good))["as_of"] is None
        asked(ledger)
    assert [await _asks(copy, lender, good, ledger) for _ in range(2)] == [1, 0]


async def test_a_request_to_borrow_and_a_question_about_the_past_always_ask_the_ledger(
    copy: LedgerCopy, lender: Lender, good: str, ledger: StandingsServer
) -> None:
    await copy.check(lender.tenant, good)
    asked(ledger)
    borrowed = await copy.check(lender.tenant, good, id=uuid4())
    past = await copy.check(lender.tenant, good, as_of=datetime(2026, 3, 1, tzinfo=UTC))
    again = await copy.check(lender.tenant, good, id=uuid4(), offer_id=borrowed.decision_id)
    assert asked(ledger) == 3
    ways = {facts(one).ledger_through for one in (borrowed, past, again)}
    assert ways == {Through.LEDGER}


async def test_a_person_is_known_when_every_number_is(
    copy: LedgerCopy, lender: Lender, ledger: StandingsServer
) -> None:
    bvn = new_number()
    first, second = [await lender.customer(bvn=bvn) for _ in range(2)]
    ledger.known[lender.tenant, UUID(first)] = {"exposure": 100_000}
    ledger.known[lender.tenant, UUID(second)] = {"exposure": 30_000}
    await copy.check(lender.tenant, first)
    assert asked(ledger) == 2
    answer = await copy.check(lender.tenant, second)
    assert (asked(ledger), answer.assessment.exposure) == (0, 130_000)
    assert facts(answer).values["linked_customers"] == 1
    ledger.known[lender.tenant, UUID(second)] = {"exposure": 50_000}
    await copy.happens(hold_event(lender.tenant, UUID(second)))
    answer = await copy.check(lender.tenant, first)
    assert (asked(ledger), answer.assessment.exposure) == (2, 150_000)


async def test_what_takes_effect_later_is_not_kept(
    copy: LedgerCopy, lender: Lender, good: str, ledger: StandingsServer
) -> None:
    ledger.known[lender.tenant, UUID(good)] = {"lasts": False}
    assert [await _asks(copy, lender, good, ledger) for _ in range(2)] == [1, 1]


async def test_days_past_due_grow_while_nothing_happens(
    copy: LedgerCopy, lender: Lender, good: str, ledger: StandingsServer
) -> None:
    due_on = (datetime.now(UTC) - timedelta(days=3)).date()
    ledger.known[lender.tenant, UUID(good)] = {"exposure": 5_000, "loans_open": 1, "open_due_on": due_on.isoformat()}
    await copy.check(lender.tenant, good)
    answer = await copy.check(lender.tenant, good)
    values = facts(answer).values
    assert values["current_days_past_due"] in (3, 4)  # Lagos is an hour ahead of UTC
    assert values["worst_days_past_due"] == values["current_days_past_due"]


async def test_an_event_that_was_not_handled_holds_the_watermark_until_it_is_redriven(
    copy: LedgerCopy, lender: Lender, good: str
) -> None:
    await copy.check(lender.tenant, good)
    broken = as_message(copy.position, {})._replace(value=b"{")
    copy.position += 1
    await copy.taker.take([broken])
    assert not await copy.level()
    letter = await copy.owner.fetchval("UPDATE consumer_letters SET value = $1 RETURNING letter", b"not json either")
    failed = await Letters(copy.taker).redrive(letter)
    assert isinstance(failed, Redriven) and failed.done == 0
    assert not await copy.level()
    mended = as_message(0, loan_event(lender.tenant, UUID(good))).value
    await copy.owner.execute("UPDATE consumer_letters SET value = $1", mended)
    assert await Letters(copy.taker).redrive(letter) == Redriven(1, [])
    assert await copy.level()
    assert (await copy.row(good))["as_of"] is None


async def give_up_a_letter(copy: LedgerCopy) -> None:
    """An event comes that can't be read, and a person gives it up."""
    broken = as_message(copy.position, {})._replace(value=b"{")
    copy.position += 1
    await copy.taker.take([broken])
    assert not await copy.level()
    letter = await copy.owner.fetchval("SELECT max(letter) FROM consumer_letters")
    assert await Letters(copy.taker).discard(letter) == Redriven(0, [])


async def test_once_a_letter_was_given_up_everybody_is_asked_about_again_and_the_projection_goes_on(
    copy: LedgerCopy, lender: Lender, good: str, ledger: StandingsServer
) -> None:
    for exposure in (700_000, 800_000):
        await copy.check(lender.tenant, good)
        ledger.known[lender.tenant, UUID(good)] = GOOD_STANDING | {"exposure": exposure}
        await give_up_a_letter(copy)  # the one that told of it
        assert await copy.level()
        asked(ledger)
        answers = [await copy.check(lender.tenant, good) for _ in range(2)]
        assert [answer.assessment.exposure for answer in answers] == [exposure] * 2
        assert asked(ledger) == 1


async def test_what_was_asked_before_a_letter_was_given_up_is_not_believed_after(
    copy: LedgerCopy, lender: Lender, good: str, ledger: StandingsServer
) -> None:
    ledger.hold = asyncio.Event()
    answering = asyncio.create_task(copy.check(lender.tenant, good))
    await ledger.asked.wait()
    await give_up_a_letter(copy)
    assert await copy.level()
    ledger.hold.set()
    await answering
    ledger.hold = None
    asked(ledger)
    assert [await _asks(copy, lender, good, ledger) for _ in range(2)] == [1, 0]


async def test_a_persons_rows_are_found_by_their_numbers_however_small_the_table_seems(
    copy: LedgerCopy, lender: Lender, good: str
) -> None:
    """A planner that has not counted the rows yet thinks that there are none."""
    explain = "EXPLAIN (COSTS OFF) " + customer_store.SQL["find_customers"]
    await copy.owner.execute("SET plan_cache_mode = force_generic_plan")
    rows = await copy.owner.fetch(explain, [lender.tenant], [UUID(good)], 22, STREAM)
    plan = "\n".join(row[0] for row in rows)
    assert "using ledger_standings_pkey" in plan
    assert re.search(r"Index Cond: \(\(tenant = wanted.tenant\) AND \(customer = number.customer\)\)", plan), plan


async def test_what_is_cached_goes_after_the_row_is_void(
    copy: LedgerCopy, lender: Lender, good: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await copy.check(lender.tenant, good)
    seen: list[object] = []

    async def forget(_cache: object, tenant: int, customer: UUID) -> None:
        assert (tenant, str(customer)) == (lender.tenant, good)
        seen.append((await copy.row(good))["as_of"])

    monkeypatch.setattr("amana.eligibility.cache.AssessmentCache.forget", forget)
    messages = await copy.happens(hold_event(lender.tenant, UUID(good)))
    assert seen == [None]
    await copy.process().take(messages)  # whoever took them may have ended before it forgot
    assert seen == [None, None]


async def test_while_events_can_not_be_applied_what_is_cached_goes_all_the_same(
    copy: LedgerCopy, lender: Lender, good: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgotten = asyncio.Event()

    async def forget(_cache: object, _tenant: int, customer: UUID) -> None:
        assert str(customer) == good
        forgotten.set()

    monkeypatch.setattr("amana.eligibility.cache.AssessmentCache.forget", forget)
    monkeypatch.setattr(consumer, "APPLIED_WITHIN_S", 0.05)
    held = copy.owner.transaction()
    await held.start()
    await copy.owner.execute("SELECT FROM consumer_progress FOR UPDATE")
    taking = asyncio.create_task(copy.happens(loan_event(lender.tenant, UUID(good))))
    await asyncio.wait_for(forgotten.wait(), 5)
    assert not taking.done()
    forgotten.clear()
    await held.rollback()
    await taking
    assert forgotten.is_set()

    forgotten.clear()
    await copy.flow.pool.close()
    with pytest.raises(DatabaseUnavailable):
        await copy.happens(loan_event(lender.tenant, UUID(good)))
    assert forgotten.is_set()


async def test_the_ledgers_facts_are_as_old_as_the_watermark_and_old_ones_are_not_cached(
    copy: LedgerCopy, lender: Lender, good: str
) -> None:
    await copy.check(lender.tenant, good)
    await copy.owner.execute(
        "UPDATE ledger_watermark SET ledger_at = ledger_at - interval '3 s', proven_at = proven_at - interval '3 s'"
    )
    await copy.owner.execute("UPDATE ledger_standings SET as_of = as_of - interval '1 hour'")
    assert (await lender.check(good))["source"] == "fresh"
    assert (await lender.check(good))["source"] == "fresh"
    answer = await copy.check(lender.tenant, good)
    assert facts(answer).as_of[Source.LEDGER] == await copy.owner.fetchval("SELECT ledger_at FROM ledger_watermark")
    assert await copy.level()
    assert (await lender.check(good))["source"] == "fresh"
    assert (await lender.check(good))["source"] in KEPT
