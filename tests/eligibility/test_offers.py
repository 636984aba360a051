"""Offers, looked at again before they are booked."""

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from tests.domain.policy_model import shipped
from tests.eligibility.conftest import GOOD_STANDING, Lender
from tests.eligibility.standings_server import StandingsServer

from amana.domain.policy import policy_bytes

PAST = "2017-03-05T10:56:25Z"


async def offered(lender: Lender, customer: str, amount: int = 1_000_000, **more: object) -> str:
    id_ = str(uuid4())
    answer = await lender.check(customer, amount, id=id_, **more)
    assert answer["outcome"] == "approve", answer
    return id_


async def age(database: "asyncpg.Connection[asyncpg.Record]", offer: str, seconds: int) -> None:
    """Moves a decision into the past, as its own table never would."""
    await database.execute("ALTER TABLE decisions DISABLE TRIGGER decisions_append_only")
    await database.execute(
        "UPDATE decisions SET decided_at = decided_at - make_interval(secs => $2),"
        " expires_at = expires_at - make_interval(secs => $2) WHERE decision_id = $1",
        UUID(offer),
        float(seconds),
    )
    await database.execute("ALTER TABLE decisions ENABLE TRIGGER decisions_append_only")


async def test_a_fresh_offer_is_confirmed_by_its_own_decision(
    lender: Lender, good: str, ledger: StandingsServer
) -> None:
    offer = await offered(lender, good, amount=2_000_000)
    ledger.calls.clear()
    status, terms = await lender.internally("POST", f"/v1/offers/{offer}/confirmations", {})
    assert (status, ledger.calls) == (200, [])
    assert (terms["offer_id"], terms["decision_id"], terms["customer"]) == (offer, offer, good)
    assert (terms["principal"], terms["fee"], terms["term_days"], terms["exposure_cap"]) == (
        2_000_000, 450_000, 30, 7_500_000,
    )  # fmt: skip


async def test_an_airtime_offer_pays_out_less_than_is_owed(lender: Lender, good: str) -> None:
    offer = await offered(lender, good, amount=10_000, product="airtime")
    terms = (await lender.internally("POST", f"/v1/offers/{offer}/confirmations", {}))[1]
    assert (terms["principal"], terms["fee"]) == (8_464, 1_536)


