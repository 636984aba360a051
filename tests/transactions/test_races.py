"""What is raced for with one id in different clothes, and what is hot or overdue beside what is not."""

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from tests.batches import batches_held_open, row_locked
from tests.transactions.conftest import Bank

from amana.domain.account import AccountStatus, Freeze
from amana.domain.account_commands import freeze
from amana.domain.book import Answer, Book, Kind
from amana.domain.lending import Loan, LoanOrigin
from amana.domain.money import MAX_AMOUNT
from amana.domain.reasons import Reason
from amana.domain.transfer import Notes
from amana.domain.transfer_commands import expire_holds
from amana.infra.postgres import DatabaseUnavailable
from amana.infra.settings import Settings
from amana.transactions import batch, flow
from amana.transactions.account_work import ChangeAccount, SetCreditLine
from amana.transactions.jobs import sweep_once
from amana.transactions.units import needs_of, plain_claims
from amana.transactions.work import BookLoan, ExpireHolds, PostOrders

MANY = 70
FEW = 20


async def raced(settings: Settings, *asked: Coroutine[Any, Any, Answer]) -> list[Answer]:
    """All are under way, in their order, before any may commit."""
    async with batches_held_open(settings):
        tasks = []
        for one in asked:
            tasks.append(asyncio.create_task(one))
            await asyncio.sleep(0.2)
        assert not any(task.done() for task in tasks)
    return [await task for task in tasks]


def told(answer: Answer) -> object:
    """How it went: None, or why not."""
    return None if answer.reason is None else (answer.reason, answer.result)


async def test_one_id_for_a_transfer_and_a_freeze_in_two_processes_has_one_effect(
    bank: Bank, settings: Settings
) -> None:
    a, b = await bank.account(), await bank.account()
    victim = await bank.account(id_=bank.fitting(a))
    id_ = bank.fitting(a)
    change = partial(freeze, account_id=victim, frozen_for=Freeze.ALL)
    command = ChangeAccount(bank.asked(id_, Kind.FREEZE, frozen_for="all"), victim, change)
    answers = await raced(
        settings,
        bank.send(bank.post(a, b, 7, id_)),
        bank.send(command, bank.another_flow()),
    )
    conflict = (Reason.ID_CONFLICT, {"field": "kind"})
    assert sorted(map(told, answers), key=str) == [conflict, None]
    posted = answers[0].reason is None
    assert (await bank.balance(a), (await bank.get(victim)).status) == (
        (7, AccountStatus.OPEN) if posted else (0, AccountStatus.FROZEN)
    )
    again = [await bank.send(bank.post(a, b, 7, id_)), await bank.send(command)]
    assert [one.replayed for one in again] == [posted, not posted]


async def test_one_id_for_a_transfer_and_a_loan_in_two_processes_moves_money_once(
    bank: Bank, settings: Settings
) -> None:
    customer, now = uuid4(), datetime.now(UTC)
    line = bank.asked(bank.fitting(customer), Kind.CREDIT_LINE, customer=str(customer))
    await bank.send(SetCreditLine(line, customer, "NGN", 10_000))
    a, b = await bank.account(id_=bank.fitting(customer)), await bank.account()
    id_ = bank.fitting(customer)
    loan = Loan(
        tenant=bank.tenant,
        id=id_,
        customer=customer,
        product="nano",
        currency="NGN",
        principal=500,
        fee=10,
        term_days=30,
        origin=LoanOrigin.IMPORTED,
        decision_id=None,
        effective_at=now,
        booked_at=now,
    )
    booking = BookLoan(bank.asked(id_, Kind.LOAN, customer=str(customer)), loan, None, False)
    answers = await raced(
        settings,
        bank.send(bank.post(a, b, 7, id_)),
        bank.send(booking, bank.another_flow()),
    )
    assert sorted(map(told, answers), key=str) == [(Reason.ID_CONFLICT, {"field": "kind"}), None]
    moved = await bank.stored("SELECT DISTINCT coalesce(command, id) FROM transfers WHERE tenant = $1")
    assert [row[0] for row in moved] == [id_]


async def test_one_id_in_a_list_and_alone_has_one_answer(bank: Bank, settings: Settings) -> None:
    a, b = await bank.account(), await bank.account()
    bounded, c = await bank.account(limit=5, id_=bank.fitting(a)), await bank.account()
    id_ = bank.fitting(a)
    listed = [bank.post(bounded, c, 900, id_), *(bank.post(bounded, c, 1) for _ in range(55))]

    async def first_of_list() -> Answer:
        return (await bank.flow.submit(listed))[0]

    answers = await raced(
        settings,
        bank.send(bank.post(a, b, 7, id_)),
        first_of_list(),
    )
    reasons = {one.reason for one in answers}
    assert reasons in ({None, Reason.ID_CONFLICT}, {Reason.LIMIT_EXCEEDED, Reason.ID_CONFLICT})
    assert await bank.balance(a) == (7 if answers[0].reason is None else 0)
    assert (await bank.send(bank.post(a, b, 7, id_))).replayed is (answers[0].reason is None)


