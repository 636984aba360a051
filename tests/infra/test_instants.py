"""Instants to PostgreSQL and back: to the microsecond, in UTC, whoever else read or wrote them before."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone

import asyncpg
import pytest

from amana.infra.instants import KEPT_MAX
from amana.infra.postgres import Pool, open_pool
from amana.infra.settings import Settings

WAT = timezone(timedelta(hours=1))
INSTANTS = [
    datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC),
    datetime(1999, 12, 31, 23, 59, 59, 999_999, UTC),
    datetime(2000, 1, 1, tzinfo=UTC),
    datetime(2026, 2, 28, 12, 30, 15, 1, UTC),
    datetime(2026, 2, 28, 13, 30, 15, 1, WAT),
    datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC),
]


@pytest.fixture(scope="module")
async def pool(settings: Settings) -> AsyncIterator[Pool]:
    opened = await open_pool(settings.owner_database_url, "public", 2)
    yield opened
    await opened.close()


@pytest.mark.parametrize("instant", INSTANTS, ids=str)
async def test_an_instant_comes_back_as_it_went_and_in_utc(pool: Pool, instant: datetime) -> None:
    for _ in range(2):  # the second time from what is remembered
        back = await pool.fetchval("SELECT $1::timestamptz", instant)
        assert back == instant and back.tzinfo is UTC
        text = await pool.fetchval("SELECT to_char($1::timestamptz, 'YYYY-MM-DD HH24:MI:SS.US')", instant)
        assert text == f"{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"


async def test_arrays_and_copies_have_them_too(pool: Pool) -> None:
    assert await pool.fetchval("SELECT $1::timestamptz[]", [*INSTANTS, None]) == [*INSTANTS, None]
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("CREATE TEMPORARY TABLE copied (at timestamptz) ON COMMIT DROP")
        await connection.copy_records_to_table("copied", records=[(one,) for one in INSTANTS], columns=("at",))
        assert [row["at"] for row in await connection.fetch("SELECT at FROM copied ORDER BY at")] == sorted(INSTANTS)


async def test_more_of_them_than_are_remembered_are_each_their_own(pool: Pool) -> None:
    sent = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(microseconds=number) for number in range(2 * KEPT_MAX + 1)]
    for _ in range(2):
        assert await pool.fetchval("SELECT $1::timestamptz[]", sent) == sent


@pytest.mark.parametrize("wrong", [datetime(2026, 1, 1), "2026-01-01", 0])
async def test_what_is_no_instant_is_refused(pool: Pool, wrong: object) -> None:
    with pytest.raises(asyncpg.DataError, match="expected a datetime with a time zone"):
        await pool.execute("SELECT $1::timestamptz", wrong)
