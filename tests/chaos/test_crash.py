"""The crash run in its short form, every kind of death once. The long form is `make chaos-ledger`."""

import asyncio
import copy
from collections.abc import Callable
from uuid import uuid4

import pytest
from tests.chaos.crash import ANSWERS, crash_round
from tests.chaos.load import ELASTIC_MAX, Town, run_load
from tests.chaos.record import CHANGED, Record, Sent
from tests.chaos.site import Site, money
from tests.chaos.verdict import Verdict

from amana.transactions.flow import BATCH_MAX

STORM_S = 5.0
GAP_MAX_S = 0.6
QUIET_S = 0.5


async def test_whatever_dies_what_was_told_stays_true(site: Site) -> None:
    outcome = await crash_round(site, "short", STORM_S, GAP_MAX_S)
    assert not outcome.violations, outcome.told()
    assert len(outcome.faults) == 6
    assert all(outcome.counts[answer] for answer in ANSWERS), outcome.told()


async def test_a_long_list_of_which_a_part_was_done_is_in_doubt_until_it_is_sent_again(site: Site) -> None:
    (ledger,) = await site.serving(1)
    record = Record(await site.lender())
    town = await Town.build(record.lender, ledger)
    parts = zip(town.tills, town.incomes, strict=True)
    sent = record.add(*(money(till, income, 5) for till, income in parts for _ in range(BATCH_MAX)))
    async with site.database() as connection, connection.transaction():
        await connection.execute("SELECT FROM transactions.accounts WHERE id = $1 FOR UPDATE", town.tills[1])
        assert not await record.send(ledger, sent)
    assert record.counts == {"504 outcome_unknown": 1}
    assert await record.lender.balance(ledger, town.tills[0]) == 5 * BATCH_MAX
    await Verdict(site, record, town, [ledger]).run()
    assert not record.violations
    assert record.counts["in doubt, had happened in part"] == 1


@pytest.fixture(scope="module")
async def quiet(site: Site) -> tuple[Record, Town]:
    """What was sent in a moment without any fault."""
    ledgers = await site.serving(1)
    record = Record(await site.lender())
    town = await Town.build(record.lender, ledgers[0])
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(QUIET_S, stop.set)
    await run_load(record, town, ledgers, "quiet", stop)
    change = {"id": uuid4(), "kind": "limit", "account": town.elastic, "credit_limit": ELASTIC_MAX}
    await record.send(ledgers[0], record.add(change, path=f"/v1/accounts/{town.elastic}/limits"))
    return record, town


def _lost(sent: Sent) -> None:
    sent.items[0]["id"] = uuid4()


def _other_amount(sent: Sent) -> None:
    sent.results[0]["amount"] += 1


def _refused_after_all(sent: Sent) -> None:
    sent.results[0] |= {"status": "refused", "reason": "limit_exceeded"}


def _undone(sent: Sent) -> None:
    sent.said, sent.results = b"", []


@pytest.mark.parametrize(
    ("status", "tamper", "told"),
    [
        ("posted", _lost, "was acknowledged and is lost"),
        ("posted", _other_amount, "and is there as"),
        ("posted", _refused_after_all, "was refused (limit_exceeded) and is there"),
        ("posted", _undone, "was done, but every answer said that nothing was"),
        (CHANGED, _lost, "and the ledger knows better"),
        (CHANGED, _refused_after_all, "and the ledger knows better"),
        (CHANGED, _undone, "was done, but every answer said that nothing was"),
    ],
)
async def test_and_this_is_how_it_would_be_found(
    site: Site, quiet: tuple[Record, Town], status: str, tamper: Callable[[Sent], None], told: str
) -> None:
    """The record of a good run, falsified in one place."""
    record, town = quiet
    false = copy.deepcopy(record.sent)
    tamper(next(sent for sent in false if sent.results[0]["status"] == status))
    judged = Record(record.lender)
    judged.sent = false
    await Verdict(site, judged, town, await site.serving(1)).run()
    assert any(told in violation for violation in judged.violations), judged.violations
