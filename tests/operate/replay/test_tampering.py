"""What somebody with every right changed behind the log's back is found, row by row and column by column."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import asyncpg
import pytest
from tests.operate.replay.conftest import QUIET, Database, Replaying
from tests.operate.replay.town import Town

from amana.operate.replay.options import Log, Options
from amana.operate.replay.result import Replayed
from amana.operate.replay.run import replay
from amana.operate.stack import Stack


class Crime(NamedTuple):
    """A change of a table, and one of the differences by which it is found."""

    table: str
    change: str
    found: tuple[str, str, str, str]
    """Table, column, live, rebuilt; `*` where it does not matter."""


SOMEONE = "(SELECT id FROM transactions.loans WHERE closed_at IS NULL AND reversed_by IS NULL ORDER BY id LIMIT 1)"
CRIMES = {
    "a counter": Crime(
        "transactions.accounts",
        "UPDATE transactions.accounts SET debits_posted = debits_posted + 1 WHERE code = 'funding'",
        ("accounts", "debits_posted", "*", "*"),
    ),
    "a limit": Crime(
        "transactions.accounts",
        "UPDATE transactions.accounts SET credit_limit = 99 "
        "WHERE id = (SELECT id FROM transactions.accounts WHERE code = 'exposure' AND debits_posted > 0 LIMIT 1)",
        ("exposures", "credit_limit", "99", "25000000"),
    ),
    "a frozen account": Crime(
        "transactions.accounts",
        "UPDATE transactions.accounts SET status = 'frozen', frozen_for = 'all' WHERE code = 'fee_income'",
        ("accounts", "status", "frozen", "open"),
    ),
    "a loan that was let off": Crime(
        "transactions.loans",
        f"UPDATE transactions.loans SET principal_paid = principal, fee_paid = fee, closed_at = now() "
        f"WHERE id = {SOMEONE}",
        ("loans", "closed_at", "*", "None"),
    ),
    "a transfer's amount": Crime(
        "transactions.transfers",
        "UPDATE transactions.transfers SET amount = amount + 1 "
        "WHERE id = (SELECT min(id::text)::uuid FROM transactions.transfers)",
        ("transfers", "amount", "*", "*"),
    ),
    "a deleted transfer": Crime(
        "transactions.transfers",
        "DELETE FROM transactions.transfers WHERE id = (SELECT max(id::text)::uuid FROM transactions.transfers)",
        ("transfers", "the row", "(no row)", "a row"),
    ),
    "a repayment that nobody made": Crime(
        "transactions.repayments",
        "INSERT INTO transactions.repayments SELECT shard, tenant, gen_random_uuid(), loan, amount, fee_part, "
        "principal_part, excess, inferred, effective_at, received_at, NULL, NULL FROM transactions.repayments LIMIT 1",
        ("repayments", "the row", "a row", "(no row)"),
    ),
    "a hold that is open again": Crime(
        "transactions.holds",
        "UPDATE transactions.holds SET state = 'open' WHERE state = 'voided'",
        ("holds", "state", "open", "voided"),
    ),
    "a decision that approves": Crime(
        "eligibility.decisions",
        "UPDATE eligibility.decisions SET outcome = 'approve', expires_at = now() "
        "WHERE outcome = 'decline' AND to_borrow",
        ("decisions", "outcome", "approve", "decline"),
    ),
    "what a decision says": Crime(
        "eligibility.decisions",
        "UPDATE eligibility.decisions SET decision = sha256(decision) "
        "WHERE decision_id = (SELECT decision_id FROM eligibility.decisions WHERE outcome = 'approve' LIMIT 1)",
        ("decisions", "decision", "*", "*"),
    ),
    "a standing": Crime(
        "eligibility.decision_standings",
        "UPDATE eligibility.decision_standings SET standing = 'active' WHERE standing = 'reversed'",
        ("decision_standings", "standing", "active", "reversed"),
    ),
    "a review that is gone": Crime(
        "eligibility.appeals",
        "DELETE FROM eligibility.appeals WHERE state = 'resolved'",
        ("appeals", "the row", "(no row)", "a row"),
    ),
    "a block that nobody lifted": Crime(
        "eligibility.customer_blocks",
        "UPDATE eligibility.customer_blocks SET lift_id = block_id, lifted_by = 'me', lifted_at = now() "
        "WHERE code = 'deceased'",
        ("customer_blocks", "lifted_by", "me", "None"),
    ),
    "a number that was taken away": Crime(
        "eligibility.customers",
        "UPDATE eligibility.customers SET bvn_token = NULL WHERE bvn_token IS NOT NULL",
        ("customers", "known", "*", "*"),
    ),
    "a policy that starts today": Crime(
        "eligibility.policy_steps",
        "UPDATE eligibility.policy_steps SET valid_from = now() WHERE valid_from > now()",
        ("policy_steps", "valid_from", "*", "*"),
    ),
    "a reversal that nobody ended": Crime(
        "eligibility.reversals",
        "UPDATE eligibility.reversals SET state = 'stuck', over_at = NULL, over_version = NULL",
        ("reversals", "state", "stuck", "over"),
    ),
    "how a loan was to be undone": Crime(
        "eligibility.reversals",
        "UPDATE eligibility.reversals SET undo = '{}'",
        ("reversals", "undo", "*", "*"),
    ),
    "an offer that was booked after all": Crime(
        "eligibility.reversal_steps",
        "UPDATE eligibility.reversal_steps SET state = 'unknown', loan = NULL WHERE state = 'reversed'",
        ("reversal_steps", "state", "unknown", "reversed"),
    ),
    "why a loan was kept": Crime(
        "eligibility.reversal_steps",
        "UPDATE eligibility.reversal_steps SET kept_because = 'repaid' WHERE state = 'kept'",
        ("reversal_steps", "kept_because", "repaid", "abandoned"),
    ),
    "an offer that can be booked again": Crime(
        "transactions.withdrawn_offers",
        "DELETE FROM transactions.withdrawn_offers",
        ("withdrawn_offers", "the row", "(no row)", "a row"),
    ),
    "a mark": Crime(
        "transactions.marks",
        "UPDATE transactions.marks SET version = version + 1",
        ("marks", "the row", "(no row)", "a row"),
    ),
}


@asynccontextmanager
async def committed(database: Database, crime: Crime, number: int) -> AsyncIterator[None]:
    """The crime is done for as long as the block; then it is undone."""
    table, before = crime.table, f"public.before_{number}"
    schema, _, name = table.partition(".")
    keys = await database.fetchval(KEYS, table)
    same = " AND ".join(f"t.{key} = s.{key}" for key in keys)
    await database.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    await database.execute(f"CREATE TABLE {before} AS TABLE {table}")
    done = await database.execute(crime.change)
    try:
        assert not done.endswith(" 0"), "nothing was changed, so nothing could be found"
        yield
    finally:
        columns = [key for key in await database.fetchval(COLUMNS, schema, name) if key not in keys]
        ours, theirs = ", ".join(columns), ", ".join(f"s.{column}" for column in columns)
        await database.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")  # an inner one on the table has ended
        gone, there = f"SELECT FROM {before} s WHERE {same}", f"SELECT FROM {table} t WHERE {same}"
        await database.execute(f"DELETE FROM {table} t WHERE NOT EXISTS ({gone})")
        await database.execute(f"UPDATE {table} t SET ({ours}) = ROW({theirs}) FROM {before} s WHERE {same}")
        await database.execute(f"INSERT INTO {table} SELECT * FROM {before} s WHERE NOT EXISTS ({there})")
        await database.execute(f"DROP TABLE {before}")
        await database.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")


KEYS = """
SELECT array_agg(attname::text) FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY (indkey)
WHERE indisprimary AND indrelid = $1::regclass
"""
COLUMNS = """
SELECT array_agg(column_name::text) FROM information_schema.columns WHERE (table_schema, table_name) = ($1, $2)
"""


@pytest.fixture(scope="module")
async def found(site: Stack, town: Town) -> Replayed:
    """What a replay finds when all of it was done."""
    database = await asyncpg.connect(site.settings.owner_database_url)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(database.close)
        for number, crime in enumerate(CRIMES.values()):
            await stack.enter_async_context(committed(database, crime, number))
        return await replay(site.settings, Options(), QUIET)


@pytest.mark.parametrize("crime", CRIMES.values(), ids=CRIMES.keys())
def test_it_is_found_and_named(found: Replayed, crime: Crime) -> None:
    named = [(each.table, each.column, each.live, each.rebuilt) for each in found.differences]
    assert any(all(want in ("*", has) for want, has in zip(crime.found, one, strict=True)) for one in named), named


def test_the_event_that_touched_a_row_last_is_named(found: Replayed) -> None:
    counter = next(each for each in found.differences if each.column == "debits_posted")
    assert counter.position is not None
    assert f"last touched at position {counter.position}" in counter.told()
    stray = next(each for each in found.differences if (each.table, each.live) == ("repayments", "a row"))
    assert "no event" in stray.told()


async def test_a_log_that_was_altered_is_not_taken_for_the_signed_one(
    replaying: Replaying, site: Stack, tmp_path: Path
) -> None:
    flip = "UPDATE audit.leaves SET bytes = replace(convert_from(bytes, 'UTF8'), $1, $2)::bytea"
    flip += " WHERE stream = 'transactions' AND type = 'RepaymentReceived'"
    log = await asyncpg.connect(site.settings.owner_audit_database_url)
    await log.execute("ALTER TABLE audit.leaves DISABLE TRIGGER USER")
    await log.execute(flip, '"principal_part":50000', '"principal_part":50001')
    try:
        result = await replaying(write_snapshot=tmp_path / "altered.snapshot")
    finally:
        await log.execute(flip, '"principal_part":50001', '"principal_part":50000')
        await log.execute("ALTER TABLE audit.leaves ENABLE TRIGGER USER")
        await log.close()
    assert "signed" in result.differences_of_roots["transactions"]
    assert "eligibility" not in result.differences_of_roots
    assert {each.table for each in result.differences} >= {"the log", "loans", "repayments"}
    assert result.contradictions > 0
    assert (result.snapshot, files_in(tmp_path)) == ("", [])


def files_in(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir()]


async def test_what_the_log_tells_twice_is_found(replaying: Replaying, database: Database) -> None:
    one, other = await database.fetchval(
        "SELECT array_agg(seq) FROM (SELECT seq FROM eligibility.outbox WHERE type = 'DecisionMade' LIMIT 2) o"
    )
    change = "UPDATE eligibility.outbox o SET body = s.body FROM eligibility.outbox s WHERE o.seq = $1 AND s.seq = $2"
    await database.execute("CREATE TABLE public.outbox_before AS TABLE eligibility.outbox")
    await database.execute("ALTER TABLE eligibility.outbox DISABLE TRIGGER USER")
    try:
        await database.execute(change, one, other)
        result = await replaying(log=Log.OUTBOX, only=("decisions",))
    finally:
        await database.execute(change.replace("eligibility.outbox s", "public.outbox_before s"), one, one)
        await database.execute("ALTER TABLE eligibility.outbox ENABLE TRIGGER USER")
        await database.execute("DROP TABLE public.outbox_before")
    assert result.tables["decisions"] == 2
    assert {each.rebuilt for each in result.differences} == {"(no row)", "2 times"}


async def test_and_afterwards_nothing_differs(found: Replayed, replaying: Replaying) -> None:
    assert not found.ok
    assert (await replaying()).differences == []
