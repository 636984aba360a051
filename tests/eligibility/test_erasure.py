"""Erasing a customer: restricted at once, destroyed when no law keeps them, and never back again."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from tests.eligibility.conftest import GOOD_STANDING, RECORD, Lender
from tests.eligibility.standings_server import StandingsServer

from amana.domain.money import Currency
from amana.eligibility.erasing import Eraser
from amana.eligibility.flow import Flow
from amana.eligibility.jobs import erase_due
from amana.gateway.provision import create_key
from amana.infra.settings import Settings
from amana.operate.prequalify.pages import Reader
from amana.vault.vault import Vault

IDENTITY = {"bvn": "22212345678", "nin": "70123456789", "bank_code": "011", "nuban": "0000014579"}
PERSONAL = ("birth_sealed", "identity_sealed", "bvn_token", "nin_token", "employment", "monthly_income", "bureau_as_of")
RETENTION = timedelta(days=1_827)


async def erase(lender: Lender, customer: str, reason: str = "customer_request", id_: str = "") -> tuple[int, Any]:
    body = {"id": id_ or str(uuid4()), "reason": reason}
    return await lender.send("POST", f"/v1/customers/{customer}/erasures", body)


async def code(lender: Lender, method: str, path: str, body: object = None, key: str | None = None) -> str:
    """The code of a refusal."""
    status, answer = await lender.send(method, path, body, key)
    assert status >= 400, answer
    return str(answer["code"])


async def events(database: Any, customer: str) -> list[tuple[str, dict[str, Any]]]:
    rows = await database.fetch(
        "SELECT type, body FROM outbox WHERE convert_from(body, 'UTF8')::jsonb -> 'data' ->> 'customer' = $1"
        " ORDER BY seq",
        customer,
    )
    return [(row["type"], json.loads(row["body"])["data"]) for row in rows]


async def come_due(database: Any, customer: str) -> None:
    await database.execute("UPDATE erasures SET next_at = '2020-01-01' WHERE customer = $1", UUID(customer))


async def test_who_was_never_decided_about_is_erased_at_once(lender: Lender, database: Any, vault: Vault) -> None:
    ada = await lender.customer(**IDENTITY)
    await lender.send("PUT", f"/v1/customers/{ada}/bureau", {"as_of": "2026-01-01T00:00:00Z", "bureau_count": 2})
    block = {"id": str(uuid4()), "code": "fraud", "reason": "Ada Obi called from a strange phone."}
    assert (await lender.send("POST", f"/v1/customers/{ada}/blocks", block))[0] == 200
    status, done = await erase(lender, ada)
    assert (status, done["state"], done["replayed"]) == (200, "erased", False)
    assert done["destroyed_at"] is not None
    row = await database.fetchrow("SELECT * FROM customers WHERE customer = $1", UUID(ada))
    assert [row[name] for name in PERSONAL] == [None] * len(PERSONAL)
    assert row["processing"] == "erased"
    kept = await database.fetchrow("SELECT * FROM customer_blocks WHERE customer = $1", UUID(ada))
    assert (kept["reason"], kept["words_sealed"]) == (None, None)
    where = lender.tenant, UUID(ada)
    assert await vault.keys([where]) == {where: None}
    assert await code(lender, "GET", f"/v1/customers/{ada}") == "customer_erased"
    assert await code(lender, "PUT", f"/v1/customers/{ada}", RECORD) == "customer_erased"
    assert await code(lender, "GET", f"/v1/customers/{ada}/export") == "customer_erased"
    assert (await lender.ask(ada))[1]["code"] == "customer_erased"
    assert await code(lender, "POST", f"/v1/customers/{ada}/blocks", block | {"id": str(uuid4())}) == "customer_erased"


async def test_each_step_is_an_event_without_anything_personal(lender: Lender, database: Any) -> None:
    ada = await lender.customer(**IDENTITY)
    _, done = await erase(lender, ada, "not_needed")
    told = (await events(database, ada))[1:]
    erasure = done["id"]
    assert datetime.fromisoformat(told[1][1]["due_at"]) == datetime.fromisoformat(done["requested_at"])
    assert told == [
        ("CustomerRestricted", {"customer": ada, "facts_version": 2, "erasure": erasure, "reason": "not_needed"}),
        ("CustomerErasurePlanned", {"customer": ada, "erasure": erasure, "due_at": told[1][1]["due_at"]}),
        ("CustomerErased", {"customer": ada, "facts_version": 3, "erasure": erasure}),
    ]


async def test_whom_the_law_keeps_is_restricted_at_once_and_destroyed_later(
    lender: Lender, good: str, database: Any, settings: Settings
) -> None:
    offer = str(uuid4())
    asked_at = (await lender.check(good, id=offer))["as_of"]
    cached = await lender.check(good)
    assert cached["outcome"] == "approve"
    _, asked = await erase(lender, good)
    assert (asked["state"], asked["destroyed_at"]) == ("restricted", None)
    due = datetime.fromisoformat(asked["due_at"]) - RETENTION
    assert timedelta(0) <= due - datetime.fromisoformat(asked_at) < timedelta(seconds=30)
    assert (await lender.ask(good))[1]["code"] == "customer_restricted"
    assert (await lender.ask(good, id=str(uuid4())))[1]["code"] == "customer_restricted"
    status, refused = await lender.internally("POST", f"/v1/offers/{offer}/confirmations", {})
    assert (status, refused["code"]) == (409, "customer_restricted")
    assert await code(lender, "PUT", f"/v1/customers/{good}", RECORD | {"phone": None}) == "customer_restricted"
    clerk = await create_key(settings.owner_database_url, lender.tenant, ["customers:write", "customers:identity"])
    assert await code(lender, "GET", f"/v1/customers/{good}", key=clerk) == "customer_restricted"
    assert await code(lender, "GET", f"/v1/customers/{good}/blocks", key=clerk) == "customer_restricted"
    status, view = await lender.send("GET", f"/v1/customers/{good}")
    assert (status, view["phone"]) == (200, "+2348031234567")
    assert (await lender.send("GET", f"/v1/customers/{good}/erasures"))[1]["due_at"] == asked["due_at"]


async def test_when_the_time_has_come_the_job_destroys(lender: Lender, good: str, database: Any, flow: Flow) -> None:
    await lender.check(good, id=str(uuid4()))
    await erase(lender, good)
    await come_due(database, good)
    await erase_due(Eraser(flow, RETENTION))  # looked at too early: it is planned again
    assert (await lender.send("GET", f"/v1/customers/{good}/erasures"))[1]["state"] == "restricted"
    await come_due(database, good)
    await erase_due(Eraser(flow, timedelta(0)))
    assert (await lender.send("GET", f"/v1/customers/{good}/erasures"))[1]["state"] == "erased"
    assert [type_ for type_, _ in await events(database, good)][-2:] == ["CustomerErasurePlanned", "CustomerErased"]


async def test_who_owes_is_not_destroyed_before_it_is_paid(
    lender: Lender, good: str, database: Any, ledger: StandingsServer, flow: Flow
) -> None:
    ledger.known[lender.tenant, UUID(good)] = GOOD_STANDING | {"loans_open": 1, "exposure": 1_300_000}
    _, asked = await erase(lender, good)
    assert (asked["state"], asked["due_at"]) == ("restricted", None)
    ledger.known[lender.tenant, UUID(good)] = GOOD_STANDING | {"last_closed_on": "2026-03-04"}
    await come_due(database, good)
    await erase_due(Eraser(flow, RETENTION))
    _, planned = await lender.send("GET", f"/v1/customers/{good}/erasures")
    assert datetime.fromisoformat(planned["due_at"]) == datetime(2026, 3, 4, 23, tzinfo=UTC) + RETENTION


async def test_a_ledger_that_is_away_restricts_all_the_same(
    lender: Lender, ledger: StandingsServer, database: Any, flow: Flow
) -> None:
    ada = await lender.customer()
    ledger.down = True
    status, asked = await erase(lender, ada)
    assert (status, asked["state"], asked["due_at"]) == (200, "restricted", None)
    assert (await lender.ask(ada))[1]["code"] == "customer_restricted"
    ledger.down = False
    await come_due(database, ada)
    await erase_due(Eraser(flow, RETENTION))
    assert (await lender.send("GET", f"/v1/customers/{ada}/erasures"))[1]["state"] == "erased"


async def test_a_customer_is_erased_once(lender: Lender, database: Any) -> None:
    ada, id_ = await lender.customer(), str(uuid4())
    _, first = await erase(lender, ada, id_=id_)
    for again in (await erase(lender, ada, id_=id_), await erase(lender, ada, "unlawful")):
        assert again == (200, first | {"replayed": True})
    status, other = await erase(lender, ada, "unlawful", id_)
    assert (status, other["code"], other["figures"]) == (409, "id_conflict", {"field": "reason"})
    obi = await lender.customer()
    status, other = await erase(lender, obi, id_=id_)
    assert (status, other["code"], other["figures"]) == (409, "id_conflict", {"field": "customer"})
    types = [type_ for type_, _ in await events(database, ada)]
    assert types.count("CustomerErased") == types.count("CustomerRestricted") == 1


async def test_one_id_for_two_customers_at_once_erases_one(lender: Lender) -> None:
    customers, id_ = [await lender.customer() for _ in range(2)], str(uuid4())
    answers = await asyncio.gather(*(erase(lender, customer, id_=id_) for customer in customers))
    assert sorted(status for status, _ in answers) == [200, 409]
    assert sorted([(await lender.ask(customer))[0] for customer in customers]) == [200, 409]


async def test_an_erased_customer_in_a_batch_is_one_refused_item(lender: Lender) -> None:
    ada, obi = await lender.customer(), await lender.customer()
    await erase(lender, ada)
    items = [{"customer": one, "record": RECORD | {"kyc_tier": 1}} for one in (ada, obi)]
    _, answer = await lender.send("POST", "/v1/customers:batch", {"customers": items})
    assert [(one["status"], one["reason"]) for one in answer["results"]] == [
        ("refused", "customer_erased"),
        ("recorded", None),
    ]


async def test_who_is_to_be_erased_is_in_no_list_of_offers(lender: Lender, good: str, flow: Flow) -> None:
    ada = await lender.customer()
    await lender.check(ada, id=str(uuid4()))
    await erase(lender, ada)
    reader = Reader(flow.pool, flow.vault, flow.ledger, lender.tenant, Currency.NGN)
    pages = [page async for page in reader.pages(None)]
    assert [str(one) for page in pages for one in page.decidable] == [good]
    assert await reader.count(None) == 1


async def test_requests_at_once_erase_once(lender: Lender, database: Any) -> None:
    ada = await lender.customer()
    answers = await asyncio.gather(*(erase(lender, ada) for _ in range(6)))
    assert len({answer["id"] for _, answer in answers}) == 1
    assert (await lender.send("GET", f"/v1/customers/{ada}/erasures"))[1]["state"] == "erased"
    types = [type_ for type_, _ in await events(database, ada)]
    assert types == ["CustomerFactsRecorded", "CustomerRestricted", "CustomerErasurePlanned", "CustomerErased"]


async def test_a_change_that_races_with_an_erasure_brings_nothing_back(lender: Lender, database: Any) -> None:
    for number in range(5):
        ada = await lender.customer(**IDENTITY)
        change = RECORD | IDENTITY | {"monthly_income": number}
        await asyncio.gather(
            *(lender.send("PUT", f"/v1/customers/{ada}", change | {"kyc_tier": tier}) for tier in (1, 2, 3)),
            erase(lender, ada),
            *(lender.send("PUT", f"/v1/customers/{ada}", change | {"kyc_tier": tier}) for tier in (1, 2, 3)),
        )
        row = await database.fetchrow("SELECT * FROM customers WHERE customer = $1", UUID(ada))
        assert [row[name] for name in (*PERSONAL, "bvn", "nin", "phone")] == [None] * (len(PERSONAL) + 3)
        assert row["processing"] == "erased"


async def test_an_erasure_that_was_cut_short_goes_on(
    lender: Lender, good: str, database: Any, flow: Flow, vault: Vault
) -> None:
    await erase(lender, good)
    await vault.destroy(lender.tenant, UUID(good))  # and then the process was killed
    assert await code(lender, "GET", f"/v1/customers/{good}") == "customer_erased"
    await come_due(database, good)
    await erase_due(Eraser(flow, timedelta(0)))
    row = await database.fetchrow("SELECT * FROM customers WHERE customer = $1", UUID(good))
    assert (row["processing"], row["birth_sealed"]) == ("erased", None)


async def test_who_shared_a_number_with_the_erased_is_a_person_of_their_own(
    lender: Lender, ledger: StandingsServer
) -> None:
    ada, obi = await lender.customer(bvn="22212345678"), await lender.customer(bvn="22212345678")
    assert (await lender.send("GET", f"/v1/customers/{obi}"))[1]["linked"] == [ada]
    await erase(lender, ada)
    _, view = await lender.send("GET", f"/v1/customers/{obi}")
    assert (view["linked"], view["bvn"]) == ([], "22212345678")
    third = await lender.customer(bvn="22212345678")
    assert (await lender.send("GET", f"/v1/customers/{obi}"))[1]["linked"] == [third]


async def test_words_of_reviews_go_and_the_record_of_them_stays(
    lender: Lender, good: str, judge: str, database: Any, flow: Flow
) -> None:
    decision = str(uuid4())
    await lender.check(good, id=decision, amount=2_000_000)
    appeal = {"id": str(uuid4()), "reason": "My name is Ada Obi and I was ill."}
    assert (await lender.send("POST", f"/v1/decisions/{decision}/appeals", appeal))[0] == 201
    _, before = await lender.send("GET", f"/v1/decisions/{decision}", key=judge)
    assert before["reviews"][0]["reason"] == appeal["reason"]
    await erase(lender, good)
    await come_due(database, good)
    await erase_due(Eraser(flow, timedelta(0)))
    assert await database.fetchval("SELECT count(*) FROM review_words WHERE customer = $1", UUID(good)) == 0
    _, after = await lender.send("GET", f"/v1/decisions/{decision}", key=judge)
    assert after["reviews"][0] == before["reviews"][0] | {"reason": None}
    assert (await lender.send("POST", f"/v1/decisions/{decision}/appeals", appeal))[1]["replayed"]
    _, listed = await lender.send("GET", "/v1/appeals", key=judge)
    assert [one["reason"] for one in listed["appeals"]] == [None]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"reason": "not_needed"}, "/id"),
        ({"id": "x", "reason": "not_needed"}, "/id"),
        ({"id": str(UUID(int=7))}, "/reason"),
        ({"id": str(UUID(int=7)), "reason": "Ada asked"}, "/reason"),
        ({"id": str(UUID(int=7)), "reason": 1}, "/reason"),
        ({"id": str(UUID(int=7)), "reason": "not_needed", "why": ""}, "/why"),
    ],
)
async def test_what_can_not_be_is_named_and_restricts_nobody(
    lender: Lender, body: dict[str, Any], pointer: str
) -> None:
    ada = await lender.customer()
    status, answer = await lender.send("POST", f"/v1/customers/{ada}/erasures", body)
    assert (status, answer["errors"][0]["pointer"]) == (400, pointer)
    assert await code(lender, "GET", f"/v1/customers/{ada}/erasures") == "not_found"
    assert (await lender.ask(ada))[0] == 200


async def test_nobody_is_erased_without_the_scope_nor_by_another_lender(
    lender: Lender, settings: Settings, new_lender: Any
) -> None:
    ada = await lender.customer()
    clerk = await create_key(settings.owner_database_url, lender.tenant, ["customers:write", "privacy:read"])
    body = {"id": str(uuid4()), "reason": "not_needed"}
    assert await code(lender, "POST", f"/v1/customers/{ada}/erasures", body, clerk) == "scope_missing"
    other = await new_lender()
    assert (await erase(other, ada))[1]["code"] == "customer_not_found"
    assert await code(other, "GET", f"/v1/customers/{ada}/export") == "customer_not_found"
    assert (await lender.send("GET", f"/v1/customers/{ada}"))[0] == 200
