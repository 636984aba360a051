"""Who read a customer's data, at each service: recorded by the route, found in the audit log, told in the report."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest
from litestar.handlers import HTTPRouteHandler
from tests.e2e.lenders import ORDINARY, Lender
from tests.e2e.test_main_road import SEALED_WITHIN_S
from tests.ids import near

from amana.domain.account import exposure_account_id
from amana.eligibility.http import ROUTES as ELIGIBILITY
from amana.operate.stack import Stack
from amana.transactions.http import ROUTES as TRANSACTIONS

ROUTES = {"eligibility": ELIGIBILITY, "transactions": TRANSACTIONS}
TYPES = {"eligibility": "CustomerRecordRead", "transactions": "LedgerRecordRead"}
ASKED = {
    "/v1/accounts": "?owner={customer}",
    "/v1/accounts/{account_id:uuid}/balance": "?at=2026-01-01T00:00:00Z",
    "/v1/accounts/{account_id:uuid}/statement": "?first_on=2026-01-01&last_on=2026-01-31",
    "/v1/loans": "?customer={customer}",
    "/v1/noted-transfers": "?customer={customer}",
    "/v1/reversals": "?state=over",
    "/v1/transfers": "?reference={reference}",
}
WITHOUT_READS = tuple(scope for scope in ORDINARY if scope != "audit:accesses")


@pytest.fixture
async def database(platform: Stack) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(platform.settings.owner_database_url)
    yield connection
    await connection.close()


async def recorded(database: asyncpg.Connection, service: str, tenant: int) -> list[dict[str, Any]]:
    rows = await database.fetch(
        f"SELECT body FROM {service}.outbox WHERE tenant = $1 AND type = $2 ORDER BY seq", tenant, TYPES[service]
    )
    return [msgspec.json.decode(row["body"]) for row in rows]


async def things_of(lender: Lender) -> dict[str, UUID | str]:
    """A customer, and one of each thing that there can be of them."""
    judge = await lender.with_another_key()
    customer = await lender.customer()
    loan = await lender.loan(customer)
    withdrawn = await lender.offer(await lender.customer())
    said = {"id": uuid4(), "reviewer": "Ngozi Bello", "reason": "A stolen phone."}
    reversal = await judge.must("POST", "eligibility", f"/v1/decisions/{withdrawn['decision_id']}/reversals", said)
    erasure = {"id": uuid4(), "reason": "customer_request"}
    await lender.must("POST", "eligibility", f"/v1/customers/{customer}/erasures", erasure)
    account = exposure_account_id(customer, "NGN")
    entries = await lender.must("GET", "transactions", f"/v1/accounts/{account}/entries")
    return {
        "customer": customer,
        "customer_id": customer,
        "decision_id": loan["decision_id"],
        "loan_id": loan["id"],
        "account_id": account,
        "transfer_id": entries["entries"][0]["transfer"],
        "reversal_id": reversal["review"]["id"],
        "reference": "nobody-called-any-so",
    }


def path_of(template: str, things: Mapping[str, UUID | str]) -> str:
    asked = re.sub(r"\{(\w+):uuid\}", lambda found: str(things[found[1]]), template)
    return asked + ASKED.get(template, "").format(**things)


async def test_each_route_that_is_declared_records_what_it_showed_before_it_answers(
    lender: Lender, database: asyncpg.Connection
) -> None:
    things = await things_of(lender)
    hold = {"id": str(uuid4()), "reason": "dispute", "by": "ada"}
    await lender.must("POST", "eligibility", f"/v1/customers/{things['customer']}/legal-holds", hold)
    for service, routes in ROUTES.items():
        declared = [
            path
            for route in routes
            if isinstance(route, HTTPRouteHandler) and route.opt.get("personal")
            for path in route.paths
        ]
        for template in declared:
            before = len(await recorded(database, service, lender.tenant))
            status, answer = await lender.get(service, path_of(template, things))
            assert status == 200, (template, answer)
            events = await recorded(database, service, lender.tenant)
            assert len(events) == before + 1, template
            data, actor = events[-1]["data"], events[-1]["actor"]
            assert data["route"] == template.replace(":uuid", ""), template
            assert actor in lender.key
            lists = {"/v1/transfers", "/v1/appeals", "/v1/reversals", "/v1/reversals/{reversal_id:uuid}"}
            assert template in lists or data["customers"] == [str(things["customer"])], template


async def test_what_is_not_found_shows_nothing_and_is_no_read(lender: Lender, database: asyncpg.Connection) -> None:
    for service, path in (("eligibility", "/v1/customers/"), ("transactions", "/v1/loans/")):
        before = len(await recorded(database, service, lender.tenant))
        assert (await lender.get(service, f"{path}{uuid4()}"))[0] == 404
        assert len(await recorded(database, service, lender.tenant)) == before


async def test_a_transfer_is_a_read_of_those_whose_accounts_it_moved(
    lender: Lender, database: asyncpg.Connection
) -> None:
    owners = [uuid4(), uuid4()]
    debit = await lender.account(owner=owners[0])
    credit = await lender.account(near(debit), owner=owners[1], normal_side="credit")
    transfer = {"id": near(debit), "debit_account": debit, "credit_account": credit, "amount": 5, "currency": "NGN"}
    transfer |= {"reference": "Ada's rent"}
    posted = await lender.must("POST", "transactions", "/v1/transfers", {"transfers": [transfer]})
    assert posted["results"][0]["status"] == "posted", posted
    for path in (f"/v1/transfers/{transfer['id']}", "/v1/transfers?reference=Ada%27s%20rent"):
        await lender.must("GET", "transactions", path)
        event = (await recorded(database, "transactions", lender.tenant))[-1]
        assert event["data"]["customers"] == sorted(map(str, owners))
        assert "rent" not in str(event), "what a client called it may be anything"


async def test_who_read_is_found_by_customer_and_actor_and_stands_in_the_report(lender: Lender) -> None:
    customer = await lender.customer()
    clerk, auditor = await lender.with_another_key(), await lender.with_another_key()
    outsider = await lender.with_another_key(WITHOUT_READS)
    await clerk.must("GET", "eligibility", f"/v1/customers/{customer}")
    await clerk.must("GET", "transactions", f"/v1/accounts?owner={customer}")
    actor = clerk.key.split("_")[1]
    wanted = [("transactions", "/v1/accounts"), ("eligibility", "/v1/customers/{customer_id}")]
    async with asyncio.timeout(SEALED_WITHIN_S):
        while True:
            page = await auditor.must("GET", "audit", f"/v1/audit/accesses?customer={customer}&actor={actor}")
            if [(read["stream"], read["route"]) for read in page["accesses"]] == wanted:
                break
            await asyncio.sleep(0.1)
    assert all(read["customers"] == [str(customer)] for read in page["accesses"])
    one = await auditor.must("GET", "audit", f"/v1/audit/accesses?customer={customer}&stream=transactions")
    assert [read["route"] for read in one["accesses"]] == ["/v1/accounts"]
    report = await auditor.must("GET", "audit", f"/v1/audit/customers/{customer}/report")
    by_clerk = [read for read in report["reads"] if read["actor"] == actor]
    assert [read["type"] for read in by_clerk] == ["LedgerRecordRead", "CustomerRecordRead"]
    assert not {step["type"] for step in report["other"]} & set(TYPES.values()) and not report["more_reads"]
    hidden = await outsider.must("GET", "audit", f"/v1/audit/customers/{customer}/report")
    assert hidden["reads"] is None
    events = await outsider.must("GET", "audit", f"/v1/audit/events?customer={customer}")
    assert not {msgspec.json.decode(event["body"])["type"] for event in events["events"]} & set(TYPES.values())
    read = page["accesses"][0]["event_id"]
    assert (await outsider.get("audit", f"/v1/audit/events/{read}"))[0] == 404
    assert (await auditor.get("audit", f"/v1/audit/events/{read}"))[0] == 200


async def test_who_read_what_a_borrower_is_told_is_in_the_log_too(notifying: Stack, lender: Lender) -> None:
    customer = await lender.customer()
    clerk, auditor = await lender.with_another_key(), await lender.with_another_key()
    await clerk.must("GET", "notifications", f"/v1/notifications?customer={customer}")
    actor = clerk.key.split("_")[1]
    async with asyncio.timeout(SEALED_WITHIN_S):
        while True:
            page = await auditor.must("GET", "audit", f"/v1/audit/accesses?customer={customer}&stream=notifications")
            if page["accesses"] and page["accesses"][0]["sealed"]:
                break
            await asyncio.sleep(0.1)
    (read,) = page["accesses"]
    assert (read["actor"], read["route"], read["stream"]) == (actor, "/v1/notifications", "notifications")
    report = await auditor.must("GET", "audit", f"/v1/audit/customers/{customer}/report")
    assert ("NotificationsRead", actor) in {(told["type"], told["actor"]) for told in report["reads"]}
    proof = await auditor.must("GET", "audit", f"/v1/audit/events/{read['event_id']}/proof")
    assert proof["stream"] == "notifications"
