"""Checks over HTTP: decided from the record and the ledger, recorded with their event, answered once per id."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest
from tests.domain.policy_model import shipped
from tests.eligibility.conftest import GOOD_STANDING, Lender
from tests.eligibility.standings_server import StandingsServer

from amana.domain.decision import DecisionInputs, canonical, compile_policy, replay
from amana.domain.findings import assessment_of, findings_bytes, read_findings
from amana.domain.money import MAX_AMOUNT
from amana.domain.policy import policy_bytes, policy_from
from amana.gateway.provision import create_key
from amana.infra.settings import Settings

Database: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


async def events_of(database: Database, tenant: int, type_: str) -> list[dict[str, Any]]:
    rows = await database.fetch("SELECT body FROM outbox WHERE tenant = $1 AND type = $2 ORDER BY seq", tenant, type_)
    return [json.loads(row["body"]) for row in rows]


async def test_a_good_customer_is_approved_and_offered_the_price(lender: Lender, good: str) -> None:
    id_ = str(uuid4())
    answer = await lender.check(good, 2_000_000, id=id_)
    assert answer["decision_id"] == answer["offer"]["id"] == id_
    assert (answer["outcome"], answer["reasons"], answer["source"]) == ("approve", [], "fresh")
    assert answer["price"] == {
        "principal": 2_000_000, "fee": 450_000, "total_due": 2_450_000, "rate_bps": 2_250, "term_days": 30,
    }  # fmt: skip
    assert (answer["limit"], answer["exposure"], answer["exposure_cap"]) == (6_000_000, 0, 7_500_000)
    assert (answer["policy"]["name"], answer["policy"]["version"], answer["replayed"]) == ("nano", 1, False)


async def test_a_plain_question_is_no_offer(lender: Lender, good: str) -> None:
    assert (await lender.check(good))["offer"] is None


async def test_a_decline_gives_its_reasons_in_the_policys_words(lender: Lender, ledger: StandingsServer) -> None:
    customer = await lender.customer(blocked=True, birth_date=None)
    ledger.known[lender.tenant, UUID(customer)] = GOOD_STANDING | {"current_days_past_due": 3, "worst_days_past_due": 3}
    answer = await lender.check(customer, id=str(uuid4()))
    assert [reason["code"] for reason in answer["reasons"]] == [
        "customer_blocked", "age_unknown", "loan_overdue", "new_customer", "late_repayments", "no_recent_loan",
    ]  # fmt: skip
    assert answer["reasons"][2]["text"] == "You have a loan that is past its due date."
    assert (answer["outcome"], answer["limit"], answer["price"], answer["offer"]) == ("decline", 0, None, None)


async def test_the_same_id_gives_the_first_answer_again(
    lender: Lender, good: str, ledger: StandingsServer, database: Database
) -> None:
    id_ = str(uuid4())
    first = await lender.check(good, id=id_)
    ledger.known[lender.tenant, UUID(good)] = {"current_days_past_due": 9}
    again = await lender.check(good, id=id_)
    assert (first["replayed"], again["replayed"]) == (False, True)
    differ = {"age_ms", "replayed"}
    assert {name: first[name] for name in first.keys() - differ} == {
        name: again[name] for name in again.keys() - differ
    }
    assert len(await events_of(database, lender.tenant, "DecisionMade")) == 1


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("amount", {"amount": 1_100_000}),
        ("term_days", {"term_days": 15}),
        ("product", {"product": "airtime"}),
        ("terms", {"terms": {"fee": 100, "term_days": 30}}),
        ("as_of", {"as_of": "2026-01-01T00:00:00Z"}),
    ],
)
async def test_the_same_id_with_another_field_is_refused_by_name(
    lender: Lender, good: str, field: str, change: dict[str, object]
) -> None:
    id_ = str(uuid4())
    await lender.check(good, id=id_)
    status, answer = await lender.ask(good, **{"id": id_, "amount": 1_000_000, **change})  # type: ignore[arg-type]
    assert (status, answer["code"], answer["figures"]) == (409, "id_conflict", {"field": field})
    assert answer["errors"][0]["pointer"] == f"/{field}"


async def test_one_id_sent_many_times_at_once_is_one_decision(lender: Lender, good: str, database: Database) -> None:
    id_ = str(uuid4())
    answers = await asyncio.gather(*(lender.check(good, id=id_) for _ in range(20)))
    assert sum(not answer["replayed"] for answer in answers) == 1
    assert len({answer["offer"]["expires_at"] for answer in answers}) == 1
    assert len(await events_of(database, lender.tenant, "DecisionMade")) == 1


async def test_checks_that_wait_together_share_one_call_to_the_ledger(lender: Lender, ledger: StandingsServer) -> None:
    customers = [await lender.customer() for _ in range(30)]
    await lender.check(customers[0])
    ledger.calls.clear()
    ledger.hold = asyncio.Event()
    asked = [asyncio.create_task(lender.check(customer, id=str(uuid4()))) for customer in customers]
    await asyncio.sleep(0.3)
    ledger.hold.set()
    await asyncio.gather(*asked)
    assert sum(len(request.items) for _, request in ledger.calls) == 30
    assert len(ledger.calls) < 15


async def test_the_largest_income_and_the_largest_share_of_it_are_decided(lender: Lender) -> None:
    document = json.loads(policy_bytes(shipped("nano")))
    document["caps"]["affordability"]["income_bps"] = 100_000
    await lender.publish(document)
    answer = await lender.check(await lender.customer(monthly_income=MAX_AMOUNT), id=str(uuid4()))
    assert answer["outcome"] == "approve"


async def test_an_id_under_which_nothing_was_decided_stays_free(lender: Lender) -> None:
    id_, customer = str(uuid4()), str(uuid4())
    assert (await lender.ask(customer, id=id_))[1]["code"] == "customer_not_found"
    assert (await lender.ask(customer, id=id_, product="mortgage"))[1]["code"] == "product_not_found"
    assert (await lender.check(await lender.customer(), id=id_))["replayed"] is False


@pytest.mark.parametrize("as_of", ["0001-01-01T00:00:00+14:00", "1969-12-31T23:59:59Z", "9999-12-31T23:59:59Z"])
async def test_an_instant_in_which_nobody_lent_is_refused(lender: Lender, good: str, as_of: str) -> None:
    checked = await lender.ask(good, as_of=as_of)
    confirmed = await lender.internally("POST", f"/v1/offers/{uuid4()}/confirmations", {"as_of": as_of})
    for status, answer in (checked, confirmed):
        assert (status, answer["code"], answer["errors"][0]["pointer"]) == (400, "validation", "/as_of")


async def test_every_decision_is_an_event_without_personal_data(lender: Lender, good: str, database: Database) -> None:
    answer = await lender.check(good, id=str(uuid4()))
    (event,) = await events_of(database, lender.tenant, "DecisionMade")
    assert event["aggregate"] == {"type": "decision", "id": answer["decision_id"], "version": 1}
    data = event["data"]
    assert (data["customer"], data["outcome"], data["request_to_borrow"], data["as_of_past"]) == (
        good, "approve", True, False,
    )  # fmt: skip
    assert (event["version"], data["facts"].keys()) == (2, {"customer", "ledger"})
    assert data["facts"]["ledger"]["values"]["loans_closed"] == 8
    assert data["facts"]["ledger"]["as_of"] > data["facts"]["customer"]["as_of"]
    assert data["facts"]["customer"]["values"].keys() >= {"age_years", "kyc_tier"}
    assert data["policy"]["hash"] == answer["policy"]["hash"]
    everything = b" ".join(
        row["body"] for row in await database.fetch("SELECT body FROM outbox WHERE tenant = $1", lender.tenant)
    )
    assert not any(secret in everything for secret in (b"1990-05-17", b"8031234567", b'"058"'))


async def test_a_recorded_decision_replays_to_the_same_bytes(lender: Lender, good: str, database: Database) -> None:
    id_ = str(uuid4())
    await lender.check(good, 3_000_000, id=id_, term_days=60)
    row = await database.fetchrow(
        "SELECT d.*, p.document, p.version FROM decisions d JOIN policies p"
        " ON (p.tenant, p.product, p.version) = (d.tenant, d.product, d.policy_version) WHERE d.decision_id = $1",
        UUID(id_),
    )
    assert row is not None
    policy = compile_policy(policy_from(row["document"]), row["version"], row["policy_hash"])
    inputs = msgspec.json.decode(row["inputs"], type=DecisionInputs)
    made, answer = replay(policy, inputs)
    assert (findings_bytes(made), canonical(answer)) == (row["assessment"], row["decision"])
    assert assessment_of(inputs, read_findings(row["assessment"])) == made


async def test_a_decision_is_explained_whole(lender: Lender, good: str) -> None:
    id_ = str(uuid4())
    await lender.check(good, id=id_)
    status, told = await lender.send("GET", f"/v1/decisions/{id_}")
    assert status == 200
    assert {fact["name"]: fact["value"] for fact in told["facts"]}["largest_principal_repaid"] == 6_000_000
    assert {rule["id"]: rule["state"] for rule in told["rules"]}["adult"] == "passed"
    assert told["base_points"] + sum(line["points"] for line in told["points"]) == told["score"]
    steps = {line["step"]: line["amount"] for line in told["limit_steps"]}
    assert steps["headroom"] == steps["exposure_cap"] - steps["exposure"]
    assert steps["limit"] == 6_000_000


async def test_a_past_instant_asks_the_ledger_for_that_instant(
    lender: Lender, good: str, ledger: StandingsServer
) -> None:
    instant = datetime(2017, 3, 5, 10, 56, 25, tzinfo=UTC)
    ledger.calls.clear()
    answer = await lender.check(
        good, id=str(uuid4()), as_of=instant.isoformat(), terms={"fee": 150_000, "term_days": 15}
    )
    assert [item.as_of for _, request in ledger.calls for item in request.items] == [instant]
    assert datetime.fromisoformat(answer["as_of"]) == instant
    assert (answer["price"]["fee"], answer["price"]["term_days"]) == (150_000, 15)
    told = (await lender.send("GET", f"/v1/decisions/{answer['decision_id']}"))[1]
    assert told["as_of_past"] is True
    assert {fact["name"]: fact["value"] for fact in told["facts"]}["age_years"] == 26


async def test_the_past_and_given_terms_need_their_scope(lender: Lender, good: str, settings: Settings) -> None:
    key = await create_key(settings.owner_database_url, lender.tenant, ["eligibility:check"])
    body = {"customer": good, "product": "nano", "currency": "NGN", "amount": 1_000_000}
    for extra in ({"as_of": "2017-03-05T10:56:25Z"}, {"terms": {"fee": 1, "term_days": 15}}):
        status, answer = await lender.send("POST", "/v1/eligibility/checks", body | extra, key=key)
        assert (status, answer["code"]) == (403, "scope_missing")
    future = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    status, answer = await lender.ask(good, as_of=future)
    assert (status, answer["code"]) == (422, "effective_in_future")


async def test_another_lenders_customer_and_decision_are_not_found(
    new_lender: Callable[[], Awaitable[Lender]], lender: Lender, good: str
) -> None:
    other = await new_lender()
    id_ = str(uuid4())
    await lender.check(good, id=id_)
    assert (await other.ask(good))[1]["code"] == "customer_not_found"
    assert (await other.ask(str(uuid4())))[1]["code"] == "customer_not_found"
    assert (await other.send("GET", f"/v1/customers/{good}"))[0] == 404
    assert (await other.send("GET", f"/v1/decisions/{id_}"))[0] == 404
    theirs = await other.check(await other.customer(), id=id_)
    assert theirs["replayed"] is False


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"product": "mortgage"}, 404, "product_not_found"),
        ({"currency": "USD"}, 422, "currency_mismatch"),
        ({"currency": "XXX"}, 400, "validation"),
        ({"amount": 0}, 400, "validation"),
        ({"amount": 1.5}, 400, "validation"),
        ({"amount": "100"}, 400, "validation"),
        ({"amount": 2**53}, 400, "validation"),
        ({"surprise": 1}, 400, "validation"),
        ({"product": "nano\n"}, 400, "validation"),
        ({"customer": "somebody"}, 400, "validation"),
        ({"term_days": 15, "terms": {"fee": 1, "term_days": 15}}, 400, "validation"),
        ({"terms": {"fee": 1_000_000, "term_days": 15}}, 400, "validation"),
    ],
)
async def test_a_check_that_can_not_be_answered_is_refused(
    lender: Lender, good: str, change: dict[str, object], status: int, code: str
) -> None:
    body = {"customer": good, "product": "nano", "currency": "NGN", "amount": 1_000_000} | change
    assert (await lender.send("POST", "/v1/eligibility/checks", body))[0] == status
    assert (await lender.send("POST", "/v1/eligibility/checks", body))[1]["code"] == code


async def test_a_ledger_that_is_away_is_unavailable_and_nothing_is_recorded(
    lender: Lender, good: str, ledger: StandingsServer, database: Database
) -> None:
    ledger.down = True
    id_ = str(uuid4())
    status, answer = await lender.ask(good, id=id_)
    assert (status, answer["code"], answer["retryable"]) == (503, "unavailable", True)
    assert await events_of(database, lender.tenant, "DecisionMade") == []
    ledger.down = False
    assert (await lender.check(good, id=id_))["replayed"] is False


async def test_what_was_decided_can_not_be_changed_not_even_by_the_owner(
    lender: Lender, good: str, database: Database
) -> None:
    await lender.check(good, id=str(uuid4()))
    for statement in ("UPDATE decisions SET amount = 1", "DELETE FROM policies", "TRUNCATE outbox"):
        with pytest.raises(asyncpg.RestrictViolationError):
            await database.execute(statement)
