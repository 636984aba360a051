"""An account as it stood: what was held beyond its time counts nowhere, and what was told once never changes."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest
from tests.batches import batches_held_open
from tests.transactions.conftest import Bank
from tests.transactions.test_expiry import sweep_all

from amana.domain.book import Kind
from amana.infra import postgres
from amana.infra.settings import Settings
from amana.transactions import reads
from amana.transactions.reads import Reads
from amana.transactions.store import MARK_EVERY

MOMENT = timedelta(microseconds=1)


async def pending(bank: Bank, account: UUID, at: datetime) -> tuple[int, int]:
    """(debits, credits) that were held on an account just before an instant."""
    stood = await bank.reads.stood_at(bank.tenant, account, at)
    return stood.debits_pending, stood.credits_pending


async def expiry_of(bank: Bank, hold: UUID) -> datetime:
    """When the time of a hold is over."""
    (row,) = await bank.stored("SELECT expires_at FROM holds WHERE tenant = $1 AND id = $2", hold)
    expires_at: datetime = row["expires_at"]
    return expires_at


class TestHeldBeyondItsTime:
    async def test_it_counts_until_its_time_is_over_and_no_longer_swept_or_not(self, bank: Bank) -> None:
        card, shop = await bank.account(limit=100), await bank.account()
        hold = await bank.held(card, shop, 60, ttl_s=3_600)
        await bank.send(bank.about(Kind.CAPTURE, hold, 20))
        await bank.held(card, shop, 5)
        await bank.end_now([hold])
        over_at = await expiry_of(bank, hold)
        instants = [over_at - MOMENT, over_at, over_at + MOMENT, datetime.now(UTC)]
        before = [(await pending(bank, card, at), await pending(bank, shop, at)) for at in instants]
        assert before == [((45, 0), (0, 45))] + [((5, 0), (0, 5))] * 3
        card_now = await bank.get(card)
        assert card_now.debits_pending == 5
        await sweep_all(bank)
        after = [(await pending(bank, card, at), await pending(bank, shop, at)) for at in instants]
        assert after == before

    async def test_one_that_is_captured_by_force_after_its_time_counts_no_longer_either(self, bank: Bank) -> None:
        card, shop = await bank.account(limit=100), await bank.account()
        hold = await bank.held(card, shop, 60, ttl_s=3_600)
        await bank.end_now([hold])
        at = datetime.now(UTC)
        await bank.send(bank.about(Kind.CAPTURE, hold, 70, forced_reason="late_file"))
        await bank.send(bank.about(Kind.CAPTURE, hold, 60, forced_reason="late_file"))
        assert await pending(bank, card, at) == (0, 0)

    async def test_every_instant_agrees_with_the_holds_that_were_open_then(self, bank: Bank) -> None:
        """In both directions; some released by hand, some late, some not yet."""
        one, two = await bank.account(), await bank.account()
        open_: dict[UUID, tuple[UUID, int]] = {}
        then: list[tuple[datetime, tuple[int, int]]] = []
        for n in range(12):
            debit, credit = (one, two) if n % 3 else (two, one)
            hold = await bank.held(debit, credit, 1 << n, ttl_s=3_600)
            if n % 4 == 0:
                await bank.send(bank.about(Kind.VOID, hold))
            elif n % 4 == 3:
                open_[hold] = (debit, 1 << n)
            else:
                await bank.end_now([hold])
            sums = [sum(amount for held_on, amount in open_.values() if held_on == side) for side in (one, two)]
            then.append((datetime.now(UTC), (sums[0], sums[1])))
            if n == 7:
                await sweep_all(bank)
        for _ in range(2):
            for at, (of_one, of_two) in then:
                assert await pending(bank, one, at) == (of_one, of_two)
                assert await pending(bank, two, at) == (of_two, of_one)
            await sweep_all(bank)

    async def test_the_trial_balance_leaves_it_out_before_anybody_released_it(self, bank: Bank) -> None:
        card, shop = await bank.account(limit=100), await bank.account()
        over = await bank.held(card, shop, 60, ttl_s=3_600)
        await bank.held(shop, card, 7, ttl_s=3_600)
        (line,) = await bank.reads.trial_balance(bank.tenant)
        assert (line.debits_pending, line.credits_pending, line.accounts) == (67, 67, 2)
        await bank.end_now([over])
        (line,) = await bank.reads.trial_balance(bank.tenant)
        assert (line.debits_pending, line.credits_pending, line.accounts) == (7, 7, 2)
        await sweep_all(bank)
        assert await bank.reads.trial_balance(bank.tenant) == [line]

    async def test_a_late_release_is_looked_for_among_the_next_movements_only(
        self, bank: Bank, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        till, shop = await bank.account(), await bank.account()
        hold = await bank.held(till, shop, 60, ttl_s=3_600)
        await bank.end_now([hold])
        at = datetime.now(UTC)
        await bank.flow.submit([bank.post(till, shop, 1) for _ in range(2 * MARK_EVERY)])
        assert await pending(bank, till, at) == (0, 0)
        await sweep_all(bank)
        await bank.send(bank.post(till, shop, 1))
        assert await pending(bank, till, at) == (0, 0)
        monkeypatch.setattr(reads, "RELEASED_LATE_MAX", MARK_EVERY - 10)
        assert await pending(bank, till, at) == (60, 0)


class TestWhatWasTold:
    async def test_an_instant_that_just_went_by_waits_for_the_batch_in_flight(
        self, bank: Bank, settings: Settings
    ) -> None:
        till, income, other = await bank.account(), await bank.account(), await bank.account()
        async with batches_held_open(settings):
            post = asyncio.create_task(bank.send(bank.post(till, income, 7)))
            await asyncio.sleep(0.3)
            at = datetime.now(UTC)
            asked = asyncio.create_task(bank.reads.now_settled(bank.tenant, till, at))
            await bank.reads.now_settled(bank.tenant, other, at)  # nobody has its hands on it
            early = at - timedelta(seconds=reads.SETTLED_AFTER_S)
            await bank.reads.now_settled(bank.tenant, till, early)
            await bank.reads.now_settled(bank.tenant, till, at + timedelta(hours=1))
            await asyncio.sleep(0.1)
            assert not asked.done()
        assert await asked >= at
        told = await bank.reads.stood_at(bank.tenant, till, at)
        await post
        assert (told.debits_posted, told.version) == (7, 1)
        assert await bank.reads.stood_at(bank.tenant, till, at) == told

    async def test_what_is_told_under_load_is_told_again(self, bank: Bank) -> None:
        flows = [bank.flow, bank.another_flow()]
        till, income = await bank.account(), await bank.account()
        told = []

        async def ask() -> None:
            for _ in range(15):
                at = datetime.now(UTC)
                await bank.reads.now_settled(bank.tenant, till, at)
                told.append((at, await bank.reads.stood_at(bank.tenant, till, at)))

        async def post(n: int) -> None:
            for _ in range(15):
                await bank.send(bank.post(till, income, 1), flows[n % 2])

        await asyncio.gather(*(post(n) for n in range(8)), ask(), ask())
        assert await bank.balance(till) == 120
        assert [(at, await bank.reads.stood_at(bank.tenant, till, at)) for at, _ in told] == told

    async def test_an_account_that_stays_locked_is_unavailable_not_waited_for(
        self, bank: Bank, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(postgres, "LOCK_TIMEOUT_MS", 100)
        till = await bank.account()
        pool = await postgres.open_pool(settings.transactions_database_url, "transactions", 1)
        connection = await asyncpg.connect(settings.owner_database_url)
        try:
            async with connection.transaction():
                await connection.execute("SELECT FROM transactions.accounts WHERE id = $1 FOR NO KEY UPDATE", till)
                with pytest.raises(postgres.DatabaseUnavailable) as raised:
                    await Reads(pool, bank.shards, bank.pools.vault).now_settled(bank.tenant, till, datetime.now(UTC))
            assert raised.value.outcome_known
        finally:
            await connection.close()
            await pool.close()
