"""What follows from a reversal while the ledger is away, slow, or refuses; the ledger is the tests' own."""

import asyncio
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from tests.domain.policy_model import shipped
from tests.eligibility.conftest import Lender
from tests.eligibility.reviewing import REVIEWER, WHY, Bench, Database, done, events_of
from tests.eligibility.standings_server import StandingsServer
from tests.eligibility.test_erasure import come_due, erase

from amana.domain import decision_reversal
from amana.eligibility import undoing
from amana.eligibility.erasing import Eraser
from amana.eligibility.flow import Flow
from amana.eligibility.jobs import erase_due
from amana.eligibility.reversal_ledger import UndoingLedger
from amana.eligibility.undoing import Undoing
from amana.infra.http import HttpClient
from amana.infra.postgres import open_pool
from amana.infra.settings import Settings

WITHIN_S = 15
CLOSED = {"outcome": "unbooked", "loan": None, "kept_because": None}
LOAN = str(uuid4())
BOOKED = {"outcome": "reversing", "loan": LOAN, "kept_because": None}
MOVED = {"loan": LOAN, "returned": 0}
Reply = tuple[int, dict[str, Any]]


class Script:
    """What the ledger says about the offers of a test, in turn, the last one again and again; 503 about any other."""

    def __init__(self, ledger: StandingsServer) -> None:
        self.replies: dict[str, list[Reply]] = {}
        self.asked: list[tuple[str, str]] = []
        ledger.undo = self._answer

    def says(self, about: str, *replies: Reply) -> None:
        self.replies[about] = list(replies)

    def ids(self, about: str) -> list[str]:
        """The commands' ids, in the order in which they came."""
        return [id_ for place, id_ in self.asked if place == about]

    def _answer(self, path: str, request: dict[str, Any]) -> Reply:
        about = path.split("/")[3]
        replies = self.replies.get(about)
        if replies is None:
            return 503, {}
        self.asked.append((about, request["id"]))
        return replies.pop(0) if len(replies) > 1 else replies[0]


def refusal(code: str, status: int = 422) -> Reply:
    return status, {"code": code}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses of a test's patience."""
    for name, value in (("BACKOFF_S", 0.05), ("BACKOFF_MAX_S", 0.1), ("PAUSE_S", 0.02), ("LOOK_EVERY_S", 0.05)):
        monkeypatch.setattr(undoing, name, value)


@pytest.fixture
def script(ledger: StandingsServer) -> Iterator[Script]:
    yield Script(ledger)
    ledger.undo = None


@pytest.fixture
def bench(lender: Lender, ledger: StandingsServer, judge: str) -> Bench:
    return Bench(lender, ledger, judge)


