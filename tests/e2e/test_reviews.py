"""From a decline to a loan by a person's word, and from a withdrawn decision to none, over the whole platform."""

import json
from typing import Any
from uuid import UUID, uuid4

import pytest
from tests.e2e.lenders import Lender, new_lender
from tests.e2e.test_main_road import assert_proven, events_of
from tests.ids import near

from amana.infra.http import HttpClient
from amana.operate.reconcile import reconcile
from amana.operate.stack import Stack

SAID = {"reviewer": "Ngozi Bello", "reason": "Blocked by mistake: another person of that name."}


@pytest.fixture
async def judge(lender: Lender) -> Lender:
    """The same lender's judges, with a key of their own."""
    return await lender.with_another_key()


async def declined(lender: Lender, customer: UUID) -> UUID:
    id_ = uuid4()
    request = {"id": id_, "customer": customer, "product": "nano", "amount": 1_000_000, "currency": "NGN"}
    answer = await lender.must("POST", "eligibility", "/v1/eligibility/checks", request)
    assert answer["outcome"] == "decline", answer
    return id_


async def overridden(judge: Lender, decision: UUID, exposure_cap: int = 1_300_000) -> UUID:
    id_ = uuid4()
    body: dict[str, Any] = {"id": id_, "outcome": "approve", "amount": 1_000_000, "exposure_cap": exposure_cap}
    path = f"/v1/decisions/{decision}/overrides"
    answer = await judge.must("POST", "eligibility", path, body | SAID | {"ttl_s": 3_600})
    assert answer["review"]["offer"]["id"] == str(id_)
    return id_


async def test_an_override_is_booked_once_within_its_cap_and_proven(
    lender: Lender, judge: Lender, platform: Stack
) -> None:
    customer = await lender.customer(blocked=True)
    decision = await declined(lender, customer)
    appeal = {"id": uuid4(), "reason": "I am not that person."}
    await lender.must("POST", "eligibility", f"/v1/decisions/{decision}/appeals", appeal)
    offer = await overridden(judge, decision)
    resolution = {"id": uuid4(), "outcome": "changed", "changed_by": offer} | SAID
    await judge.must("POST", "eligibility", f"/v1/appeals/{appeal['id']}/resolutions", resolution)
    loan = await lender.must("POST", "transactions", "/v1/loans", {"id": near(customer), "offer_id": offer})
    assert (loan["origin"], loan["outstanding"], loan["decision_id"]) == ("offer", 1_300_000, str(offer))
    again = await lender.post("transactions", "/v1/loans", {"id": near(customer), "offer_id": offer})
    assert (again[0], again[1]["code"]) in {(409, "offer_used"), (409, "decision_changed")}
    told = await lender.must("GET", "eligibility", f"/v1/decisions/{loan['decision_id']}")
    assert (told["decision_id"], told["standing"], told["review_count"]) == (str(decision), "overridden", 3)
    events = await events_of(lender, decision, 4)
    types = [json.loads(event["body"])["type"] for event in events]
    assert sorted(types) == ["AppealResolved", "DecisionAppealed", "DecisionMade", "DecisionOverridden"]
    for event in events:
        await assert_proven(lender, event)
    result = await reconcile(platform.settings)
    assert result.ok, result.differences


async def test_an_override_does_not_raise_the_credit_line(lender: Lender, judge: Lender) -> None:
    customer = await lender.customer(credit_limit=1_299_999, blocked=True)
    offer = await overridden(judge, await declined(lender, customer))
    status, problem = await lender.post("transactions", "/v1/loans", {"id": near(customer), "offer_id": offer})
    assert (status, problem["code"], problem["figures"]["headroom"]) == (422, "limit_exceeded", 1_299_999)


async def test_what_was_reversed_can_not_be_booked_and_stays_refused(lender: Lender, judge: Lender) -> None:
    customer = await lender.customer()
    offer = (await lender.offer(customer))["decision_id"]
    reversal = {"id": uuid4()} | SAID
    answer = await judge.must("POST", "eligibility", f"/v1/decisions/{offer}/reversals", reversal)
    assert (answer["standing"], answer["booked"]) == ("reversing", "unknown")
    booking = {"id": near(customer), "offer_id": offer}
    for _ in range(2):
        status, problem = await lender.post("transactions", "/v1/loans", booking)
        assert (status, problem["code"]) == (409, "decision_reversed")


async def test_what_a_person_declined_can_not_be_booked(lender: Lender, judge: Lender) -> None:
    customer = await lender.customer()
    offer = (await lender.offer(customer))["decision_id"]
    decline = {"id": uuid4(), "outcome": "decline"} | SAID
    await judge.must("POST", "eligibility", f"/v1/decisions/{offer}/overrides", decline)
    status, problem = await lender.post("transactions", "/v1/loans", {"id": near(customer), "offer_id": offer})
    assert (status, problem["code"]) == (409, "decision_overridden")


async def test_another_lenders_judges_see_and_change_nothing(lender: Lender, platform: Stack, http: HttpClient) -> None:
    decision = await declined(lender, await lender.customer(blocked=True))
    stranger = await new_lender(platform, http)
    path = f"/v1/decisions/{decision}/reversals"
    status, problem = await stranger.post("eligibility", path, {"id": uuid4()} | SAID)
    assert (status, problem["code"]) == (404, "not_found")
