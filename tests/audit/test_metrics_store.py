"""What happened and how long it took, over time: the same in TimescaleDB and on native partitions."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from shutil import copytree

import asyncpg
import pytest
from tests.audit.metrics_database import (
    FORMS,
    TENANT,
    MetricsDatabase,
    decided,
    has_timescale,
    migrate,
    moved,
    open_metrics,
    outcomes,
)
from tests.style.source import SRC

from amana.audit.metrics.store import Span
from amana.infra import clock
from amana.infra.settings import Settings

NOON = clock.now().replace(hour=11, minute=0, second=0, microsecond=0) - timedelta(days=3)
"""Noon in Lagos, three days ago."""
DAY = timedelta(days=1)
ALL = NOON - 500 * DAY, NOON + 500 * DAY


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


async def test_decisions_are_counted_by_the_minute_the_hour_and_the_day_of_lagos(metrics: MetricsDatabase) -> None:
    evening = at(11 * 60 + 59)  # 22:59 UTC is a minute before midnight in Lagos
    late = evening + timedelta(minutes=1)
    await metrics.add(decided(at(0)), decided(at(0.9)), decided(at(1), "decline"), decided(evening), decided(late))
    expected = {
        "minute": [(at(0), "approve", 2), (at(1), "decline", 1), (evening, "approve", 1), (late, "approve", 1)],
        "hour": [
            (at(0), "approve", 2),
            (at(0), "decline", 1),
            (at(11 * 60), "approve", 1),
            (at(12 * 60), "approve", 1),
        ],
        "day": [(late - DAY, "approve", 3), (late - DAY, "decline", 1), (late, "approve", 1)],
    }
    for _ in ("as they are", "settled"):
        assert {per: await metrics.decisions(per, *ALL) for per in expected} == expected
        await metrics.settle()


async def test_a_question_names_a_tenant_a_time_and_filters(metrics: MetricsDatabase) -> None:
    await metrics.add(decided(at(0)), decided(at(1), product="airtime"), decided(at(2), tenant=TENANT + 1))
    assert outcomes(await metrics.decisions("minute", at(0), at(1))) == {"approve": 1}
    assert outcomes(await metrics.decisions("minute", at(2), at(3))) == {}
    assert outcomes(await metrics.decisions("minute", *ALL, tenant=TENANT + 1)) == {"approve": 1}
    rows = await metrics.store.decisions(TENANT, Span("day", *ALL), ("airtime", None, "approve", "requested"), 10)
    assert [row["product"] for row in rows] == ["airtime"]


async def test_transfers_are_summed_by_product_and_band_of_amounts(metrics: MetricsDatabase) -> None:
    most = 2**53 - 1
    await metrics.add(
        *(moved(at(0), 100_000, "nano"), moved(at(1), 199_999, "nano"), moved(at(2), 200_000, "nano")),
        *(moved(at(3), most), moved(at(4), most), moved(at(5), 1, kind="held")),
        stream="transactions",
    )
    await metrics.settle()
    assert await metrics.transfers("day", *ALL) == [
        ("", "held", 1, 1, Decimal(1)),
        ("", "posted", 5 * 10**15, 2, Decimal(2 * most)),
        ("nano", "posted", 100_000, 2, Decimal(299_999)),
        ("nano", "posted", 200_000, 1, Decimal(200_000)),
    ]


async def test_a_page_that_is_stored_again_counts_once(metrics: MetricsDatabase) -> None:
    rows = [decided(at(0), position=0), decided(at(1), position=1)]
    assert await metrics.store.add("eligibility", 0, 2, rows)
    assert not await metrics.store.add("eligibility", 0, 2, rows), "the trail is past it"
    await metrics.owner.execute("UPDATE timescale.progress SET next_position = 0")
    assert await metrics.store.add("eligibility", 0, 2, rows), "as if its place had been lost"
    await metrics.settle()
    assert outcomes(await metrics.decisions("day", *ALL)) == {"approve": 2}
    assert await metrics.owner.fetchval("SELECT count(*) FROM timescale.audit_trail") == 2


async def test_a_page_of_which_some_is_there_already_counts_what_is_new(metrics: MetricsDatabase) -> None:
    rows = [decided(at(minutes), position=minutes) for minutes in range(5)]
    assert await metrics.store.add("eligibility", 0, 3, rows[:3])
    await metrics.owner.execute("UPDATE timescale.progress SET next_position = 1")
    assert await metrics.store.add("eligibility", 1, 5, rows[1:])
    await metrics.settle()
    assert outcomes(await metrics.decisions("minute", *ALL)) == {"approve": 5}
    assert await metrics.store.next_position("eligibility") == 5


async def test_counts_are_what_the_rows_add_up_to(metrics: MetricsDatabase) -> None:
    draw = Random(7)
    for _ in range(6):
        rows = [
            moved(
                at(draw.randrange(-3_000, 3_000) / 3),
                draw.choice((1, 700, 99_999, 2**53 - 1)),
                draw.choice(("", "nano")),
                draw.choice(("posted", "returned", "captured", "held", "voided", "expired", "")),
            )
            for _ in range(draw.randrange(1, 60))
        ]
        await metrics.add(*rows, *(decided(row.occurred_at, draw.choice(("approve", "decline"))) for row in rows[::3]))
    for per in ("minute", "hour", "day"):
        for what, select in COUNTED.items():
            expected = await metrics.owner.fetch(select.format(per=per))
            assert expected
            found = await metrics.owner.fetch(f"SELECT * FROM timescale.{what} WHERE per = '{per}'")
            assert sorted(map(tuple, found)) == sorted(map(tuple, expected)), (what, per)


COUNTED = {
    "decisions": (
        "SELECT '{per}', timescale.bucket('{per}', occurred_at), tenant, product, policy, policy_version, outcome,"
        " kind, count(*) FROM timescale.audit_trail WHERE type = 'DecisionMade' GROUP BY 1, 2, 3, 4, 5, 6, 7, 8"
    ),
    "transfers": (
        "SELECT '{per}', timescale.bucket('{per}', occurred_at), tenant, product, kind, code, currency, amount_band,"
        " count(*), sum(amount) FROM timescale.audit_trail WHERE type <> 'DecisionMade' AND kind <> ''"
        " GROUP BY 1, 2, 3, 4, 5, 6, 7, 8"
    ),
}
"""What the database is to have counted, asked of the rows themselves."""


async def test_what_comes_late_is_counted_where_it_belongs(metrics: MetricsDatabase) -> None:
    old = clock.now() - 60 * DAY
    await metrics.upkeep()
    await metrics.add(decided(old), decided(at(0)))
    await metrics.settle()
    assert await metrics.compress() == (2 if metrics.form == "timescale" else 0)
    await metrics.add(decided(old, "decline"), decided(at(0), "decline"))
    await metrics.run_policies()
    for day in (old, at(0)):
        found = outcomes(await metrics.decisions("day", day - DAY, day + timedelta(hours=1)))
        assert found == {"approve": 1, "decline": 1}, day


async def test_what_a_wrong_clock_dated_ahead_is_kept_and_moves_to_its_partition(metrics: MetricsDatabase) -> None:
    ahead = clock.now() + 90 * DAY
    await metrics.add(decided(ahead))
    await metrics.owner.execute("SELECT timescale.upkeep_at($1)", ahead)
    await metrics.settle()
    assert outcomes(await metrics.decisions("minute", ahead - DAY, ahead + DAY)) == {"approve": 1}
    if metrics.form == "plain":
        assert await metrics.owner.fetchval("SELECT count(*) FROM timescale.audit_trail_default") == 0
        assert await metrics.owner.fetchval("SELECT count(*) FROM timescale.audit_trail") == 1


async def test_what_is_older_than_the_trail_is_not_taken_and_the_trail_goes_on(metrics: MetricsDatabase) -> None:
    await metrics.add(decided(clock.now() - 392 * DAY), decided(datetime(1970, 1, 1, tzinfo=UTC)), decided(at(0)))
    assert await metrics.store.next_position("eligibility") == 3
    assert await metrics.owner.fetchval("SELECT count(*) FROM timescale.audit_trail") == 1


async def test_counts_outlive_the_rows_that_they_were_made_from(metrics: MetricsDatabase) -> None:
    long_ago = clock.now() - 410 * DAY
    await metrics.owner.execute(
        "INSERT INTO timescale.audit_trail VALUES ($1, 7, 'eligibility', 0, 'DecisionMade', gen_random_uuid(), NULL,"
        " 'key', 'requested', 'nano', 'nano', 1, 'approve', '', 'NGN', 100, 100)",
        long_ago,
    )
    await metrics.settle()
    await metrics.run_policies()
    assert await metrics.owner.fetchval("SELECT count(*) FROM timescale.audit_trail") == 0
    await metrics.run_policies()
    assert outcomes(await metrics.decisions("day", long_ago - 2 * DAY, long_ago + DAY)) == {"approve": 1}


async def test_upkeep_makes_partitions_ahead_once_and_drops_what_is_over(metrics: MetricsDatabase) -> None:
    made, dropped = await metrics.upkeep()
    assert await metrics.store.upkeep() == (0, 0)
    if metrics.form == "timescale":
        assert (made, dropped) == (0, 0)
        return
    assert (made > 100, dropped) == (True, 0)
    await metrics.add(decided(at(0)))
    assert await metrics.owner.fetchval("SELECT count(*) FROM timescale.audit_trail_default") == 0
    later = "SELECT dropped FROM timescale.upkeep_at(now() + interval '3 years')"
    assert sum([await metrics.owner.fetchval(later) for _ in range(50)]) == made
    assert outcomes(await metrics.decisions("day", *ALL)) == {"approve": 1}


@pytest.mark.parametrize("form", FORMS)
async def test_a_database_that_counted_in_the_older_way_goes_on_counting(
    settings: Settings, form: str, tmp_path: Path
) -> None:
    if form == "timescale" and not await has_timescale(settings):
        pytest.skip("this PostgreSQL has no TimescaleDB")
    older = copytree(SRC / "migrations", tmp_path / "migrations")
    (older / "timescale" / "0006_counting.sql").unlink()
    async with open_metrics(settings, form, source=older) as metrics:
        await metrics.add(decided(at(0)), moved(at(0), 700))
        await migrate(metrics.settings, form)
        await metrics.add(decided(at(0)), moved(at(0.5), 500))
        await metrics.settle()
        assert await metrics.decisions("minute", *ALL) == [(at(0), "approve", 2)]
        assert await metrics.transfers("hour", *ALL) == [("", "posted", 500, 2, Decimal(1_200))]


FORBIDDEN = (
    "DELETE FROM audit_trail",
    "UPDATE audit_trail SET tenant = 1",
    "SELECT upkeep_at(now() + interval '9 years')",
    "SELECT forget()",
    "TRUNCATE route_latencies",
)


async def test_the_service_can_only_add(metrics: MetricsDatabase) -> None:
    url = metrics.settings.metrics_database_url
    service = await asyncpg.connect(url, server_settings={"search_path": "timescale"})
    try:
        for statement in FORBIDDEN:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await service.execute(statement)
    finally:
        await service.close()
