"""Reviews that meet each other, and a booking that meets a review, on the real database.

A connection of the test's own holds the decision's standing until every racer waits for it, so they do meet.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from tests.eligibility.conftest import Lender
from tests.eligibility.reviewing import Bench, Database, done, refused
from tests.eligibility.standings_server import StandingsServer
from tests.eligibility.test_offers import age

from amana.infra.settings import Settings

RACERS = 4
"""Fewer than the service has connections."""
MET_WITHIN_S = 2.5
"""Less than the service waits for a lock."""


@pytest.fixture
def bench(lender: Lender, ledger: StandingsServer, judge: str) -> Bench:
    return Bench(lender, ledger, judge)


@pytest.fixture
async def holder(settings: Settings) -> AsyncIterator[Database]:
    """Another connection of the owner's, to hold what racers want."""
    connection = await asyncpg.connect(settings.owner_database_url, server_settings={"search_path": "eligibility"})
    yield connection
    await connection.close()


@asynccontextmanager
async def held(holder: Database, tenant: int, decision: str) -> AsyncIterator[None]:
    """Nobody reviews the decision meanwhile."""
    transaction = holder.transaction()
    await transaction.start()
    await holder.execute(
        "INSERT INTO decision_standings AS s (tenant, decision_id) VALUES ($1, $2)"
        " ON CONFLICT (tenant, decision_id) DO UPDATE SET version = s.version",
        tenant,
        UUID(decision),
    )
    try:
        yield
    finally:
        await transaction.rollback()


async def met(database: Database, count: int) -> None:
    """Waits until so many of the server's sessions wait for a lock."""
    async with asyncio.timeout(MET_WITHIN_S):
        while True:
            waiting = await database.fetchval("SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted")
            if waiting >= count:
                return
            await asyncio.sleep(0.01)


async def race(
    bench: Bench, holder: Database, database: Database, decision: str, *racers: Awaitable[tuple[int, Any]]
) -> list[tuple[int, Any]]:
    """What each racer was answered, once all of them had waited for the decision at one time."""
    async with held(holder, bench.lender.tenant, decision):
        running = [asyncio.ensure_future(racer) for racer in racers]
        await met(database, len(racers))
    return await asyncio.gather(*running)


def codes(answers: list[tuple[int, Any]]) -> Counter[str]:
    return Counter("done" if status == 201 else str(body["code"]) for status, body in answers)


async def test_of_overrides_at_once_one_decides_and_the_others_are_told_which(
    bench: Bench, holder: Database, database: Database
) -> None:
    decision = await bench.declined()
    amounts = [1_000_000, 1_100_000, 1_200_000, 1_300_000]
    answers = await race(
        bench, holder, database, decision, *(bench.override(decision, amount=amount) for amount in amounts)
    )
    assert codes(answers) == {"done": 1, "decision_overridden": RACERS - 1}
    winner = next(body["review"]["id"] for status, body in answers if status == 201)
    assert {refused(answer)[2]["override"] for answer in answers if answer[0] != 201} == {winner}
    assert [review["id"] for review in (await bench.explain(decision))["reviews"]] == [winner]
    assert (await bench.confirm(winner))[0] == 200


async def test_one_id_sent_many_times_at_once_is_one_review(bench: Bench, holder: Database, database: Database) -> None:
    decision, id_ = await bench.declined(), str(uuid4())
    answers = await race(bench, holder, database, decision, *(bench.override(decision, id=id_) for _ in range(RACERS)))
    assert sorted(done(answer)["replayed"] for answer in answers) == [False] + [True] * (RACERS - 1)
    assert len({done(answer)["review"]["offer"]["expires_at"] for answer in answers}) == 1
    events = await database.fetchval(
        "SELECT count(*) FROM outbox WHERE aggregate_id = $1 AND type = 'DecisionOverridden'", UUID(decision)
    )
    assert events == 1


async def test_one_id_for_two_decisions_at_once_belongs_to_one(bench: Bench) -> None:
    for _ in range(5):
        one, other, id_ = await bench.declined(), await bench.declined(), str(uuid4())
        answers = await asyncio.gather(bench.override(one, id=id_), bench.override(other, id=id_))
        assert codes(list(answers)) == {"done": 1, "id_conflict": 1}
        loser = other if answers[0][0] == 201 else one
        assert (await bench.explain(loser))["standing"] == "active"


