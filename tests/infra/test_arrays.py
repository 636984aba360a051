"""Arrays as text literals: PostgreSQL reads what was meant, whatever the values are."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest

from amana.infra.arrays import booleans, instants, integers, same_integers, texts, uuids
from amana.infra.postgres import Connection, open_pool
from amana.infra.settings import Settings

AWKWARD = ["", " ", "NULL", "null", ",", "{}", "'", '"', "\\", '\\"', "a\\", '"b" \\\\ c', "naïve ₦\n\t", "1"]
LAGOS = timezone(timedelta(hours=1))


@pytest.fixture(scope="module")
async def connection(settings: Settings) -> AsyncIterator[Connection]:
    pool = await open_pool(settings.owner_database_url, "public", 1)
    async with pool.acquire() as opened:
        yield opened
    await pool.close()


@pytest.mark.parametrize(
    ("literal", "type_", "values"),
    [
        (texts, "text", AWKWARD),
        (texts, "text", ["plain", "nano"]),
        *((texts, "text", [one]) for one in AWKWARD),
        (booleans, "boolean", [True, False]),
        (integers, "bigint", [2**53 - 1, -1, None]),
        *((integers, "integer", [one]) for one in (7, -7, None)),
        (uuids, "uuid", [UUID(int=5), None]),
        (instants, "timestamptz", [datetime(1970, 1, 1, tzinfo=UTC), None, datetime(2026, 3, 2, 1, 2, 3, 4, LAGOS)]),
        *((literal, "text", []) for literal in (texts, booleans, integers, uuids, instants)),
    ],
)
async def test_postgresql_reads_what_was_meant(connection: Connection, literal: Any, type_: str, values: Any) -> None:
    for given in (values, tuple(values)):
        assert await connection.fetchval(f"SELECT $1::text::{type_}[]", literal(given)) == values


@pytest.mark.parametrize(("value", "count"), [(0, 0), (0, 1), (-7, 3), (2**31 - 1, 500)])
async def test_one_integer_many_times_is_read_as_often(connection: Connection, value: int, count: int) -> None:
    literal = same_integers(value, count)
    assert await connection.fetchval("SELECT $1::text::integer[]", literal) == [value] * count
