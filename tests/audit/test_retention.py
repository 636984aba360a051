"""How long records are kept, what is past that, and that dropping the index of what is leaves the log as it was."""

from datetime import UTC, datetime

import asyncpg
import msgspec
from tests.audit.dossier import Story, named, whole_story
from tests.audit.reading import lab, lenders
from tests.audit.trail import index_all

from amana.audit.flow import receive
from amana.audit.index_store import Index
from amana.audit.postings import PARTITION_SEGMENTS, SEGMENT_LEAVES
from amana.audit.retention import ELSE, KINDS, PARTITION_LEAVES, report_retention, years_before
from amana.audit.store import Store
from amana.audit.verify import run_verify
from amana.domain.event_types import CATALOGUE
from amana.infra.postgres import open_pool
from amana.infra.settings import Settings

NOW = datetime(2031, 11, 3, 9, 4, 30, tzinfo=UTC)
"""Five years after the fourth event of the story, and half a minute."""


async def store_and_index(settings: Settings, story: Story) -> None:
    pool = await open_pool(settings.audit_database_url, "audit", 2, batches=True)
    for stream, bodies in story.bodies.items():
        await receive(Store(pool), stream, list(enumerate(bodies)))
    await index_all(Index(pool))
    await pool.close()


async def test_what_is_past_its_retention_is_counted_by_kind_with_the_rule_that_says_so(log_settings: Settings) -> None:
    await store_and_index(log_settings, whole_story(1, named("customer")))
    report = await report_retention(log_settings, NOW)
    past = {(record.stream, record.kind): record.events for record in report.records if record.events}
    assert past == {
        ("eligibility", "decisions and their reviews"): 3,
        ("eligibility", "what is known of customers, blocks, consents"): 1,
        ("eligibility", "policies"): 1,
    }
    assert all(record.years == 5 and record.source for record in report.records)
    longer = await report_retention(msgspec.structs.replace(log_settings, retention_days=7 * 366), NOW)
    assert not any(record.events for record in longer.records)


def test_every_type_of_event_is_of_one_kind_or_of_the_rest() -> None:
    kinds = [(kind.stream, type_) for kind in KINDS for type_ in kind.types]
    assert len(kinds) == len(set(kinds))
    assert set(kinds) <= {(event.stream, event.name) for event in CATALOGUE.types}
    assert ELSE not in {kind.name for kind in KINDS}


def test_a_leap_day_has_a_day_five_years_before() -> None:
    assert years_before(datetime(2028, 2, 29, tzinfo=UTC), 5) == datetime(2023, 2, 28, tzinfo=UTC)


async def test_only_whole_partitions_below_a_checkpoint_are_dropped_and_never_made_again(
    log_settings: Settings,
) -> None:
    """A stream of two million old events and a few new ones, as the index has it; half of it is sealed."""
    owner = await asyncpg.connect(log_settings.owner_audit_database_url)
    try:
        for part in range(3):
            await owner.execute("SELECT audit.make_postings($1)", part * PARTITION_SEGMENTS)
            old = datetime(2020, 1, 1, tzinfo=UTC) if part < 2 else NOW
            numbers = list(range(part * PARTITION_SEGMENTS, part * PARTITION_SEGMENTS + (512 if part < 2 else 1)))
            await owner.execute(
                "INSERT INTO audit.segments SELECT unnest($1::bigint[]), $2::timestamptz, $2::timestamptz", numbers, old
            )
            await owner.execute("INSERT INTO audit.postings VALUES (7, $1, '\\x0001')", numbers[0])
        size = 2 * PARTITION_LEAVES + SEGMENT_LEAVES
        await owner.execute("INSERT INTO audit.indexing VALUES ('eligibility', $1)", size)
        await owner.execute(
            "INSERT INTO audit.checkpoints VALUES ('eligibility', $1, $2, 'a note', '')",
            PARTITION_LEAVES + 5,
            bytes(32),
        )
        for drop, dropped in ((False, 0), (True, 1), (True, 1)):
            report = await report_retention(log_settings, NOW, drop=drop)
            first = report.index[0]
            left = await owner.fetchval("SELECT count(*) FROM audit.postings")
            assert (first.position, left) == (PARTITION_LEAVES, 3 - dropped)
        assert (first.partitions, first.dropped) == (0, False)
        floor = await owner.fetchval("SELECT floor FROM audit.indexing WHERE stream = 'eligibility'")
        assert floor == PARTITION_LEAVES
    finally:
        await owner.close()


async def test_dropping_changes_nothing_of_the_log(log_settings: Settings) -> None:
    tenants = await lenders(log_settings)
    async with lab(log_settings, tenants, whole_story(tenants[0], named("customer")).bodies):
        pass
    before = await run_verify(log_settings)
    await report_retention(log_settings, NOW, drop=True)
    after = await run_verify(log_settings)
    assert before.ok and after.ok
    assert [stream.root for stream in before.streams] == [stream.root for stream in after.streams]
