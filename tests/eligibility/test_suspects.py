"""Rows of the projection that the ledger says otherwise: a change on its way is none, what nobody told of is healed."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from tests.eligibility.conftest import GOOD_STANDING, Lender
from tests.eligibility.ledger_copy import LedgerCopy, hold_event, open_copy
from tests.eligibility.standings_server import StandingsServer

from amana.domain.facts import CustomerStanding
from amana.domain.money import Currency
from amana.eligibility import asking, customer_store
from amana.eligibility.records import Check
from amana.eligibility.suspects import Cause, difference
from amana.infra.http import HttpClient
from amana.infra.postgres import reading
from amana.infra.settings import Settings


@pytest.fixture
async def copy(service_settings: Settings, http: HttpClient, service_url: str) -> AsyncIterator[LedgerCopy]:
    async with open_copy(service_settings, http) as opened:
        yield opened


async def look(copy: LedgerCopy, lender: Lender, customer: str) -> None:
    """What a validation does for one customer of its sample."""
    where = (lender.tenant, UUID(customer))
    async with reading(copy.flow.pool) as connection:
        customers = await customer_store.find_customers(connection, [where])
    check = Check(
        tenant=lender.tenant,
        actor="",
        trace="",
        id=None,
        customer=where[1],
        product="nano",
        amount=1,
        currency=Currency.NGN,
    )
    found = await asking.ask(copy.flow.ledger, {0: check}, customers)
    await copy.flow.suspects.compare(customers, found.numbers)


async def test_a_row_that_nobody_told_of_is_counted_and_asked_again(
    copy: LedgerCopy, lender: Lender, good: str, ledger: StandingsServer
) -> None:
    await copy.check(lender.tenant, good)
    await look(copy, lender, good)
    assert await copy.flow.suspects.judge() == {}
    ledger.known[lender.tenant, UUID(good)] = GOOD_STANDING | {"exposure": 700_000}
    assert (await copy.check(lender.tenant, good)).assessment.exposure == 0
    await look(copy, lender, good)
    assert await copy.flow.suspects.judge() == {}  # an event may still tell of it
    assert await copy.level()
    assert await copy.flow.suspects.judge() == {"exposure": 1}
    assert (await copy.check(lender.tenant, good)).assessment.exposure == 700_000
    assert await copy.flow.suspects.judge() == {}


async def test_a_change_that_is_on_its_way_is_no_difference(
    copy: LedgerCopy, lender: Lender, good: str, ledger: StandingsServer
) -> None:
    await copy.check(lender.tenant, good)
    ledger.known[lender.tenant, UUID(good)] = GOOD_STANDING | {"exposure": 700_000}
    await look(copy, lender, good)
    await copy.happens(hold_event(lender.tenant, UUID(good)))
    assert (await copy.check(lender.tenant, good)).assessment.exposure == 700_000
    assert await copy.level()
    assert await copy.flow.suspects.judge() == {}
    assert (await copy.row(good))["exposure"] == 700_000


async def test_the_service_holds_the_rows_of_its_sample_against_the_ledger_and_heals_them(
    copy: LedgerCopy, lender: Lender, good: str, ledger: StandingsServer
) -> None:
    await lender.check(good)
    assert (await copy.row(good))["exposure"] == 0
    await copy.owner.execute("UPDATE ledger_standings SET loans_total = 9 WHERE customer = $1", UUID(good))
    await asyncio.sleep(1.05)  # a younger answer is not judged
    for _ in range(2):
        await lender.internally("POST", "/v1/cache-validations", {"sample": 200})
        assert await copy.level()
    assert (await copy.row(good))["as_of"] is None


def standing(**changes: Any) -> CustomerStanding:
    zeros: dict[str, Any] = {name: 0 for name in CustomerStanding.__struct_fields__ if name.startswith("loans_")}
    zeros |= {"worst_days_past_due": 0, "current_days_past_due": 0, "largest_principal_repaid": 0, "repaid_total": 0}
    days: dict[str, Any] = {"first_loan_on": None, "last_closed_on": None, "exposure": 0}
    return CustomerStanding(customer=UUID(int=1), as_of=datetime(2026, 1, 1, tzinfo=UTC), **(zeros | days | changes))


def test_a_difference_is_told_by_its_first_cause() -> None:
    kept = standing()
    later = msgspec.structs.replace(kept, as_of=datetime(2026, 1, 2, tzinfo=UTC))
    assert difference(kept, later) is None
    assert difference(kept, standing(exposure=1, loans_open=1)) is Cause.EXPOSURE
    assert difference(kept, standing(worst_days_past_due=1, loans_total=1)) is Cause.LATENESS
    assert difference(kept, standing(open_due_on=date(2026, 2, 1))) is Cause.LATENESS
    assert difference(kept, standing(repaid_total=5)) is Cause.HISTORY
    assert difference(kept, msgspec.structs.replace(kept, customer=uuid4())) is Cause.HISTORY
