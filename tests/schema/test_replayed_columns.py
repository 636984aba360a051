"""Every column of the live tables is rebuilt by a replay or said not to be, and why."""

from collections import defaultdict

import asyncpg
import pytest

from amana.infra.settings import Settings
from amana.operate.replay.columns import LIVE_NAMES, MADE_UP, NOT_REBUILT, NOT_REBUILT_TABLES
from amana.operate.replay.tables import STREAM_OF, TABLES

COLUMNS = """
SELECT table_schema || '.' || table_name AS name, column_name AS column
FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name)
WHERE table_schema IN ('eligibility', 'transactions') AND table_type = 'BASE TABLE'
"""


@pytest.fixture
async def live(fresh: Settings) -> dict[str, set[str]]:
    """The columns of every live table."""
    connection = await asyncpg.connect(fresh.owner_database_url)
    try:
        return await columns_of(connection)
    finally:
        await connection.close()


async def columns_of(connection: asyncpg.Connection) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for row in await connection.fetch(COLUMNS):
        found[row["name"]].add(row["column"])
    return found


def rebuilt() -> dict[str, set[str]]:
    """The live columns that a replay compares, or says why it does not."""
    found = {}
    for name, table in TABLES.items():
        if name in MADE_UP:
            continue
        place = f"{STREAM_OF[table.group]}.{name}"
        compared = set(table.columns) - {"position"} - LIVE_NAMES.keys()
        if place == "eligibility.customers":
            compared -= {"known"}
        found[place] = compared | NOT_REBUILT.get(place, {}).keys()
    return found


def unexplained(live: dict[str, set[str]]) -> set[str]:
    """The live tables, and `table.column` of those that are rebuilt, of which nobody says what a replay does; and what
    is said of tables and columns that are not there."""
    told = rebuilt()
    found = live.keys() ^ (told.keys() | NOT_REBUILT_TABLES.keys())
    return found | {f"{name}.{column}" for name in told if name in live for column in live[name] ^ told[name]}


def test_every_table_and_column_is_rebuilt_or_its_absence_is_explained(live: dict[str, set[str]]) -> None:
    assert unexplained(live) == set()
    assert not rebuilt().keys() & NOT_REBUILT_TABLES.keys()
    assert all(NOT_REBUILT_TABLES.values())
    assert all(reason for columns in NOT_REBUILT.values() for reason in columns.values())


async def test_a_new_table_or_column_of_which_nobody_says_anything_is_seen(fresh: Settings) -> None:
    connection = await asyncpg.connect(fresh.owner_database_url)
    changes = connection.transaction()
    await changes.start()  # and taken back: the database is that of all tests of schemas
    try:
        await connection.execute("CREATE TABLE eligibility.promises (id uuid, made_at timestamptz)")
        await connection.execute("ALTER TABLE transactions.withdrawn_offers ADD COLUMN why text")
        await connection.execute("ALTER TABLE eligibility.reversals DROP COLUMN over_version")
        found = await columns_of(connection)
    finally:
        await changes.rollback()
        await connection.close()
    assert unexplained(found) == {
        "eligibility.promises",
        "transactions.withdrawn_offers.why",
        "eligibility.reversals.over_version",
    }


def test_no_column_is_both_rebuilt_and_explained_away() -> None:
    for name, table in TABLES.items():
        place = f"{STREAM_OF[table.group]}.{name}"
        assert not set(table.columns) & NOT_REBUILT.get(place, {}).keys(), place
