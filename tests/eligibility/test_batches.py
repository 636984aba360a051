"""A batch of checks from many lenders: what breaks one of them breaks no other."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import UUID, uuid4

import asyncpg
import pytest
from tests.eligibility.conftest import Lender
from tests.eligibility.standings_server import StandingsServer

from amana.domain.money import Currency
from amana.domain.policy import Outcome
from amana.eligibility.answers import Answer
from amana.eligibility.cache import AssessmentCache
from amana.eligibility.flow import Flow
from amana.eligibility.memory import Memory
from amana.eligibility.policies import Policies
from amana.eligibility.records import Check
from amana.eligibility.standings import Ledger
from amana.infra.cache import Cache
from amana.infra.http import HttpClient
from amana.infra.postgres import open_pool
from amana.infra.sealing import SealBroken
from amana.infra.settings import Settings
from amana.vault.vault import Vault

NO_FIGURE = 2**60
"""More than any event can hold: an assertion fires where the decision is recorded."""


@pytest.fixture
async def flow(service_settings: Settings, http: HttpClient, vault: Vault) -> AsyncIterator[Flow]:
    """The service's flow, without its routes and its cache."""
    pool = await open_pool(service_settings.eligibility_database_url, "eligibility", 2)
    ledger = Ledger(http, service_settings.transactions_url, service_settings.internal_key)
    yield Flow(pool, ledger, AssessmentCache(Cache(""), Memory(1, 0.0, 0.0), 5_000), Policies(pool), vault)
    await pool.close()


def check(lender: Lender, customer: str) -> Check:
    return Check(
        tenant=lender.tenant,
        actor="test",
        trace="",
        id=uuid4(),
        customer=UUID(customer),
        product="nano",
        amount=1_000_000,
        currency=Currency.NGN,
    )


async def test_a_check_that_breaks_spares_those_that_ride_with_it(
    flow: Flow, new_lender: Callable[[], Awaitable[Lender]], lender: Lender, ledger: StandingsServer
) -> None:
    other = await new_lender()
    ours, theirs = await lender.customer(), await other.customer()
    ledger.known[other.tenant, UUID(theirs)] = {"loans_total": NO_FIGURE}
    checks = [check(lender, ours) for _ in range(12)]
    checks.insert(7, check(other, theirs))
    ledger.calls.clear()
    results = await asyncio.gather(*(flow.check(item) for item in checks), return_exceptions=True)
    assert max(len(request.items) for _, request in ledger.calls) == 12, "they did not ride in one batch"
    assert [at for at, result in enumerate(results) if isinstance(result, AssertionError)] == [7]
    answers = [result for result in results if isinstance(result, Answer)]
    assert [answer.decision_id for answer in answers] == [item.id for item in checks if item.tenant == lender.tenant]
    assert not any(answer.replayed for answer in answers)


async def test_a_changed_birth_date_decides_nothing_and_fails_nobody_else(
    flow: Flow, lender: Lender, good: str, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    ada = await lender.customer()
    await database.execute(
        "UPDATE customers SET birth_sealed = set_byte(birth_sealed, 20, 255 - get_byte(birth_sealed, 20))"
        " WHERE customer = $1",
        UUID(ada),
    )
    asked = [check(lender, customer) for customer in (good, ada, good)]
    first, broken, last = await asyncio.gather(*(flow.check(one) for one in asked), return_exceptions=True)
    assert isinstance(broken, SealBroken)
    for decided in (first, last):
        assert isinstance(decided, Answer)
        assert decided.decision.outcome is Outcome.APPROVE
