"""Reversals whose workers are killed at every point of a step, on the real ledger: all money moves, and once."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from tests.chaos.site import Site
from tests.domain.policy_model import shipped
from tests.eligibility.conftest import Lender
from tests.eligibility.reviewing import REVIEWER, WHY, Database
from tests.eligibility.standings_server import served
from tests.ids import near

from amana.domain.account import exposure_account_id, wallet_account_id
from amana.eligibility import app as eligibility
from amana.eligibility import validator
from amana.gateway.provision import ALL_SCOPES, create_key, create_tenant
from amana.infra.embedded.ports import find_free
from amana.infra.settings import Settings
from amana.operate.reconcile import SQL as RECONCILE
from amana.transactions import app as transactions

POINTS = ("taken", "answered", "settled", "committed")
"""Of one step. What dies at the last one has done it."""
PAID, DUE = 400_000, 1_300_000
BOOKS = (
    "offers_and_loans",
    "reversals_and_loans",
    "loans_and_accounts",
    "loans_and_repayments",
    "exposure_and_loans",
    "loans_and_events",
    "reviews_and_events",
)


class Idle:
    """In the place of the service's own worker: reversals are for the processes of these tests."""

    def __init__(self, *_: Any) -> None:
        pass

    def nudge(self) -> None:
        pass

    async def run(self) -> None:
        await asyncio.Event().wait()


class Bank(Lender):
    """A lender with both services on real sockets, and how its ledger is reached."""

    ledger_url = ""
    dsn = ""

    async def ledger(self, method: str, path: str, body: object = None) -> Any:
        """The answer of the ledger, which must be a good one."""
        reply = await self.http.request(
            method,
            self.ledger_url + path,
            body=None if body is None else msgspec.json.encode(body),
            headers={"Authorization": f"Bearer {self.key}"},
            timeout_ms=10_000,
        )
        assert reply.status < 300, reply
        return msgspec.json.decode(reply.body)

    async def balance(self, account: UUID) -> int:
        return int((await self.ledger("GET", f"/v1/accounts/{account}"))["balance"])

    async def work(self, *points: str) -> list[int]:
        """How workers end of which each one dies at a point, or has nothing left to do."""
        script = str(Path(__file__).with_name("undoing_process.py"))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, script, self.dsn, self.ledger_url, self.internal_key, *points),
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(60):
            said, _ = await process.communicate()
        return [int(line) for line in said.split() if line.lstrip(b"-").isdigit()]


@pytest.fixture(scope="session")
async def own(site: Site) -> Settings:
    """Those of the site, whose database has no other workers."""
    return site.stack.settings


@pytest.fixture(scope="module")
async def urls(own: Settings) -> AsyncIterator[tuple[str, str]]:
    """(eligibility, transactions), each asking the other."""
    [port] = find_free(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validator, "EVERY_S", 3_600)
        patch.setattr(eligibility, "Undoing", Idle)
        alone = msgspec.structs.replace(
            own,
            gateway_database_url=own.gateway_database_url or own.eligibility_database_url,
            eligibility_url=f"http://127.0.0.1:{port}",
            kafka_bootstrap="",
            redis_url="",
        )
        async with served(transactions.build(alone)) as ledger:
            app = eligibility.build(msgspec.structs.replace(alone, transactions_url=ledger))
            async with served(app, port) as url:
                yield url, ledger


@pytest.fixture
async def bank(own: Settings, site: Site, urls: tuple[str, str]) -> Bank:
    tenant = await create_tenant(own.owner_database_url, f"undo-{uuid4().hex[:8]}", "A lender that undoes")
    keys = [await create_key(own.owner_database_url, tenant, ALL_SCOPES) for _ in range(2)]
    bank = Bank(site.http, urls[0], tenant, keys[0], own.internal_key, keys[1])
    bank.ledger_url, bank.dsn = urls[1], own.eligibility_database_url
    return bank


async def reversing(bank: Bank) -> tuple[str, str, UUID]:
    """(decision, loan, customer): a loan on which something was paid, and whose decision is being reversed."""
    terms = {"within_days": 3, "repaid": "return", "principal_from": "funding"}
    await bank.publish(msgspec.to_builtins(shipped("nano")) | {"loan_reversal": terms})
    customer = UUID(await bank.customer())
    line = {"id": near(customer), "customer": customer, "currency": "NGN", "credit_limit": 25_000_000}
    await bank.ledger("POST", "/v1/credit-lines", line)
    decision = (await bank.check(str(customer), id=uuid4()))["decision_id"]
    loan = (await bank.ledger("POST", "/v1/loans", {"id": near(customer), "offer_id": decision}))["id"]
    await bank.ledger("POST", f"/v1/loans/{loan}/repayments", {"id": near(customer), "amount": PAID})
    body = {"id": uuid4(), "reviewer": REVIEWER, "reason": WHY, "loans": "reverse"}
    status, answer = await bank.send("POST", f"/v1/decisions/{decision}/reversals", body, bank.second_key)
    assert status == 201, answer
    return decision, loan, customer


