"""`amana events` at the keyboard: watching, lag, dead letters and redriving, on the whole platform."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from uuid import uuid4

import asyncpg
import msgspec
import pytest
from tests.e2e.lenders import Lender
from tests.ids import near
from tests.notifications.happenings import booked, message, repaid
from tests.relay.source import until
from typer.testing import CliRunner, Result

from amana.cli import app
from amana.infra.kafka import Message, Producer, Record
from amana.infra.settings import to_environ
from amana.operate.stack import Stack
from amana.operate.streams.client import NOTIFICATIONS, STREAMS

Amana = Callable[..., Awaitable[Result]]
REPAYMENTS_MAX, REPAYMENT_EVERY_S = 120, 0.5


@pytest.fixture
def amana(notifying: Stack) -> Amana:
    """Runs one command against the platform, in a thread: it has an event loop of its own."""

    async def run(*words: object, **more: str) -> Result:
        environ = to_environ(notifying.settings) | more
        return await asyncio.to_thread(CliRunner().invoke, app, ["events", *map(str, words)], env=environ)

    return run


async def keep(stack: Stack, tenant: int, kept: list[tuple[str, Message]]) -> list[int]:
    """Letters as the consumer keeps them, in this order of places that are nobody's; their numbers."""
    connection = await asyncpg.connect(stack.settings.owner_database_url)
    numbers = []
    first = 10**12 + uuid4().int % 10**12
    for number, (state, found) in enumerate(kept):
        body = json.loads(found.value) | {"tenant": tenant} if found.value.startswith(b"{") else None
        value = found.value if body is None else msgspec.json.encode(body)
        numbers.append(
            await connection.fetchval(
                'INSERT INTO notifications.consumer_letters (consumer, state, key, topic, partition, "offset", stream,'
                " position, headers, value, reason, error, attempts) VALUES ('notifications', $1, $2, 't', 0, 0,"
                " 'transactions', $3, $4, $5, 'handler_failed', 'once', 3) RETURNING letter",
                state,
                found.key,
                first + number,
                msgspec.json.encode(found.headers),
                value,
            )
        )
    await connection.close()
    return numbers


async def test_tail_shows_what_happens_to_a_customer_as_it_happens(
    amana: Amana, lender: Lender, notifying: Stack
) -> None:
    customer = await lender.customer()
    loan = (await lender.loan(customer))["id"]
    words = ["events", "tail", "--customer", str(customer), "--type", "RepaymentReceived", "--count", "1", "--json"]
    environ = {**os.environ, **to_environ(notifying.settings)}
    # A process of its own: it may be ended where it would watch for ever.
    watching = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "amana.cli", *words, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    following = asyncio.ensure_future(watching.communicate())
    try:
        for _ in range(REPAYMENTS_MAX):  # nothing says when it begins to watch: some may come before that
            slip = {"id": near(loan), "amount": 100}
            await lender.must("POST", "transactions", f"/v1/loans/{loan}/repayments", slip)
            await asyncio.wait([following], timeout=REPAYMENT_EVERY_S)
            if following.done():
                break
    finally:
        if watching.returncode is None:
            watching.kill()
    output, _ = await following
    assert watching.returncode == 0, output.decode()
    [shown] = [json.loads(line) for line in output.splitlines()]
    assert (shown["event"]["type"], shown["event"]["aggregate"]["id"]) == ("RepaymentReceived", loan)
    again = await amana("tail", "--from", 0, "--stream", "transactions", "--aggregate", loan, "--count", 1)
    assert f"LoanBooked            loan {loan} v1  customer {customer}" in again.stdout


async def test_tail_refuses_what_it_can_not_follow(amana: Amana) -> None:
    assert (await amana("tail", "--from", 5)).exit_code == 2
    for start in ("yesterday", "-1", "1e3", "9" * 16, "٣"):
        assert (await amana("tail", "--stream", "transactions", "--from", start)).exit_code == 2
    gone = await amana("tail", "--count", 1, AMANA_ELIGIBILITY_URL="http://127.0.0.1:1")
    assert (gone.exit_code, "Traceback" in gone.output) == (2, False)


