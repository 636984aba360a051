"""From a booked loan to none: a decision reversed with its consequences, over the whole platform."""

import asyncio
import json
import os
import re
from typing import Any
from uuid import UUID, uuid4

import pytest
from tests.e2e.lenders import Lender, new_lender
from tests.e2e.test_main_road import assert_proven, events_of
from tests.ids import near
from tests.style.source import ROOT

from amana.domain.account import exposure_account_id, wallet_account_id
from amana.infra.http import HttpClient
from amana.operate.reconcile import reconcile
from amana.operate.stack import Stack

SAID = {"reviewer": "Ngozi Bello", "reason": "The request was made with a stolen phone."}
WITHIN_S = 20
FROM_FUNDING = {"within_days": 3, "repaid": "return", "principal_from": "funding"}
FROM_WALLET = FROM_FUNDING | {"principal_from": "wallet"}
DUE = 1_300_000


class Desk:
    """A lender, the judges of it, and one customer."""

    def __init__(self, lender: Lender, judge: Lender, customer: UUID) -> None:
        self.lender, self.judge, self.customer = lender, judge, customer

    async def allow(self, terms: dict[str, Any]) -> None:
        """The policy undoes loans so, from now on."""
        live = await self.lender.must("GET", "eligibility", "/v1/policies/nano")
        document = live["document"] | {"loan_reversal": terms}
        draft = await self.lender.must("POST", "eligibility", "/v1/policies", {"id": uuid4(), "document": document})
        path = f"/v1/policies/nano/versions/{draft['version']}/approvals"
        await self.judge.must("POST", "eligibility", path, {"id": uuid4()})

    async def reverse(self, decision: object, loans: str = "reverse", **more: Any) -> dict[str, Any]:
        body = {"id": uuid4(), "loans": loans} | SAID | more
        return await self.judge.must("POST", "eligibility", f"/v1/decisions/{decision}/reversals", body)

    async def over(self, decision: object, state: str = "over") -> dict[str, Any]:
        """The decision, once its reversal has come so far."""
        async with asyncio.timeout(WITHIN_S):
            while True:
                told = await self.lender.must("GET", "eligibility", f"/v1/decisions/{decision}")
                if told["reversal"]["state"] == state:
                    return told
                await asyncio.sleep(0.02)

    async def help(self, what: str, reversal: object) -> dict[str, Any]:
        body = {"id": uuid4()} | SAID
        return await self.judge.must("POST", "eligibility", f"/v1/reversals/{reversal}/{what}", body)

    async def repay(self, loan: object, amount: int) -> dict[str, Any]:
        body = {"id": near(self.customer), "amount": amount}
        return await self.lender.must("POST", "transactions", f"/v1/loans/{loan}/repayments", body)

    async def loan(self, loan: object) -> dict[str, Any]:
        return await self.lender.must("GET", "transactions", f"/v1/loans/{loan}")

    async def balances(self) -> tuple[int, int]:
        """(exposure, wallet)."""
        exposure, wallet = exposure_account_id(self.customer, "NGN"), wallet_account_id(self.customer, "NGN")
        return await self.lender.balance(exposure), await self.lender.balance(wallet)


@pytest.fixture
async def desk(lender: Lender) -> Desk:
    return Desk(lender, await lender.with_another_key(), await lender.customer())


async def assert_reconciled(platform: Stack) -> None:
    result = await reconcile(platform.settings)
    assert result.ok, result.differences


async def test_a_reversed_decision_takes_its_loan_with_it_and_proves_it(desk: Desk, platform: Stack) -> None:
    await desk.allow(FROM_FUNDING)
    loan = await desk.lender.loan(desk.customer)
    await desk.repay(loan["id"], 400_000)
    answer = await desk.reverse(loan["decision_id"])
    assert (answer["standing"], answer["booked"], answer["replayed"]) == ("reversing", "unknown", False)
    told = await desk.over(loan["decision_id"])
    assert told["standing"] == "reversed"
    assert told["reversal"]["id"] == answer["review"]["id"]
    [offer] = told["reversal"]["offers"]
    assert (offer["state"], offer["loan"]) == ("reversed", loan["id"])
    assert await desk.balances() == (0, 400_000)
    found = await desk.loan(loan["id"])
    assert (found["status"], found["outstanding"], found["reversal"]) == ("reversed", 0, answer["review"]["id"])
    check = {"customer": desk.customer, "product": "nano", "amount": 1_000_000, "currency": "NGN", "id": uuid4()}
    fresh = await desk.lender.must("POST", "eligibility", "/v1/eligibility/checks", check)
    assert fresh["exposure"] == 0
    for aggregate, types in (
        (loan["decision_id"], ["DecisionMade", "DecisionReversalStarted", "DecisionReversed"]),
        (loan["id"], ["LoanBooked", "RepaymentReceived", "LoanReversalStarted", "LoanReversed"]),
    ):
        events = await events_of(desk.lender, aggregate, len(types))
        bodies = [json.loads(event["body"]) for event in events]
        assert sorted(body["type"] for body in bodies) == sorted(types)
        for body in bodies:
            if "Revers" in body["type"]:
                assert answer["review"]["id"] in (body["data"].get("reversal"), body["data"].get("review"))
        await assert_proven(desk.lender, events[-1])
    assert await desk.lender.trial_difference() == {"NGN": 0}
    await assert_reconciled(platform)


