"""Batches on real PostgreSQL: what is committed, what races, what one bad unit leaves of its neighbours."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from uuid import UUID, uuid4

import pytest
from tests.transactions.conftest import FAR, Bank

from amana.domain.account import Account
from amana.domain.book import Kind
from amana.domain.reasons import Reason
from amana.domain.transfer import Key, Notes
from amana.infra.postgres import Connection, Record
from amana.transactions.account_work import OpenAccount
from amana.transactions.store import Store
from amana.transactions.work import Command, PostOrders


async def test_a_transfer_is_there_with_both_entries_and_its_event(bank: Bank) -> None:
    till, income = await bank.account(), await bank.account()
    assert (await bank.send(bank.post(till, income, 250))).result == {"amount": 250}
    for account, side, balance in ((till, "debit", 250), (income, "credit", -250)):
        entries = await bank.reads.list_entries(bank.tenant, account, 0, 10)
        assert [(entry["side"], entry["posted"], entry["pending"], entry["version"]) for entry in entries] == [
            (side, 250, 0, 1)
        ]
        assert await bank.balance(account) == balance
    assert await bank.events() == ["TransferPosted"]


class TestRaces:
    """Two flows are what two processes would be: only the database stands between them."""

    async def test_thirty_two_callers_with_one_id_see_one_effect(self, bank: Bank) -> None:
        flows = [bank.flow, bank.another_flow()]
        till, income = await bank.account(), await bank.account()
        command = bank.post(till, income, 10)
        answers = await asyncio.gather(*(bank.send(command, flows[n % 2]) for n in range(32)))
        assert sorted(answer.replayed for answer in answers) == [False] + [True] * 31
        assert {str(answer.result) for answer in answers} == {"{'amount': 10}"}
        assert await bank.balance(till) == 10
        assert await bank.events() == ["TransferPosted"]

    async def test_callers_with_one_id_and_other_accounts_see_one_effect(self, bank: Bank) -> None:
        till, drawer, income = await bank.account(), await bank.account(), await bank.account()
        id_ = bank.fitting(till)
        drawer_fits = bank.shards == 1 or (drawer.int & 0xFFF) * 8 // 4096 == (till.int & 0xFFF) * 8 // 4096
        first, second = await asyncio.gather(
            bank.send(bank.post(till, income, 10, id_)),
            bank.send(bank.post(drawer, income, 10, id_), bank.another_flow()),
        )
        reasons = [first.reason, second.reason]
        # Where the id does not fit the drawer's shard, the answer is that, unless the other one was there first.
        assert reasons in ([None, Reason.ID_CONFLICT], [Reason.ID_CONFLICT, None]) or (
            not drawer_fits and reasons == [None, Reason.ID_SHARD_MISMATCH]
        )
        assert await bank.balance(till) + await bank.balance(drawer) == 10

    async def test_sixty_four_callers_on_one_limit_never_pass_it_by_one_kobo(self, bank: Bank) -> None:
        flows = [bank.another_flow() for _ in range(3)]
        card, shop = await bank.account(limit=1_000), await bank.account()
        commands = [bank.hold(card, shop, 31) if n % 3 else bank.post(card, shop, 37) for n in range(64)]
        answers = await asyncio.gather(*(bank.send(command, flows[n % 3]) for n, command in enumerate(commands)))
        taken = sum(answer.result["amount"] for answer in answers if answer.reason is None)
        card_now = await bank.get(card)
        assert 1_000 - 31 < taken == card_now.debits_posted + card_now.debits_pending <= 1_000
        assert {answer.reason for answer in answers} == {None, Reason.LIMIT_EXCEEDED}

    async def test_a_hold_is_captured_to_its_amount_however_many_try(self, bank: Bank) -> None:
        flows = [bank.flow, bank.another_flow()]
        wallet, shop = await bank.account(), await bank.account()
        hold = await bank.held(wallet, shop, 100)
        commands = [bank.about(Kind.CAPTURE, hold, 30) for _ in range(10)]
        answers = await asyncio.gather(*(bank.send(command, flows[n % 2]) for n, command in enumerate(commands)))
        reasons = [answer.reason for answer in answers]
        assert (reasons.count(None), reasons.count(Reason.EXCEEDS_HOLD)) == (3, 7)
        shop_now = await bank.get(shop)
        assert (shop_now.credits_posted, shop_now.credits_pending) == (90, 10)

    async def test_of_a_capture_and_a_void_one_wins(self, bank: Bank) -> None:
        wallet, shop = await bank.account(), await bank.account()
        hold = await bank.held(wallet, shop, 100)
        capture, void = await asyncio.gather(
            bank.send(bank.about(Kind.CAPTURE, hold)), bank.send(bank.about(Kind.VOID, hold), bank.another_flow())
        )
        assert (capture.reason, void.reason) in ((None, Reason.HOLD_CAPTURED), (Reason.HOLD_VOIDED, None))
        assert (await bank.get(shop)).credits_pending == 0

    async def test_a_transfer_is_reversed_to_its_amount_however_many_try(self, bank: Bank) -> None:
        flows = [bank.flow, bank.another_flow()]
        till, income = await bank.account(), await bank.account()
        original = bank.post(till, income, 100)
        await bank.send(original)
        commands = [bank.about(Kind.REVERSAL, original.orders[0].id) for _ in range(10)]
        answers = await asyncio.gather(*(bank.send(command, flows[n % 2]) for n, command in enumerate(commands)))
        reasons = [answer.reason for answer in answers]
        assert (reasons.count(None), reasons.count(Reason.EXCEEDS_ORIGINAL)) == (1, 9)
        assert await bank.balance(till) == 0

    async def test_opposite_transfers_do_not_lock_each_other_out(self, bank: Bank) -> None:
        flows = [bank.another_flow() for _ in range(2)]
        one, two = await bank.account(), await bank.account()
        commands = [bank.post(one, two, 1) if n % 2 else bank.post(two, one, 1) for n in range(200)]
        answers = await asyncio.gather(*(bank.send(command, flows[n % 2]) for n, command in enumerate(commands)))
        assert all(answer.reason is None for answer in answers)
        assert await bank.balance(one) == 0


class TestIdsInTheDatabase:
    async def test_a_hold_sent_again_with_another_field_is_refused_by_its_name(self, bank: Bank) -> None:
        wallet, shop = await bank.account(), await bank.account()
        id_ = bank.fitting(wallet)
        notes = Notes("order 7", {"branch": "Yaba"}, b"0123456789abcdef")
        asked = {"ttl_s": 3_600, "notes": notes}
        first = await bank.send(bank.hold(wallet, shop, 100, id_, **asked))
        again = await bank.send(bank.hold(wallet, shop, 100, id_, **asked))
        assert (again.result, again.replayed) == (first.result, True)
        for changed, field in (
            ({"ttl_s": 3_601}, "ttl_s"),
            ({"ttl_s": None}, "ttl_s"),
            ({"notes": Notes("order 7", {"branch": "Ikeja"}, b"")}, "metadata"),
            ({"notes": Notes("order 8", {"branch": "Yaba"}, b"")}, "reference"),
            ({"notes": None}, "metadata"),
            ({"code": "payout"}, "code"),
        ):
            answer = await bank.send(bank.hold(wallet, shop, 100, id_, **asked | changed))
            assert (answer.reason, answer.result) == (Reason.ID_CONFLICT, {"field": field})
        assert (await bank.get(wallet)).debits_pending == 100

    async def test_a_refusal_is_kept_with_its_notes_and_given_again(self, bank: Bank) -> None:
        card, shop = await bank.account(limit=5), await bank.account()
        id_ = bank.fitting(card)
        asked = {"notes": Notes(None, {"branch": "Yaba"}, b"0123456789abcdef")}
        for replayed in (False, True):
            answer = await bank.send(bank.post(card, shop, 6, id_, **asked))
            assert (answer.reason, answer.replayed) == (Reason.LIMIT_EXCEEDED, replayed)
        assert (await bank.send(bank.post(card, shop, 6, id_))).result == {"field": "metadata"}

    async def test_a_balancing_transfer_gives_its_first_amount_again(self, bank: Bank) -> None:
        wallet, debt = await bank.account(floor=0, side="credit"), await bank.account()
        await bank.send(bank.post(debt, wallet, 70))
        command = bank.post(wallet, debt, 500, balancing="both")
        assert (await bank.send(command)).result == {"amount": 70}
        await bank.send(bank.post(debt, wallet, 30))
        again = await bank.send(command)
        assert (again.result, again.replayed) == ({"amount": 70}, True)

    async def test_an_id_that_does_not_fit_its_shard_is_refused_and_nothing_is_stored(self, bank: Bank) -> None:
        if bank.shards == 1:
            return  # every id fits
        till, income = await bank.account(), await bank.account()
        id_ = bank.far(till)
        for _ in range(2):
            answer = await bank.send(bank.post(till, income, 10, id_))
            assert (answer.reason, answer.replayed) == (Reason.ID_SHARD_MISMATCH, False)
        assert await bank.balance(till) == 0


async def test_a_transfer_and_its_hold_and_reversal_go_across_shards(bank: Bank) -> None:
    near = await bank.account()
    far = await bank.account(id_=bank.far(near))
    original = bank.post(near, far, 100)
    await bank.send(original)
    reversal = bank.about(Kind.REVERSAL, original.orders[0].id, 40)
    assert (await bank.send(reversal)).reason is None
    hold = await bank.held(far, near, 30)
    assert (await bank.send(bank.about(Kind.CAPTURE, hold))).reason is None
    assert (await bank.balance(near), await bank.balance(far)) == (30, -30)
    for account in (near, far):
        entries = await bank.reads.list_entries(bank.tenant, account, 0, 10)
        assert [entry["kind"] for entry in entries] == ["post", "post", "hold", "capture"]
    if bank.shards > 1:
        beside_the_wrong_account = bank.order(Kind.REVERSAL, original=original.orders[0].id, id=bank.fitting(far))
        answer = await bank.send(PostOrders([beside_the_wrong_account]))
        assert answer.reason is Reason.ID_SHARD_MISMATCH


class TestLinkedGroups:
    async def test_hold_capture_and_post_are_undone_wholly(self, bank: Bank) -> None:
        wallet, shop = await bank.account(floor=0, side="credit"), await bank.account()
        await bank.send(bank.post(shop, wallet, 500))
        before = await bank.get(wallet)
        hold = bank.hold(wallet, shop, 300).orders[0]
        orders = [
            hold,
            bank.order(Kind.CAPTURE, original=hold.id, amount=100),
            bank.post(wallet, shop, 150).orders[0],
            bank.post(wallet, shop, 51).orders[0],
        ]
        answers = await bank.flow.submit([PostOrders(orders)])
        assert [answer.reason for answer in answers] == [*[Reason.LINKED_FAILED] * 3, Reason.INSUFFICIENT_FUNDS]
        assert await bank.get(wallet) == before
        assert await bank.events() == ["TransferPosted"]
        assert not await bank.stored("SELECT id FROM holds WHERE tenant = $1")
        again = await bank.flow.submit([PostOrders(orders)])
        assert [(a.reason, a.replayed) for a in again] == [(a.reason, True) for a in answers]

    async def test_hold_captures_and_post_stand_wholly(self, bank: Bank) -> None:
        wallet, shop = await bank.account(floor=0, side="credit"), await bank.account()
        await bank.send(bank.post(shop, wallet, 500))
        hold = bank.hold(wallet, shop, 300).orders[0]
        orders = [
            hold,
            bank.order(Kind.CAPTURE, original=hold.id, amount=100),
            bank.order(Kind.CAPTURE, original=hold.id, amount=50, final=True),
            bank.post(wallet, shop, 350).orders[0],
        ]
        answers = await bank.flow.submit([PostOrders(orders)])
        assert [answer.reason for answer in answers] == [None] * 4
        wallet_now = await bank.get(wallet)
        assert (wallet_now.balance, wallet_now.debits_pending) == (0, 0)
        (kept,) = await bank.stored("SELECT state, captured, version FROM holds WHERE tenant = $1")
        assert tuple(kept) == ("captured", 150, 3)


class TestChangesOfAccounts:
    async def test_bounds_and_states_are_there_for_the_next_batch(self, bank: Bank) -> None:
        card, shop = await bank.account(limit=100), await bank.account()
        assert (await bank.change(card, Kind.LIMIT, credit_limit=50)).result["credit_limit"] == 50
        assert (await bank.send(bank.post(card, shop, 51))).result == {"headroom": 50, "requested": 51}
        await bank.change(card, Kind.FREEZE, frozen_for="debits")
        assert (await bank.send(bank.post(card, shop, 1))).reason is Reason.ACCOUNT_FROZEN
        assert (await bank.send(bank.post(shop, card, 1))).reason is None
        await bank.change(card, Kind.UNFREEZE)
        assert (await bank.send(bank.post(card, shop, 1))).reason is None
        assert (await bank.change(card, Kind.CLOSURE)).result["status"] == "closed"
        assert (await bank.send(bank.post(shop, card, 1))).reason is Reason.ACCOUNT_CLOSED
        assert (await bank.get(card)).revision == 5

    async def test_an_account_opened_frozen_and_used_in_one_batch_is_stored_as_it_was_left(self, bank: Bank) -> None:
        till = await bank.account()
        id_ = bank.far(till)

        def build(now: datetime) -> Account:
            return Account(bank.tenant, id_, id_, "NGN", "general", "debit", None, now)

        sent = [
            bank.flow.submit([OpenAccount(bank.asked(id_, Kind.ACCOUNT), build)]),
            bank.send(bank.post(till, id_, 5)),
            bank.change(id_, Kind.FREEZE, frozen_for="all"),
            bank.send(bank.post(till, id_, 5)),
        ]
        answers = await asyncio.gather(*sent)
        assert answers[3].reason is Reason.ACCOUNT_FROZEN  # type: ignore[attr-defined] # of a single command
        account = await bank.get(id_)
        assert (account.balance, account.version, account.revision, account.frozen_for) == (-5, 1, 2, "all")


async def test_one_bad_unit_never_fails_its_neighbours(bank: Bank) -> None:
    till, income = await bank.account(), await bank.account()
    good = [bank.post(till, income, 1) for _ in range(20)]

    def broken(now: datetime) -> Account:
        raise AssertionError("a bug")

    commands: list[Command] = [*good[:10], OpenAccount(bank.asked(uuid4(), Kind.ACCOUNT), broken), *good[10:]]
    answers = await asyncio.gather(*(bank.send(one) for one in commands), return_exceptions=True)
    assert [isinstance(answer, AssertionError) for answer in answers].count(True) == 1
    assert await bank.balance(till) == 20


class LateStore(Store):
    """A store in which `meanwhile` happens between the reads before and after the locks."""

    def __init__(self, shards: int, meanwhile: Callable[[], Awaitable[object]]) -> None:
        super().__init__(shards)
        self._meanwhile: Callable[[], Awaitable[object]] | None = meanwhile

    async def lock_accounts(self, connection: Connection, keys: Iterable[Key]) -> list[Record]:
        meanwhile, self._meanwhile = self._meanwhile, None
        if meanwhile is not None:
            await meanwhile()
        return await super().lock_accounts(connection, keys)


@pytest.mark.parametrize(("placed", "about"), [("post", Kind.REVERSAL), ("hold", Kind.CAPTURE)])
async def test_what_is_committed_just_before_the_locks_is_found_and_locked(
    bank: Bank, placed: str, about: Kind
) -> None:
    till, income = await bank.account(), await bank.account()
    original: PostOrders = getattr(bank, placed)(till, income, 100)
    flow = bank.another_flow(LateStore(bank.shards, lambda: bank.send(original)))
    answer = await bank.send(bank.about(about, original.orders[0].id), flow)
    assert answer.result == {"amount": 100}
    assert await bank.balance(till) == (0 if about is Kind.REVERSAL else 100)


async def test_a_list_too_long_to_share_a_batch_goes_alone(bank: Bank) -> None:
    till, income = await bank.account(), await bank.account()
    units = [[bank.post(till, income, 1) for _ in range(1_200)] for _ in range(3)]
    answers = await asyncio.gather(*(bank.flow.submit(unit) for unit in units))
    assert all(answer.reason is None for unit in answers for answer in unit)
    assert await bank.balance(till) == 3_600


class MeetingStore(Store):
    """A store whose first ids are taken at the same moment as those of another."""

    def __init__(self, shards: int, barrier: asyncio.Barrier) -> None:
        super().__init__(shards)
        self._barrier: asyncio.Barrier | None = barrier

    async def write_ids_and_counters(
        self, connection: Connection, ids: Iterable[Key], accounts: Sequence[Account]
    ) -> None:
        barrier, self._barrier = self._barrier, None
        if barrier is not None:
            await barrier.wait()
        await super().write_ids_and_counters(connection, ids, accounts)


async def test_lists_with_the_same_ids_in_opposite_order_never_wait_in_a_circle(bank: Bank) -> None:
    deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    till, income, fees = [await bank.account() for _ in range(3)]
    drawer = await bank.account(id_=bank.fitting(till))  # in the same shard, else the ids do not fit
    ids = [bank.fitting(till) for _ in range(500)]
    barrier = asyncio.Barrier(2)
    flows = [bank.another_flow(MeetingStore(bank.shards, barrier)) for _ in range(2)]
    before = await bank.pools.reads.fetchval(deadlocks)
    one = [bank.post(till, income, 1, id_) for id_ in ids]
    other = [bank.post(drawer, fees, 1, id_) for id_ in reversed(ids)]
    async with asyncio.timeout(30):
        answers = await asyncio.gather(flows[0].submit(one), flows[1].submit(other))
    assert sum(answer.reason is None for unit in answers for answer in unit) == 500
    assert await bank.balance(till) + await bank.balance(drawer) == 500
    await asyncio.sleep(1.5)  # a session tells the statistics what it met once it rests, at most once a second
    assert await bank.pools.reads.fetchval(deadlocks) == before


class TestLists:
    """A list is told of in its order, and goes whole or not at all where something breaks."""

    async def test_events_come_in_the_order_of_the_list_whatever_is_refused_between(self, bank: Bank) -> None:
        card, shop = await bank.account(limit=10), await bank.account()
        unit = [bank.post(card, shop, amount) for amount in (1, 2, 99, 3, 1, 99, 1, 1, 99, 1, 99)]
        answers = await bank.flow.submit(list(unit))
        assert [answer.reason is None for answer in answers] == [x != 99 for x in (1, 2, 99, 3, 1, 99, 1, 1, 99, 1, 99)]
        told = await bank.stored(
            "SELECT convert_from(body, 'UTF8')::json -> 'data' ->> 'transfer' AS id FROM outbox "
            "WHERE tenant = $1 AND type = 'TransferPosted' ORDER BY seq"
        )
        moved = [one.orders[0].id for one, answer in zip(unit, answers, strict=True) if answer.reason is None]
        assert [UUID(row["id"]) for row in told] == moved
        entries = await bank.reads.list_entries(bank.tenant, card, 0, 20)
        assert [entry["version"] for entry in entries] == [1, 2, 3, 4, 5, 6, 7]

    async def test_what_moved_before_is_taken_back_when_a_later_command_breaks(self, bank: Bank) -> None:
        till, income = await bank.account(), await bank.account()

        def broken(now: datetime) -> Account:
            raise AssertionError("a bug")

        posts: list[Command] = [bank.post(till, income, 1) for _ in range(10)]
        with pytest.raises(AssertionError, match="a bug"):
            await bank.flow.submit([*posts, OpenAccount(bank.asked(uuid4(), Kind.ACCOUNT), broken)])
        assert (await bank.balance(till), await bank.events()) == (0, [])
        assert all(answer.reason is None for answer in await bank.flow.submit(posts))
        assert (await bank.balance(till), len(await bank.events())) == (10, 10)


async def test_an_id_means_the_same_in_every_shard_of_the_code_and_of_the_database(bank: Bank) -> None:
    ids = [uuid4() for _ in range(200)] + [UUID(int=FAR), UUID(int=0xFFF), UUID(int=0)]
    rows = await bank.pools.reads.fetch("SELECT shard_of(id, $2) FROM unnest($1::uuid[]) AS id", ids, bank.shards)
    assert [row[0] for row in rows] == [(id_.int & 0xFFF) * bank.shards // 4096 for id_ in ids]
