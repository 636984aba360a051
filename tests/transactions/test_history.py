"""The history of an account: a chain of transfers with marks to jump to, read in pages and as of an instant."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from tests.transactions.conftest import Bank

from amana.domain.book import Kind
from amana.transactions.store import MARK_EVERY

LENGTH = 2 * MARK_EVERY + 60


@pytest.fixture
async def long(bank: Bank) -> tuple[Bank, UUID]:
    """An account with two marks and some more behind it, debited and credited, posted in several batches."""
    till, one, other = await bank.account(), await bank.account(), await bank.account()
    other_shard = await bank.account(id_=bank.far(till))
    commands = [
        bank.post(till, one, 3) if n % 3 else bank.post(other if n % 2 else other_shard, till, 1)
        for n in range(1, LENGTH + 1)
    ]
    for first in range(0, LENGTH, 50):
        await bank.flow.submit(commands[first : first + 50])
    return bank, till


async def test_every_128th_version_is_marked(long: tuple[Bank, UUID]) -> None:
    bank, till = long
    rows = await bank.stored("SELECT version FROM marks WHERE tenant = $1 AND account = $2 ORDER BY version", till)
    assert [row["version"] for row in rows] == [MARK_EVERY, 2 * MARK_EVERY]


@pytest.mark.parametrize("limit", [1, 7, MARK_EVERY - 1, MARK_EVERY, MARK_EVERY + 1, 1_000])
async def test_pages_of_any_length_give_every_entry_once_and_in_order(long: tuple[Bank, UUID], limit: int) -> None:
    bank, till = long
    # A page of one is tried around the marks only.
    after = 2 * MARK_EVERY - 3 if limit == 1 else 0
    seen: list[int] = []
    while page := await bank.reads.list_entries(bank.tenant, till, after, limit):
        assert len(page) <= limit
        seen += [entry["version"] for entry in page]
        after = seen[-1]
    assert seen == list(range(seen[0], LENGTH + 1))
    assert seen[0] == (2 * MARK_EVERY - 2 if limit == 1 else 1)


@pytest.mark.parametrize("after", [LENGTH, LENGTH + 1, 10**12])
async def test_after_the_last_entry_there_is_nothing(long: tuple[Bank, UUID], after: int) -> None:
    bank, till = long
    assert await bank.reads.list_entries(bank.tenant, till, after, 10) == []


async def test_entries_fold_to_the_counters_that_they_carry(long: tuple[Bank, UUID]) -> None:
    bank, till = long
    sums = {"debit": 0, "credit": 0}
    for entry in await bank.reads.list_entries(bank.tenant, till, 0, 1_000):
        sums[entry["side"]] += entry["posted"]
        assert (entry["debits_posted"], entry["credits_posted"]) == (sums["debit"], sums["credit"])
    till_now = await bank.get(till)
    assert (till_now.debits_posted, till_now.credits_posted) == (sums["debit"], sums["credit"])


async def test_the_account_at_every_instant_is_what_its_last_entry_before_says(long: tuple[Bank, UUID]) -> None:
    bank, till = long
    entries = await bank.reads.list_entries(bank.tenant, till, 0, 1_000)
    instants = sorted({entry["posted_at"] for entry in entries})
    assert len(instants) >= LENGTH // 50
    for instant in instants:
        for at in (instant, instant + timedelta(microseconds=1)):
            found = await bank.reads.last_entry_before(bank.tenant, till, at)
            expected = [entry["version"] for entry in entries if entry["posted_at"] < at]
            assert (found["version"] if found else None) == (expected[-1] if expected else None)


async def test_before_the_first_and_of_an_account_without_entries_there_is_none(bank: Bank) -> None:
    till, other = await bank.account(), await bank.account()
    assert await bank.reads.last_entry_before(bank.tenant, till, datetime.now(UTC)) is None
    assert await bank.reads.list_entries(bank.tenant, till, 0, 10) == []
    await bank.send(bank.post(till, other, 1))
    assert await bank.reads.last_entry_before(bank.tenant, till, datetime(2020, 1, 1, tzinfo=UTC)) is None
    last = await bank.reads.last_entry_before(bank.tenant, till, datetime(2199, 1, 1, tzinfo=UTC))
    assert last is not None
    assert last["version"] == 1


async def test_what_holds_do_stands_in_the_history_as_pending(bank: Bank) -> None:
    wallet, shop = await bank.account(), await bank.account()
    hold = await bank.held(wallet, shop, 100)
    await bank.send(bank.about(Kind.CAPTURE, hold, 30))
    await bank.send(bank.about(Kind.CAPTURE, hold, 20, final=True))
    other = await bank.held(wallet, shop, 5)
    await bank.send(bank.about(Kind.VOID, other))
    columns = ("kind", "posted", "pending", "debits_posted", "debits_pending")
    entries = await bank.reads.list_entries(bank.tenant, wallet, 0, 10)
    assert [tuple(entry[column] for column in columns) for entry in entries] == [
        ("hold", 0, 100, 0, 100),
        ("capture", 30, -30, 30, 70),
        ("capture", 20, -70, 50, 0),
        ("hold", 0, 5, 50, 5),
        ("void", 0, -5, 50, 0),
    ]
