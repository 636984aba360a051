"""Blocks: placed and lifted by somebody for a reason, in force by the database's clock."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from tests.eligibility.conftest import Lender

WHY = "Called from another number to change the account."


def block(**changes: Any) -> dict[str, Any]:
    return {"id": str(uuid4()), "code": "fraud_suspected", "reason": WHY} | changes


def in_s(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


async def place(lender: Lender, customer: str, **changes: Any) -> dict[str, Any]:
    status, answer = await lender.send("POST", f"/v1/customers/{customer}/blocks", block(**changes))
    assert status == 200, answer
    placed: dict[str, Any] = answer
    return placed


async def lift(lender: Lender, customer: str, code: str = "fraud_suspected", **changes: Any) -> tuple[int, Any]:
    body = {"id": str(uuid4()), "reason": "It was the customer."} | changes
    return await lender.send("POST", f"/v1/customers/{customer}/blocks/{code}/lifts", body)


async def test_a_block_declines_at_once_and_its_lift_approves_at_once(lender: Lender, good: str) -> None:
    assert (await lender.check(good))["outcome"] == "approve"
    placed = await place(lender, good)
    assert (placed["in_force"], placed["reason"], placed["until"], placed["replayed"]) == (True, WHY, None, False)
    declined = await lender.check(good)
    assert (declined["outcome"], declined["reasons"][0]["code"]) == ("decline", "customer_blocked")
    status, lifted = await lift(lender, good)
    assert (status, lifted["blocks"]) == (200, [placed["id"]])
    assert (await lender.check(good))["outcome"] == "approve"


async def test_a_block_is_over_at_its_time_by_the_databases_clock(
    lender: Lender, good: str, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    placed = await place(lender, good, until=in_s(600))
    assert (await lender.check(good, id=str(uuid4())))["outcome"] == "decline"
    await database.execute(
        "UPDATE customer_blocks SET until = clock_timestamp() WHERE block_id = $1::uuid", placed["id"]
    )
    assert (await lender.check(good, id=str(uuid4())))["outcome"] == "approve"
    _, listed = await lender.send("GET", f"/v1/customers/{good}/blocks")
    assert [one["in_force"] for one in listed["blocks"]] == [False]
    assert (await lift(lender, good))[1]["code"] == "block_not_found"


async def test_while_any_block_is_in_force_nothing_is_lent(lender: Lender, good: str) -> None:
    for code in ("fraud_suspected", "deceased", "fraud_suspected"):
        await place(lender, good, code=code)
    status, lifted = await lift(lender, good, "fraud_suspected")
    assert (status, len(lifted["blocks"])) == (200, 2)
    assert (await lender.check(good))["outcome"] == "decline"
    await lift(lender, good, "deceased")
    assert (await lender.check(good))["outcome"] == "approve"


async def test_a_lift_does_not_undo_the_records_own_block(lender: Lender) -> None:
    id_ = await lender.customer(blocked=True)
    await place(lender, id_)
    await lift(lender, id_)
    assert (await lender.check(id_))["reasons"][0]["code"] == "customer_blocked"


async def test_who_placed_and_who_lifted_is_kept(lender: Lender, good: str) -> None:
    placed = await place(lender, good)
    await lift(lender, good, reason="It was the customer.")
    _, listed = await lender.send("GET", f"/v1/customers/{good}/blocks")
    (found,) = listed["blocks"]
    assert (found["id"], found["placed_by"], found["lifted_by"]) == (
        placed["id"], placed["placed_by"], placed["placed_by"],
    )  # fmt: skip
    assert lender.key.startswith(f"amana_{found['placed_by']}_")
    assert (found["lift_reason"], found["in_force"]) == ("It was the customer.", False)
    assert found["lifted_at"] >= found["placed_at"]


async def test_the_same_block_again_is_one_block(lender: Lender, good: str) -> None:
    asked = block(until=in_s(600))
    path = f"/v1/customers/{good}/blocks"
    first, again = [(await lender.send("POST", path, asked))[1] for _ in range(2)]
    assert (first["replayed"], again["replayed"]) == (False, True)
    assert (await lender.send("GET", f"/v1/customers/{good}"))[1]["facts_version"] == 2
    for field, value in (("code", "deceased"), ("reason", "Another."), ("until", in_s(900))):
        status, answer = await lender.send("POST", path, asked | {field: value})
        assert (status, answer["code"], answer["errors"][0]["pointer"]) == (409, "id_conflict", f"/{field}")
    elsewhere = await lender.customer()
    status, answer = await lender.send("POST", f"/v1/customers/{elsewhere}/blocks", asked)
    assert (status, answer["errors"][0]["pointer"]) == (409, "/customer")


async def test_a_block_that_is_over_is_told_again_and_not_refused(lender: Lender, good: str) -> None:
    asked = block(until=in_s(2))
    path = f"/v1/customers/{good}/blocks"
    assert (await lender.send("POST", path, asked))[1]["in_force"] is True
    await asyncio.sleep(2.1)
    status, again = await lender.send("POST", path, asked)
    assert (status, again["replayed"], again["in_force"]) == (200, True, False)


async def test_the_same_lift_again_is_one_lift(lender: Lender, good: str) -> None:
    placed = await place(lender, good)
    asked = {"id": str(uuid4()), "reason": "It was the customer."}
    answers = [(await lift(lender, good, **asked))[1] for _ in range(2)]
    assert [(answer["blocks"], answer["replayed"]) for answer in answers] == [
        ([placed["id"]], False), ([placed["id"]], True),
    ]  # fmt: skip
    status, answer = await lift(lender, good, **asked | {"reason": "Another."})
    assert (status, answer["errors"][0]["pointer"]) == (409, "/reason")
    assert (await lift(lender, good))[1]["code"] == "block_not_found"


async def test_a_block_and_its_lift_are_events_without_the_words(
    lender: Lender, good: str, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    placed = await place(lender, good)
    await lift(lender, good)
    rows = await database.fetch("SELECT body FROM outbox WHERE aggregate_id = $1::uuid ORDER BY seq", good)
    events = [json.loads(row["body"]) for row in rows]
    assert [(event["type"], event["aggregate"]["version"]) for event in events] == [
        ("CustomerFactsRecorded", 1), ("CustomerBlocked", 2), ("CustomerBlockLifted", 3),
    ]  # fmt: skip
    assert events[1]["data"] == {
        "customer": good, "facts_version": 2, "block": placed["id"], "code": "fraud_suspected", "until": None,
    }  # fmt: skip
    assert events[2]["data"] == {
        "customer": good, "facts_version": 3, "code": "fraud_suspected", "blocks": [placed["id"]],
    }  # fmt: skip
    assert WHY not in str(rows)


async def test_nobody_is_blocked_who_has_no_record(lender: Lender) -> None:
    nobody = uuid4()
    for method, path, body in (
        ("POST", f"/v1/customers/{nobody}/blocks", block()),
        ("GET", f"/v1/customers/{nobody}/blocks", None),
        ("POST", f"/v1/customers/{nobody}/blocks/fraud_suspected/lifts", {"id": str(uuid4()), "reason": "None."}),
    ):
        status, answer = await lender.send(method, path, body)
        assert (status, answer["code"]) == (404, "customer_not_found")


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"id": "one"}, "/id"),
        ({"code": "Fraud"}, "/code"),
        ({"code": ""}, "/code"),
        ({"code": "x" * 41}, "/code"),
        ({"code": None}, "/code"),
        ({"reason": ""}, "/reason"),
        ({"reason": "x" * 501}, "/reason"),
        ({"reason": 7}, "/reason"),
        ({"until": "2020-01-01T00:00:00Z"}, "/until"),
        ({"until": "2999-01-01T00:00:00Z"}, "/until"),
        ({"until": "tomorrow"}, "/until"),
        ({"until": "2030-01-01T00:00:00"}, "/until"),
        ({"by": "me"}, "/by"),
    ],
)
async def test_what_can_not_be_is_named_by_its_pointer(
    lender: Lender, good: str, change: dict[str, Any], pointer: str
) -> None:
    status, answer = await lender.send("POST", f"/v1/customers/{good}/blocks", block(**change))
    assert (status, answer["code"]) == (400, "validation"), answer
    assert [error["pointer"] for error in answer["errors"]] == [pointer]


@pytest.mark.parametrize("statement", ["UPDATE customer_blocks SET reason = ''", "DELETE FROM customer_blocks"])
async def test_the_service_can_only_lift_a_block(
    eligibility: "asyncpg.Connection[asyncpg.Record]", statement: str
) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await eligibility.execute(statement)
