"""Processes that stop without dying: a ledger in the middle of a batch, PostgreSQL altogether."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest
from tests.chaos.site import Ledger, Lender, Site, money

FREE_WITHIN_S = 4.0
"""The locks of a stopped process: two seconds, and the next turn of whoever waits."""
NEIGHBOURS_WITHIN_S = 1.4
"""Whoever needs none of what it has: half a second until the others find out, and what a busy machine takes."""
SILENCE_ANSWERED_WITHIN_S = 12.0
"""Every route of the ledger, when PostgreSQL says nothing: five seconds of tries, at most as long in the queue, and
what a busy machine takes to say so."""
BACK_WITHIN_S = 5.0
TRIES_MAX = 200
TRY_EVERY_S = 0.02
RETRYABLE = {(503, "unavailable"), (503, "overloaded"), (504, "outcome_unknown")}
MIDWAY = """
SELECT state = 'idle in transaction' AS holds, wait_event_type = 'Lock' AS waits
FROM pg_stat_activity WHERE usename = 'amana_transactions' AND xact_start IS NOT NULL
"""


@asynccontextmanager
async def stopped_in_its_batch(site: Site, ledger: Ledger, low: UUID, high: UUID) -> AsyncIterator[None]:
    """The ledger, busy with a transfer between the two, is stopped while it holds the locks of both.

    It gets the first lock and waits for the second, which we have; then it is stopped, and PostgreSQL gives it ours.
    """
    # Only its own role sees what a session waits for.
    async with site.database() as ours, site.database("transactions") as watching:
        async with ours.transaction():
            await ours.execute("SELECT FROM transactions.accounts WHERE id = $1 FOR NO KEY UPDATE", high)
            yield
            await _until_one(watching, "waits")
            ledger.signal(signal.SIGSTOP)
        await _until_one(watching, "holds")


async def _until_one(watching: Any, column: str) -> None:
    for _ in range(TRIES_MAX):
        if any(row[column] for row in await watching.fetch(MIDWAY)):
            return
        await asyncio.sleep(TRY_EVERY_S)
    raise AssertionError(f"no session that {column}")


@pytest.mark.parametrize(
    ("paused_s", "answers"), [(0.0, {200}), (5.5, {200, 503})], ids=["and wakes soon", "and wakes late"]
)
async def test_a_ledger_stopped_in_its_batch_frees_its_locks_and_doubles_nothing(
    site: Site, owner: Lender, paused_s: float, answers: set[int]
) -> None:
    victim, other = await site.serving(2)
    low, high = sorted([await owner.account(other), await owner.account(other)])
    cold = await owner.account(other), await owner.account(other)
    item = money(low, high, 7)
    began_s = time.monotonic()
    try:
        async with stopped_in_its_batch(site, victim, low, high):
            pending = asyncio.create_task(owner.transfer(victim, **item))
        elsewhere_s, _ = await _timed(owner.transfer(other, **money(*cold, 1)))
        freed_s, (status, result) = await _timed(owner.transfer(other, **money(high, low, 3)))
        await asyncio.sleep(max(0.0, paused_s - (time.monotonic() - began_s)))
    finally:
        victim.signal(signal.SIGCONT)
    assert (status, result["status"]) == (200, "posted"), result
    assert elsewhere_s < 1.0
    assert 0.5 < freed_s < FREE_WITHIN_S
    status, answer = await pending
    assert status in answers, answer
    assert await owner.balance(other, low) == (7 if status == 200 else 0) - 3
    again_status, again = await owner.transfer(victim, **item)
    assert (again_status, again["status"], again["replayed"]) == (200, "posted", status == 200)
    assert await owner.balance(other, low) == 7 - 3


async def test_the_neighbours_of_what_a_stopped_ledger_has_are_answered_while_it_has_it(
    site: Site, owner: Lender
) -> None:
    victim, other = await site.serving(2)
    low, high = sorted([await owner.account(other), await owner.account(other)])
    cold = [await owner.account(other) for _ in range(4)]
    try:
        async with stopped_in_its_batch(site, victim, low, high):
            pending = asyncio.create_task(owner.transfer(victim, **money(low, high, 7)))
        needing = [asyncio.create_task(_timed(owner.transfer(other, **money(cold[0], low, 1)))) for _ in range(20)]
        riding = [asyncio.create_task(_timed(owner.transfer(other, **money(cold[0], cold[1], 1)))) for _ in range(20)]
        riding += [asyncio.create_task(_timed(owner.transfer(other, **money(cold[2], cold[3], 1)))) for _ in range(20)]
        rode = await asyncio.gather(*riding)
        assert not any(task.done() for task in needing)
        waited = await asyncio.gather(*needing)
    finally:
        victim.signal(signal.SIGCONT)
    for took_s, (status, result) in rode:
        assert (status, result["status"]) == (200, "posted"), result
        assert took_s < NEIGHBOURS_WITHIN_S
    for took_s, (status, result) in waited:
        assert (status, result["status"]) == (200, "posted"), result
        assert took_s < FREE_WITHIN_S
    assert [await owner.balance(other, account) for account in cold] == [40, -20, 20, -20]
    await pending


async def test_while_postgresql_is_silent_every_money_route_says_so_in_time_and_recovers_by_itself(
    site: Site, owner: Lender
) -> None:
    [ledger] = await site.serving(1)
    till, income, new = await owner.account(ledger), await owner.account(ledger), uuid4()
    _, hold = await owner.transfer(ledger, **money(till, income, 50, kind="hold"))
    _, original = await owner.transfer(ledger, **money(till, income, 20))
    opening = {"id": new, "owner": uuid4(), "currency": "NGN", "normal_side": "debit"}
    commands: list[tuple[str, dict[str, Any]]] = [
        ("/v1/transfers", {"transfers": [money(till, income, 7)]}),
        ("/v1/transfers", {"transfers": [money(till, income, 1) for _ in range(60)]}),
        (f"/v1/transfers/{hold['id']}/captures", {"id": uuid4()}),
        (f"/v1/transfers/{original['id']}/reversals", {"id": uuid4(), "amount": 5}),
        ("/v1/accounts", {"accounts": [opening]}),
        (f"/v1/accounts/{income}/freezes", {"id": uuid4(), "frozen_for": "debits"}),
    ]
    site.signal_postgres(signal.SIGSTOP)
    try:
        first = asyncio.gather(*(_timed(owner.post(ledger, *command)) for command in commands))
        await asyncio.sleep(1.0)
        late = asyncio.gather(*(_timed(owner.post(ledger, *command)) for command in commands))
        silenced = await first + await late
    finally:
        site.signal_postgres(signal.SIGCONT)
    for took_s, (status, answer) in silenced:
        assert (status, answer["code"], answer["retryable"]) in {(*known, True) for known in RETRYABLE}, answer
        assert took_s < SILENCE_ANSWERED_WITHIN_S
    back_s, _ = await _timed(_until_answered(owner, ledger, commands))
    assert back_s < BACK_WITHIN_S
    assert await owner.balance(ledger, till) == 20 + 7 + 60 + 50 - 5
    assert await owner.balance(ledger, new) == 0


async def _until_answered(owner: Lender, ledger: Ledger, commands: list[tuple[str, dict[str, Any]]]) -> None:
    """Sends every command again until it is done."""
    for path, body in commands:
        for _ in range(TRIES_MAX):
            if (await owner.post(ledger, path, body))[0] < 300:
                break
            await asyncio.sleep(TRY_EVERY_S)


async def _timed(work: Any) -> tuple[float, Any]:
    """(seconds, result)."""
    began_s = time.monotonic()
    result = await work
    return time.monotonic() - began_s, result
