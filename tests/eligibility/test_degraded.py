"""Without PostgreSQL: what is cached and young enough is answered and says so, the rest may be sent again later."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit
from uuid import UUID

import msgspec
import pytest
from tests.chaos.proxy import Proxy
from tests.eligibility.conftest import GOOD_STANDING, Lender
from tests.eligibility.standings_server import StandingsServer, served

from amana.eligibility import policies, validator
from amana.eligibility.app import build
from amana.infra.http import HttpClient
from amana.infra.settings import Settings


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Proxy]:
    """What stands between a service of this test and PostgreSQL."""
    async with Proxy.before(urlsplit(settings.eligibility_database_url).port or 5432) as proxy:
        yield proxy


@pytest.fixture
async def apart(
    lender: Lender, http: HttpClient, service_settings: Settings, database: Proxy, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Lender]:
    """The lender at a service of its own behind the proxy."""
    monkeypatch.setattr(validator, "EVERY_S", 3_600)
    behind = {
        name: _through(getattr(service_settings, name), database.port)
        for name in ("eligibility_database_url", "gateway_database_url")
    }
    given = msgspec.structs.replace(service_settings, **behind, assessment_ttl_ms=60_000)
    async with served(build(given)) as url:
        yield Lender(http, url, lender.tenant, lender.key, lender.internal_key, lender.second_key)


def _through(url: str, port: int) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=f"{parts.netloc.rpartition(':')[0]}:{port}").geturl()


async def test_what_is_cached_is_answered_and_says_so_and_the_rest_is_asked_again_later(
    apart: Lender, lender: Lender, ledger: StandingsServer, database: Proxy
) -> None:
    known, other = await lender.customer(), await lender.customer()
    for id_ in (known, other):
        ledger.known[lender.tenant, UUID(id_)] = dict(GOOD_STANDING)
    assert (await apart.check(known))["source"] == "fresh"
    answer = await apart.check(known)
    assert (answer["source"], answer["degraded"]) == ("memory", False)
    database.hang_up()
    await asyncio.sleep(policies.POINTER_FRESH_S + 2 * policies.ASK_EVERY_S)
    answer = await apart.check(known, 2_000_000)
    assert (answer["source"], answer["degraded"], answer["price"]["principal"]) == ("memory", True, 2_000_000)
    status, problem = await apart.ask(other)
    assert (status, problem["retryable"]) == (503, True)
    status, problem = await apart.ask(known, id=known)  # a request to borrow is never answered from a cache
    assert (status, problem["retryable"]) == (503, True)
    await database.take_up()
    async with asyncio.timeout(30):
        while (await apart.ask(other))[0] != 200:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        while (await apart.check(known))["degraded"]:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def test_many_who_ask_the_same_at_once_are_answered_by_one_computation(
    lender: Lender, good: str, ledger: StandingsServer
) -> None:
    ledger.calls.clear()
    answers = await asyncio.gather(*(lender.check(good, 1_000_000 + at % 3 * 100_000) for at in range(24)))
    assert sum(len(request.items) for _, request in ledger.calls) == 1
    assert {answer["decision_id"] for answer in answers} == {answers[0]["decision_id"]}
    assert [answer["price"]["principal"] for answer in answers] == [1_000_000 + at % 3 * 100_000 for at in range(24)]
    assert {answer["source"] for answer in answers} <= {"fresh", "cache", "memory"}
    assert sum(answer["source"] == "fresh" for answer in answers) == 1
