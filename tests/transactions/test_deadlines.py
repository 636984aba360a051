"""Money by a deadline: a lock that another process has is not waited for too long, and nobody else pays for it."""

import asyncio
import time

import pytest
from tests.batches import row_locked
from tests.transactions.conftest import Bank

from amana.domain.book import Answer, Kind
from amana.infra import deadline
from amana.infra.deadline import DeadlineExceeded
from amana.infra.postgres import DatabaseUnavailable
from amana.infra.settings import Settings
from amana.transactions import flow
from amana.transactions.work import Unit

SLACK_S = 1.0


async def by(bank: Bank, left_s: float, unit: Unit) -> list[Answer]:
    """Sends a unit as a request that has so many seconds."""

    async def send() -> list[Answer]:
        deadline.enter(time.monotonic() + left_s)
        return await bank.flow.submit(unit)

    return await asyncio.create_task(send())


@pytest.mark.parametrize("left_s", [0.2, 0.9])
async def test_a_locked_account_is_waited_for_until_the_deadline_and_then_nothing_was_done(
    bank: Bank, settings: Settings, left_s: float
) -> None:
    a, b = await bank.account(), await bank.account()
    transfer = bank.post(a, b, 5)
    async with row_locked(settings, bank.tenant, a):
        began_s = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            await by(bank, left_s, [transfer])
        assert time.monotonic() - began_s < left_s + SLACK_S
    assert (await bank.balance(a), await bank.events()) == (0, [])
    assert (await by(bank, 5.0, [transfer]))[0].reason is None  # the same id, sent again
    assert await bank.balance(a) == 5


async def test_who_rides_with_a_short_deadline_is_answered_all_the_same(bank: Bank, settings: Settings) -> None:
    a, b = await bank.account(), await bank.account()
    async with row_locked(settings, bank.tenant, a):
        short = asyncio.create_task(by(bank, 0.2, [bank.post(a, b, 1)]))
        patient = asyncio.create_task(by(bank, 5.0, [bank.post(a, b, 2)]))
        without = asyncio.create_task(bank.send(bank.post(a, b, 4)))
        with pytest.raises(DeadlineExceeded):
            await short
    assert [(await patient)[0].reason, (await without).reason] == [None, None]
    assert await bank.balance(a) == 6


async def test_a_capture_whose_hold_is_read_first_has_the_deadline_all_the_way(bank: Bank, settings: Settings) -> None:
    a, b = await bank.account(), await bank.account()
    hold = await bank.held(a, b, 5)
    async with row_locked(settings, bank.tenant, b):
        with pytest.raises(DeadlineExceeded):
            await by(bank, 0.2, [bank.about(Kind.CAPTURE, hold)])
    assert (await bank.get(a)).debits_pending == 5


async def test_a_long_list_that_is_cut_after_its_first_part_says_that_its_outcome_is_not_known(
    bank: Bank, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow, "BATCH_MAX", 4)
    a, b, locked = await bank.account(), await bank.account(), await bank.account()
    unit = [bank.post(a, b, 1) for _ in range(4)] + [bank.post(a, locked, 1)]
    async with row_locked(settings, bank.tenant, locked):
        with pytest.raises(DatabaseUnavailable) as cut:
            await by(bank, 0.5, unit)
    assert not cut.value.outcome_known
    assert [answer.reason for answer in await bank.flow.submit(unit)] == [None] * 5
    assert await bank.balance(a) == 5
