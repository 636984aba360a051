"""What other sources say of a customer: each by itself, never back to an older word, seen by the next decision."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from tests.domain.policy_model import shipped
from tests.eligibility.conftest import KEPT, RECORD, Lender

from amana.domain.policy import policy_bytes

BUREAU = {
    "as_of": "2026-03-01T08:00:00Z",
    "bureau_count": 2,
    "score": 640,
    "worst_days_past_due": 12,
    "open_facilities": 3,
}
TOPUPS = {"as_of": "2026-03-02T08:00:00+01:00", "monthly": 450_000}
GIVEN = {"given": True, "at": "2026-03-01T09:00:00Z"}
CONSENTS = {"terms": GIVEN, "bureau": GIVEN}
SOURCES: dict[str, dict[str, Any]] = {"bureau": BUREAU, "topups": TOPUPS, "consents": CONSENTS}


async def facts_of_a_decision(lender: Lender, customer: str) -> dict[str, dict[str, Any]]:
    """Every fact that a fresh decision saw, by name."""
    decided = await lender.check(customer, id=str(uuid4()))
    _, explained = await lender.send("GET", f"/v1/decisions/{decided['decision_id']}")
    return {fact["name"]: fact for fact in explained["facts"]}


async def test_each_source_is_written_alone_and_read_together(lender: Lender) -> None:
    id_ = await lender.customer()
    for version, (source, body) in enumerate(SOURCES.items(), start=2):
        status, answer = await lender.send("PUT", f"/v1/customers/{id_}/{source}", body)
        assert (status, answer["facts_version"]) == (200, version), answer
    _, view = await lender.send("GET", f"/v1/customers/{id_}")
    assert (view["bureau"], view["monthly_income"]) == (BUREAU, RECORD["monthly_income"])
    assert view["topups"] == {"as_of": "2026-03-02T07:00:00Z", "monthly": 450_000}
    assert view["consents"] == {"terms": GIVEN, "bureau": GIVEN, "recovery": None}


async def test_a_decision_sees_every_source_with_its_own_instant(lender: Lender) -> None:
    id_ = await lender.customer()
    for source, body in SOURCES.items():
        await lender.send("PUT", f"/v1/customers/{id_}/{source}", body)
    facts = await facts_of_a_decision(lender, id_)
    assert {name: facts[name]["value"] for name in ("bureau_score", "topup_monthly", "consent_terms")} == {
        "bureau_score": 640, "topup_monthly": 450_000, "consent_terms": True,
    }  # fmt: skip
    assert facts["bureau_count"]["as_of"] == "2026-03-01T08:00:00Z"
    assert facts["topup_monthly"]["as_of"] == "2026-03-02T07:00:00Z"
    assert (facts["consent_recovery"]["value"], facts["consent_recovery"]["source"]) == (None, "consents")
    assert (facts["bvn_known"]["value"], facts["bvn_known"]["source"]) == (False, "customer")


async def test_a_source_that_said_nothing_has_no_instant_and_is_left_out_of_the_event(
    lender: Lender, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    id_ = await lender.customer()
    facts = await facts_of_a_decision(lender, id_)
    assert (facts["bureau_score"]["value"], facts["bureau_score"]["as_of"]) == (None, None)
    body = await database.fetchval("SELECT body FROM outbox WHERE tenant = $1 AND type = 'DecisionMade'", lender.tenant)
    said = json.loads(body)["data"]["facts"]
    assert said.keys() == {"customer", "ledger"}
    assert "bureau_score" not in said["ledger"]["values"] | said["customer"]["values"]


async def test_a_sources_word_does_not_make_the_record_newer(lender: Lender) -> None:
    id_ = await lender.customer()
    _, before = await lender.send("GET", f"/v1/customers/{id_}")
    await lender.send("PUT", f"/v1/customers/{id_}/bureau", BUREAU)
    _, after = await lender.send("GET", f"/v1/customers/{id_}")
    assert (after["recorded_at"], after["facts_version"]) == (before["recorded_at"], 2)


async def test_a_new_record_leaves_the_sources_alone(lender: Lender) -> None:
    id_ = await lender.customer()
    await lender.send("PUT", f"/v1/customers/{id_}/bureau", BUREAU)
    await lender.send("PUT", f"/v1/customers/{id_}", RECORD | {"kyc_tier": 1})
    _, view = await lender.send("GET", f"/v1/customers/{id_}")
    assert (view["kyc_tier"], view["bureau"]) == (1, BUREAU)


@pytest.mark.parametrize("source", SOURCES)
async def test_the_same_word_again_is_no_new_version(lender: Lender, source: str) -> None:
    id_ = await lender.customer()
    path = f"/v1/customers/{id_}/{source}"
    versions = [(await lender.send("PUT", path, SOURCES[source]))[1]["facts_version"] for _ in range(3)]
    assert versions == [2, 2, 2]


@pytest.mark.parametrize("source", SOURCES)
async def test_a_customer_without_a_record_is_not_found(lender: Lender, source: str) -> None:
    status, answer = await lender.send("PUT", f"/v1/customers/{uuid4()}/{source}", SOURCES[source])
    assert (status, answer["code"]) == (404, "customer_not_found")


@pytest.mark.parametrize(
    ("source", "older", "pointer"),
    [
        ("bureau", {"as_of": "2026-02-28T08:00:00Z", "score": 700}, "/as_of"),
        ("topups", {"as_of": "2026-03-02T06:59:59Z"}, "/as_of"),
        ("consents", {"bureau": {"given": False, "at": "2026-02-01T00:00:00Z"}}, "/bureau/at"),
    ],
)
async def test_an_older_word_is_refused_and_changes_nothing(
    lender: Lender, source: str, older: dict[str, Any], pointer: str
) -> None:
    id_ = await lender.customer()
    await lender.send("PUT", f"/v1/customers/{id_}/{source}", SOURCES[source])
    status, answer = await lender.send("PUT", f"/v1/customers/{id_}/{source}", SOURCES[source] | older)
    assert (status, answer["code"], answer["errors"][0]["pointer"]) == (409, "facts_older", pointer)
    assert answer["figures"]["known_as_of"].startswith("2026-03-0")
    assert (await lender.send("GET", f"/v1/customers/{id_}"))[1]["facts_version"] == 2


async def test_a_withdrawn_consent_is_false_and_not_unknown(lender: Lender) -> None:
    id_ = await lender.customer()
    await lender.send("PUT", f"/v1/customers/{id_}/consents", CONSENTS)
    withdrawn = {"terms": {"given": False, "at": "2026-03-02T09:00:00Z"}}
    await lender.send("PUT", f"/v1/customers/{id_}/consents", withdrawn)
    facts = await facts_of_a_decision(lender, id_)
    assert [facts[f"consent_{purpose}"]["value"] for purpose in ("terms", "bureau", "recovery")] == [False, True, None]


@pytest.mark.parametrize("source", SOURCES)
async def test_a_version_that_is_gone_is_a_conflict(lender: Lender, source: str) -> None:
    id_ = await lender.customer()
    await lender.send("PUT", f"/v1/customers/{id_}", RECORD | {"kyc_tier": 1})
    path, body = f"/v1/customers/{id_}/{source}", SOURCES[source]
    status, answer = await lender.send("PUT", path, body | {"if_version": 1})
    assert (status, answer["code"], answer["figures"]) == (409, "version_conflict", {"facts_version": 2})
    assert answer["errors"][0]["pointer"] == "/if_version"
    assert (await lender.send("PUT", path, body | {"if_version": 2}))[1]["facts_version"] == 3


@pytest.mark.parametrize("source", SOURCES)
async def test_a_new_word_is_seen_at_once(lender: Lender, source: str) -> None:
    id_ = await lender.customer()
    await lender.check(id_)
    assert (await lender.check(id_))["source"] in KEPT
    await lender.send("PUT", f"/v1/customers/{id_}/{source}", SOURCES[source])
    assert (await lender.check(id_))["source"] == "fresh"


async def test_the_event_names_the_sources_and_says_the_consents(
    lender: Lender, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    id_ = await lender.customer()
    for source, body in SOURCES.items():
        await lender.send("PUT", f"/v1/customers/{id_}/{source}", body)
    rows = await database.fetch("SELECT body FROM outbox WHERE aggregate_id = $1::uuid ORDER BY seq", id_)
    events = [json.loads(row["body"]) for row in rows]
    assert [event["aggregate"]["version"] for event in events] == [1, 2, 3, 4]
    assert events[-1]["data"] == {
        "customer": id_, "facts_version": 4, "kyc_tier": 3, "blocked": False,
        "known": ["bank_code", "birth_date", "employment", "monthly_income", "phone", "bureau", "topups"],
        "consents": {"terms": True, "bureau": True},
    }  # fmt: skip


TOMORROW = (datetime.now(UTC) + timedelta(days=1)).isoformat()


@pytest.mark.parametrize(
    ("source", "change", "pointer"),
    [
        ("bureau", {"as_of": TOMORROW}, "/as_of"),
        ("bureau", {"as_of": "2026-03-01"}, "/as_of"),
        ("bureau", {"as_of": "2026-03-01T08:00:00"}, "/as_of"),
        ("bureau", {"as_of": "0900-01-01T00:00:00Z"}, "/as_of"),
        ("bureau", {"as_of": None}, "/as_of"),
        ("bureau", {"bureau_count": 0}, "/bureau_count"),
        ("bureau", {"bureau_count": 21}, "/bureau_count"),
        ("bureau", {"bureau_count": None}, "/bureau_count"),
        ("bureau", {"score": -1}, "/score"),
        ("bureau", {"score": 1_001}, "/score"),
        ("bureau", {"score": "640"}, "/score"),
        ("bureau", {"score": 640.5}, "/score"),
        ("bureau", {"worst_days_past_due": -1}, "/worst_days_past_due"),
        ("bureau", {"worst_days_past_due": 10**15}, "/worst_days_past_due"),
        ("bureau", {"open_facilities": True}, "/open_facilities"),
        ("bureau", {"remark": "pays late"}, "/remark"),
        ("topups", {"as_of": TOMORROW}, "/as_of"),
        ("topups", {"monthly": -1}, "/monthly"),
        ("topups", {"monthly": 2**53}, "/monthly"),
        ("topups", {"monthly": None}, "/monthly"),
        ("topups", {"monthly": "450000"}, "/monthly"),
        ("consents", {"terms": {"given": True}}, "/terms/at"),
        ("consents", {"terms": {"given": None, "at": GIVEN["at"]}}, "/terms/given"),
        ("consents", {"terms": {"given": 1, "at": GIVEN["at"]}}, "/terms/given"),
        ("consents", {"terms": {"given": True, "at": TOMORROW}}, "/terms/at"),
        ("consents", {"terms": True}, "/terms"),
        ("consents", {"marketing": GIVEN}, "/marketing"),
        ("consents", {"terms": None, "bureau": None}, ""),
    ],
)
async def test_what_can_not_be_is_named_by_its_pointer(
    lender: Lender, source: str, change: dict[str, Any], pointer: str
) -> None:
    status, answer = await lender.send("PUT", f"/v1/customers/{uuid4()}/{source}", SOURCES[source] | change)
    assert (status, answer["code"]) == (400, "validation"), answer
    assert [error["pointer"] for error in answer["errors"]] == [pointer]


RULES = [
    {"id": "tier_needs_a_number", "fact": "bvn_known", "op": "eq", "value": False, "reason": "bvn_unknown",
     "precedence": 1, "outcome": "refer", "on_missing": "refer"},
    {"id": "bureau_is_asked", "fact": "bureau_count", "op": "lt", "value": 2, "reason": "bureaus_too_few",
     "precedence": 2, "on_missing": "decline", "missing_reason": "bureaus_too_few"},
    {"id": "terms_agreed", "fact": "consent_terms", "op": "eq", "value": False, "reason": "terms_refused",
     "precedence": 3, "on_missing": "decline", "missing_reason": "terms_refused"},
]  # fmt: skip


async def test_a_policy_may_ask_about_any_source_and_says_what_unknown_means(lender: Lender, good: str) -> None:
    document: dict[str, Any] = json.loads(policy_bytes(shipped("nano")))
    document["rules"] += RULES
    given = ("bvn_unknown", "bureaus_too_few", "terms_refused")
    document["reasons"] |= dict.fromkeys(given, "In words.")
    await lender.publish(document)
    told = []
    for part, body in (
        ("", RECORD),
        ("", RECORD | {"bvn": "22212345678"}),
        ("/bureau", BUREAU),
        ("/consents", CONSENTS),
    ):
        await lender.send("PUT", f"/v1/customers/{good}{part}", body)
        decided = await lender.check(good, id=str(uuid4()))
        codes = [reason["code"] for reason in decided["reasons"]]
        told.append((decided["outcome"], [code for code in codes if code in given]))
    assert told == [
        ("decline", ["bvn_unknown", "bureaus_too_few", "terms_refused"]),
        ("decline", ["bureaus_too_few", "terms_refused"]),
        ("decline", ["terms_refused"]),
        ("approve", []),
    ]
