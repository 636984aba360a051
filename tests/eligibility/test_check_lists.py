"""Lists of checks: the answers of single checks, in order, and no item that fails another."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from tests.eligibility.conftest import GOOD_STANDING, Lender
from tests.eligibility.standings_server import StandingsServer

from amana.domain.money import Currency
from amana.domain.reasons import Reason
from amana.domain.transfer import Refused
from amana.eligibility import flow as flow_module
from amana.eligibility.answers import Answer
from amana.eligibility.cache import AssessmentCache
from amana.eligibility.check_lists import CHECKS_IN_FLIGHT, check_all
from amana.eligibility.flow import Flow
from amana.eligibility.memory import Memory
from amana.eligibility.policies import Policies
from amana.eligibility.records import Check
from amana.eligibility.standings import Ledger
from amana.gateway.provision import create_key
from amana.infra.cache import Cache
from amana.infra.collector import Overloaded
from amana.infra.http import HttpClient, UpstreamUnavailable
from amana.infra.postgres import open_pool
from amana.infra.settings import Settings
from amana.vault.vault import Vault

PATH = "/v1/eligibility/checks:batch"
NO_FIGURE = 2**60
"""More than any event can hold: an assertion fires where the decision is recorded."""
OF_THE_MOMENT = {"age_ms", "as_of", "decision_id", "offer", "source"}


def item(customer: object, **more: object) -> dict[str, Any]:
    return {"customer": str(customer), "product": "nano", "currency": "NGN", "amount": 1_000_000} | more


async def results_of(lender: Lender, *items: dict[str, Any]) -> list[dict[str, Any]]:
    status, answer = await lender.send("POST", PATH, {"checks": list(items)})
    assert status == 200, answer
    results: list[dict[str, Any]] = answer["results"]
    assert len(results) == len(items)
    assert all((result["check"] is None) != (result["refusal"] is None) for result in results)
    return results


def reason_of(result: dict[str, Any]) -> str:
    return str(result["refusal"]["reason"])


async def test_each_result_is_what_the_single_check_says(lender: Lender, good: str, ledger: StandingsServer) -> None:
    late, blocked = await lender.customer(), await lender.customer(blocked=True)
    ledger.known[lender.tenant, UUID(late)] = GOOD_STANDING | {"current_days_past_due": 3, "worst_days_past_due": 40}
    items = [
        item(customer, amount=amount, product=product)
        for customer in (good, late, blocked)
        for product, amount in (("nano", 1_000_000), ("nano", 2_000_000), ("airtime", 10_000), ("airtime", 1))
    ]
    listed = await results_of(lender, *items)
    for asked, result in zip(items, listed, strict=True):
        single = await lender.check(asked["customer"], asked["amount"], product=asked["product"])
        assert drop(result["check"]) == drop(single)


def drop(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name not in OF_THE_MOMENT}


async def test_requests_to_borrow_are_offers_and_the_list_sent_again_gives_the_first_answers(
    lender: Lender, good: str, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    items = [item(good, id=str(uuid4()), amount=amount) for amount in (1_000_000, 1_500_000, 2_000_000)]
    first = await results_of(lender, *items)
    assert [result["check"]["offer"]["id"] for result in first] == [asked["id"] for asked in items]
    again = await results_of(lender, *items)
    assert [result["check"]["replayed"] for result in again] == [True] * 3
    assert [drop(result["check"]) for result in again] == [
        drop(result["check"]) | {"replayed": True} for result in first
    ]
    assert await database.fetchval("SELECT count(*) FROM decisions WHERE tenant = $1", lender.tenant) == 3


async def test_what_can_not_be_decided_is_refused_in_its_place(lender: Lender, good: str) -> None:
    taken = str(uuid4())
    await lender.check(good, id=taken)
    results = await results_of(
        lender,
        item(good),
        item(uuid4()),
        item(good, product="yachts"),
        item(good, id=taken, amount=1_100_000),
        item(good, id=taken),
    )
    assert [reason_of(result) for result in results[1:4]] == ["customer_not_found", "product_not_found", "id_conflict"]
    assert results[3]["refusal"]["figures"] == {"field": "amount"}
    assert not any(result["refusal"]["retryable"] for result in results[1:4])
    assert (results[0]["check"]["outcome"], results[4]["check"]["replayed"]) == ("approve", True)


async def test_of_an_id_that_stands_twice_the_first_one_decides(lender: Lender, good: str) -> None:
    id_ = str(uuid4())
    results = await results_of(lender, item(good, id=id_), item(good, id=id_, amount=1_100_000), item(good, id=id_))
    assert (results[0]["check"]["replayed"], reason_of(results[1]), results[2]["check"]["replayed"]) == (
        False, "id_conflict", True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("at", "change", "pointer"),
    [
        (17, {"amount": 0}, "/checks/17/amount"),
        (0, {"amount": "5"}, "/checks/0/amount"),
        (3, {"customer": "ada"}, "/checks/3/customer"),
        (19, {"currency": "XXX"}, "/checks/19/currency"),
        (2, {"amuont": 5}, "/checks/2/amuont"),
        (5, {"terms": {"fee": 2_000_000, "term_days": 30}}, "/checks/5/terms/fee"),
        (6, {"terms": {"fee": 1, "term_days": 30}, "term_days": 15}, "/checks/6/term_days"),
    ],
)
async def test_a_malformed_item_is_named_and_nothing_of_the_list_is_stored(
    lender: Lender,
    good: str,
    database: "asyncpg.Connection[asyncpg.Record]",
    at: int,
    change: dict[str, object],
    pointer: str,
) -> None:
    items = [item(good, id=str(uuid4())) for _ in range(20)]
    items[at] |= change
    status, problem = await lender.send("POST", PATH, {"checks": items})
    assert (status, problem["code"], problem["errors"][0]["pointer"]) == (400, "validation", pointer)
    assert await database.fetchval("SELECT count(*) FROM decisions WHERE tenant = $1", lender.tenant) == 0


async def test_an_instant_that_only_importers_may_name_is_named_by_its_item(
    lender: Lender, good: str, settings: Settings
) -> None:
    key = await create_key(settings.owner_database_url, lender.tenant, ["eligibility:check"])
    body = {"checks": [item(good), item(good, as_of="2020-01-01T00:00:00Z")]}
    status, problem = await lender.send("POST", PATH, body, key)
    assert (status, problem["code"], problem["errors"][0]["pointer"]) == (403, "scope_missing", "/checks/1/as_of")


@pytest.mark.parametrize(("count", "status", "code"), [(0, 400, "validation"), (1_001, 413, "body_too_large")])
async def test_a_list_has_1_to_1000_checks(lender: Lender, count: int, status: int, code: str) -> None:
    answer = await lender.send("POST", PATH, {"checks": [item(UUID(int=9))] * count})
    assert (answer[0], answer[1]["code"]) == (status, code)


async def test_a_full_list_of_1000_is_answered_in_order(lender: Lender, ledger: StandingsServer, good: str) -> None:
    amounts = [1_000_000 + 100_000 * (at % 40) for at in range(1_000)]
    results = await results_of(lender, *(item(good, id=str(uuid4()), amount=amount) for amount in amounts))
    priced = [result["check"]["price"] for result in results]
    assert [price["principal"] for price in priced] == amounts
    assert max(len(request.items) for _, request in ledger.calls) <= flow_module.BATCH_MAX


async def test_without_the_ledger_an_item_says_so_and_may_be_sent_again(
    lender: Lender, good: str, ledger: StandingsServer
) -> None:
    first = item(good, id=str(uuid4()))
    await results_of(lender, first)
    ledger.down = True
    known, fresh = await results_of(lender, first, item(good, id=str(uuid4())))
    assert known["check"]["replayed"]
    assert (reason_of(fresh), fresh["refusal"]["retryable"]) == ("unavailable", True)


async def test_a_list_of_which_nothing_could_be_answered_is_unavailable_as_a_whole(
    lender: Lender, good: str, ledger: StandingsServer
) -> None:
    ledger.down = True
    status, problem = await lender.send("POST", PATH, {"checks": [item(good, id=str(uuid4()))] * 3})
    assert (status, problem["code"], problem["retryable"]) == (503, "unavailable", True)


async def test_another_lenders_customers_are_not_found(
    lender: Lender, good: str, new_lender: Callable[[], Awaitable[Lender]]
) -> None:
    other = await new_lender()
    assert [reason_of(result) for result in await results_of(other, item(good))] == ["customer_not_found"]


@pytest.fixture
async def small_flow(
    service_settings: Settings, http: HttpClient, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> Flow:
    """The service's flow with a queue of six places, so three for any one group."""
    monkeypatch.setattr(flow_module, "QUEUE_MAX", 6)
    monkeypatch.setattr(flow_module, "BATCHES_IN_FLIGHT", 1)
    pool = await open_pool(service_settings.eligibility_database_url, "eligibility", 2)
    ledger = Ledger(http, service_settings.transactions_url, service_settings.internal_key)
    return Flow(pool, ledger, AssessmentCache(Cache(""), Memory(1, 0.0, 0.0), 5_000), Policies(pool), vault)


