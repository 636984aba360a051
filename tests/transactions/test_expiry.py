"""Holds whose time is over: decided at access, released by the sweeper, and nobody depends on the sweeper."""

import asyncio
from itertools import pairwise
from uuid import UUID

from tests.transactions.conftest import Bank

from amana.domain.book import Kind
from amana.domain.reasons import Reason
from amana.transactions.jobs import SWEEP_MAX, sweep_once

SWEEPS_MAX = 20


async def sweep_all(bank: Bank) -> None:
    """Until nothing is overdue; other tests' holds are swept as well."""
    for _ in range(SWEEPS_MAX):
        if not await sweep_once(bank.flow):
            return
    raise AssertionError("a hold is overdue for ever")


class TestAtAccess:
    async def test_what_is_over_frees_its_headroom_for_the_next_transfer(self, bank: Bank) -> None:
        card, shop = await bank.account(limit=100), await bank.account()
        hold = await bank.held(card, shop, 100, ttl_s=3_600)
        assert (await bank.send(bank.post(card, shop, 1))).reason is Reason.LIMIT_EXCEEDED
        await bank.end_now([hold])
        assert (await bank.send(bank.post(card, shop, 100))).reason is None
        assert await bank.events() == ["HoldPlaced", "HoldExpired", "TransferPosted"]

    async def test_also_where_its_other_account_is_not_named(self, bank: Bank) -> None:
        card, shop, other = await bank.account(limit=100), await bank.account(), await bank.account()
        await bank.end_now([await bank.held(card, shop, 100, ttl_s=3_600)])
        assert (await bank.send(bank.post(card, other, 100))).reason is None
        assert (await bank.get(shop)).credits_pending == 0
        (kept,) = await bank.stored("SELECT credits_pending FROM accounts WHERE tenant = $1 AND id = $2", shop)
        assert kept["credits_pending"] == 0

    async def test_a_floor_on_the_credit_side_hears_of_it_too(self, bank: Bank) -> None:
        vault, investor = await bank.account(floor=0), await bank.account()
        wallets = [await bank.account() for _ in range(2)]
        await bank.send(bank.post(vault, investor, 100))
        await bank.end_now([await bank.held(wallets[0], vault, 100, ttl_s=3_600)])
        assert (await bank.send(bank.post(wallets[1], vault, 100))).reason is None

    async def test_a_balancing_transfer_takes_what_is_free_again(self, bank: Bank) -> None:
        wallet, debt, shop = await bank.account(side="credit"), await bank.account(), await bank.account()
        await bank.send(bank.post(debt, wallet, 100))
        await bank.end_now([await bank.held(wallet, shop, 60, ttl_s=3_600)])
        assert (await bank.send(bank.post(wallet, debt, 500, balancing="both"))).result == {"amount": 100}

    async def test_an_account_with_nothing_but_an_expired_hold_closes(self, bank: Bank) -> None:
        wallet, shop = await bank.account(), await bank.account()
        await bank.end_now([await bank.held(wallet, shop, 60, ttl_s=3_600)])
        assert (await bank.change(wallet, Kind.CLOSURE)).reason is None

    async def test_a_capture_is_refused_by_name_and_a_forced_one_goes_over_the_limit(self, bank: Bank) -> None:
        card, shop = await bank.account(limit=100), await bank.account()
        hold = await bank.held(card, shop, 100, ttl_s=3_600)
        await bank.end_now([hold])
        assert (await bank.send(bank.about(Kind.CAPTURE, hold))).reason is Reason.HOLD_EXPIRED
        await bank.send(bank.post(card, shop, 100))
        forced = await bank.send(bank.about(Kind.CAPTURE, hold, 70, forced_reason="late_file"))
        assert forced.result == {"amount": 70}
        card_now = await bank.get(card)
        assert (card_now.balance, card_now.headroom, card_now.debits_pending) == (170, 0, 0)

    async def test_reads_leave_it_out_before_anybody_released_it(self, bank: Bank) -> None:
        card, shop = await bank.account(limit=100), await bank.account()
        hold = await bank.held(card, shop, 100, ttl_s=3_600)
        await bank.send(bank.about(Kind.CAPTURE, hold, 30))
        await bank.end_now([hold])
        assert (await bank.get(card)).headroom == 70
        (listed,) = await bank.reads.list_accounts(bank.tenant, card, UUID(int=0), 10)
        assert listed.headroom == 70
        shown = await bank.reads.get_transfer(bank.tenant, hold)
        assert shown is not None
        assert (shown["state"], shown["captured"]) == ("expired", 30)
        assert "HoldExpired" not in await bank.events()

    async def test_it_does_not_spread_from_account_to_account(self, bank: Bank) -> None:
        """A float that every payout goes through: one transfer on it is not the place to release them all."""
        float_, other = await bank.account(), await bank.account()
        cards = [await bank.account(limit=100) for _ in range(6)]
        holds = [await bank.held(card, float_, 99, ttl_s=3_600) for card in cards]
        neighbours = [await bank.held(card, near, 1, ttl_s=3_600) for card, near in pairwise(cards)]
        await bank.end_now(holds + neighbours)
        assert (await bank.send(bank.post(float_, other, 5))).reason is None
        assert "HoldExpired" not in await bank.events()
        assert (await bank.send(bank.post(cards[0], other, 100))).reason is None
        assert (await bank.events()).count("HoldExpired") == 2
        assert (await bank.get(float_)).credits_pending == 0


class TestSweeper:
    async def test_it_releases_what_is_over_and_nothing_else(self, bank: Bank) -> None:
        card, shop = await bank.account(limit=100), await bank.account()
        over, open_ = await bank.held(card, shop, 60, ttl_s=3_600), await bank.held(card, shop, 40, ttl_s=3_600)
        await bank.end_now([over])
        await sweep_all(bank)
        rows = await bank.stored("SELECT id, state FROM holds WHERE tenant = $1")
        assert {row["id"]: row["state"] for row in rows} == {over: "expired", open_: "open"}
        assert await bank.events() == ["HoldPlaced", "HoldPlaced", "HoldExpired"]

    async def test_it_goes_on_in_bounded_chunks(self, bank: Bank) -> None:
        card, shop = await bank.account(), await bank.account()
        placed = [bank.hold(card, shop, 1, ttl_s=3_600) for _ in range(SWEEP_MAX + 50)]
        await bank.flow.submit(placed)
        await sweep_all(bank)
        await bank.end_now([one.orders[0].id for one in placed])
        assert await sweep_once(bank.flow) == SWEEP_MAX
        assert (await bank.events()).count("HoldExpired") == SWEEP_MAX
        assert await sweep_once(bank.flow) == 50
        assert (await bank.events()).count("HoldExpired") == SWEEP_MAX + 50

    async def test_two_sweepers_and_the_accounts_own_traffic_release_each_hold_once(self, bank: Bank) -> None:
        flows = [bank.flow, bank.another_flow()]
        card, shop = await bank.account(limit=10_000), await bank.account()
        holds = [await bank.held(card, shop, 10, ttl_s=3_600) for _ in range(30)]
        await bank.end_now(holds)
        posts = [bank.send(bank.post(card, shop, 1), flows[n % 2]) for n in range(20)]
        sweeps = asyncio.gather(*(sweep_once(flow) for flow in flows * 2))
        answers, _ = await asyncio.gather(asyncio.gather(*posts), sweeps)
        assert all(answer.reason is None for answer in answers)
        assert (await bank.events()).count("HoldExpired") == 30
        shop_now = await bank.get(shop)
        assert (shop_now.credits_pending, shop_now.credits_posted) == (0, 20)