async def test_loans_are_kept_unless_it_is_asked_and_the_policy_allows_it(desk: Desk, platform: Stack) -> None:
    silent = await desk.lender.loan(desk.customer)
    await desk.reverse(silent["decision_id"])
    told = await desk.over(silent["decision_id"])
    assert [one["kept_because"] for one in told["reversal"]["offers"]] == ["not_allowed"]
    assert (await desk.repay(silent["id"], DUE))["loan_status"] == "closed"
    await desk.allow(FROM_FUNDING)
    unasked = await desk.lender.loan(desk.customer)
    await desk.reverse(unasked["decision_id"], "keep")
    told = await desk.over(unasked["decision_id"])
    assert [one["kept_because"] for one in told["reversal"]["offers"]] == ["not_asked"]
    assert (await desk.loan(unasked["id"]))["status"] == "open"
    assert (await desk.balances())[0] == DUE
    await assert_reconciled(platform)


async def test_what_the_customer_does_not_have_is_waited_for_and_taken_when_it_is_there(
    desk: Desk, platform: Stack
) -> None:
    await desk.allow(FROM_WALLET)
    loan = await desk.lender.loan(desk.customer)
    reversal = (await desk.reverse(loan["decision_id"]))["review"]["id"]
    told = await desk.over(loan["decision_id"], "stuck")
    assert told["standing"] == "reversing"
    [offer] = told["reversal"]["offers"]
    assert (offer["state"], offer["stuck_because"]) == ("reversing", "insufficient_funds")
    work = await desk.judge.must("GET", "eligibility", "/v1/reversals")
    assert [one["id"] for one in work["reversals"]] == [reversal]
    assert (await desk.loan(loan["id"]))["status"] == "reversing"
    standing = {"customer": desk.customer, "product": "nano", "amount": 1_000, "currency": "NGN", "id": uuid4()}
    fresh = await desk.lender.must("POST", "eligibility", "/v1/eligibility/checks", standing)
    assert fresh["exposure"] == DUE, "the exposure is there until the money has moved"
    assert (await desk.repay(loan["id"], 1_100_000))["loan_status"] == "reversing"
    helped = await desk.help("resumptions", reversal)
    assert (helped["review"]["kind"], helped["review"]["reversal"]) == ("resumption", reversal)
    told = await desk.over(loan["decision_id"])
    assert [review["kind"] for review in told["reviews"]] == ["reversal", "resumption"]
    assert (told["review_count"], await desk.balances()) == (2, (0, 100_000))
    await assert_reconciled(platform)


async def test_a_loan_that_a_person_gave_up_to_undo_goes_on(desk: Desk, platform: Stack) -> None:
    await desk.allow(FROM_WALLET)
    loan = await desk.lender.loan(desk.customer)
    reversal = (await desk.reverse(loan["decision_id"]))["review"]["id"]
    await desk.over(loan["decision_id"], "stuck")
    await desk.help("abandonments", reversal)
    told = await desk.over(loan["decision_id"])
    [offer] = told["reversal"]["offers"]
    assert (offer["state"], offer["kept_because"], offer["loan"]) == ("kept", "abandoned", loan["id"])
    assert told["standing"] == "reversed"
    again = {"id": uuid4()} | SAID
    for what in ("resumptions", "abandonments"):
        status, problem = await desk.judge.post("eligibility", f"/v1/reversals/{reversal}/{what}", again)
        assert (status, problem["code"]) == (409, "reversal_not_stuck")
    assert (await desk.repay(loan["id"], DUE))["loan_status"] == "closed"
    await assert_reconciled(platform)


async def test_an_offer_booked_at_the_very_moment_of_the_reversal_is_undone_or_never_booked(
    desk: Desk, platform: Stack
) -> None:
    await desk.allow(FROM_FUNDING)
    outcomes = set()
    for round_ in range(6):
        offer = (await desk.lender.offer(desk.customer))["decision_id"]
        booking = {"id": near(desk.customer), "offer_id": offer}

        async def later(number: int = round_, decision: str = offer) -> dict[str, Any]:
            await asyncio.sleep(number * 0.004)
            return await desk.reverse(decision)

        (status, booked), _ = await asyncio.gather(desk.lender.post("transactions", "/v1/loans", booking), later())
        [found] = (await desk.over(offer))["reversal"]["offers"]
        if status == 201:
            assert (found["state"], found["loan"]) == ("reversed", booked["id"])
        else:
            assert (booked["code"], found["state"]) == ("decision_reversed", "unbooked")
        outcomes.add(found["state"])
        assert (await desk.balances())[0] == 0
    assert outcomes <= {"reversed", "unbooked"}
    await assert_reconciled(platform)


