"""The log says what stands: rebuilt from it alone, every row is the live one."""

from pathlib import Path

import pytest
from tests.operate.replay.conftest import PLACES, Database, ReadingFrom, Replaying

from amana.domain.event_types import VERSIONS
from amana.operate.replay.tables import TABLES
from amana.operate.stack import Stack

WRITTEN_ELSEWHERE = {
    *("AuditRead", "BodiesDropped", "OutboxPruned", "ConsumerRetired"),
    *("NotificationsRead", "SettledPruned"),
}
"""In streams of which nothing is rebuilt: audit's own, and that of notifications."""
NOT_OF_A_DAY = {"DeadLettersPruned"}
"""Letters are kept for a week after they were settled."""


async def test_a_day_with_every_kind_of_event_is_rebuilt_row_by_row(replaying: Replaying, database: Database) -> None:
    result = await replaying()
    assert result.differences == []
    assert result.ok
    assert set(result.tables) == set(TABLES)
    empty = [name for name, rows in result.live.items() if not rows]
    assert empty == [], "a table without rows proves nothing"
    written = await database.fetch(
        "SELECT DISTINCT type FROM (SELECT type FROM transactions.outbox UNION SELECT type FROM eligibility.outbox) o"
    )
    assert {row["type"] for row in written} == VERSIONS.keys() - WRITTEN_ELSEWHERE - NOT_OF_A_DAY


@pytest.mark.parametrize("place", PLACES)
async def test_wherever_the_log_is_read_it_says_the_same(
    replaying: Replaying, reading_from: ReadingFrom, place: str
) -> None:
    result = await replaying(**await reading_from(place))
    assert result.differences == []
    assert sum(result.later.values()) == 0
    assert result.events > 200


async def test_memory_is_bounded_and_changes_nothing(replaying: Replaying) -> None:
    few = await replaying(rows_in_memory=5)
    assert few.differences == []
    assert few.ok


async def test_only_the_tables_that_are_named_are_compared(replaying: Replaying) -> None:
    result = await replaying(only=("loans", "reviews"))
    assert list(result.tables) == ["loans", "reviews"]
    assert result.ok


async def test_the_scratch_schema_is_gone_afterwards_unless_it_is_kept(
    replaying: Replaying, database: Database
) -> None:
    kept = await replaying(only=("policies",), keep=True)
    schemas = "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'amana_replay_%'"
    assert [row["nspname"] for row in await database.fetch(schemas)] == [kept.schema]
    await database.execute(f"DROP SCHEMA {kept.schema} CASCADE")


async def test_rebuilt_rows_can_be_taken_away_as_files(
    replaying: Replaying, database: Database, tmp_path: Path
) -> None:
    await replaying(only=("loans",), export=tmp_path)
    head, *rows = (tmp_path / "loans.csv").read_text().splitlines()
    assert head.startswith("tenant,id,shard,customer,product,currency,principal,fee")
    assert len(rows) == await database.fetchval("SELECT count(*) FROM transactions.loans")


async def test_the_scratch_schema_may_be_in_another_database(replaying: Replaying, site: Stack) -> None:
    result = await replaying(scratch_url=site.settings.owner_audit_database_url)
    assert result.ok
