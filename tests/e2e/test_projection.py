"""The projection of standings on the whole platform: level with a real ledger through the life of a loan."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest
from tests.e2e.lenders import Lender
from tests.ids import near

from amana.domain.aging import aged
from amana.domain.facts import CustomerStanding
from amana.domain.money import Currency
from amana.eligibility.projection import Row
from amana.eligibility.standings import Ledger
from amana.eligibility.suspects import difference
from amana.operate.stack import Stack
from amana.wire.loans import StandingItem

WITHIN_S = 10


class Watched:
    """A customer, as the projection and the ledger have them."""

    def __init__(self, lender: Lender, customer: UUID, owner: "asyncpg.Connection[asyncpg.Record]") -> None:
        self.lender, self.customer, self.owner = lender, customer, owner

    async def ask(self, product: str = "nano") -> dict[str, Any]:
        """The answer to a plain question."""
        question = {"customer": self.customer, "product": product, "currency": "NGN", "amount": 1_000_000}
        return await self.lender.must("POST", "eligibility", "/v1/eligibility/checks", question)

    async def kept(self) -> CustomerStanding | None:
        """What the row says; None where there is none, or a stale one."""
        statement = "SELECT to_json(s) FROM eligibility.ledger_standings AS s WHERE customer = $1"
        row = await self.owner.fetchval(statement, self.customer)
        return None if row is None else msgspec.json.decode(row, type=Row).standing()

    async def told(self) -> CustomerStanding:
        """What the ledger says now."""
        settings = self.lender.stack.settings
        ledger = Ledger(self.lender.http, settings.transactions_url, settings.internal_key)
        (standing,) = await ledger.standings(self.lender.tenant, Currency.NGN, [StandingItem(customer=self.customer)])
        return standing

    async def agree(self) -> CustomerStanding:
        """Asks until the row says what the ledger said since the call began."""
        begun = (await self.told()).as_of
        async with asyncio.timeout(WITHIN_S):
            while True:
                await self.ask()
                kept, told = await self.kept(), await self.told()
                if kept is not None and kept.as_of > begun and difference(aged(kept, told.as_of), told) is None:
                    return told
                await asyncio.sleep(0.05)


@pytest.fixture
async def watched(platform: Stack, lender: Lender) -> AsyncIterator[Watched]:
    owner = await asyncpg.connect(platform.settings.owner_database_url)
    yield Watched(lender, await lender.customer(), owner)
    await owner.close()


async def through(watched: Watched, product: str) -> str:
    """Which way the ledger's facts of the newest decision about a product came."""
    answer = await watched.ask(product)
    explained = await watched.lender.must("GET", "eligibility", f"/v1/decisions/{answer['decision_id']}")
    return str(explained["ledger_through"])


async def test_rows_follow_the_ledger_through_loans_and_repayments(watched: Watched) -> None:
    lender, customer = watched.lender, watched.customer
    async with asyncio.timeout(WITHIN_S):
        while await watched.kept() is None:  # the first question of all that comes while the projection is level
            await watched.ask()
            await asyncio.sleep(0.1)
    loan = await lender.loan(customer)
    assert (await watched.agree()).exposure == loan["outstanding"]
    path = f"/v1/loans/{loan['id']}/repayments"
    part = near(customer)
    await lender.must("POST", "transactions", path, {"id": part, "amount": 400_000})
    assert (await watched.agree()).repaid_total == 400_000
    await lender.must("POST", "transactions", f"{path}/{part}/reversals", {"id": near(customer)})
    assert (await watched.agree()).exposure == loan["outstanding"]
    await lender.must("POST", "transactions", path, {"id": near(customer), "amount": loan["outstanding"]})
    closed = await watched.agree()
    assert (closed.exposure, closed.loans_closed) == (0, 1)
    assert await through(watched, "airtime") == "projection"


async def test_a_request_to_borrow_asks_the_ledger_itself(watched: Watched) -> None:
    offer = await watched.lender.offer(watched.customer)
    path = f"/v1/decisions/{offer['decision_id']}"
    assert (await watched.lender.must("GET", "eligibility", path))["ledger_through"] == "ledger"
