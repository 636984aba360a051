"""A check by a deadline, while the ledger does not answer: nothing is decided, and nobody else pays for it."""

import asyncio
import time
from typing import Any
from uuid import uuid4

import msgspec
from tests.eligibility.conftest import Lender
from tests.eligibility.standings_server import StandingsServer

LEFT_S = 0.3
SLACK_S = 1.0


async def ask_by(lender: Lender, customer: str, left_s: float | None, **more: object) -> tuple[int, Any, float]:
    """(status, body, seconds) of a check."""
    body = {"customer": customer, "product": "nano", "currency": "NGN", "amount": 1_000_000} | more
    headers = {"Authorization": f"Bearer {lender.key}"}
    if left_s is not None:
        headers["X-Request-Timeout"] = str(int(left_s * 1000))
    began_s = time.monotonic()
    reply = await lender.http.request(
        "POST",
        f"{lender.url}/v1/eligibility/checks",
        body=msgspec.json.encode(body),
        headers=headers,
        timeout_ms=8_000,
    )
    return reply.status, msgspec.json.decode(reply.body), time.monotonic() - began_s


async def test_a_request_to_borrow_that_the_ledger_keeps_waiting_is_not_decided(
    lender: Lender, good: str, ledger: StandingsServer
) -> None:
    id_ = str(uuid4())
    ledger.hold = asyncio.Event()
    status, problem, took_s = await ask_by(lender, good, LEFT_S, id=id_)
    assert (status, problem["code"], problem["retryable"]) == (503, "deadline_exceeded", True)
    assert took_s < LEFT_S + SLACK_S
    ledger.hold.set()
    assert (await lender.send("GET", f"/v1/decisions/{id_}"))[0] == 404
    status, answer, _ = await ask_by(lender, good, 5.0, id=id_)
    assert (status, answer["outcome"], answer["replayed"]) == (200, "approve", False)


async def test_one_who_asks_the_same_with_more_time_gets_the_answer(
    lender: Lender, good: str, ledger: StandingsServer
) -> None:
    ledger.hold = asyncio.Event()
    short = asyncio.create_task(ask_by(lender, good, LEFT_S))
    await ledger.asked.wait()
    patient = asyncio.create_task(ask_by(lender, good, None))
    status, problem, took_s = await short
    assert (status, problem["code"]) == (503, "deadline_exceeded")
    assert took_s < LEFT_S + SLACK_S
    ledger.hold.set()
    assert (await patient)[0] == 200
    assert len(ledger.calls) == 1


async def test_one_who_rides_in_the_same_batch_with_more_time_gets_the_answer(
    lender: Lender, good: str, ledger: StandingsServer
) -> None:
    ledger.hold = asyncio.Event()
    short, patient = (asyncio.create_task(ask_by(lender, good, left_s, id=str(uuid4()))) for left_s in (LEFT_S, None))
    assert (await short)[0] == 503
    ledger.hold.set()
    assert (await patient)[0] == 200
