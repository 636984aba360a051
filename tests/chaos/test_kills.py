"""kill -9 in the middle of a load: what was acknowledged is there once, what was not is there once or not at all, money
balances, and every event is sealed. The tests share a stack that nobody else has, to kill as they like; each brings
back what it killed, and the log of the whole stack must be whole after each.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import pytest
from tests.e2e.lenders import Lender, new_lender

from amana.audit.verify import run_verify
from amana.domain.account import wallet_account_id
from amana.infra.http import HttpClient, UpstreamUnavailable
from amana.operate.reconcile import reconcile
from amana.operate.stack import Stack, together

LOAD_CALLERS = 16
LOAD_S = 3.0
AWAY_PAUSE_S = 0.25
"""How long a caller waits after no answer, or none that says it was done: what it sends then is all settled later."""
RETRY_MAX = 60
SETTLE_S = 60.0
DUE = 1_300_000
"""Kobo: principal and fee of the loan that the load repays."""


@pytest.fixture(scope="module")
async def stack() -> AsyncIterator[Stack]:
    async with Stack.open() as opened:
        yield opened


@pytest.fixture
async def lender(stack: Stack) -> AsyncIterator[Lender]:
    async with HttpClient() as http:
        yield await new_lender(stack, http)


def errors_logged(stack: Stack, service: str) -> list[str]:
    """What a service logged as an error: the reason of a 500 that must not be."""
    lines = stack.home.log(service).read_text().splitlines()
    return [line for line in lines if '"severity_text":"error"' in line]


@dataclass
class Load:
    """Callers who post transfers and repay a loan without pause; every command is kept with what was answered."""

    lender: Lender
    till: UUID
    income: UUID
    loan: str
    customer: UUID
    sent: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    acknowledged: set[UUID] = field(default_factory=set)
    stopped: bool = False

    @property
    def transfers(self) -> int:
        """How many transfers were sent."""
        return sum(path == "/v1/transfers" for path, _ in self.sent)

    @property
    def repayments(self) -> int:
        """How many repayments were sent."""
        return len(self.sent) - self.transfers

    async def run(self) -> None:
        """Until `stopped`."""
        await asyncio.gather(*(self._call(number) for number in range(LOAD_CALLERS)))

    async def _call(self, number: int) -> None:
        while not self.stopped:
            id_ = uuid4()
            command = self._repayment(id_) if number % 2 else self._transfer(id_)
            self.sent.append(command)
            if await self._send(command) is not None:
                self.acknowledged.add(id_)
            else:
                await asyncio.sleep(AWAY_PAUSE_S)

    def _transfer(self, id_: UUID) -> tuple[str, dict[str, Any]]:
        item = {"id": id_, "debit_account": self.till, "credit_account": self.income, "amount": 7, "currency": "NGN"}
        return "/v1/transfers", {"transfers": [item]}

    def _repayment(self, id_: UUID) -> tuple[str, dict[str, Any]]:
        return f"/v1/loans/{self.loan}/repayments", {"id": id_, "amount": 700}

    async def _send(self, command: tuple[str, dict[str, Any]]) -> dict[str, Any] | None:
        """The result of a command that was acknowledged, None of one that was not."""
        try:
            status, answer = await self.lender.post("transactions", *command)
        except UpstreamUnavailable:
            return None
        assert status in {200, 201, 503, 504}, (answer, errors_logged(self.lender.stack, "transactions"))
        if status > 201:
            return None
        result: dict[str, Any] = answer["results"][0] if "results" in answer else answer
        assert result.get("status", "posted") == "posted", result
        return result

    async def settle(self) -> None:
        """Sends every command again until it is answered; what was acknowledged must be a replay."""
        await asyncio.gather(*(self._settle(self.sent[start::LOAD_CALLERS]) for start in range(LOAD_CALLERS)))

    async def _settle(self, commands: list[tuple[str, dict[str, Any]]]) -> None:
        for command in commands:
            for _ in range(RETRY_MAX):
                result = await self._send(command)
                if result is not None:
                    id_ = UUID(result["id"] if "id" in result else result["repayment"])
                    assert result["replayed"] or id_ not in self.acknowledged, "an acknowledged command was lost"
                    break
                await asyncio.sleep(0.2)
            else:
                raise AssertionError("a command was never answered")


@pytest.fixture
async def load(lender: Lender) -> Load:
    customer = await lender.customer()
    loan = await lender.loan(customer)
    assert loan["outstanding"] == DUE
    return Load(lender, await lender.account(), await lender.account(), loan["id"], customer)


async def assert_whole(stack: Stack, lender: Lender, load: Load) -> None:
    """Everything that was sent is there exactly once, all agrees, the log verifies."""
    await load.settle()
    assert load.acknowledged
    assert await lender.balance(load.till) == 7 * load.transfers
    owed = (await lender.must("GET", "transactions", f"/v1/loans/{load.loan}"))["outstanding"]
    wallet = await lender.balance(wallet_account_id(load.customer, "NGN"))
    assert DUE - owed + wallet == 700 * load.repayments
    assert await lender.trial_difference() == {"NGN": 0}
    result = await reconcile(stack.settings, SETTLE_S)
    assert result.ok, result.differences
    verified = await run_verify(stack.settings)
    assert verified.ok, verified.told()


def kill(pid: int | None) -> None:
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


async def test_the_transactions_service_dies_twice_under_load(stack: Stack, lender: Lender, load: Load) -> None:
    running = asyncio.create_task(load.run())
    for _ in range(2):
        await asyncio.sleep(LOAD_S / 2)
        kill(stack.services["transactions"].pid)
        await asyncio.sleep(0.3)
        await stack.start_service("transactions")
    load.stopped = True
    await running
    await assert_whole(stack, lender, load)


async def test_postgresql_dies_under_load(stack: Stack, lender: Lender, load: Load) -> None:
    assert stack.postgres is not None
    assert stack.postgres.process is not None
    running = asyncio.create_task(load.run())
    await asyncio.sleep(LOAD_S / 2)
    kill(stack.postgres.process.pid)
    await asyncio.sleep(0.3)
    await stack.postgres.restart()
    await asyncio.sleep(LOAD_S / 2)
    load.stopped = True
    await running
    await assert_whole(stack, lender, load)


async def test_relay_broker_and_audit_die_and_nobody_at_the_core_notices(
    stack: Stack, lender: Lender, load: Load
) -> None:
    assert stack.broker is not None
    running = asyncio.create_task(load.run())
    await asyncio.sleep(LOAD_S / 3)
    answered = len(load.acknowledged)
    kill(stack.services["relay"].pid)
    kill(stack.broker.process.pid)
    kill(stack.services["audit"].pid)
    await asyncio.sleep(LOAD_S / 3)
    assert len(load.acknowledged) > answered, "the core stopped with the broker"
    await stack.broker.start()
    await together([stack.start_service("audit"), stack.start_service("relay")])
    await asyncio.sleep(LOAD_S / 3)
    load.stopped = True
    await running
    await assert_whole(stack, lender, load)


async def test_without_the_cache_answers_are_the_same_and_no_error(stack: Stack, lender: Lender) -> None:
    assert stack.valkey is not None
    customer = await lender.customer()
    question = {"customer": customer, "product": "nano", "amount": 1_000_000, "currency": "NGN"}
    with_cache = await lender.must("POST", "eligibility", "/v1/eligibility/checks", question)
    kill(stack.valkey.process.pid)
    without = [await lender.must("POST", "eligibility", "/v1/eligibility/checks", question) for _ in range(5)]
    assert {(one["outcome"], one["limit"]) for one in without} == {(with_cache["outcome"], with_cache["limit"])}
    assert (await lender.loan(customer))["status"] == "open"
    await stack.valkey.start()