async def assert_undone_once(
    bank: Bank, database: Database, decision: str, loan: str, customer: UUID, paid: int = PAID
) -> None:
    _, told = await bank.send("GET", f"/v1/decisions/{decision}")
    assert (told["standing"], told["reversal"]["state"]) == ("reversed", "over")
    assert [(one["state"], one["loan"]) for one in told["reversal"]["offers"]] == [("reversed", loan)]
    assert await bank.balance(exposure_account_id(customer, "NGN")) == 0
    assert await bank.balance(wallet_account_id(customer, "NGN")) == paid
    rows = await database.fetch(
        "SELECT type FROM transactions.outbox WHERE aggregate_id = $1 UNION ALL"
        " SELECT type FROM eligibility.outbox WHERE aggregate_id = $2",
        UUID(loan),
        UUID(decision),
    )
    types = [row["type"] for row in rows]
    for once in ("LoanReversalStarted", "LoanReversed", "DecisionReversalStarted", "DecisionReversed"):
        assert types.count(once) == 1, once
    trial = await bank.ledger("GET", "/v1/trial-balance")
    assert trial["difference"] == {"NGN": 0}
    await database.execute(RECONCILE["make_sealed"])
    for check in BOOKS:
        differences = [tuple(row) for row in await database.fetch(RECONCILE[check])]
        assert not differences, check


@pytest.fixture
async def database(site: Site) -> AsyncIterator[Database]:
    """The owner's connection."""
    async with site.database() as connection:
        yield connection


async def test_workers_that_die_at_every_point_of_every_step_move_the_money_once(
    bank: Bank, database: Database
) -> None:
    decision, loan, customer = await reversing(bank)
    assert await bank.work(*POINTS) == [-signal.SIGKILL] * len(POINTS)
    assert (await bank.ledger("GET", f"/v1/loans/{loan}"))["status"] == "reversing"
    assert (await bank.send("GET", f"/v1/decisions/{decision}"))[1]["standing"] == "reversing"
    assert await bank.work(*POINTS, "never") == [-signal.SIGKILL] * len(POINTS) + [0]
    await assert_undone_once(bank, database, decision, loan, customer)


@pytest.mark.parametrize(
    ("check", "lie"),
    [
        (
            "offers_and_loans",
            "INSERT INTO transactions.withdrawn_offers SELECT shard, tenant, decision_id, id, now()"
            " FROM transactions.loans WHERE origin = 'offer' LIMIT 1",
        ),
        ("reversals_and_loans", "UPDATE eligibility.reversal_steps SET state = 'unbooked', loan = NULL"),
        ("reversals_and_loans", "UPDATE transactions.loans SET reversal = id WHERE reversal IS NOT NULL"),
        ("reviews_and_events", "UPDATE eligibility.reversals SET over_version = over_version + 1 WHERE state = 'over'"),
    ],
)
async def test_what_does_not_agree_is_found(bank: Bank, database: Database, check: str, lie: str) -> None:
    await reversing(bank)
    assert await bank.work("never") == [0]
    await database.execute(RECONCILE["make_sealed"])
    transaction = database.transaction()
    await transaction.start()
    await database.execute(lie)
    assert await database.fetch(RECONCILE[check])
    await transaction.rollback()
    assert not await database.fetch(RECONCILE[check])


async def test_workers_that_race_and_repayments_that_meet_them_move_the_money_once(
    bank: Bank, database: Database
) -> None:
    decision, loan, customer = await reversing(bank)
    repayments = [{"id": near(customer), "amount": 1_000} for _ in range(10)]

    async def repay(number: int) -> Any:
        await asyncio.sleep(number * 0.1)
        return await bank.ledger("POST", f"/v1/loans/{loan}/repayments", repayments[number])

    workers = (bank.work("taken", "never"), bank.work("never"), bank.work("settled", "never"))
    *_, one, two, three = await asyncio.gather(*(repay(n) for n in range(10)), *workers)
    assert {*one, *two, *three} <= {0, -signal.SIGKILL}
    assert [(await repay(number))["replayed"] for number in range(10)] == [True] * 10
    await assert_undone_once(bank, database, decision, loan, customer, PAID + 10_000)
