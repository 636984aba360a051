"""Up to an instant: the balances that the log gives are those that the ledger's API gives of it."""

import csv
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from tests.operate.replay.conftest import Database, Replaying
from tests.operate.replay.town import Town

from amana.domain.account import exposure_account_id
from amana.operate.replay.options import CannotReplay

COUNTERS = ("version", "debits_pending", "debits_posted", "credits_pending", "credits_posted")
CHANGE = """
UPDATE transactions.transfers SET debit_debits_posted = debit_debits_posted + $3
WHERE debit_account = $1
  AND posted_at = (SELECT max(posted_at) FROM transactions.transfers WHERE debit_account = $1 AND posted_at < $2)
"""
TICK = timedelta(microseconds=1)


async def instants(database: Database, town: Town) -> dict[str, datetime]:
    """Of the till's day: in the middle, at a movement, just after it, and between a hold's end and its release."""
    posted = "SELECT posted_at FROM transactions.transfers WHERE tenant = $1 AND debit_account = $2 ORDER BY posted_at"
    times = [row["posted_at"] for row in await database.fetch(posted, town.lender.tenant, town.till)]
    over = "SELECT max(expires_at) FROM transactions.holds WHERE tenant = $1 AND state = 'expired'"
    middle = times[len(times) // 2]
    ended = await database.fetchval(over, town.lender.tenant)
    return {"at a movement": middle, "just after it": middle + TICK, "a hold is over": ended, "now": datetime.now(UTC)}


async def test_balances_at_an_instant_are_those_of_the_api(
    replaying: Replaying, database: Database, town: Town, tmp_path: Path
) -> None:
    customer = exposure_account_id(town.customer, "NGN")
    for what, at in (await instants(database, town)).items():
        result = await replaying(until=at, export=tmp_path, only=("accounts", "loans"))
        assert result.differences == [], what
        with (tmp_path / "accounts.csv").open() as file:
            rebuilt = {row["id"]: row for row in csv.DictReader(file) if row["tenant"] == str(town.lender.tenant)}
        for account in (town.till, town.purse, customer):
            path = f"/v1/accounts/{account}/balance?at={quote(at.isoformat())}"
            stood = await town.lender.must("GET", "transactions", path)
            row = rebuilt.get(str(account), dict.fromkeys(COUNTERS, "0"))  # not yet opened
            assert {name: int(row[name]) for name in COUNTERS} == {name: stood[name] for name in COUNTERS}, what


async def test_an_altered_past_is_seen(replaying: Replaying, database: Database, town: Town) -> None:
    at = (await instants(database, town))["at a movement"]
    await database.execute("ALTER TABLE transactions.transfers DISABLE TRIGGER USER")
    await database.execute(CHANGE, town.till, at, 1)
    try:
        result = await replaying(until=at)
    finally:
        await database.execute(CHANGE, town.till, at, -1)
        await database.execute("ALTER TABLE transactions.transfers ENABLE TRIGGER USER")
    assert {difference.table for difference in result.differences} == {"past_accounts", "transfers"}
    assert result.until is not None


async def test_an_instant_that_is_not_over_is_refused(replaying: Replaying) -> None:
    with pytest.raises(CannotReplay, match="later than now"):
        await replaying(until=datetime.now(UTC) + timedelta(hours=1))
