"""The connection breaks between COMMIT and its answer: the ledger finds out by the ids before it says anything."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.chaos.proxy import Cut, Proxy
from tests.chaos.site import Ledger, Lender, Site, money

AWAY_S = 1.0
KNOWN_WITHIN_S = 8.0


@pytest.fixture(scope="module")
async def proxy(site: Site) -> AsyncIterator[Proxy]:
    """The way of one ledger to PostgreSQL."""
    async with Proxy.before(site.stack.ports.postgres) as proxy:
        yield proxy


@pytest.fixture(scope="module")
async def ledger(site: Site, proxy: Proxy) -> AsyncIterator[Ledger]:
    """A ledger behind the proxy. Its keys are looked up past it."""
    direct = site.stack.settings.transactions_database_url
    ledger = site.ledger(transactions_database_url=direct.replace(f":{site.stack.ports.postgres}/", f":{proxy.port}/"))
    await ledger.start()
    yield ledger
    await ledger.process.stop()


@pytest.mark.parametrize("away_s", [0.0, AWAY_S], ids=["and is back at once", "and is back in a second"])
@pytest.mark.parametrize("cut", Cut, ids=lambda cut: cut.value)
async def test_a_commit_in_doubt_is_settled_before_the_client_hears_anything(
    owner: Lender, ledger: Ledger, proxy: Proxy, cut: Cut, away_s: float
) -> None:
    till, income = await owner.account(ledger), await owner.account(ledger)
    cuts = proxy.cuts
    proxy.cut_next(cut, stay_away=away_s > 0)
    item = money(till, income, 7)
    sending = asyncio.create_task(owner.transfer(ledger, **item))
    if away_s:
        await asyncio.sleep(away_s)
        await proxy.take_up()
    status, result = await sending
    assert proxy.cuts == cuts + 1
    assert (status, result["status"], result["amount"]) == (200, "posted", 7)
    assert result["replayed"] == (cut is Cut.AFTER), "it is a replay exactly where the first COMMIT was done"
    assert await owner.balance(ledger, till) == 7


async def test_where_nobody_can_know_the_answer_says_so_and_the_id_tells_later(
    owner: Lender, ledger: Ledger, proxy: Proxy
) -> None:
    till, income = await owner.account(ledger), await owner.account(ledger)
    proxy.cut_next(Cut.AFTER, stay_away=True)
    item = money(till, income, 7)
    async with asyncio.timeout(KNOWN_WITHIN_S):
        status, answer = await owner.transfer(ledger, **item)
    await proxy.take_up()
    assert (status, answer["code"], answer["retryable"]) == (504, "outcome_unknown", True)
    again_status, again = await owner.transfer(ledger, **item)
    assert (again_status, again["status"], again["replayed"]) == (200, "posted", True)
    assert await owner.balance(ledger, till) == 7
