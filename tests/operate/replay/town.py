"""A lender's day with every kind of event in it, over HTTP on real services."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from tests.e2e.lenders import Lender
from tests.e2e.test_decision_reversals import FROM_WALLET, Desk
from tests.ids import near

SAID = {"reviewer": "Ngozi Bello", "reason": "The salary was late, not the customer."}
TTL_S = 1


class Town:
    """A lender, its judge with a key of their own, and what the day left for tests to look at."""

    def __init__(self, lender: Lender, judge: Lender) -> None:
        self.lender, self.judge = lender, judge
        self.customer = uuid4()
        self.loan = near(self.customer)
        self.till, self.purse = uuid4(), uuid4()
        self.contested = self.withdrawn = self.nothing = uuid4()

    async def day(self) -> None:
        """Everything, once."""
        await self.ledger()
        await self.loans()
        await self.customers()
        await self.reviews()
        await self.policies()
        await self.reversals()
        await self.privacy()
        await self.hold_expires()

    async def ledger(self) -> None:
        """Accounts, transfers and holds."""
        lender = self.lender
        await lender.account(self.till, normal_side="debit")
        self.purse = near(self.till)
        await lender.account(self.purse, normal_side="credit", floor=0)
        for number in range(140):  # past a mark
            await self.move(amount=1_000 + number)
        await self.move(amount=70, effective_on="2026-01-31", reference="rent", metadata={"shop": "12"})
        posted = await self.move(amount=500)
        await self.say(f"/v1/transfers/{posted}/reversals", amount=200)
        await self.say(f"/v1/transfers/{posted}/reversals")
        held = await self.move(kind="hold", amount=900, ttl_s=3_600)
        await self.say(f"/v1/transfers/{held}/captures", amount=300)
        await self.say(f"/v1/transfers/{held}/captures", amount=100, final=True)
        given_back = await self.move(kind="hold", amount=40)
        await self.say(f"/v1/transfers/{given_back}/captures", amount=15)
        await self.say(f"/v1/transfers/{given_back}/voids")
        await self.move(kind="hold", amount=77)
        for path, body in (
            ("limits", {"credit_limit": 50_000_000}),
            ("freezes", {"frozen_for": "debits"}),
            ("unfreezes", {}),
            ("freezes", {}),
            ("unfreezes", {}),
            ("limits", {"credit_limit": None, "floor": None}),
        ):
            await self.say(f"/v1/accounts/{self.till}/{path}", **body)
        closed = await lender.account()
        await self.say(f"/v1/accounts/{closed}/closures", id=near(closed))

    async def move(self, *, kind: str = "post", amount: int, **more: Any) -> UUID:
        """A movement from the purse's side to the till: money comes in. Its id."""
        item = {"id": near(self.till), "kind": kind, "debit_account": self.till, "credit_account": self.purse}
        item |= {"amount": amount, "currency": "NGN"} | more
        answer = await self.lender.must("POST", "transactions", "/v1/transfers", {"transfers": [item]})
        assert answer["results"][0]["status"] in {"posted", "held"}, answer
        return UUID(str(item["id"]))

    async def say(self, path: str, **body: Any) -> dict[str, Any]:
        """A command of the ledger."""
        return await self.lender.must("POST", "transactions", path, {"id": near(self.till)} | body)

    async def loans(self) -> None:
        """A loan from an offer, repayments, one of them taken back, and more than is owed."""
        lender, customer = self.lender, await self.lender.customer(id_=self.customer)
        offer = await lender.offer(customer)
        booking = {"id": self.loan, "offer_id": offer["decision_id"]}
        loan = await lender.must("POST", "transactions", "/v1/loans", booking)
        await lender.must("GET", "transactions", f"/v1/loans/{self.loan}")
        path = f"/v1/loans/{self.loan}/repayments"
        first = near(customer)
        for id_, amount in ((first, 350_000), (near(customer), loan["outstanding"])):
            await lender.must("POST", "transactions", path, {"id": id_, "amount": amount})
        await lender.must("POST", "transactions", f"{path}/{first}/reversals", {"id": near(customer)})
        other = await lender.customer()
        await lender.loan(other)

    async def customers(self) -> None:
        """What other sources say, blocks and lifts, and what is refused."""
        lender, customer, day = self.lender, await self.lender.customer(bvn="22123456789"), datetime.now(UTC)
        at = (day - timedelta(days=1)).isoformat()
        path = f"/v1/customers/{customer}"
        await lender.must("PUT", "eligibility", f"{path}/bureau", {"as_of": at, "bureau_count": 2, "score": 640})
        await lender.must("PUT", "eligibility", f"{path}/topups", {"as_of": at, "monthly": 90_000})
        consents = {"terms": {"given": True, "at": at}, "recovery": {"given": False, "at": at}}
        await lender.must("PUT", "eligibility", f"{path}/consents", consents)
        until = (day + timedelta(days=3)).isoformat()
        for code, end in (("fraud", None), ("fraud", until), ("deceased", None)):
            block = {"id": uuid4(), "code": code, "reason": "as the police said", "until": end}
            await lender.must("POST", "eligibility", f"{path}/blocks", block)
        lift = {"id": uuid4(), "reason": "it was somebody else"}
        await lender.must("POST", "eligibility", f"{path}/blocks/fraud/lifts", lift)

    async def reviews(self) -> None:
        """A decline, contested, overridden, booked; an approval withdrawn; one contested in vain."""
        lender, judge = self.lender, self.judge
        customer = await lender.customer(blocked=True)
        declined = self.contested = await self.ask(customer)
        appeal = uuid4()
        await self.review(lender, f"/v1/decisions/{declined}/appeals", id=appeal, reason="I am not that person.")
        override = uuid4()
        terms = {"outcome": "approve", "amount": 1_000_000, "exposure_cap": 1_300_000, "ttl_s": 3_600}
        await self.review(judge, f"/v1/decisions/{declined}/overrides", id=override, **terms, **SAID)
        changed = {"outcome": "changed", "changed_by": override}
        await self.review(judge, f"/v1/appeals/{appeal}/resolutions", **changed, **SAID)
        booking = {"id": near(customer), "offer_id": override}
        await lender.must("POST", "transactions", "/v1/loans", booking)
        withdrawn = self.withdrawn = await self.ask(await lender.customer())
        await self.review(judge, f"/v1/decisions/{withdrawn}/reversals", **SAID)
        await Desk(lender, judge, customer).over(withdrawn)
        upheld = await self.ask(await lender.customer(kyc_tier=1, birth_date=None))
        contested = uuid4()
        await self.review(lender, f"/v1/decisions/{upheld}/appeals", id=contested, reason="Too little.")
        await self.review(judge, f"/v1/appeals/{contested}/resolutions", outcome="upheld", **SAID)
        overruled = await self.ask(await lender.customer())
        await self.review(judge, f"/v1/decisions/{overruled}/overrides", outcome="decline", **SAID)
        # What is refused leaves a row of its standing behind, and no event.
        asked = await self.ask(await lender.customer())
        body = {"id": uuid4(), "outcome": "decline"} | SAID
        status, answer = await lender.post("eligibility", f"/v1/decisions/{asked}/overrides", body)
        assert status >= 400, answer

    async def ask(self, customer: UUID) -> UUID:
        """A request to borrow; its decision."""
        id_ = uuid4()
        request = {"id": id_, "customer": customer, "product": "nano", "amount": 1_000_000, "currency": "NGN"}
        await self.lender.must("POST", "eligibility", "/v1/eligibility/checks", request)
        return id_

    async def review(self, who: Lender, path: str, **body: Any) -> None:
        """A review that has to succeed."""
        await who.must("POST", "eligibility", path, {"id": uuid4()} | body)

    async def policies(self) -> None:
        """Versions drafted, approved at once and later, withdrawn, rolled back."""
        lender, judge = self.lender, self.judge
        live = await lender.must("GET", "eligibility", "/v1/policies/nano")
        document = live["document"]
        for start in (None, (datetime.now(UTC) + timedelta(days=2)).isoformat()):
            document["caps"]["product"] += 100
            drafted = await lender.must("POST", "eligibility", "/v1/policies", {"id": uuid4(), "document": document})
            path = f"/v1/policies/nano/versions/{drafted['version']}"
            approval = {"id": uuid4()} | ({} if start is None else {"valid_from": start})
            await judge.must("POST", "eligibility", f"{path}/approvals", approval)
        await lender.must("POST", "eligibility", f"{path}/withdrawals", {"id": uuid4()})
        rollback = {"id": uuid4(), "hash": live["hash"]}
        await lender.must("POST", "eligibility", "/v1/policies/nano/rollbacks", rollback)

    async def reversals(self) -> None:
        """Loans whose decisions are reversed: one is undone when the customer can pay, one is given up."""
        for what in ("resumptions", "abandonments"):
            desk = Desk(self.lender, self.judge, await self.lender.customer())
            await desk.allow(FROM_WALLET)
            loan = await self.lender.loan(desk.customer)
            reversal = (await desk.reverse(loan["decision_id"]))["review"]["id"]
            await desk.over(loan["decision_id"], "stuck")
            await desk.repay(loan["id"], 1_100_000)
            await desk.help(what, reversal)
            await desk.over(loan["decision_id"])

    async def privacy(self) -> None:
        """Who is handed a copy and erased; who was decided about, was held, and is kept and used no more."""
        lender = self.lender
        gone, kept = await lender.customer(bvn="22198765432"), await lender.customer()
        await self.ask(kept)
        await lender.must("GET", "eligibility", f"/v1/customers/{gone}/export")
        holds, hold = f"/v1/customers/{kept}/legal-holds", str(uuid4())
        await lender.must("POST", "eligibility", holds, {"id": hold, "reason": "dispute", "by": "ada"})
        await lender.must("POST", "eligibility", f"{holds}/{hold}/releases", {"reason": "matter_closed", "by": "obi"})
        for customer, state in ((gone, "erased"), (kept, "restricted")):
            body = {"id": uuid4(), "reason": "customer_request"}
            told = await lender.must("POST", "eligibility", f"/v1/customers/{customer}/erasures", body)
            assert told["state"] == state, told

    async def hold_expires(self) -> None:
        """A hold whose time is over, released by the next movement or the sweeper."""
        await self.move(kind="hold", amount=33, ttl_s=TTL_S)
        await asyncio.sleep(TTL_S + 0.05)
        # Released before anything else on its accounts, where they are bounded; else by the sweeper within a second.
        await self.say(f"/v1/accounts/{self.till}/limits", credit_limit=60_000_000)
