"""Neighbours of an account that another session has locked: answered while it is locked; who needs it waits apart."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import pytest
from tests.batches import batches_held_open, row_locked
from tests.transactions.conftest import Bank

from amana.domain.book import Answer, Kind
from amana.domain.reasons import Reason
from amana.infra import deadline
from amana.infra.deadline import DeadlineExceeded
from amana.infra.postgres import DatabaseUnavailable
from amana.infra.settings import Settings
from amana.transactions import batch, flow
from amana.transactions.work import Command, PostOrders

FOUND_S = 1.4
"""Until it is found out that a lock does not come: 0.5 s, and what a busy machine takes."""
KNOWN_S = 0.4
"""For whoever comes once that is known."""
FREE_S = 1.0
"""For who waited, once it is free."""
LONG_S = 0.7
"""Longer than a batch waits for a lock."""
SEED = 20261127


@asynccontextmanager
async def within_s(seconds: float) -> AsyncIterator[None]:
    async with asyncio.timeout(seconds):
        yield


def sent(bank: Bank, *commands: Command) -> list["asyncio.Task[Answer]"]:
    """Each as a request of its own, all at once."""
    return [asyncio.create_task(bank.send(command)) for command in commands]


async def reasons(asked: Sequence[Awaitable[Answer]]) -> list[Reason | None]:
    """How each went."""
    return [answer.reason for answer in await asyncio.gather(*asked)]


async def accounts(bank: Bank, count: int) -> list[UUID]:
    """New accounts in the order in which batches lock them, where all are in one shard."""
    first = uuid4()
    ids = sorted([first, *(bank.fitting(first) for _ in range(count - 1))])
    return [await bank.account(id_=id_) for id_ in ids]


async def test_who_rides_with_a_locked_account_is_answered_long_before_it_is_free(
    bank: Bank, settings: Settings
) -> None:
    a, b, locked, c = await accounts(bank, 4)
    async with row_locked(settings, bank.tenant, locked):
        held = sent(bank, bank.post(a, locked, 1), bank.post(locked, c, 2))
        free = sent(bank, bank.post(a, b, 4), bank.post(b, c, 8))
        async with within_s(FOUND_S):
            assert await reasons(free) == [None, None]
        await asyncio.sleep(0.3)
        assert not any(task.done() for task in held)
    async with within_s(FREE_S):
        assert await reasons(held) == [None, None]
    assert [await bank.balance(x) for x in (a, b, locked, c)] == [5, 4, 1, -10]


async def test_once_it_is_known_nobody_rides_with_it_and_nobody_waits_for_it_with_a_lock_in_hand(
    bank: Bank, settings: Settings
) -> None:
    a, b, locked, c = await accounts(bank, 4)
    async with row_locked(settings, bank.tenant, locked):
        held = sent(bank, bank.post(a, locked, 1))
        await asyncio.sleep(FOUND_S)
        held += sent(bank, bank.post(b, locked, 2), bank.post(locked, c, 4))
        async with within_s(KNOWN_S):
            assert await reasons(sent(bank, bank.post(a, b, 8), bank.post(b, c, 16))) == [None, None]
        async with within_s(KNOWN_S):  # another process finds none of it locked
            assert (await bank.send(bank.post(a, b, 32), bank.another_flow())).reason is None
        async with row_locked(settings, bank.tenant, a):
            assert not any(task.done() for task in held)
    async with within_s(FREE_S):
        assert await reasons(held) == [None] * 3
    assert [await bank.balance(x) for x in (a, b, locked, c)] == [41, -22, 1, -20]


async def test_batches_full_of_what_is_locked_stop_no_lane(
    bank: Bank, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow, "BATCH_MAX", 4)
    monkeypatch.setattr(flow, "SINGLE_MAX", 1)
    bank.flow = bank.another_flow()
    one, two, c, d = await accounts(bank, 4)
    async with row_locked(settings, bank.tenant, one), row_locked(settings, bank.tenant, two):
        held = sent(bank, *(bank.post(x, d, 1) for x in (one, two) for _ in range(8)))
        lists = [bank.flow.enqueue([bank.post(x, d, 1) for _ in range(6)]) for x in (one, two, one)]
        cold = asyncio.create_task(bank.send(bank.post(c, d, 2)))
        cold_list = bank.flow.enqueue([bank.post(c, d, 2) for _ in range(3)])
        async with within_s(2 * FOUND_S):
            assert (await cold).reason is None
            assert [answer.reason for answer in await cold_list] == [None] * 3
        assert not any(task.done() for task in held)
        assert not any(future.done() for future in lists)
    async with within_s(3 * FREE_S):
        assert await reasons(held) == [None] * 16
        assert [answer.reason for unit in await asyncio.gather(*lists) for answer in unit] == [None] * 18
    assert await bank.balance(d) == -42


async def test_a_list_and_a_linked_group_wait_whole_and_keep_their_order(bank: Bank, settings: Settings) -> None:
    a, b, locked, card = await accounts(bank, 4)
    await bank.change(card, Kind.LIMIT, credit_limit=10)
    group = PostOrders([order for x in (a, locked) for order in bank.post(x, b, 1).orders])
    async with row_locked(settings, bank.tenant, locked):
        listed = bank.flow.enqueue([bank.post(card, b, 10), bank.post(a, locked, 1), bank.post(card, b, 1)])
        linked = bank.flow.enqueue([group])
        await asyncio.sleep(FOUND_S)
        assert not (listed.done() or linked.done())
        assert (await bank.send(bank.post(a, b, 100))).reason is None
        assert [await bank.balance(x) for x in (a, card)] == [100, 0]
    async with within_s(FREE_S):
        assert [answer.reason for answer in await listed] == [None, None, Reason.LIMIT_EXCEEDED]
        assert [answer.reason for answer in await linked] == [None, None]
    entries = await bank.reads.list_entries(bank.tenant, card, 0, 10)
    assert [(entry["version"], entry["posted"]) for entry in entries] == [(1, 10)]


@pytest.mark.parametrize("what", ["capture", "reversal"])
async def test_what_is_about_something_earlier_waits_apart_too(bank: Bank, settings: Settings, what: str) -> None:
    a, locked, c, d = await accounts(bank, 4)
    hold, original = await bank.held(a, locked, 5), bank.post(a, locked, 5)
    await bank.send(original)
    about = {
        "capture": bank.about(Kind.CAPTURE, hold),
        "reversal": bank.about(Kind.REVERSAL, original.orders[0].id),
    }[what]
    async with row_locked(settings, bank.tenant, locked):
        [held] = sent(bank, about)
        await asyncio.sleep(0.1)
        async with within_s(FOUND_S):
            assert await reasons(sent(bank, bank.post(c, d, 1), bank.post(a, c, 1))) == [None, None]
        assert not held.done()
    async with within_s(FREE_S):
        assert (await held).reason is None


async def test_an_overdue_hold_whose_other_account_is_locked_holds_up_who_needs_it_and_nobody_else(
    bank: Bank, settings: Settings
) -> None:
    card, locked, c, d = await accounts(bank, 4)
    await bank.change(card, Kind.LIMIT, credit_limit=10)
    await bank.end_now([await bank.held(card, locked, 10, ttl_s=3_600)])
    async with row_locked(settings, bank.tenant, locked):
        [held] = sent(bank, bank.post(card, c, 10))
        [free] = sent(bank, bank.post(c, d, 1))
        async with within_s(FOUND_S):
            assert (await free).reason is None
        assert not held.done()
    async with within_s(FREE_S):
        assert (await held).reason is None
    assert (await bank.get(locked)).credits_pending == 0


async def test_who_needs_a_backlog_of_overdue_holds_released_holds_up_no_answer(
    bank: Bank, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "OVERDUE_MAX", 3)
    card, shop, c, d = await accounts(bank, 4)
    await bank.change(card, Kind.LIMIT, credit_limit=10)
    await bank.end_now([await bank.held(card, shop, 1, ttl_s=3_600) for _ in range(10)])
    order: list[str] = []

    async def noted(name: str, asked: Awaitable[Answer]) -> None:
        assert (await asked).reason is None
        order.append(name)

    await asyncio.gather(
        noted("held back", bank.send(bank.post(card, shop, 10))), noted("free", bank.send(bank.post(c, d, 1)))
    )
    assert order == ["free", "held back"]


async def test_what_goes_from_hand_to_hand_is_come_by_in_the_end(bank: Bank, settings: Settings) -> None:
    a, hot = await accounts(bank, 2)
    ended = asyncio.Event()

    async def others(for_s: float) -> None:
        while not ended.is_set():
            async with row_locked(settings, bank.tenant, hot):
                await asyncio.sleep(for_s)

    first = asyncio.create_task(others(LONG_S))
    await asyncio.sleep(0.05)
    second = asyncio.create_task(others(0.1))  # one of them always has it, and the other one queues for it
    [held] = sent(bank, bank.post(a, hot, 1))
    await asyncio.sleep(LONG_S)
    first.cancel()
    third = asyncio.create_task(others(0.1))
    async with within_s(flow.LOCKED_S):
        assert (await held).reason is None
    ended.set()
    await asyncio.wait([first, second, third])


async def test_what_is_locked_and_is_no_account_is_waited_for_a_bounded_time_and_then_nothing_was_done(
    bank: Bank, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow, "LOCKED_S", 0.6)
    a, b = await accounts(bank, 2)
    async with batches_held_open(settings):
        began_s = time.monotonic()
        with pytest.raises(DatabaseUnavailable) as raised:
            await bank.send(bank.post(a, b, 1))
        assert raised.value.outcome_known
        assert 0.6 < time.monotonic() - began_s < 3.0
    assert (await bank.balance(a), await bank.events()) == (0, [])


async def test_a_deadline_ends_the_waiting_apart_and_nothing_was_done(bank: Bank, settings: Settings) -> None:
    a, locked = await accounts(bank, 2)

    async def by(left_s: float) -> Answer:
        deadline.enter(time.monotonic() + left_s)
        return await bank.send(transfer)

    transfer = bank.post(a, locked, 1)
    async with row_locked(settings, bank.tenant, locked):
        began_s = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            await asyncio.create_task(by(2.5))  # longer than a batch lives
        assert 2.0 < time.monotonic() - began_s < 3.0
    assert (await bank.balance(a), await bank.events()) == (0, [])
    assert (await bank.send(transfer)).replayed is False


async def test_who_gave_up_waiting_apart_is_left_out(bank: Bank, settings: Settings) -> None:
    a, locked = await accounts(bank, 2)
    async with row_locked(settings, bank.tenant, locked):
        left, stayed = sent(bank, bank.post(a, locked, 1), bank.post(a, locked, 2))
        await asyncio.sleep(FOUND_S)
        left.cancel()
    assert (await stayed).reason is None
    assert await bank.balance(a) == 2


async def test_whatever_is_locked_and_when_the_books_are_as_if_all_came_one_at_a_time(
    bank: Bank, settings: Settings
) -> None:
    drawn = random.Random(SEED)
    all_ = await accounts(bank, 6)
    for bounded in all_[:3]:
        await bank.change(bounded, Kind.LIMIT, credit_limit=60)
    flows = [bank.flow, bank.another_flow()]
    balances: Counter[UUID] = Counter()

    async def someone(number: int) -> None:
        for _ in range(12):
            debit, credit = drawn.sample(all_, 2)
            command, amount = bank.post(debit, credit, drawn.randint(1, 30)), 0
            answer = None
            while answer is None:
                try:
                    answer = await bank.send(command, flows[number % 2])
                except DatabaseUnavailable as error:
                    assert error.outcome_known
            assert answer.reason in (None, Reason.LIMIT_EXCEEDED)
            amount = command.orders[0].amount or 0
            if answer.reason is None:
                balances[debit] += amount
                balances[credit] -= amount

    async def locker() -> None:
        for _ in range(4):
            async with row_locked(settings, bank.tenant, drawn.choice(all_)):
                await asyncio.sleep(drawn.choice([0.1, LONG_S]))

    await asyncio.gather(*(someone(number) for number in range(20)), locker(), locker())
    for account in all_:
        now = await bank.get(account)
        assert now.balance == balances[account]
        assert now.credit_limit is None or now.balance <= now.credit_limit
        entries = await bank.reads.list_entries(bank.tenant, account, 0, 500)
        assert [entry["version"] for entry in entries] == list(range(1, len(entries) + 1))
