"""What those who judge decisions do, for tests: with a key of their own beside the lender's."""

import json
from typing import Any, TypeAlias
from uuid import UUID, uuid4

import asyncpg
from tests.eligibility.conftest import GOOD_STANDING, Lender
from tests.eligibility.standings_server import StandingsServer

Database: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
NOBODY = "0199b7a1-0000-7000-8000-000000000000"
"""An id that nothing has."""
REVIEWER = "Ngozi Bello"
WHY = "The salary was late, not the customer: see the bank's letter."
TTL_S = 3_600
OVERDUE = GOOD_STANDING | {"current_days_past_due": 3}


class Bench:
    """A lender and a second key of it that may judge. Ids are chosen here unless given."""

    def __init__(self, lender: Lender, ledger: StandingsServer, judge: str) -> None:
        self.lender, self.ledger, self.judge = lender, ledger, judge

    async def declined(self, **standing: Any) -> str:
        """A request to borrow that was declined because a loan is overdue; its decision's id."""
        customer = await self.lender.customer()
        self.ledger.known[self.lender.tenant, UUID(customer)] = OVERDUE | standing
        answer = await self.lender.check(customer, id=str(uuid4()))
        assert (answer["outcome"], answer["offer"]) == ("decline", None), answer
        return str(answer["decision_id"])

    async def approved(self) -> str:
        """An approved request to borrow; its decision's and offer's id."""
        customer = await self.lender.customer()
        self.ledger.known[self.lender.tenant, UUID(customer)] = dict(GOOD_STANDING)
        answer = await self.lender.check(customer, id=str(uuid4()))
        assert answer["offer"] is not None, answer
        return str(answer["decision_id"])

    async def customer_of(self, decision: str) -> str:
        return str((await self.explain(decision))["customer"])

    async def say(self, path: str, key: str | None = None, **body: Any) -> tuple[int, Any]:
        """(status, body) of a review, with the judge's key unless another is given."""
        sent = {"id": str(uuid4()), "reason": WHY} | body
        return await self.lender.send("POST", path, sent, key or self.judge)

    async def override(self, decision: str, key: str | None = None, **body: Any) -> tuple[int, Any]:
        """An approval of ₦10,000, unless said otherwise."""
        approval = {
            "outcome": "approve",
            "amount": 1_000_000,
            "exposure_cap": 2_000_000,
            "ttl_s": TTL_S,
            "reviewer": REVIEWER,
        }
        return await self.say(f"/v1/decisions/{decision}/overrides", key, **(approval | body))

    async def decline(self, decision: str, **body: Any) -> tuple[int, Any]:
        said = {"outcome": "decline", "reviewer": REVIEWER} | body
        return await self.say(f"/v1/decisions/{decision}/overrides", **said)

    async def appeal(self, decision: str, **body: Any) -> tuple[int, Any]:
        return await self.say(f"/v1/decisions/{decision}/appeals", self.lender.key, **body)

    async def resolve(self, appeal: str, outcome: str, key: str | None = None, **body: Any) -> tuple[int, Any]:
        said = {"outcome": outcome, "reviewer": REVIEWER} | body
        return await self.say(f"/v1/appeals/{appeal}/resolutions", key, **said)

    async def reverse(self, decision: str, **body: Any) -> tuple[int, Any]:
        return await self.say(f"/v1/decisions/{decision}/reversals", **({"reviewer": REVIEWER} | body))

    async def confirm(self, offer: str) -> tuple[int, Any]:
        return await self.lender.internally("POST", f"/v1/offers/{offer}/confirmations", {})

    async def explain(self, id_: str, key: str | None = None) -> Any:
        status, told = await self.lender.send("GET", f"/v1/decisions/{id_}", key=key)
        assert status == 200, told
        return told


def done(answer: tuple[int, Any]) -> Any:
    """The body of a review that has to succeed."""
    status, body = answer
    assert status == 201, body
    return body


def refused(answer: tuple[int, Any]) -> tuple[int, str, dict[str, Any]]:
    """(status, code, figures) of a refusal."""
    status, problem = answer
    assert status >= 400, problem
    return status, problem["code"], problem.get("figures", {})


async def listed(bench: Bench, state: str, key: str | None = None) -> list[dict[str, Any]]:
    """The appeals in a state, all of them on one page, with the judge's key unless another is given."""
    status, page = await bench.lender.send("GET", f"/v1/appeals?state={state}", key=key or bench.judge)
    assert (status, page["next"]) == (200, None)
    appeals: list[dict[str, Any]] = page["appeals"]
    return appeals


async def events_of(database: Database, decision: str) -> list[dict[str, Any]]:
    """The events of a decision in order."""
    rows = await database.fetch("SELECT body FROM outbox WHERE aggregate_id = $1 ORDER BY seq", UUID(decision))
    return [json.loads(row["body"]) for row in rows]