def check(lender: Lender, customer: object) -> Check:
    return Check(
        tenant=lender.tenant,
        actor="test",
        trace="",
        id=uuid4(),
        customer=UUID(str(customer)),
        product="nano",
        amount=1_000_000,
        currency=Currency.NGN,
    )


async def test_what_does_not_fit_the_queue_is_shed_item_by_item(
    small_flow: Flow, lender: Lender, good: str, ledger: StandingsServer
) -> None:
    checks = [check(lender, good) for _ in range(CHECKS_IN_FLIGHT)]
    outcomes = await check_all(small_flow, checks)
    answered = [outcome for outcome in outcomes if isinstance(outcome, Answer)]
    assert [type(outcome) for outcome in outcomes if not isinstance(outcome, Answer)] == [Overloaded] * 197
    assert [answer.decision_id for answer in answered] == [item.id for item in checks[:3]]
    again = await check_all(small_flow, checks[:3])
    assert all(isinstance(outcome, Answer) and outcome.replayed for outcome in again)
    await small_flow.pool.close()


async def test_an_item_that_breaks_spares_its_neighbours(
    small_flow: Flow, lender: Lender, good: str, ledger: StandingsServer
) -> None:
    odd = await lender.customer()
    ledger.known[lender.tenant, UUID(odd)] = {"loans_total": NO_FIGURE}
    outcomes = await check_all(small_flow, [check(lender, good), check(lender, odd), check(lender, good)])
    assert [type(outcome) for outcome in outcomes] == [Answer, AssertionError, Answer]
    await small_flow.pool.close()