async def reached(bench: Bench, decision: str, state: str) -> dict[str, Any]:
    """The reversal of a decision, once it has come so far."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            told = await bench.explain(decision)
            if told["reversal"]["state"] == state:
                reversal: dict[str, Any] = told["reversal"]
                return reversal | {"standing": told["standing"]}
            await asyncio.sleep(0.02)


async def lent(bench: Bench) -> str:
    """An approved decision of a lender whose policy undoes loans."""
    terms = {"within_days": 3, "repaid": "return", "principal_from": "funding"}
    await bench.lender.publish(msgspec.to_builtins(shipped("nano")) | {"loan_reversal": terms})
    return await bench.approved()


async def types_of(database: Database, decision: str) -> list[tuple[str, int]]:
    return [(event["type"], event["aggregate"]["version"]) for event in await events_of(database, decision)][1:]


async def help_on(bench: Bench, what: str, reversal: str) -> tuple[int, Any]:
    return await bench.say(f"/v1/reversals/{reversal}/{what}", reviewer=REVIEWER)


async def test_a_ledger_that_is_away_is_asked_again_with_the_same_id_until_it_answers(
    bench: Bench, script: Script, database: Database
) -> None:
    decision = await bench.approved()
    no_answers = [(503, {}), (500, {}), (401, {"code": "unauthenticated"}), refusal("not_found", 404)]
    script.says(decision, *no_answers, (200, CLOSED))
    answer = done(await bench.reverse(decision))
    assert (await bench.explain(decision))["standing"] == "reversing"
    told = await reached(bench, decision, "over")
    assert (told["standing"], told["offers"][0]["state"]) == ("reversed", "unbooked")
    ids = script.ids(decision)
    assert (len(ids), len(set(ids))) == (5, 1)
    assert await types_of(database, decision) == [("DecisionReversalStarted", 2), ("DecisionReversed", 3)]
    [*_, last] = await events_of(database, decision)
    assert (last["data"]["review"], last["data"]["withdrawn"]) == (answer["review"]["id"], [decision])
    assert last["actor"] == "system:eligibility"


async def test_an_answer_that_can_not_be_read_is_no_answer(bench: Bench, script: Script) -> None:
    decision = await bench.approved()
    script.says(decision, (200, {"outcome": "vanished", "loan": None, "kept_because": None}), (200, {}), (200, CLOSED))
    done(await bench.reverse(decision))
    await reached(bench, decision, "over")
    assert len(script.ids(decision)) == 3


async def test_what_the_ledger_refuses_waits_for_a_person_and_goes_on_under_another_id(
    bench: Bench, script: Script, database: Database
) -> None:
    decision = await lent(bench)
    script.says(decision, (200, BOOKED))
    script.says(LOAN, refusal("account_frozen"), (200, MOVED))
    reversal = done(await bench.reverse(decision, loans="reverse"))["review"]["id"]
    told = await reached(bench, decision, "stuck")
    assert told["standing"] == "reversing"
    assert [(one["state"], one["loan"], one["stuck_because"]) for one in told["offers"]] == [
        ("reversing", LOAN, "account_frozen")
    ]
    await asyncio.sleep(0.3)
    assert len(script.ids(LOAN)) == 1, "what is stuck is left alone"
    done(await help_on(bench, "resumptions", reversal))
    await reached(bench, decision, "over")
    assert len(set(script.ids(LOAN))) == 2
    assert await types_of(database, decision) == [
        ("DecisionReversalStarted", 2),
        ("DecisionReversalStuck", 3),
        ("DecisionReversalResumed", 4),
        ("DecisionReversed", 5),
    ]


async def test_what_is_given_up_is_left_as_it_is_and_said(bench: Bench, script: Script, database: Database) -> None:
    decision = await bench.approved()
    script.says(decision, refusal("id_shard_mismatch"))
    reversal = done(await bench.reverse(decision))["review"]["id"]
    await reached(bench, decision, "stuck")
    done(await help_on(bench, "abandonments", reversal))
    told = await reached(bench, decision, "over")
    assert (told["offers"][0]["state"], told["standing"]) == ("unknown", "reversed")
    assert len(script.ids(decision)) == 1, "nobody asks the ledger about it any more"
    assert [type_ for type_, _ in await types_of(database, decision)][-2:] == [
        "DecisionReversalAbandoned",
        "DecisionReversed",
    ]


async def test_one_offer_that_is_stuck_stops_no_other(bench: Bench, script: Script) -> None:
    decision = await bench.approved()
    override = done(await bench.override(decision))["review"]["id"]
    script.says(min(decision, override), refusal("id_shard_mismatch"))
    script.says(max(decision, override), (200, CLOSED))
    done(await bench.reverse(decision))
    told = await reached(bench, decision, "stuck")
    assert sorted(one["state"] for one in told["offers"]) == ["unbooked", "withdrawing"]


async def test_a_ledger_that_is_away_for_too_long_needs_a_person(
    bench: Bench, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(undoing, "ATTEMPTS_MAX", 3)
    decision = await bench.approved()
    script.says(decision, (503, {}), (503, {}), (503, {}), (200, CLOSED))
    reversal = done(await bench.reverse(decision))["review"]["id"]
    told = await reached(bench, decision, "stuck")
    assert told["offers"][0]["stuck_because"] == "unavailable"
    done(await help_on(bench, "resumptions", reversal))
    await reached(bench, decision, "over")
    assert len(set(script.ids(decision))) == 1, "it may have been done: the id stays"


async def test_who_has_no_credit_line_is_asked_about_until_no_booking_can_be_under_way(
    bench: Bench, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decision_reversal, "SETTLED_S", 1)
    decision = await bench.approved()
    script.says(decision, refusal("credit_line_not_found"))
    done(await bench.reverse(decision))
    told = await reached(bench, decision, "over")
    assert told["offers"][0]["state"] == "unbooked"
    ids = script.ids(decision)
    assert len(ids) == len(set(ids)) > 2, "a refusal is kept under its id"


async def test_only_what_is_stuck_is_helped_and_by_another_key(bench: Bench, script: Script) -> None:
    decision = await bench.approved()
    script.says(decision, (503, {}))
    reversal = done(await bench.reverse(decision))["review"]["id"]
    for what in ("resumptions", "abandonments"):
        status, problem = await help_on(bench, what, reversal)
        assert (status, problem["code"]) == (409, "reversal_not_stuck")
        status, problem = await help_on(bench, what, str(uuid4()))
        assert (status, problem["code"]) == (404, "reversal_not_found")
    script.says(decision, (200, CLOSED))
    await reached(bench, decision, "over")


async def test_the_decision_of_a_customer_who_is_to_be_erased_is_reversed_and_what_people_write_of_it_is_sealed(
    bench: Bench, script: Script, database: Database, flow: Flow
) -> None:
    eraser = Eraser(flow, timedelta(0))
    decision = await lent(bench)
    customer = await bench.customer_of(decision)
    await erase(bench.lender, customer)
    script.says(decision, (200, BOOKED))
    script.says(LOAN, refusal("account_frozen"), (200, MOVED))
    reversal = done(await bench.reverse(decision, loans="reverse"))["review"]["id"]
    await reached(bench, decision, "stuck")
    await come_due(database, customer)
    await erase_due(eraser)  # everything else is kept no longer
    assert (await bench.lender.send("GET", f"/v1/customers/{customer}/erasures"))[1]["state"] == "restricted"
    helped = done(await help_on(bench, "resumptions", reversal))["review"]
    assert (helped["reviewer"], helped["reason"]) == (REVIEWER, WHY)
    await reached(bench, decision, "over")
    kept = await database.fetch("SELECT * FROM review_words WHERE customer = $1", UUID(customer))
    assert [(row["reviewer"], row["reason"], row["salt"]) for row in kept] == [(None, None, None)] * 2
    assert not [row for row in kept if WHY.encode() in row["sealed"]]
    told = json.dumps(await events_of(database, decision))
    assert WHY not in told and REVIEWER not in told
    await come_due(database, customer)
    await erase_due(eraser)
    assert (await bench.lender.send("GET", f"/v1/customers/{customer}/erasures"))[1]["state"] == "erased"
    reviews = (await bench.explain(decision, bench.judge))["reviews"]
    assert [(one["kind"], one["reason"]) for one in reviews] == [("reversal", None), ("resumption", None)]


async def test_of_helpers_at_once_one_helps(bench: Bench, script: Script) -> None:
    decision = await bench.approved()
    script.says(decision, refusal("id_shard_mismatch"), (503, {}))
    reversal = done(await bench.reverse(decision))["review"]["id"]
    await reached(bench, decision, "stuck")
    answers = await asyncio.gather(
        *(help_on(bench, what, reversal) for what in ("resumptions", "abandonments", "resumptions"))
    )
    assert sorted(status for status, _ in answers) == [201, 409, 409]
    script.says(decision, (200, CLOSED))
    await reached(bench, decision, "over")


async def test_processes_that_race_and_one_that_was_too_slow_do_it_once(
    bench: Bench,
    script: Script,
    ledger: StandingsServer,
    database: Database,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(undoing, "LEASE_S", 0)  # whoever looks takes it, whatever another is about
    pool = await open_pool(settings.eligibility_database_url, "eligibility", 6)
    async with HttpClient() as client:
        others = [Undoing(pool, UndoingLedger(client, ledger.url, settings.internal_key)) for _ in range(3)]
        decision = await lent(bench)
        script.says(decision, (200, BOOKED))
        script.says(LOAN, (200, MOVED))
        done(await bench.reverse(decision, loans="reverse"))
        racing = [asyncio.ensure_future(other.run()) for other in others]
        await reached(bench, decision, "over")
        for task in racing:
            task.cancel()
        await asyncio.wait(racing)
    await pool.close()
    assert {len(set(script.ids(about))) for about in (decision, LOAN)} == {1}
    assert await types_of(database, decision) == [("DecisionReversalStarted", 2), ("DecisionReversed", 3)]
    row = await database.fetchrow("SELECT state, over_version FROM reversals WHERE decision_id = $1", UUID(decision))
    assert row is not None and tuple(row) == ("over", 3)


async def test_what_keeps_failing_for_whatever_reason_needs_a_person_in_the_end(
    bench: Bench, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(undoing, "ATTEMPTS_MAX", 3)
    monkeypatch.setattr(undoing, "LEASE_S", 0)
    decision = await bench.approved()
    script.says(decision, (200, BOOKED))  # no ledger says so of a loan that it was told to keep
    done(await bench.reverse(decision))
    told = await reached(bench, decision, "stuck")
    assert told["offers"][0]["stuck_because"] == "unavailable"
