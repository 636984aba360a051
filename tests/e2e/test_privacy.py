"""A customer's data over HTTP: restricted while they owe, what they owe is repaid, and the log still verifies."""

import asyncio
import json
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
from tests.e2e.lenders import Lender
from tests.ids import near
from typer.testing import CliRunner

from amana.audit.verify import run_verify
from amana.cli import app
from amana.domain.account import wallet_account_id
from amana.infra.settings import Settings, to_environ
from amana.operate.privacy.client import PrivacyRefused, export
from amana.operate.stack import Stack

SEALED_WITHIN_S = 30.0
IDENTITY: dict[str, Any] = {"bvn": "22212345678", "nuban": "0000014579", "bank_code": "011", "phone": "0803 123 4567"}


async def erase(lender: Lender, customer: UUID) -> dict[str, Any]:
    body = {"id": uuid4(), "reason": "customer_request"}
    return await lender.must("POST", "eligibility", f"/v1/customers/{customer}/erasures", body)


async def until_sealed(lender: Lender, event: str) -> None:
    """Waits for the checkpoint that covers an event."""
    async with asyncio.timeout(SEALED_WITHIN_S):
        while (await lender.get("audit", f"/v1/audit/events/{event}/proof"))[0] != 200:  # noqa: ASYNC110  over HTTP
            await asyncio.sleep(0.1)


def asking(platform: Stack, lender: Lender) -> Settings:
    return msgspec.structs.replace(platform.settings, api_key=lender.key)


async def test_who_is_restricted_gets_no_new_loan_and_repays_the_old_one(lender: Lender) -> None:
    ada = await lender.customer(**IDENTITY)
    offers = [await lender.offer(ada, 500_000) for _ in range(2)]
    bookings = [{"id": near(ada), "offer_id": offer["decision_id"]} for offer in offers]
    loan = await lender.must("POST", "transactions", "/v1/loans", bookings[0])
    asked = await erase(lender, ada)
    assert (asked["state"], asked["due_at"]) == ("restricted", None)
    status, refused = await lender.post("transactions", "/v1/loans", bookings[1])
    assert (status, refused["code"]) == (409, "customer_restricted")
    path = f"/v1/loans/{loan['id']}/repayments"
    repaid = await lender.must("POST", "transactions", path, {"id": near(ada), "amount": 400_000})
    assert repaid["fee_part"] + repaid["principal_part"] == 400_000


async def test_the_log_verifies_after_an_erasure_and_says_that_it_was(lender: Lender, platform: Stack) -> None:
    ada = await lender.customer(**IDENTITY)
    asked = await erase(lender, ada)
    assert asked["state"] == "erased"
    connection = await asyncpg.connect(
        platform.settings.owner_database_url, server_settings={"search_path": "eligibility"}
    )
    rows = await connection.fetch("SELECT type, body FROM outbox WHERE aggregate_id = $1 ORDER BY seq", ada)
    await connection.close()
    assert [row["type"] for row in rows] == ["CustomerFactsRecorded", "CustomerRestricted", "CustomerErased"]
    await until_sealed(lender, json.loads(rows[-1]["body"])["event_id"])
    report = await run_verify(platform.settings)
    assert report.ok, report.told()
    for secret in ("22212345678", "0000014579", "8031234567"):
        assert not [row for row in rows if secret in row["body"].decode()]


async def test_a_copy_has_all_that_is_known_and_where_it_came_from(
    lender: Lender, platform: Stack, tmp_path: Path
) -> None:
    ada = await lender.customer(**IDENTITY)
    consents = {"terms": {"given": True, "at": "2026-01-01T00:00:00Z"}}
    await lender.must("PUT", "eligibility", f"/v1/customers/{ada}/consents", consents)
    block = {"id": uuid4(), "code": "fraud", "reason": "Another's phone."}
    loan = await lender.loan(ada)
    await lender.must(
        "POST", "transactions", f"/v1/loans/{loan['id']}/repayments", {"id": near(ada), "amount": 400_000}
    )
    await lender.must("POST", "eligibility", f"/v1/customers/{ada}/blocks", block)
    declined = {"id": uuid4(), "customer": ada, "product": "nano", "amount": 500_000, "currency": "NGN"}
    await lender.must("POST", "eligibility", "/v1/eligibility/checks", declined)
    copy = await export(asking(platform, lender), ada)
    assert json.loads(json.dumps(copy)) == copy
    assert {name: copy["record"][name] for name in IDENTITY} == IDENTITY | {"phone": "+2348031234567"}
    assert copy["record"]["consents"]["terms"]["given"] is True
    assert [one["reason"] for one in copy["blocks"]] == ["Another's phone."]
    newest = copy["decisions"][0]
    assert (newest["outcome"], newest["decision_id"]) == ("decline", str(declined["id"]))
    assert all(reason["text"] for reason in newest["reasons"])
    assert copy["disclosed_to"]
    assert [(one["id"], len(one["repayments"])) for one in copy["loans"]] == [(loan["id"], 1)]
    assert {source["part"] for source in copy["sources"]} >= {"record", "record/consents", "decisions"}


