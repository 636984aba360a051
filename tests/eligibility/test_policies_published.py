"""Publishing: hashes that name documents, faults by their pointers, and a default for who has published nothing."""

import asyncio
import json
from datetime import timedelta
from hashlib import sha256
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
import rfc8785
from tests.domain.policy_model import SHIPPED, shipped
from tests.eligibility.conftest import Lender

from amana.domain.policy import policy_bytes
from amana.eligibility import policy_store
from amana.eligibility.flow import Flow


def nano(**changes: object) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(policy_bytes(shipped("nano")))
    return document | changes


@pytest.mark.parametrize("product", SHIPPED)
async def test_the_shipped_policy_decides_until_another_is_published(lender: Lender, product: str) -> None:
    status, view = await lender.send("GET", f"/v1/policies/{product}")
    assert (status, view["version"], view["state"]) == (200, 1, "live")
    assert {view["drafted_by"], view["approved_by"]} == {"system:eligibility"}
    assert view["hash"] == sha256(rfc8785.dumps(view["document"])).hexdigest()


async def test_a_published_policy_decides_the_next_check(lender: Lender, good: str) -> None:
    before = await lender.check(good)
    published = await lender.publish(nano(lending=False))
    assert (published["version"], published["state"], published["replayed"]) == (2, "live", False)
    after = await lender.check(good)
    assert (before["outcome"], after["outcome"]) == ("approve", "decline")
    assert after["reasons"][0]["code"] == "lending_off"
    assert after["policy"] == {"name": "nano", "version": 2, "hash": published["hash"]}
    old = (await lender.send("GET", f"/v1/decisions/{before['decision_id']}"))[1]
    assert (old["outcome"], old["policy"]["version"]) == ("approve", 1)


async def test_first_checks_that_race_record_the_default_once(
    lender: Lender, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    customers = [await lender.customer() for _ in range(8)]
    await asyncio.gather(*(lender.check(customer, 10_000, product="airtime") for customer in customers))
    rows = await database.fetch("SELECT version FROM policies WHERE tenant = $1", lender.tenant)
    assert [row["version"] for row in rows] == [1]
    told = await database.fetch(
        "SELECT type FROM outbox WHERE tenant = $1 AND type LIKE 'Policy%' ORDER BY seq", lender.tenant
    )
    assert [row["type"] for row in told] == ["PolicyDrafted", "PolicyApproved", "PolicyPublished"]


async def test_the_default_is_recorded_once_though_the_databases_clock_went_back(
    lender: Lender, good: str, flow: Flow, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await lender.check(good)
    async with database.transaction():  # the start is in the future, as a clock that was set back would have it
        await database.execute("ALTER TABLE policy_steps DISABLE TRIGGER policy_steps_append_only")
        await database.execute(
            "UPDATE policy_steps SET valid_from = now() + interval '1 hour' WHERE tenant = $1 AND step = 'approved'",
            lender.tenant,
        )
        await database.execute("ALTER TABLE policy_steps ENABLE TRIGGER policy_steps_append_only")
    live = await flow.policies.recent(lender.tenant, "nano")
    assert live is not None and live.version == 1
    assert await database.fetchval("SELECT count(*) FROM policies WHERE tenant = $1", lender.tenant) == 1


async def test_the_default_is_recorded_once_though_the_clock_goes_back_while_that_is_done(
    lender: Lender, flow: Flow, database: "asyncpg.Connection[asyncpg.Record]", monkeypatch: pytest.MonkeyPatch
) -> None:
    find = policy_store.find_version

    async def an_hour_later(*asked: Any) -> policy_store.Version | None:
        found = await find(*asked)
        return found and found._replace(now=found.now + timedelta(hours=1))

    monkeypatch.setattr(policy_store, "find_version", an_hour_later)
    for _ in range(2):
        live = await flow.policies.recent(lender.tenant, "nano")
        assert live is not None and live.version == 1
        flow.policies.forget(lender.tenant, "nano")
    assert await database.fetchval("SELECT count(*) FROM policies WHERE tenant = $1", lender.tenant) == 1


async def test_every_fault_of_a_policy_is_named_and_nothing_is_published(lender: Lender) -> None:
    document = nano()
    document["scorecard"]["attributes"][0]["bins"][1]["from"] = 2
    del document["reasons"]["loan_open"]
    status, answer = await lender.send("POST", "/v1/policies", {"id": uuid4(), "document": document})
    assert (status, answer["code"]) == (400, "validation")
    assert [(error["pointer"], error["code"]) for error in answer["errors"]] == [
        ("/document/scorecard/attributes/0/bins/1", "gap"),
        ("/document/reasons", "unworded"),
    ]
    assert len((await lender.send("GET", "/v1/policies/nano/versions"))[1]["versions"]) == 1


async def test_a_number_that_is_no_integer_is_named_by_its_pointer(lender: Lender) -> None:
    document = nano()
    document["caps"]["product"] = 7_500_000.5
    status, answer = await lender.send("POST", "/v1/policies", {"id": uuid4(), "document": document})
    assert (status, answer["errors"][0]["pointer"]) == (400, "/document/caps/product")


async def test_an_unknown_product_or_version_is_not_found(lender: Lender) -> None:
    for path in ("/v1/policies/mortgage", "/v1/policies/nano?version=99"):
        status, answer = await lender.send("GET", path)
        assert (status, answer["code"]) == (404, "product_not_found")


@pytest.mark.parametrize("product", ["%00", "nano%00", "nano%00?version=1"])
async def test_a_product_that_no_text_of_the_database_can_be_is_not_found(lender: Lender, product: str) -> None:
    status, answer = await lender.send("GET", f"/v1/policies/{product}")
    assert (status, answer["code"]) == (404, "not_found")


async def test_a_list_without_end_is_refused_in_few_words(lender: Lender) -> None:
    document = nano()
    document["scorecard"]["attributes"][5]["bins"][0]["values"] = ["permanent"] * 20_000
    status, answer = await lender.send("POST", "/v1/policies", {"id": uuid4(), "document": document})
    assert (status, [error["code"] for error in answer["errors"]]) == (400, ["out_of_range"])
    assert answer["errors"][0]["pointer"] == "/document/scorecard/attributes/5/bins/0/values"
    assert len(json.dumps(answer)) < 2_000
