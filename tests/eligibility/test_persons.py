"""Persons: customers of one lender who share a BVN or NIN owe together, are late together and are blocked together."""

import asyncio
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
from tests.eligibility.conftest import GOOD_STANDING, KEPT, RECORD, Lender
from tests.eligibility.standings_server import StandingsServer

from amana.domain.persons import LINKED_MAX
from amana.eligibility.cache import AssessmentCache
from amana.eligibility.consumer import Invalidation, others
from amana.eligibility.customer_store import SQL
from amana.eligibility.customers import same_person
from amana.eligibility.memory import Memory
from amana.eligibility.projection import STREAM
from amana.infra.cache import Cache
from amana.infra.kafka import Message
from amana.infra.postgres import open_pool
from amana.infra.settings import Settings


def digits(number: int) -> str:
    return f"{number:011}"


def new_number() -> str:
    return digits(uuid4().int % 10**11)


async def facts_of(lender: Lender, customer: str) -> dict[str, Any]:
    decided = await lender.check(customer, id=str(uuid4()))
    _, explained = await lender.send("GET", f"/v1/decisions/{decided['decision_id']}")
    return {fact["name"]: fact["value"] for fact in explained["facts"]}


async def test_two_numbers_with_one_bvn_owe_together(lender: Lender, ledger: StandingsServer) -> None:
    bvn = new_number()
    first, second = [await lender.customer(bvn=bvn) for _ in range(2)]
    ledger.known[lender.tenant, UUID(first)] = GOOD_STANDING | {"exposure": 300_000, "loans_open": 1}
    ledger.known[lender.tenant, UUID(second)] = {"exposure": 200_000, "loans_total": 1, "worst_days_past_due": 9}
    for asking in (first, second):
        facts = await facts_of(lender, asking)
        assert (facts["exposure"], facts["linked_customers"]) == (500_000, 1)
        assert (facts["loans_total"], facts["worst_days_past_due"]) == (9, 9)
        decided = await lender.check(asking)
        assert decided["exposure"] == 500_000


async def test_persons_are_linked_through_one_another(lender: Lender) -> None:
    bvn, nin = new_number(), new_number()
    by_bvn = await lender.customer(bvn=bvn)
    by_nin = await lender.customer(nin=nin)
    assert (await lender.send("GET", f"/v1/customers/{by_bvn}"))[1]["linked"] == []
    both = await lender.customer(bvn=bvn, nin=nin)
    _, view = await lender.send("GET", f"/v1/customers/{by_bvn}")
    assert set(view["linked"]) == {by_nin, both}
    assert (await facts_of(lender, by_nin))["linked_customers"] == 2


async def test_a_bvn_is_never_a_nin_and_another_lenders_customer_never_the_same_person(
    lender: Lender, new_lender: Any
) -> None:
    number = new_number()
    other = await new_lender()
    ids = [await lender.customer(bvn=number), await lender.customer(nin=number), await other.customer(bvn=number)]
    for owner, id_ in zip((lender, lender, other), ids, strict=True):
        assert (await owner.send("GET", f"/v1/customers/{id_}"))[1]["linked"] == []


async def test_a_past_instant_is_asked_for_every_number(lender: Lender, ledger: StandingsServer) -> None:
    bvn = new_number()
    first, second = [await lender.customer(bvn=bvn) for _ in range(2)]
    ledger.calls.clear()
    await lender.check(first, as_of="2026-03-01T08:00:00Z")
    ((_, asked),) = ledger.calls
    assert {str(item.customer) for item in asked.items} == {first, second}
    assert {item.as_of.isoformat() for item in asked.items if item.as_of} == {"2026-03-01T08:00:00+00:00"}
    assert str(asked.items[0].customer) == first


async def test_a_block_on_one_number_binds_the_person_at_once(lender: Lender) -> None:
    bvn = new_number()
    first, second = [await lender.customer(bvn=bvn) for _ in range(2)]
    before = await lender.check(second)
    assert "customer_blocked" not in [reason["code"] for reason in before["reasons"]]
    asked = {"id": str(uuid4()), "code": "fraud_suspected", "reason": "Two names, one BVN."}
    await lender.send("POST", f"/v1/customers/{first}/blocks", asked)
    after = await lender.check(second)
    assert (after["source"], after["reasons"][0]["code"]) == ("fresh", "customer_blocked")
    _, view = await lender.send("GET", f"/v1/customers/{second}")
    assert (view["blocked"], view["person_blocked"]) == (False, True)
    lift = {"id": str(uuid4()), "reason": "One of them was misspelt."}
    await lender.send("POST", f"/v1/customers/{first}/blocks/fraud_suspected/lifts", lift)
    healed = await lender.check(second)
    assert (healed["source"], "customer_blocked" in [reason["code"] for reason in healed["reasons"]]) == (
        "fresh", False,
    )  # fmt: skip


