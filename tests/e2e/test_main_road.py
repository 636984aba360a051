"""The main road over HTTP: ask, decide, book, repay, seal, prove; and what another lender sees of it."""

import asyncio
import hashlib
from typing import Any
from uuid import uuid4

import pytest
from tests.e2e.lenders import Lender, new_lender
from tests.ids import near

from amana.audit.checkpoint import open_note, parse_verifier_key
from amana.audit.merkle import verify_inclusion
from amana.audit.verify import run_verify
from amana.gateway import provision
from amana.infra.http import HttpClient
from amana.operate.reconcile import reconcile
from amana.operate.stack import Stack

SEALED_WITHIN_S = 30.0


async def sealed(lender: Lender, event_id: str) -> dict[str, Any]:
    """The inclusion proof of an event, once it is sealed."""
    for _ in range(int(SEALED_WITHIN_S / 0.1)):
        status, proof = await lender.get("audit", f"/v1/audit/events/{event_id}/proof")
        if status == 200:
            return proof
        await asyncio.sleep(0.1)
    raise AssertionError(f"not sealed within {SEALED_WITHIN_S} s: {status} {proof}")


async def events_of(lender: Lender, aggregate: object, count: int) -> list[dict[str, Any]]:
    """The events of an aggregate, once there are `count`."""
    for _ in range(int(SEALED_WITHIN_S / 0.1)):
        page = await lender.must("GET", "audit", f"/v1/audit/events?aggregate={aggregate}")
        if len(page["events"]) >= count:
            return list(page["events"])
        await asyncio.sleep(0.1)
    raise AssertionError(f"fewer than {count} events of {aggregate}: {page}")


async def test_a_loan_from_the_question_to_the_proof(lender: Lender) -> None:
    customer = await lender.customer()
    loan = await lender.loan(customer)
    assert (loan["origin"], loan["status"], loan["principal"]) == ("offer", "open", 1_000_000)
    path = f"/v1/loans/{loan['id']}/repayments"
    part = await lender.must("POST", "transactions", path, {"id": near(customer), "amount": 400_000})
    assert part["fee_part"] == loan["fee"]
    over = loan["outstanding"]
    rest = await lender.must("POST", "transactions", path, {"id": near(customer), "amount": over})
    assert (rest["loan_status"], rest["excess"]) == ("closed", 400_000)
    assert await lender.trial_difference() == {"NGN": 0}
    events = await events_of(lender, loan["id"], 4)
    types = {event["body"].split('"type":"')[-1].split('"')[0] for event in events}
    assert types == {"LoanBooked", "RepaymentReceived", "LoanClosed"}
    await assert_proven(lender, events[0])


async def assert_proven(lender: Lender, event: dict[str, Any]) -> None:
    """Checks an inclusion proof as a third party would: with the body, the proof and the published key."""
    proof = await sealed(lender, event["event_id"])
    checkpoint = open_note(proof["checkpoint"], parse_verifier_key(proof["verifier_key"]))
    leaf = hashlib.sha256(b"\0" + event["body"].encode()).digest()
    assert leaf.hex() == proof["leaf_hash"]
    hashes = [bytes.fromhex(one) for one in proof["hashes"]]
    assert verify_inclusion(leaf, proof["position"], checkpoint.size, hashes, checkpoint.root)


async def test_a_decision_explains_itself(lender: Lender) -> None:
    customer = await lender.customer(blocked=True)
    request = {"id": uuid4(), "customer": customer, "product": "nano", "amount": 1_000_000, "currency": "NGN"}
    answer = await lender.must("POST", "eligibility", "/v1/eligibility/checks", request)
    assert answer["outcome"] == "decline"
    assert answer["offer"] is None
    assert answer["reasons"][0]["code"] == "customer_blocked"
    explained = await lender.must("GET", "eligibility", f"/v1/decisions/{answer['decision_id']}")
    assert explained["decision_id"] == answer["decision_id"]


async def test_a_declined_request_can_not_be_booked(lender: Lender) -> None:
    customer = await lender.customer(blocked=True)
    request = {"id": uuid4(), "customer": customer, "product": "nano", "amount": 1_000_000, "currency": "NGN"}
    await lender.must("POST", "eligibility", "/v1/eligibility/checks", request)
    status, problem = await lender.post("transactions", "/v1/loans", {"id": near(customer), "offer_id": request["id"]})
    assert (status, problem["code"]) == (404, "offer_not_found")


async def test_exposure_counts_in_the_next_decision(lender: Lender) -> None:
    customer = await lender.customer()
    await lender.loan(customer)
    question = {"customer": customer, "product": "nano", "amount": 1_000_000, "currency": "NGN"}
    request = question | {"id": uuid4()}
    answer = await lender.must("POST", "eligibility", "/v1/eligibility/checks", request)
    assert answer["outcome"] != "approve"
    assert answer["exposure"] > 0


