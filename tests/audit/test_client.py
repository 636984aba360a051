"""What `amana audit` asks and says, against the running service."""

import csv
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from tests.audit.dossier import named, whole_story
from tests.audit.reading import Lab, lab, lenders
from tests.audit.test_service import until

from amana.infra.http import HttpClient
from amana.infra.settings import Settings
from amana.operate import audit_client as client
from amana.operate.audit_client import AuditApi, AuditRefused

CUSTOMER = named("customer")


@pytest.fixture
async def served(log_settings: Settings) -> AsyncIterator[Lab]:
    tenants = await lenders(log_settings)
    async with lab(log_settings, tenants, whole_story(tenants[0], CUSTOMER).bodies) as made:
        yield made


@pytest.fixture
async def api(served: Lab) -> AsyncIterator[AuditApi]:
    reader = await served.reader("audit:read", "audit:accesses")
    settings = msgspec.structs.replace(served.settings, audit_url=served.url, api_key=reader.key)
    async with HttpClient() as http:
        yield AuditApi(http, settings)


async def test_a_search_says_what_happened_and_where_it_stands(api: AuditApi) -> None:
    said: list[str] = []
    await client.search(api, {"customer": CUSTOMER, "type": ["LoanBooked", "CustomerBlocked"]}, 10, False, said.append)
    assert "transactions 0  LoanBooked  A loan of ₦10,000.00 with a fee of ₦1,000.00 was booked" in said[0]
    assert "The customer was blocked (fraud_watch)." in said[2]
    as_json: list[str] = []
    await client.search(api, {"customer": CUSTOMER}, 4, True, as_json.append)
    assert [msgspec.json.decode(line)["position"] for line in as_json] == [1, 2, 4, 5]

    async def both_are_told() -> bool:
        read: list[str] = []
        await client.accesses(api, {"customer": CUSTOMER}, 1_000, False, read.append)
        searches = [line for line in read if "/v1/audit/events " in line]  # to look is a read of the customer too
        return len(searches) == 2 and all(f"customer {CUSTOMER}" in line for line in read)

    await until(both_are_told)


async def test_a_report_and_a_register_become_files(api: AuditApi, tmp_path: Path) -> None:
    said: list[str] = []
    await client.report(api, CUSTOMER, tmp_path / "report.html", True, said.append)
    await client.report(api, CUSTOMER, tmp_path / "report.json", False, said.append)
    await client.register(api, "2026-11", tmp_path / "register.csv", "csv", said.append)
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
    assert msgspec.json.decode((tmp_path / "report.json").read_bytes())["customer"] == str(CUSTOMER)
    with (tmp_path / "register.csv").open() as file:
        rows = list(csv.reader(file))
    assert f"Register: {tmp_path / 'register.csv'}, {len(rows) - 1:,} rows" in said
    assert any(line.startswith("by outcome: ") for line in said)
    assert names_in(tmp_path) == ["audit", "register.csv", "report.html", "report.json"]


async def test_a_refusal_names_what_is_wrong_and_leaves_no_file(api: AuditApi, tmp_path: Path) -> None:
    with pytest.raises(AuditRefused, match=r"\?from"):
        await client.search(api, {"from": "soon"}, 10, False, print)
    with pytest.raises(AuditRefused, match="month"):
        await client.register(api, "2026-99", tmp_path / "register.csv", "csv", print)
    with pytest.raises(AuditRefused, match="not_found"):
        await client.report(api, named("nobody"), tmp_path / "report.html", True, print)
    assert names_in(tmp_path) == ["audit"]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
