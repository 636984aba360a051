"""The report on a customer whose decline was overridden and booked, from the log of the running platform."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

from tests.e2e.lenders import Lender
from tests.e2e.test_main_road import SEALED_WITHIN_S
from tests.e2e.test_reviews import declined, overridden
from tests.ids import near

HISTORY = ["LoanBooked", "RepaymentReceived", "LoanClosed"]


async def report_of(lender: Lender, customer: UUID, loan: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The report and what it says of the loan, once the log has the end of it, and the override, in another stream."""
    for _ in range(int(SEALED_WITHIN_S / 0.1)):
        status, report = await lender.get("audit", f"/v1/audit/customers/{customer}/report")
        booked = [found for found in report["loans"] if found["loan"] == loan] if status == 200 else []
        overridden_too = booked and any(told["standing"].startswith("overridden") for told in report["decisions"])
        if overridden_too and len(booked[0]["history"]) >= len(HISTORY):
            return report, booked[0]
        await asyncio.sleep(0.1)
    raise AssertionError(f"not the whole history of {loan}: {report}")


async def test_a_report_tells_the_whole_road_from_a_decline_to_a_repaid_loan(lender: Lender) -> None:
    customer = await lender.customer(blocked=True)
    decision = await declined(lender, customer)
    offer = await overridden(await lender.with_another_key(), decision)
    loan = await lender.must("POST", "transactions", "/v1/loans", {"id": near(customer), "offer_id": offer})
    path = f"/v1/loans/{loan['id']}/repayments"
    await lender.must("POST", "transactions", path, {"id": near(customer), "amount": loan["outstanding"]})
    report, booked = await report_of(lender, customer, loan["id"])
    told = next(found for found in report["decisions"] if found["decision"] == str(decision))
    assert (told["outcome"], told["standing"]) == ("decline", "overridden: approve")
    assert {"code": "customer_blocked", "words": "Your profile is on hold. Please contact us."} in told["reasons"]
    assert told["policy"]["name"] == "nano" and told["facts"] and told["rules"]
    assert told["loans"] == [loan["id"]]
    assert [step["type"] for step in booked["history"]] == HISTORY
    assert (booked["decision"], booked["outstanding"]) == (str(offer), 0)
    legs = await lender.must("GET", "audit", f"/v1/audit/events?loan={loan['id']}&type=TransferPosted")
    assert len(legs["events"]) >= 2
    status, _ = await lender.get("audit", f"/v1/audit/customers/{uuid4()}/report")
    assert status == 404