async def test_an_older_decision_is_made_again_and_recorded(
    lender: Lender, good: str, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    offer = await offered(lender, good)
    await age(database, offer, 6)
    status, terms = await lender.internally("POST", f"/v1/offers/{offer}/confirmations", {})
    assert status == 200
    assert terms["decision_id"] != offer
    told = (await lender.send("GET", f"/v1/decisions/{terms['decision_id']}"))[1]
    assert (told["confirms_offer"], told["request_to_borrow"], told["offer"]) == (offer, False, None)
    again = (await lender.internally("POST", f"/v1/offers/{offer}/confirmations", {}))[1]
    assert again["decision_id"] == terms["decision_id"]
    events = await database.fetch(
        "SELECT body FROM outbox WHERE tenant = $1 AND type = 'DecisionMade' ORDER BY seq", lender.tenant
    )
    assert [json.loads(row["body"])["data"]["offer_id"] for row in events] == [None, offer]


async def test_facts_that_no_longer_approve_change_the_decision(
    lender: Lender, good: str, ledger: StandingsServer, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    offer = await offered(lender, good)
    await age(database, offer, 6)
    ledger.known[lender.tenant, UUID(good)] = GOOD_STANDING | {"loans_open": 1, "exposure": 1_000_000}
    for _ in range(2):
        status, problem = await lender.internally("POST", f"/v1/offers/{offer}/confirmations", {})
        assert (status, problem["code"]) == (409, "decision_changed")
    told = (await lender.send("GET", f"/v1/decisions/{problem['figures']['decision_id']}"))[1]
    assert "loan_open" in [reason["code"] for reason in told["reasons"]]


async def test_a_new_price_does_not_change_what_was_offered(
    lender: Lender, good: str, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    offer = await offered(lender, good)
    document = json.loads(policy_bytes(shipped("nano")))
    document["price"]["terms"][1]["steps"][0]["fee_bps"] = 3_500
    await lender.publish(document)
    await age(database, offer, 6)
    status, terms = await lender.internally("POST", f"/v1/offers/{offer}/confirmations", {})
    assert (status, terms["fee"]) == (200, 300_000)


def nano_with(fee_mode: str, fee_bps: int) -> dict[str, Any]:
    """The nano policy with its fee charged in another way."""
    document: dict[str, Any] = json.loads(policy_bytes(shipped("nano")))
    document["price"]["fee_mode"] = fee_mode
    for term in document["price"]["terms"]:
        for step in term["steps"]:
            step["fee_bps"] = fee_bps
    return document


@pytest.mark.parametrize("fee_bps", [3_000, 20_000])
async def test_fees_that_are_deducted_by_now_change_an_offer_to_which_they_were_added(
    lender: Lender, good: str, database: "asyncpg.Connection[asyncpg.Record]", fee_bps: int
) -> None:
    await lender.publish(nano_with("added", fee_bps))
    offer = await offered(lender, good)
    await lender.publish(nano_with("deducted", 3_000))
    await age(database, offer, 6)
    for _ in range(2):
        status, problem = await lender.internally("POST", f"/v1/offers/{offer}/confirmations", {})
        assert (status, problem["code"]) == (409, "decision_changed")
    told = (await lender.send("GET", f"/v1/decisions/{problem['figures']['decision_id']}"))[1]
    assert told["confirms_offer"] == offer


async def test_an_offer_is_not_confirmed_for_the_future(lender: Lender, good: str) -> None:
    offer = await offered(lender, good)
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    status, problem = await lender.internally("POST", f"/v1/offers/{offer}/confirmations", {"as_of": tomorrow})
    assert (status, problem["code"], problem["errors"][0]["pointer"]) == (422, "effective_in_future", "/as_of")


async def test_an_offer_ends(lender: Lender, good: str, database: "asyncpg.Connection[asyncpg.Record]") -> None:
    offer = await offered(lender, good)
    await age(database, offer, 901)
    status, problem = await lender.internally("POST", f"/v1/offers/{offer}/confirmations", {})
    assert (status, problem["code"]) == (409, "offer_expired")


async def test_an_offer_of_a_past_instant_is_confirmed_for_that_instant(
    lender: Lender, good: str, ledger: StandingsServer
) -> None:
    offer = await offered(lender, good, as_of=PAST, terms={"fee": 100_000, "term_days": 15})
    ledger.calls.clear()
    status, terms = await lender.internally("POST", f"/v1/offers/{offer}/confirmations", {"as_of": PAST})
    assert (status, terms["fee"], terms["decision_id"], ledger.calls) == (200, 100_000, offer, [])


async def test_what_was_approved_for_the_past_is_decided_again_for_today(
    lender: Lender, good: str, ledger: StandingsServer
) -> None:
    offer = await offered(lender, good, as_of=PAST)
    ledger.known[lender.tenant, UUID(good)] = GOOD_STANDING | {"loans_open": 1}
    status, problem = await lender.internally("POST", f"/v1/offers/{offer}/confirmations", {})
    assert (status, problem["code"]) == (409, "decision_changed")


async def test_only_an_approved_request_to_borrow_of_the_same_lender_is_an_offer(
    lender: Lender, good: str, new_lender: Callable[[], Awaitable[Lender]]
) -> None:
    offer = await offered(lender, good)
    declined, plain = str(uuid4()), (await lender.check(good))["decision_id"]
    await lender.check(await lender.customer(blocked=True), id=declined)
    for id_ in (declined, plain, str(uuid4())):
        status, problem = await lender.internally("POST", f"/v1/offers/{id_}/confirmations", {})
        assert (status, problem["code"]) == (404, "offer_not_found")
    other = await new_lender()
    assert (await other.internally("POST", f"/v1/offers/{offer}/confirmations", {}))[0] == 404


@pytest.mark.parametrize("path", ["/v1/offers/0199b7a1-0000-7000-8000-000000000000/confirmations", "/v1/events"])
async def test_internal_routes_are_not_for_lenders(lender: Lender, path: str) -> None:
    status, problem = await (lender.send("GET", path) if path == "/v1/events" else lender.send("POST", path, {}))
    assert (status, problem["code"]) == (403, "scope_missing")


async def test_the_stream_can_be_read_by_position(lender: Lender) -> None:
    status, page = await lender.internally("GET", "/v1/events?after=-1&limit=10")
    assert (status, page["stream"]) == (200, "eligibility")
    assert len(page["events"]) <= 10


async def test_an_offer_is_looked_at_again_for_the_network_that_it_was_asked_for(
    lender: Lender, good: str, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    document = json.loads(policy_bytes(shipped("nano")))
    document["networks"] = [{"id": "mtn", "lending": True}, {"id": "glo", "lending": False}]
    document["reasons"]["network_not_served"] = "We do not lend over this network."
    await lender.publish(document)
    offer = await offered(lender, good, network="mtn")
    await age(database, offer, 6)
    assert (await lender.internally("POST", f"/v1/offers/{offer}/confirmations", {}))[0] == 200
    for network in document["networks"]:
        network["lending"] = not network["lending"]
    await lender.publish(document)
    again = await offered(lender, good, network="glo")
    await age(database, again, 6)
    assert (await lender.internally("POST", f"/v1/offers/{again}/confirmations", {}))[0] == 200
