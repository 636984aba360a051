"""The report on a customer whose decline was overridden and booked, from the log of the running platform."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

from tests.e2e.lenders import Lender
from tests.e2e.test_main_road import SEALED_WITHIN_S
from tests.e2e.test_reviews import declined, overridden
from tests.ids import near


async def report_of(lender: Lender, customer: UUID, events: int) -> dict[str, Any]:
    """The report, once it has so many events."""
    for _ in range(int(SEALED_WITHIN_S / 0.1)):
        status, report = await lender.get("audit", f"/v1/audit/customers/{customer}/report")
        if status == 200 and report["events"] >= events:
            return report
        await asyncio.sleep(0.1)
    raise AssertionError(f"fewer than {events} events: {report}")


async def test_a_report_tells_the_whole_road_from_a_decline_to_a_repaid_loan(lender: Lender) -> None:
    customer = await lender.customer(blocked=True)
    decision = await declined(lender, customer)
    offer = await overridden(await lender.with_another_key(), decision)
    loan = await lender.must("POST", "transactions", "/v1/loans", {"id": near(customer), "offer_id": offer})
    path = f"/v1/loans/{loan['id']}/repayments"
    await lender.must("POST", "transactions", path, {"id": near(customer), "amount": loan["outstanding"]})
    report = await report_of(lender, customer, 8)
    told = next(found for found in report["decisions"] if found["decision"] == str(decision))
    assert (told["outcome"], told["standing"]) == ("decline", "overridden: approve")
    assert {"code": "customer_blocked", "words": "Your profile is on hold. Please contact us."} in told["reasons"]
    assert told["policy"]["name"] == "nano" and told["facts"] and told["rules"]
    assert told["loans"] == [loan["id"]]
    booked = next(found for found in report["loans"] if found["loan"] == loan["id"])
    assert [step["type"] for step in booked["history"]] == ["LoanBooked", "RepaymentReceived", "LoanClosed"]
    assert (booked["decision"], booked["outstanding"]) == (str(offer), 0)
    legs = await lender.must("GET", "audit", f"/v1/audit/events?loan={loan['id']}&type=TransferPosted")
    assert len(legs["events"]) >= 2
    status, _ = await lender.get("audit", f"/v1/audit/customers/{uuid4()}/report")
    assert status == 404