async def test_a_list_has_a_bounded_number_of_checks_under_way(
    small_flow: Flow, lender: Lender, good: str, ledger: StandingsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("amana.eligibility.check_lists.CHECKS_IN_FLIGHT", 2)
    outcomes = await check_all(small_flow, [check(lender, good) for _ in range(20)])
    assert [type(outcome) for outcome in outcomes] == [Answer] * 20
    assert max(len(request.items) for _, request in ledger.calls) == 2
    await small_flow.pool.close()


async def test_refusals_are_answers_when_the_ledger_is_away(
    small_flow: Flow, lender: Lender, good: str, ledger: StandingsServer
) -> None:
    ledger.down = True
    unknown, unreached = await check_all(small_flow, [check(lender, uuid4()), check(lender, good)])
    assert unknown == Refused(Reason.CUSTOMER_NOT_FOUND)
    assert isinstance(unreached, UpstreamUnavailable)
    await small_flow.pool.close()


async def test_a_client_that_leaves_stops_what_was_not_begun(
    small_flow: Flow,
    lender: Lender,
    good: str,
    ledger: StandingsServer,
    database: "asyncpg.Connection[asyncpg.Record]",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("amana.eligibility.check_lists.CHECKS_IN_FLIGHT", 1)
    ledger.hold = asyncio.Event()
    checks = [check(lender, good) for _ in range(3)]
    asking = asyncio.create_task(check_all(small_flow, checks))
    async with asyncio.timeout(30):
        await ledger.asked.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    ledger.hold.set()
    await small_flow.drain()
    assert await database.fetchval("SELECT count(*) FROM decisions WHERE tenant = $1", lender.tenant) == 1
    await small_flow.pool.close()
