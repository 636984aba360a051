"""Many customers at once: a result each, in order, and one that is wrong leaves its neighbours alone."""

import asyncio
import json
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from tests.eligibility.conftest import KEPT, RECORD, Lender

BUREAU = {"as_of": "2026-03-01T08:00:00Z", "bureau_count": 2, "score": 640}


def item(**parts: Any) -> dict[str, Any]:
    return {"customer": str(uuid4()), "record": RECORD} | parts


async def send(lender: Lender, *items: Any) -> list[dict[str, Any]]:
    """The results of a batch that is well-formed."""
    status, answer = await lender.send("POST", "/v1/customers:batch", {"customers": list(items)})
    assert status == 200, answer
    results: list[dict[str, Any]] = answer["results"]
    return results


async def test_a_thousand_customers_are_recorded_in_one_request(
    lender: Lender, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    items = [item(bureau=BUREAU) for _ in range(1_000)]
    results = await send(lender, *items)
    assert [result["customer"] for result in results] == [one["customer"] for one in items]
    assert {(result["status"], result["facts_version"]) for result in results} == {("recorded", 1)}
    assert await database.fetchval("SELECT count(*) FROM customers WHERE tenant = $1", lender.tenant) == 1_000
    rows = await database.fetch("SELECT aggregate_id, xid FROM outbox WHERE tenant = $1 ORDER BY seq", lender.tenant)
    assert [str(row["aggregate_id"]) for row in rows] == [one["customer"] for one in items]
    assert len({row["xid"] for row in rows}) == 1


async def test_an_item_that_is_wrong_leaves_its_neighbours_alone(
    lender: Lender, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    wrong: list[tuple[Any, str]] = [
        (item(record=RECORD | {"bvn": "1"}), "/customers/1/record/bvn"),
        (item(record=RECORD | {"birth_date": "2999-01-01"}), "/customers/2/record/birth_date"),
        (item(record=RECORD | {"kyc_tier": "1"}), "/customers/3/record/kyc_tier"),
        (item(record=RECORD | {"bank_code": "058", "nuban": "0141072238"}), "/customers/4/record/nuban"),
        (item(customer="nobody"), "/customers/5/customer"),
        ({"record": RECORD}, "/customers/6/customer"),
        (item(record=None), "/customers/7"),
        (item(surprise=1), "/customers/8/surprise"),
        (item(record=None, topups={"as_of": "2999-01-01T00:00:00Z", "monthly": 1}), "/customers/9/topups/as_of"),
        (item(record=None, consents={}), "/customers/10/consents"),
        ({}, "/customers/11/customer"),
    ]
    good = [item(), item()]
    results = await send(lender, good[0], *(bad for bad, _ in wrong), good[1])
    assert [result["status"] for result in results] == ["recorded", *["refused"] * len(wrong), "recorded"]
    for result, (bad, pointer) in zip(results[1:-1], wrong, strict=True):
        assert (result["reason"], result["errors"][0]["pointer"]) == ("validation", pointer)
        assert result["customer"] == (bad.get("customer") if bad.get("customer") != "nobody" else None)
    kept = await database.fetch("SELECT customer FROM customers WHERE tenant = $1", lender.tenant)
    assert {str(row["customer"]) for row in kept} == {one["customer"] for one in good}


async def test_an_item_that_is_refused_leaves_its_neighbours_alone(lender: Lender) -> None:
    known = await lender.customer()
    results = await send(
        lender,
        {"customer": str(uuid4()), "bureau": BUREAU},
        {"customer": known, "bureau": BUREAU, "if_version": 7},
        {"customer": known, "bureau": BUREAU, "if_version": 1},
        {"customer": known, "bureau": BUREAU | {"as_of": "2026-02-01T00:00:00Z"}},
    )
    assert [(result["status"], result["reason"]) for result in results] == [
        ("refused", "customer_not_found"), ("refused", "version_conflict"), ("recorded", None),
        ("refused", "facts_older"),
    ]  # fmt: skip
    assert results[1]["figures"] == {"facts_version": 1}
    assert results[1]["errors"][0]["pointer"] == "/customers/1/if_version"
    assert results[3]["errors"][0]["pointer"] == "/customers/3/bureau/as_of"


async def test_a_batch_does_what_its_items_do_one_at_a_time(
    lender: Lender, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    alone, together = str(uuid4()), str(uuid4())
    changes: list[tuple[str, dict[str, Any]]] = [
        ("record", RECORD), ("record", RECORD), ("bureau", BUREAU), ("record", RECORD | {"kyc_tier": 1}),
        ("topups", {"as_of": BUREAU["as_of"], "monthly": 7}),
    ]  # fmt: skip
    for part, body in changes:
        await lender.send("PUT", f"/v1/customers/{alone}" + ("" if part == "record" else f"/{part}"), body)
    results = await send(lender, *({"customer": together, part: body} for part, body in changes))
    assert [(one["status"], one["facts_version"]) for one in results] == [
        ("recorded", 1), ("unchanged", 1), ("recorded", 2), ("recorded", 3), ("recorded", 4),
    ]  # fmt: skip
    views = [(await lender.send("GET", f"/v1/customers/{id_}"))[1] for id_ in (alone, together)]
    events = []
    for id_ in (alone, together):
        rows = await database.fetch("SELECT body FROM outbox WHERE aggregate_id = $1::uuid ORDER BY seq", id_)
        events.append([json.loads(row["body"])["data"] | {"customer": ""} for row in rows])
    for view in views:
        del view["customer"], view["recorded_at"]
    assert views[0] == views[1]
    assert events[0] == events[1]


async def test_batches_that_race_for_the_same_customers_lose_nothing(lender: Lender) -> None:
    ids = [str(uuid4()) for _ in range(20)]
    batches = [
        [{"customer": id_, "record": RECORD | {"monthly_income": income}} for id_ in order]
        for income, order in enumerate((ids, ids[::-1], ids, ids[::-1]), start=1)
    ]
    answers = await asyncio.gather(*(send(lender, *batch) for batch in batches))
    versions = [{one["customer"]: one["facts_version"] for one in answer} for answer in answers]
    for id_ in ids:
        assert sorted(one[id_] for one in versions) == [1, 2, 3, 4]


async def test_what_a_batch_changes_is_seen_at_once(lender: Lender) -> None:
    ids = [await lender.customer() for _ in range(3)]
    for id_ in ids:
        await lender.check(id_)
    await send(lender, *({"customer": id_, "bureau": BUREAU} for id_ in ids[:2]))
    sources = [(await lender.check(id_))["source"] for id_ in ids]
    assert sources[:2] == ["fresh", "fresh"] and sources[2] in KEPT


async def test_a_warning_is_told_with_its_place(lender: Lender) -> None:
    (_, result) = await send(lender, item(), item(record=RECORD | {"bank_code": "50211", "nuban": "2000000014"}))
    assert result["status"] == "recorded"
    assert [warning["pointer"] for warning in result["warnings"]] == ["/customers/1/record/nuban"]


@pytest.mark.parametrize(
    ("body", "status", "pointer"),
    [
        ({"customers": []}, 400, "/customers"),
        ({"customers": [item()] * 1_001}, 413, "/customers"),
        ({"customers": {}}, 400, "/customers"),
        ({"customers": ["somebody"]}, 400, "/customers/0"),
        ({}, 400, "/customers"),
        ({"customers": [item(record=RECORD | {"monthly_income": 10**30})]}, 400, "/customers/0/record/monthly_income"),
    ],
    ids=str,
)
async def test_a_body_that_is_no_batch_is_refused_whole(
    lender: Lender, body: dict[str, Any], status: int, pointer: str
) -> None:
    answered, answer = await lender.send("POST", "/v1/customers:batch", body)
    assert (answered, answer["errors"][0]["pointer"]) == (status, pointer)
