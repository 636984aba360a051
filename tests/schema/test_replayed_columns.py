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
        found: dict[str, set[str]] = defaultdict(set)
        for row in await connection.fetch(COLUMNS):
            found[row["name"]].add(row["column"])
        return found
    finally:
        await connection.close()


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


def test_a_new_column_is_rebuilt_or_its_absence_is_explained(live: dict[str, set[str]]) -> None:
    assert {name: live[name] for name in rebuilt()} == rebuilt()


def test_a_new_table_is_rebuilt_or_its_absence_is_explained(live: dict[str, set[str]]) -> None:
    assert live.keys() == rebuilt().keys() | NOT_REBUILT_TABLES.keys()


def test_no_column_is_both_rebuilt_and_explained_away() -> None:
    for name, table in TABLES.items():
        place = f"{STREAM_OF[table.group]}.{name}"
        assert not set(table.columns) & NOT_REBUILT.get(place, {}).keys(), place