async def test_words_about_a_transfer_are_in_the_copy_and_go_with_the_customer(lender: Lender, platform: Stack) -> None:
    ada = await lender.customer(**IDENTITY)
    till, wallet = await lender.account(near(ada)), wallet_account_id(ada, "NGN")
    item = {"id": near(ada), "debit_account": till, "credit_account": wallet, "amount": 500, "currency": "NGN"}
    item |= {"reference": "Rent of Ada Obi", "metadata": {"place": "12 Bode Thomas Street"}}
    sent = await lender.must("POST", "transactions", "/v1/transfers", {"transfers": [item]})
    said = await lender.must("GET", "transactions", f"/v1/transfers/{item['id']}")
    assert (said["reference"], said["metadata"], said["notes"]) == (item["reference"], item["metadata"], "kept")
    copy = await export(asking(platform, lender), ada)
    assert [(one["id"], one["reference"]) for one in copy["transfers"]] == [(str(item["id"]), item["reference"])]
    assert (await erase(lender, ada))["state"] == "erased"
    gone = await lender.must("GET", "transactions", f"/v1/transfers/{item['id']}")
    assert gone == said | {"reference": None, "metadata": None, "notes": "erased"}
    sent["results"][0]["replayed"] = True
    assert await lender.must("POST", "transactions", "/v1/transfers", {"transfers": [item]}) == sent
    connection = await asyncpg.connect(platform.settings.owner_database_url)
    async with asyncio.timeout(SEALED_WITHIN_S):
        blank = "SELECT erased FROM transactions.notes WHERE transfer = $1"
        while not await connection.fetchval(blank, item["id"]):  # noqa: ASYNC110  another process's doing
            await asyncio.sleep(0.1)
    await connection.close()
    report = await run_verify(platform.settings)
    assert report.ok, report.told()


async def test_a_copy_has_every_page_of_decisions(lender: Lender, platform: Stack) -> None:
    ada = await lender.customer()
    asked = {uuid4() for _ in range(53)}
    for id_ in asked:
        body = {"id": id_, "customer": ada, "product": "nano", "amount": 500_000, "currency": "NGN"}
        await lender.must("POST", "eligibility", "/v1/eligibility/checks", body)
    copy = await export(asking(platform, lender), ada)
    assert {UUID(one["decision_id"]) for one in copy["decisions"]} == asked
    assert len(copy["decisions"]) == len(asked)
    connection = await asyncpg.connect(platform.settings.owner_database_url)
    told = await connection.fetchval(
        "SELECT count(*) FROM eligibility.outbox WHERE type = 'CustomerExported' AND tenant = $1", lender.tenant
    )
    await connection.close()
    assert told == 1


async def test_the_command_line_holds_erases_and_releases(lender: Lender, platform: Stack) -> None:
    ada, hold = await lender.customer(**IDENTITY), str(uuid4())
    environ = to_environ(asking(platform, lender))

    async def privacy(*words: str) -> str:
        done = await asyncio.to_thread(CliRunner().invoke, app, ["privacy", *words], env=environ)
        assert done.exit_code == 0, done.output
        return " ".join(done.output.split())

    placed = await privacy("hold", str(ada), "--reason", "dispute", "--by", "ada", "--id", hold)
    assert f"legal hold {hold} on customer {ada}" in placed
    assert "a legal hold stands" in await privacy("erase", str(ada), "--reason", "customer_request")
    assert f"{hold} on customer {ada}" in await privacy("holds")
    await privacy("release", str(ada), hold, "--reason", "matter_closed", "--by", "obi")
    assert hold not in await privacy("holds", str(ada))
    assert "matter_closed" in await privacy("holds", str(ada), "--released")
    async with asyncio.timeout(SEALED_WITHIN_S):
        path = f"/v1/customers/{ada}/erasures"
        while (await lender.must("GET", "eligibility", path))["state"] != "erased":  # noqa: ASYNC110  over HTTP
            await asyncio.sleep(0.1)


async def test_who_is_not_there_has_no_copy(lender: Lender, platform: Stack) -> None:
    try:
        await export(asking(platform, lender), uuid4())
    except PrivacyRefused as error:
        assert "customer_not_found" in str(error)
    else:
        raise AssertionError("a copy of nobody")