async def test_an_offer_books_one_loan_whoever_races_for_it(lender: Lender) -> None:
    customer = await lender.customer()
    offer = await lender.offer(customer)
    bookings = [
        lender.post("transactions", "/v1/loans", {"id": near(customer), "offer_id": offer["decision_id"]})
        for _ in range(8)
    ]
    statuses = sorted([status for status, _ in await asyncio.gather(*bookings)])
    assert statuses == [201] + [409] * 7


async def test_a_booking_sent_again_gives_the_first_answer_and_a_changed_one_is_refused(lender: Lender) -> None:
    customer = await lender.customer()
    offer = await lender.offer(customer)
    booking = {"id": near(customer), "offer_id": offer["decision_id"]}
    first = await lender.must("POST", "transactions", "/v1/loans", booking)
    again = await lender.must("POST", "transactions", "/v1/loans", booking)
    assert again == first | {"replayed": True}
    status, problem = await lender.post("transactions", "/v1/loans", booking | {"offer_id": uuid4()})
    assert (status, problem["code"], problem["figures"]) == (409, "id_conflict", {"field": "offer_id"})


class TestAnotherLenderSeesNothing:
    @pytest.fixture
    async def other(self, platform: Stack, http: HttpClient) -> Lender:
        return await new_lender(platform, http)

    async def test_of_a_customer_a_loan_an_account_a_decision_or_an_event(self, lender: Lender, other: Lender) -> None:
        customer = await lender.customer()
        loan = await lender.loan(customer)
        account = await lender.account()
        events = await events_of(lender, loan["id"], 1)
        await sealed(lender, events[0]["event_id"])
        paths = [
            ("eligibility", f"/v1/customers/{customer}"),
            ("eligibility", f"/v1/decisions/{loan['decision_id']}"),
            ("transactions", f"/v1/loans/{loan['id']}"),
            ("transactions", f"/v1/accounts/{account}"),
            ("transactions", f"/v1/accounts/{account}/entries"),
            ("audit", f"/v1/audit/events/{events[0]['event_id']}"),
            ("audit", f"/v1/audit/events/{events[0]['event_id']}/proof"),
        ]
        for service, path in paths:
            mine, _ = await lender.get(service, path)
            theirs, _ = await other.get(service, path)
            assert (mine, theirs) == (200, 404), path
        page = await other.must("GET", "audit", f"/v1/audit/events?aggregate={loan['id']}")
        assert page["events"] == []

    async def test_nor_moves_its_money(self, lender: Lender, other: Lender) -> None:
        customer = await lender.customer()
        loan = await lender.loan(customer)
        mine, theirs = await lender.account(), await other.account()
        item = {"id": near(theirs), "debit_account": theirs, "credit_account": mine, "amount": 5, "currency": "NGN"}
        answer = await other.must("POST", "transactions", "/v1/transfers", {"transfers": [item]})
        assert answer["results"][0]["reason"] == "account_not_found"
        repayment = {"id": near(loan["id"]), "amount": 5}
        status, _ = await other.post("transactions", f"/v1/loans/{loan['id']}/repayments", repayment)
        assert status == 404
        assert await lender.balance(mine) == 0


async def test_acting_at_a_past_time_needs_its_own_scope(lender: Lender, platform: Stack, http: HttpClient) -> None:
    customer = await lender.customer()
    past = "2017-01-05T10:00:00Z"
    imported = {
        "id": near(customer),
        "imported": {
            "customer": customer,
            "product": "nano",
            "currency": "NGN",
            "principal": 1_000_000,
            "fee": 300_000,
            "term_days": 30,
        },
        "effective_at": past,
    }
    status, problem = await lender.post("transactions", "/v1/loans", imported)
    assert (status, problem["code"]) == (403, "scope_missing")
    importer = await new_lender(platform, http, provision.ALL_SCOPES)
    borrower = await importer.customer()
    imported["imported"] |= {"customer": borrower}  # type: ignore[operator]
    imported["id"] = near(borrower)
    loan = await importer.must("POST", "transactions", "/v1/loans", imported)
    assert (loan["origin"], loan["effective_on"], loan["due_on"]) == ("imported", "2017-01-05", "2017-02-04")
    check = {"id": uuid4(), "customer": borrower, "product": "nano", "amount": 1_000_000, "currency": "NGN"}
    before = await importer.must(
        "POST", "eligibility", "/v1/eligibility/checks", check | {"as_of": "2017-01-04T10:00:00Z"}
    )
    assert before["exposure"] == 0
    after = await importer.must(
        "POST", "eligibility", "/v1/eligibility/checks", check | {"id": uuid4(), "as_of": "2017-01-06T10:00:00Z"}
    )
    assert after["exposure"] == 1_300_000


async def test_in_the_end_everything_agrees_and_verifies(lender: Lender, platform: Stack) -> None:
    await lender.loan(await lender.customer())
    result = await reconcile(platform.settings)
    assert result.ok, result.differences
    assert sum(result.events.values()) == sum(result.leaves.values()) == sum(result.sealed.values()) > 0
    verified = await run_verify(platform.settings)
    assert verified.ok, verified.first_bad
