"""`amana eligibility validate` on the whole platform."""

import asyncio
from uuid import UUID

import asyncpg
import msgspec
import pytest
from rich.console import Console
from tests.e2e.lenders import Lender

from amana.infra.http import UpstreamUnavailable
from amana.infra.settings import Settings
from amana.operate.stack import Stack
from amana.operate.validating import run_validate

QUIET = Console(quiet=True)


async def silently_poorer(settings: Settings, customer: UUID) -> None:
    """A change that nobody is told of: what a validator is for."""
    connection = await asyncpg.connect(settings.owner_database_url)
    try:
        statement = """UPDATE eligibility.customers SET monthly_income = 4000000, facts_version = facts_version + 1
                       WHERE customer = $1"""
        await connection.execute(statement, customer)
    finally:
        await connection.close()


async def test_a_cached_answer_that_became_untrue_is_found_and_healed(platform: Stack, lender: Lender) -> None:
    customer = await lender.customer(monthly_income=30_000_000)
    asked = {"customer": customer, "product": "nano", "currency": "NGN", "amount": 1_000_000}
    first = (await lender.post("eligibility", "/v1/eligibility/checks", asked))[1]
    assert first["source"] == "fresh"
    assert (await lender.post("eligibility", "/v1/eligibility/checks", asked))[1]["source"] in {"memory", "cache"}
    await silently_poorer(platform.settings, customer)
    await asyncio.sleep(1.1)
    told, _ = await run_validate(QUIET, platform.settings, 200)
    assert told["divergent"] in ({"facts": 1}, {})  # the service looks by itself too, and may have been first
    healed = (await lender.post("eligibility", "/v1/eligibility/checks", asked))[1]
    assert healed["source"] == "fresh"
    assert healed["exposure_cap"] <= first["exposure_cap"]
    assert healed["decision_id"] != first["decision_id"]
    told, ok = await run_validate(QUIET, platform.settings, 200)
    assert (told["divergent"], ok) == ({}, True)


async def test_a_service_that_is_not_there_is_said_to_be(platform: Stack) -> None:
    gone = msgspec.structs.replace(platform.settings, eligibility_url="http://127.0.0.1:1")
    with pytest.raises(UpstreamUnavailable):
        await run_validate(QUIET, gone, 1)
