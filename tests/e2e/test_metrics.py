"""Metrics over HTTP: what a lender did, seen by the lender alone, and how long requests took, seen by operators."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from tests.e2e.lenders import Lender, new_lender
from tests.ids import near
from typer.testing import CliRunner

from amana.cli import app
from amana.gateway import provision
from amana.infra.http import HttpClient
from amana.operate.metrics import table
from amana.operate.stack import Stack

SEEN_WITHIN_S = 20.0
Rows = list[dict[str, Any]]


async def seen(lender: Lender, path: str, enough: Callable[[Rows], bool]) -> Rows:
    """The rows, once they tell enough: the trail follows the log by a second or two."""
    rows: Rows = []
    for _ in range(int(SEEN_WITHIN_S / 0.2)):
        rows = (await lender.must("GET", "audit", path))["rows"]
        if enough(rows):
            return rows
        await asyncio.sleep(0.2)
    raise AssertionError(f"{path} after {SEEN_WITHIN_S} s: {rows}")


async def test_a_lender_sees_its_decisions_and_transfers_over_time_and_nobody_elses(
    lender: Lender, platform: Stack, http: HttpClient
) -> None:
    customer = await lender.customer()
    loan = await lender.loan(customer)
    path = f"/v1/loans/{loan['id']}/repayments"
    await lender.must("POST", "transactions", path, {"id": near(customer), "amount": 400_000})
    blocked = await lender.customer(blocked=True)
    request = {"id": near(blocked), "customer": blocked, "product": "nano", "amount": 1_000_000, "currency": "NGN"}
    await lender.must("POST", "eligibility", "/v1/eligibility/checks", request)

    decisions = await seen(lender, "/v1/metrics/decisions?bucket=day&kind=requested", lambda rows: len(rows) == 2)
    assert [(row["product"], row["outcome"], row["policy_version"]) for row in decisions] == [
        ("nano", "approve", 1),
        ("nano", "decline", 1),
    ]
    url = "/v1/metrics/transfers?bucket=hour&product=nano"
    transfers = await seen(lender, url, lambda rows: "principal_repayment" in {row["code"] for row in rows})
    told = {(row["code"], row["amount_from"], row["amount"]) for row in transfers}
    assert ("disbursement", 1_000_000, "1000000") in told
    assert await lender.must("GET", "audit", "/v1/metrics/decisions?bucket=minute&outcome=refer") == {
        "rows": [],
        "next": None,
    }
    other = await new_lender(platform, http)
    assert (await other.must("GET", "audit", "/v1/metrics/decisions?bucket=day"))["rows"] == []


async def test_operators_see_how_long_requests_took_and_lenders_do_not(
    lender: Lender, platform: Stack, http: HttpClient
) -> None:
    await lender.customer()
    assert (await lender.get("audit", "/v1/metrics/latencies?bucket=minute"))[0] == 403
    operator = Lender(platform, http, platform.settings.internal_key)
    url = "/v1/metrics/latencies?bucket=minute&service=eligibility&method=PUT"
    row = (await seen(operator, url, bool))[0]
    assert row["route"] == "/v1/customers/{customer_id}"
    assert row["requests"] > 0
    assert 0 < row["p50_us"] <= row["p99_us"] <= row["p999_us"]


async def test_a_key_without_the_scope_sees_nothing(platform: Stack, http: HttpClient, lender: Lender) -> None:
    key = await provision.create_key(platform.settings.owner_database_url, lender.tenant, ["audit:read"])
    status, problem = await Lender(platform, http, key).get("audit", "/v1/metrics/decisions?bucket=day")
    assert (status, problem["code"]) == (403, "scope_missing")


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("", "?bucket"),
        ("bucket=week", "?bucket"),
        ("bucket=day&from=yesterday", "?from"),
        ("bucket=day&from=2026-01-01T00:00:00", "?from"),
        ("bucket=day&from=20260101", "?from"),
        ("bucket=minute&from=2026-01-01T00:00:00Z&to=2026-01-03T00:00:00Z", "?from"),
        ("bucket=day&from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "?from"),
        ("bucket=day&to=9999-12-31T23:59:59-12:00", "?to"),
        ("bucket=day&from=0001-01-01T00:00:00Z", "?from"),
        ("bucket=day&product=", "?product"),
        ("bucket=day&product=%00", "?product"),
        ("bucket=day&product=a&product=b", "?product"),
        ("bucket=day&policy=" + "p" * 101, "?policy"),
        ("bucket=day&colour=red", "?colour"),
    ],
)
async def test_a_question_that_makes_no_sense_is_refused_by_name(lender: Lender, query: str, pointer: str) -> None:
    status, problem = await lender.get("audit", f"/v1/metrics/decisions?{query}")
    assert status == 400, problem
    assert pointer in {error["pointer"] for error in problem["errors"]}


async def test_the_command_line_lays_it_out(lender: Lender, platform: Stack) -> None:
    await lender.loan(await lender.customer())
    await seen(lender, "/v1/metrics/transfers?bucket=day&code=disbursement", bool)
    header, *lines = await table(platform.settings, "transfers", lender.tenant, {"bucket": "day", "product": None})
    assert header.split()[:4] == ["bucket", "(UTC)", "product", "kind"]
    assert any("disbursement" in line and "10,000.00" in line for line in lines)
    assert len({len(line) for line in lines}) == 1, "columns stand below one another"
    latencies = await table(platform.settings, "latencies", 0, {"bucket": "day"})
    assert latencies[0].endswith("p99.9")
    with pytest.raises(ValueError, match="which lender"):
        await table(platform.settings, "decisions", None, {"bucket": "day"})
    with pytest.raises(ValueError, match=r"\?from: .*400 days"):
        await table(platform.settings, "decisions", 1, {"bucket": "day", "from": "2001-01-01T00:00:00Z"})


async def test_more_than_fits_one_answer_is_told_bucket_by_bucket(lender: Lender, platform: Stack) -> None:
    start = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(hours=20)
    owner = await asyncpg.connect(platform.settings.owner_metrics_database_url)
    await owner.execute(
        "INSERT INTO timescale.audit_trail"
        " SELECT $1::timestamptz + (n / 900) * interval '1 minute', $2::int, 'test', $3::bigint + n, 'DecisionMade',"
        " gen_random_uuid(), NULL, 'key', 'requested', 'product' || n % 900, 'nano', 1, 'approve', '', 'NGN', 1, 1"
        " FROM generate_series(0, 2699) AS n",
        start,
        lender.tenant,
        lender.tenant * 10_000,
    )
    await owner.close()
    url = f"/v1/metrics/decisions?bucket=minute&from={start:%Y-%m-%dT%H:%M:%SZ}"
    first = await lender.must("GET", "audit", url)
    assert (len(first["rows"]), first["next"]) == (1_800, f"{start + timedelta(minutes=2):%Y-%m-%dT%H:%M:%SZ}")
    rest = await lender.must("GET", "audit", url.partition("&")[0] + f"&from={first['next']}")
    assert (len(rest["rows"]), rest["next"]) == (900, None)


def test_the_command_line_names_what_is_wrong() -> None:
    result = CliRunner().invoke(app, ["metrics", "decisions", "--bucket", "week"])
    assert result.exit_code == 2
    assert "week" in result.output