@pytest.mark.parametrize("what", ["post", "capture", "void", "reversal"])
async def test_whatever_touches_a_hot_account_holds_up_nobody_else(bank: Bank, settings: Settings, what: str) -> None:
    hot, locked = [await bank.account(id_=id_) for id_ in sorted([uuid4(), uuid4()])]
    shop, c, d = await bank.account(), await bank.account(), await bank.account()
    held = await bank.held(hot, shop, 10)
    posted = bank.post(hot, shop, 10)
    await bank.send(posted)
    item = {
        "post": bank.post(hot, shop, 1),
        "capture": bank.about(Kind.CAPTURE, held),
        "void": bank.about(Kind.VOID, held),
        "reversal": bank.about(Kind.REVERSAL, posted.orders[0].id),
    }[what]
    async with row_locked(settings, bank.tenant, locked):
        first = asyncio.create_task(bank.send(bank.post(hot, locked, 1)))
        await asyncio.sleep(0.1)
        waiting = asyncio.create_task(bank.send(item))
        await asyncio.sleep(0.3)  # longer than it yields
        async with asyncio.timeout(1.0):  # sooner than the lock is given up
            assert (await bank.send(bank.post(c, d, 1))).reason is None
        async with asyncio.timeout(2.0):  # who waits for the locked one has let go of the hot one by then
            assert (await waiting).reason is None
        assert not first.done()
    assert (await first).reason is None


async def test_an_account_that_stays_locked_keeps_only_those_back_who_need_it(
    bank: Bank, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow, "LOCKED_S", 0.5)
    bank.flow = bank.another_flow()
    a, b, c, locked = [await bank.account() for _ in range(4)]
    posts = [bank.post(a, locked, 1), bank.post(a, b, 2), bank.post(locked, c, 3), bank.post(b, c, 4)]
    async with row_locked(settings, bank.tenant, locked):
        told = await asyncio.gather(*(bank.send(post) for post in posts), return_exceptions=True)
    kept_back, done = told[::2], told[1::2]
    assert all(isinstance(one, DatabaseUnavailable) and one.outcome_known for one in kept_back), told
    assert [one.reason for one in done if isinstance(one, Answer)] == [None, None]
    again = [await bank.send(post) for post in posts]
    assert [(one.reason, one.replayed) for one in again] == [(None, False), (None, True)] * 2


async def test_more_overdue_holds_than_a_batch_can_release_are_released_before_it_and_hold_up_nobody_else(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "OVERDUE_MAX", FEW)
    till, shop, other = await bank.account(limit=MANY), await bank.account(), await bank.account()
    holds = [bank.hold(till, shop, 1, ttl_s=3_600) for _ in range(MANY)]
    await bank.flow.submit(holds)
    await bank.end_now([hold.orders[0].id for hold in holds])
    answers = await asyncio.gather(
        bank.send(bank.post(till, shop, MANY)), bank.send(bank.post(other, shop, 1)), bank.change(till, Kind.LIMIT)
    )
    assert [answer.reason for answer in answers] == [None, None, None]
    assert (await bank.get(till)).debits_pending == 0
    assert (await bank.events()).count("HoldExpired") == MANY


async def test_an_unbounded_account_is_exact_where_a_counter_could_run_full(bank: Bank) -> None:
    a, b = await bank.account(), await bank.account()
    await bank.end_now([await bank.held(a, b, MAX_AMOUNT, ttl_s=60)])
    assert (await bank.send(bank.post(a, b, 1))).reason is None
    assert (await bank.events()).count("HoldExpired") == 1


def test_what_a_plain_unit_claims_is_what_its_needs_say(bank: Bank) -> None:
    a, b, c = uuid4(), uuid4(), uuid4()
    group = PostOrders([*bank.post(a, b, 1).orders, *bank.hold(b, c, 2, ttl_s=60).orders])
    for unit in ([bank.post(a, b, 1)], [group, bank.post(c, a, 3, balancing="debit"), bank.post(c, a, 3)]):
        assert plain_claims(unit) == needs_of([unit]).claims()
    noted = bank.post(a, b, 1, notes=Notes("order 7", None, b"0123456789abcdef"))
    about = bank.about(Kind.CAPTURE, a)
    for other in (noted, about, ExpireHolds(bank.tenant, [a]), PostOrders([*group.orders, *about.orders])):
        assert plain_claims([bank.post(a, b, 1), other]) is None


async def test_a_hold_that_can_not_be_released_does_not_keep_the_others_of_its_tenant(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = await bank.account(), await bank.account()
    holds = [await bank.held(a, b, 1, ttl_s=60) for _ in range(4)]
    await bank.end_now(holds)

    def fails(book: Book) -> None:
        assert (bank.tenant, holds[1]) not in book.holds, "a bug"
        expire_holds(book)

    monkeypatch.setattr(batch, "expire_holds", fails)
    await sweep_once(bank.flow)
    rows = await bank.stored("SELECT id FROM holds WHERE tenant = $1 AND state = 'open'")
    assert [row["id"] for row in rows] == [holds[1]]
    monkeypatch.undo()
    await sweep_once(bank.flow)