async def test_one_reversal_sent_many_times_is_one(desk: Desk) -> None:
    await desk.allow(FROM_FUNDING)
    loan = await desk.lender.loan(desk.customer)
    id_ = uuid4()
    answers = await asyncio.gather(*(desk.reverse(loan["decision_id"], id=id_) for _ in range(6)))
    assert sorted(answer["replayed"] for answer in answers) == [False] + [True] * 5
    await desk.over(loan["decision_id"])
    assert (await desk.reverse(loan["decision_id"], id=id_))["replayed"]
    path = f"/v1/decisions/{loan['decision_id']}/reversals"
    status, problem = await desk.judge.post("eligibility", path, {"id": id_, "loans": "keep"} | SAID)
    assert (status, problem["code"], problem["errors"][0]["pointer"]) == (409, "id_conflict", "/loans")


async def test_to_undo_a_loan_needs_another_key_than_the_one_that_asked(desk: Desk) -> None:
    loan = await desk.lender.loan(desk.customer)
    path = f"/v1/decisions/{loan['decision_id']}/reversals"
    status, problem = await desk.lender.post("eligibility", path, {"id": uuid4(), "loans": "reverse"} | SAID)
    assert (status, problem["code"]) == (403, "four_eyes_needed")
    status, _ = await desk.lender.post("eligibility", path, {"id": uuid4()} | SAID)
    assert status == 201, "to withdraw only takes away"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"loans": "all"}, "/loans"),
        ({"loans": None}, "/loans"),
        ({"loans": 1}, "/loans"),
        ({"terms": {}}, "/terms"),
        ({"reason": " "}, "/reason"),
    ],
)
async def test_bad_input_names_its_field(desk: Desk, body: dict[str, Any], pointer: str) -> None:
    decision = (await desk.lender.offer(desk.customer))["decision_id"]
    path = f"/v1/decisions/{decision}/reversals"
    status, problem = await desk.judge.post("eligibility", path, {"id": uuid4()} | SAID | body)
    assert (status, problem["errors"][0]["pointer"]) == (400, pointer)


@pytest.mark.parametrize("query", ["state=going", "limit=0", "limit=1001", "after=7", "sate=stuck"])
async def test_lists_refuse_what_they_do_not_know(desk: Desk, query: str) -> None:
    status, problem = await desk.judge.get("eligibility", f"/v1/reversals?{query}")
    assert (status, problem["errors"][0]["pointer"]) == (400, f"?{query.partition('=')[0]}")


async def test_nobody_undoes_a_loan_without_its_decision(desk: Desk) -> None:
    loan = await desk.lender.loan(desk.customer)
    body = {"id": near(desk.customer), "reversal": uuid4(), "terms": FROM_FUNDING}
    status, problem = await desk.lender.post("transactions", f"/v1/loans/{loan['id']}/reversals", body)
    assert (status, problem["code"]) == (403, "scope_missing")


async def test_another_lender_sees_and_helps_no_reversal(desk: Desk, platform: Stack, http: HttpClient) -> None:
    decision = (await desk.lender.offer(desk.customer))["decision_id"]
    reversal = (await desk.reverse(decision))["review"]["id"]
    await desk.over(decision)
    stranger = await new_lender(platform, http)
    assert (await stranger.get("eligibility", f"/v1/reversals/{reversal}"))[0] == 404
    for what in ("resumptions", "abandonments"):
        status, problem = await stranger.post("eligibility", f"/v1/reversals/{reversal}/{what}", {"id": uuid4()} | SAID)
        assert (status, problem["code"]) == (404, "reversal_not_found")


async def test_the_page_says_it_as_it_is(desk: Desk, platform: Stack) -> None:
    page = (ROOT / "docs" / "how-to" / "reverse-a-decision.md").read_text(encoding="utf-8")
    [terms] = re.findall(r'^```json\n"loan_reversal": (.*?)\n```', page, re.MULTILINE | re.DOTALL)
    keyed, _, stuck, resume = re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    _, _, reverse = keyed.partition("\n")  # after the key, which is made here
    await desk.allow(json.loads(terms) | {"principal_from": "wallet"})
    loan = await desk.lender.loan(desk.customer)
    judge = await desk.lender.with_another_key(("decisions:override", "eligibility:check"))
    given = {"JUDGE": judge.key, "DECISION": loan["decision_id"]}

    async def said(script: str) -> dict[str, Any]:
        script = script.replace("curl ", "curl -sS --fail-with-body ")
        script = script.replace("localhost:7801", platform.urls["eligibility"].removeprefix("http://"))
        environ = {name: value for name, value in os.environ.items() if not name.startswith("AMANA_")}
        process = await asyncio.create_subprocess_exec(
            *("bash", "-euc", script), env=environ | given, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate()
        assert process.returncode == 0, out
        answer: dict[str, Any] = json.loads(out)
        return answer

    assert (await said(reverse))["standing"] == "reversing"
    await desk.over(loan["decision_id"], "stuck")
    assert [one["state"] for one in (await said(stuck))["reversals"]] == ["stuck"]
    await desk.repay(loan["id"], DUE)
    assert (await said(resume))["review"]["kind"] == "resumption"
    assert (await desk.over(loan["decision_id"]))["standing"] == "reversed"
    assert await desk.balances() == (0, DUE - loan["principal"])