async def test_who_becomes_or_ceases_to_be_the_same_person_is_seen_at_once(lender: Lender) -> None:
    bvn = new_number()
    first, second = await lender.customer(bvn=bvn), await lender.customer()
    for record, linked in (({"bvn": bvn}, 1), ({"bvn": None}, 0)):
        await lender.check(first)
        await lender.send("PUT", f"/v1/customers/{second}", RECORD | record)
        answer = await lender.check(first)
        assert answer["source"] == "fresh"
        assert (await facts_of(lender, first))["linked_customers"] == linked


async def test_an_event_of_the_ledger_drops_every_number_of_the_person(lender: Lender, settings: Settings) -> None:
    bvn = new_number()
    first, second, stranger = [await lender.customer(bvn=number) for number in (bvn, bvn, new_number())]
    for id_ in (first, second, stranger):
        await lender.check(id_)
    pool = await open_pool(settings.eligibility_database_url, "eligibility", connections=1)
    cache = AssessmentCache(Cache(settings.redis_url, deadline_ms=1_000), Memory(1, 0.0, 0.0), 5_000)
    try:
        invalidation = Invalidation(cache, partial(others, pool))
        event = msgspec.json.encode({"tenant": lender.tenant, "type": "LoanBooked", "data": {"customer": first}})
        message = Message("amana.transactions.events", 0, 0, b"", event, {})
        assert await invalidation.handle([message]) == {(lender.tenant, UUID(id_)) for id_ in (first, second)}
    finally:
        await pool.close()
    await asyncio.sleep(0.3)  # the service hears of it from the other process
    sources = [(await lender.check(id_))["source"] for id_ in (first, second, stranger)]
    assert sources[:2] == ["fresh", "fresh"] and sources[2] in KEPT


async def test_who_can_not_ask_who_is_the_same_person_knows_nobody_else(settings: Settings) -> None:
    pool = await open_pool(settings.eligibility_database_url, "eligibility", connections=1)
    await pool.close()
    assert await same_person(pool, [(1, uuid4())]) == set()


async def test_a_person_may_have_twenty_other_numbers_and_no_more(lender: Lender, ledger: StandingsServer) -> None:
    bvn = new_number()
    ids = [await lender.customer(bvn=bvn) for _ in range(LINKED_MAX + 1)]
    for id_ in ids:
        ledger.known[lender.tenant, UUID(id_)] = {"exposure": 1_000}
    facts = await facts_of(lender, ids[-1])
    assert (facts["exposure"], facts["linked_customers"]) == (1_000 * (LINKED_MAX + 1), LINKED_MAX)
    one_too_many = await lender.customer(bvn=bvn)
    for asking in (one_too_many, ids[0]):
        status, answer = await lender.ask(asking, id=str(uuid4()))
        assert (status, answer["code"], answer["figures"]) == (422, "person_ambiguous", {"linked_max": LINKED_MAX})


async def test_a_full_batch_of_persons_is_asked_for_in_calls_that_the_ledger_takes(
    lender: Lender, ledger: StandingsServer
) -> None:
    bvns = [new_number() for _ in range(60)]
    items = [{"customer": str(uuid4()), "record": RECORD | {"bvn": bvn}} for bvn in bvns for _ in range(LINKED_MAX + 1)]
    for at in range(0, len(items), 100):
        status, answer = await lender.send("POST", "/v1/customers:batch", {"customers": items[at : at + 100]})
        assert status == 200, answer
    asking = [str(item["customer"]) for item in items[:: LINKED_MAX + 1]]
    for item in items:
        ledger.known[lender.tenant, UUID(str(item["customer"]))] = {"exposure": 10}
    answers = await asyncio.gather(*(lender.check(id_, id=str(uuid4())) for id_ in asking))
    assert {answer["exposure"] for answer in answers} == {10 * (LINKED_MAX + 1)}


async def test_the_walk_from_customer_to_customer_goes_by_the_indexes(
    eligibility: "asyncpg.Connection[asyncpg.Record]", database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await eligibility.execute("SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan")
    # Tests have lenders with a customer or two, for whom any index would do.
    await database.execute("ALTER TABLE customers ALTER COLUMN tenant SET (n_distinct = 1)")
    await database.execute("ANALYZE customers")
    try:
        await eligibility.execute(f"PREPARE walk AS {SQL['find_customers']}")
        plan = await eligibility.fetch(f"EXPLAIN EXECUTE walk('{{1}}', '{{{uuid4()}}}', {LINKED_MAX + 2}, '{STREAM}')")
    finally:
        await database.execute("ALTER TABLE customers ALTER COLUMN tenant RESET (n_distinct)")
    told = "\n".join(row[0] for row in plan)
    assert "customers_of_bvn" in told
    assert "customers_of_nin" in told
    assert "customer_blocks_of_customer" in told
