"""Notification requests over the whole platform: they wait while the broker is away, and nobody at the core notices."""

import asyncio
import os
import signal
from collections import Counter
from typing import Any
from uuid import UUID

import pytest
from tests.e2e.lenders import Lender
from tests.ids import near
from tests.relay.source import until

from amana.infra.embedded.broker import Broker
from amana.operate.stack import Stack


async def told(lender: Lender, customer: UUID) -> list[dict[str, Any]]:
    page = await lender.must("GET", "notifications", f"/v1/notifications?customer={customer}")
    return list(page["notifications"])


async def templates(lender: Lender, customer: UUID, count: int) -> list[str]:
    """What a customer is told, once it is as much as expected."""

    async def enough() -> bool:
        return len(await told(lender, customer)) >= count

    await until(enough)
    return [one["template"] for one in await told(lender, customer)]


async def test_a_borrower_is_told_of_offer_loan_repayment_and_end(notifying: Stack, lender: Lender) -> None:
    customer = await lender.customer()
    loan = await lender.loan(customer)
    repayment = {"id": near(customer), "amount": loan["outstanding"]}
    await lender.must("POST", "transactions", f"/v1/loans/{loan['id']}/repayments", repayment)
    found = await templates(lender, customer, 4)
    assert sorted(found) == ["loan_closed", "loan_disbursed", "offer_made", "repayment_received"]
    of_loan = [name for name in found if name != "offer_made"]
    assert of_loan == ["loan_disbursed", "repayment_received", "loan_closed"]
    (end,) = [one for one in await told(lender, customer) if one["template"] == "loan_closed"]
    assert end["about"] == loan["id"]


async def kill(broker: Broker) -> None:
    pid = broker.process.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)

    async def gone() -> bool:
        return broker.process.pid is None

    await until(gone)


async def test_requests_wait_for_the_broker_and_the_core_does_not(notifying: Stack, lender: Lender) -> None:
    broker = notifying.broker
    if broker is None:
        pytest.skip("needs the embedded broker, to kill it")
    before = [await lender.customer() for _ in range(3)]
    for customer in before:
        await lender.loan(customer)
    await kill(broker)
    try:
        during = [await lender.customer() for _ in range(5)]
        loans = await asyncio.gather(*(lender.loan(customer) for customer in during))
        assert {loan["outstanding"] for loan in loans} == {1_300_000}
        await asyncio.sleep(2.5)  # longer than a gap is left open while the broker is there
        assert [await told(lender, customer) for customer in during] == [[]] * 5
    finally:
        await broker.start()
    for customer in before + during:
        assert Counter(await templates(lender, customer, 2)) == {"offer_made": 1, "loan_disbursed": 1}
    await asyncio.sleep(1.5)
    for customer in before + during:
        assert len(await told(lender, customer)) == 2


async def test_a_service_that_is_killed_in_the_middle_makes_each_request_once(notifying: Stack, lender: Lender) -> None:
    customers = [await lender.customer() for _ in range(6)]
    booking = asyncio.gather(*(lender.loan(customer) for customer in customers))
    await asyncio.sleep(0.2)
    pid = notifying.services["notifications"].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await notifying.start_service("notifications")
    await booking
    for customer in customers:
        assert Counter(await templates(lender, customer, 2)) == {"offer_made": 1, "loan_disbursed": 1}
