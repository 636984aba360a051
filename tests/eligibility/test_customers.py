"""Customers' records: checked, versioned, and personal data kept at home."""

import asyncio
import json
from uuid import uuid4

import asyncpg
import pytest
from tests.eligibility.conftest import RECORD, Lender


async def test_a_record_is_kept_as_it_was_said(lender: Lender) -> None:
    id_ = await lender.customer()
    status, view = await lender.send("GET", f"/v1/customers/{id_}")
    assert status == 200
    assert view.pop("recorded_at")
    assert view == RECORD | {
        "customer": id_, "facts_version": 1, "phone": "+2348031234567", "blocked": False,
    }  # fmt: skip


async def test_every_change_is_a_version_and_the_same_again_is_none(lender: Lender) -> None:
    id_ = await lender.customer()
    versions = [
        (await lender.send("PUT", f"/v1/customers/{id_}", RECORD | changes))[1]["facts_version"]
        for changes in ({}, {"blocked": True}, {"blocked": True}, {"birth_date": None}, {})
    ]
    assert versions == [1, 2, 2, 3, 4]


async def test_changes_that_race_get_versions_of_their_own(
    lender: Lender, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    id_ = await lender.customer()
    changes = [RECORD | {"monthly_income": income} for income in range(1, 11)]
    answers = await asyncio.gather(*(lender.send("PUT", f"/v1/customers/{id_}", change) for change in changes))
    assert sorted(answer["facts_version"] for _, answer in answers) == list(range(2, 12))
    bodies = await database.fetch("SELECT body FROM outbox WHERE aggregate_id = $1::uuid ORDER BY seq", id_)
    assert [json.loads(row["body"])["aggregate"]["version"] for row in bodies] == list(range(1, 12))


async def test_the_event_tells_what_is_known_and_not_what_it_is(
    lender: Lender, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    id_ = await lender.customer(employment=None)
    body = await database.fetchval("SELECT body FROM outbox WHERE aggregate_id = $1::uuid", id_)
    event = json.loads(body)
    assert (event["type"], event["tenant"]) == ("CustomerFactsRecorded", lender.tenant)
    assert event["data"] == {
        "customer": id_, "facts_version": 1, "kyc_tier": 3, "blocked": False,
        "known": ["bank_code", "birth_date", "monthly_income", "phone"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"kyc_tier": 0}, "/kyc_tier"),
        ({"kyc_tier": 4}, "/kyc_tier"),
        ({"kyc_tier": "1"}, "/kyc_tier"),
        ({"birth_date": "2999-01-01"}, "/birth_date"),
        ({"birth_date": "1899-12-31"}, "/birth_date"),
        ({"birth_date": "1990-02-30"}, "/birth_date"),
        ({"employment": "Permanent"}, "/employment"),
        ({"monthly_income": -1}, "/monthly_income"),
        ({"bank_code": "999"}, "/bank_code"),
        ({"bank_code": "GT Bank"}, "/bank_code"),
        ({"phone": "0800"}, "/phone"),
        ({"phone": "call me"}, "/phone"),
        ({"blocked": 1}, "/blocked"),
        ({"nickname": "Chidi"}, "/nickname"),
    ],
)
async def test_what_can_not_be_is_named_by_its_pointer(
    lender: Lender, changes: dict[str, object], pointer: str
) -> None:
    status, answer = await lender.send("PUT", f"/v1/customers/{uuid4()}", RECORD | changes)
    assert (status, answer["code"]) == (400, "validation")
    assert [error["pointer"] for error in answer["errors"]] == [pointer]


@pytest.mark.parametrize("code", ["058", "50211", "000013"])
async def test_cbn_and_nip_codes_name_a_bank(lender: Lender, code: str) -> None:
    await lender.customer(bank_code=code)