async def test_lag_names_everybody_and_comes_back_to_nothing(amana: Amana, lender: Lender) -> None:
    await lender.loan(await lender.customer())

    async def nothing() -> bool:
        result = await amana("lag", "--json")
        found = [json.loads(line) for line in result.stdout.splitlines()]
        core = {(who, stream) for who in ("relay", "audit", "notifications") for stream in STREAMS}
        told = {(one["who"], one["stream"]) for one in found}
        assert told == core | {("relay", NOTIFICATIONS), ("audit", NOTIFICATIONS)}
        return all(one["events"] == 0 for one in found) and result.exit_code == 0

    await until(nothing)
    table = await amana("lag", "--max-seconds", 60)
    assert (table.exit_code, len(table.stdout.splitlines())) == (0, 9)
    away = await amana("lag", AMANA_AUDIT_URL="http://127.0.0.1:1")
    assert (away.exit_code, "audit can't be asked" in away.output) == (1, True)
    silent = await amana("lag", AMANA_NOTIFICATIONS_URL="http://127.0.0.1:1")
    assert (silent.exit_code, silent.output.count("notifications can't be asked")) == (1, 1)
    assert "transactions" in silent.stdout


async def test_a_key_is_redriven_in_order_and_once(amana: Amana, lender: Lender, notifying: Stack) -> None:
    loan = uuid4()
    story = [
        ("dead", message(1, "LoanBooked", booked(), aggregate=loan, version=1)),
        ("parked", message(2, "RepaymentReceived", repaid(), aggregate=loan, version=2)),
    ]
    numbered = await keep(notifying, lender.tenant, story)
    listed = await amana("dead", "--state", "all", "--key", loan, "--json")
    assert {json.loads(line)["state"] for line in listed.stdout.splitlines()} == {"dead", "parked"}
    behind = await amana("redrive", numbered[1])
    assert (behind.exit_code, f"behind letter {numbered[0]}" in behind.output) == (1, True)
    assert (await amana("redrive", "--key", loan)).stdout == "2 letters done, 0 failed again\n"
    assert (await amana("redrive", "--key", loan)).stdout == "0 letters done, 0 failed again\n"
    assert (await amana("redrive", numbered[0])).stdout == "it was done or discarded before: nothing happened\n"
    page = await lender.must("GET", "notifications", "/v1/notifications")
    assert len(page["notifications"]) == 2


async def test_what_is_no_event_fails_again_until_it_is_given_up(amana: Amana, notifying: Stack) -> None:
    nonsense = f"nonsense {uuid4()}".encode()
    producer = Producer(notifying.settings.kafka_bootstrap)
    sent = await producer.send("amana.transactions.events", [Record(b"somebody", nonsense, [])], 10.0)
    await producer.close()
    assert sent.acknowledged == 1
    found: list[dict[str, object]] = []

    async def kept() -> bool:
        lines = (await amana("dead", "--json", "--limit", 10_000)).stdout.splitlines()
        found[:] = [one for one in map(json.loads, lines) if one["reason"] == "foreign" and one["key"] == "somebody"]
        return bool(found)

    await until(kept)
    letter = found[-1]["letter"]
    shown = await amana("dead", letter)
    assert nonsense.decode() in shown.stdout
    failed = await amana("redrive", letter)
    assert (failed.exit_code, "failed again: foreign" in failed.stdout) == (1, True)
    assert (await amana("redrive", letter, "--discard")).exit_code == 0
    assert "nothing happened" in (await amana("redrive", letter, "--discard")).stdout


async def test_a_redrive_that_names_nothing_or_too_much_is_told_so(amana: Amana) -> None:
    for words in ((), (5, "--all"), ("--key", "x", "--all"), ("--all", "--discard"), (0,), ("five",)):
        assert (await amana("redrive", *words)).exit_code == 2
    assert (await amana("redrive", 2**50)).exit_code == 1
    assert (await amana("dead", 2**50)).exit_code == 1
    gone = await amana("redrive", "--all", AMANA_NOTIFICATIONS_URL="http://127.0.0.1:1")
    assert (gone.exit_code, "Traceback" in gone.output) == (2, False)