async def test_an_override_and_a_reversal_at_once_end_in_nothing_that_can_be_booked(
    bench: Bench, holder: Database, database: Database
) -> None:
    for _ in range(4):
        decision, override = await bench.declined(), str(uuid4())
        overridden, reversed_ = await race(
            bench, holder, database, decision, bench.override(decision, id=override), bench.reverse(decision)
        )
        first = overridden[0] == 201
        assert first or refused(overridden)[1] == "decision_reversed"
        answer = done(reversed_)
        assert (answer["review"]["withdrawn"], answer["booked"]) == (([override], "unknown") if first else ([], "no"))
        assert (await bench.explain(decision))["standing"] == ("reversing" if first else "reversed")
        assert refused(await bench.confirm(override))[1] == ("decision_reversed" if first else "offer_not_found")


async def test_an_appeal_is_resolved_once_whoever_is_first(bench: Bench, holder: Database, database: Database) -> None:
    decision = await bench.declined()
    appeal = done(await bench.appeal(decision))["review"]["id"]
    override = done(await bench.override(decision))["review"]["id"]
    answers = await race(
        bench,
        holder,
        database,
        decision,
        bench.resolve(appeal, "upheld"),
        bench.resolve(appeal, "changed", changed_by=override),
        bench.resolve(appeal, "upheld"),
    )
    assert codes(answers) == {"done": 1, "appeal_resolved": 2}


async def test_of_appeals_at_once_one_is_open(bench: Bench, holder: Database, database: Database) -> None:
    decision = await bench.declined()
    answers = await race(bench, holder, database, decision, *(bench.appeal(decision) for _ in range(RACERS)))
    assert codes(answers) == {"done": 1, "appeal_open": RACERS - 1}


async def test_reversals_at_once_are_one(bench: Bench, holder: Database, database: Database) -> None:
    decision = await bench.approved()
    answers = await race(bench, holder, database, decision, *(bench.reverse(decision) for _ in range(RACERS)))
    assert codes(answers) == {"done": 1, "decision_reversed": RACERS - 1}


@pytest.mark.parametrize(("review", "code"), [("reverse", "decision_reversed"), ("decline", "decision_overridden")])
async def test_a_review_while_an_offer_is_looked_at_again_stops_it(
    bench: Bench, ledger: StandingsServer, database: Database, review: str, code: str
) -> None:
    decision = await bench.approved()
    await age(database, decision, 6)
    ledger.hold = asyncio.Event()
    ledger.asked.clear()
    confirming = asyncio.ensure_future(bench.confirm(decision))
    async with asyncio.timeout(30):
        await ledger.asked.wait()
    done(await getattr(bench, review)(decision))
    ledger.hold.set()
    assert refused(await confirming)[:2] == (409, code)


async def test_a_reversal_while_an_overrides_offer_is_looked_at_stops_it(bench: Bench, ledger: StandingsServer) -> None:
    decision = await bench.declined()
    override = done(await bench.override(decision))["review"]["id"]
    ledger.hold = asyncio.Event()
    ledger.asked.clear()
    confirming = asyncio.ensure_future(bench.confirm(override))
    async with asyncio.timeout(30):
        await ledger.asked.wait()
    done(await bench.reverse(decision))
    ledger.hold.set()
    assert refused(await confirming)[:2] == (409, "decision_reversed")


async def test_no_confirmation_that_begins_after_a_reversal_was_answered_says_yes(bench: Bench) -> None:
    for _ in range(5):
        decision = await bench.approved()
        reversing = asyncio.ensure_future(bench.reverse(decision))
        before, after = [], []
        while not reversing.done():
            before.append(await bench.confirm(decision))
        after = [await bench.confirm(decision) for _ in range(3)]
        done(await reversing)
        assert {answer[0] for answer in before} <= {200, 409}
        assert [refused(answer)[1] for answer in after] == ["decision_reversed"] * 3
