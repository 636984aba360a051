"""The eligibility service on a real socket, over real PostgreSQL and Valkey, beside a ledger of the tests' own."""

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from itertools import count
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest
from tests.eligibility.standings_server import StandingsServer, running, served

from amana.eligibility import app, validator
from amana.eligibility.app import build
from amana.eligibility.cache import AssessmentCache
from amana.eligibility.flow import Flow
from amana.eligibility.memory import Memory
from amana.eligibility.policies import Policies
from amana.eligibility.standings import Ledger
from amana.gateway.provision import ALL_SCOPES, create_key, create_tenant
from amana.infra.cache import Cache
from amana.infra.channel import listen
from amana.infra.http import HttpClient, Reply
from amana.infra.postgres import open_pool
from amana.infra.settings import Settings
from amana.vault.vault import Vault

RECORD = {
    "kyc_tier": 3,
    "birth_date": "1990-05-17",
    "employment": "permanent",
    "monthly_income": 30_000_000,
    "bank_code": "058",
    "phone": "0803 123 4567",
}
GOOD_STANDING = {"loans_total": 8, "loans_closed": 8, "largest_principal_repaid": 6_000_000, "repaid_total": 40_000_000}
KEPT = {"memory", "cache"}
"""Where an answer that is kept comes from. A process that hears nobody for a second, which happens on a busy machine,
forgets its own."""

SILENCE_BORNE_S = 20.0

_numbers = count(1)


class Lender:
    """One tenant's client of the service."""

    def __init__(self, http: HttpClient, url: str, tenant: int, key: str, internal_key: str, second_key: str) -> None:
        self.http = http
        self.url = url
        self.tenant = tenant
        self.key = key
        self.internal_key = internal_key
        self.second_key = second_key

    async def send(self, method: str, path: str, body: object = None, key: str | None = None) -> tuple[int, Any]:
        """(status, body) of one request with the tenant's own key, unless another is given."""
        headers = {"Authorization": f"Bearer {key or self.key}"}
        return _read(await self._send(method, path, body, headers))

    async def internally(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """The same with the internal key, on behalf of the tenant."""
        headers = {"Authorization": f"Bearer {self.internal_key}", "Amana-Tenant": str(self.tenant)}
        return _read(await self._send(method, path, body, headers))

    async def customer(self, **changes: object) -> str:
        """A new customer's id, recorded."""
        id_ = str(uuid4())
        status, answer = await self.send("PUT", f"/v1/customers/{id_}", RECORD | changes)
        assert status == 200, answer
        return id_

    async def publish(self, document: object) -> Any:
        """The answer to the approval of a policy that this key drafts and the second one approves."""
        status, draft = await self.send("POST", "/v1/policies", {"id": uuid4(), "document": document})
        assert status == 200, draft
        status, answer = await self.approve(draft)
        assert status == 200, answer
        return answer

    async def approve(self, draft: Any, *, key: str | None = None, **more: object) -> tuple[int, Any]:
        """(status, body) of an approval, by the second key unless another is given."""
        path = f"/v1/policies/{draft['product']}/versions/{draft['version']}/approvals"
        return await self.send("POST", path, {"id": uuid4()} | more, key or self.second_key)

    async def check(self, customer: str, amount: int = 1_000_000, **more: object) -> Any:
        """The answer to a check that is well-formed."""
        status, answer = await self.ask(customer, amount, **more)
        assert status == 200, answer
        return answer

    async def ask(self, customer: str, amount: int = 1_000_000, **more: object) -> tuple[int, Any]:
        """(status, body) of a check."""
        body = {"customer": customer, "product": "nano", "currency": "NGN", "amount": amount} | more
        return await self.send("POST", "/v1/eligibility/checks", body)

    async def _send(self, method: str, path: str, body: object, headers: dict[str, str]) -> Reply:
        sent = None if body is None else msgspec.json.encode(body)
        return await self.http.request(method, self.url + path, body=sent, headers=headers, timeout_ms=30_000)


def _read(reply: Reply) -> tuple[int, Any]:
    return reply.status, msgspec.json.decode(reply.body)


@pytest.fixture(scope="session")
async def http() -> AsyncIterator[HttpClient]:
    async with HttpClient() as client:
        yield client


@pytest.fixture(scope="session")
async def shared_ledger() -> AsyncIterator[StandingsServer]:
    async with running() as server:
        yield server


@pytest.fixture
def ledger(shared_ledger: StandingsServer) -> StandingsServer:
    """The tests' ledger, in order and with nothing noted."""
    shared_ledger.down, shared_ledger.hold = False, None
    shared_ledger.undo = None
    shared_ledger.end.clear()
    shared_ledger.calls.clear()
    shared_ledger.undone.clear()
    shared_ledger.asked.clear()
    return shared_ledger


@pytest.fixture(scope="session")
def service_settings(settings: Settings, shared_ledger: StandingsServer) -> Settings:
    """The stack's, with the tests' ledger, and no broker: events of the ledger come from tests themselves."""
    return msgspec.structs.replace(
        settings,
        gateway_database_url=settings.gateway_database_url or settings.eligibility_database_url,
        transactions_url=shared_ledger.url,
        kafka_bootstrap="",
    )


@pytest.fixture(scope="session")
async def service_url(service_settings: Settings) -> AsyncIterator[str]:
    """The service. It validates its cache when it is told to: by itself it would ask the ledger in between. It bears
    with a busy machine's silence: by itself it would forget what a test has it keep.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validator, "EVERY_S", 3_600)
        patch.setattr(app, "listen", partial(listen, silence_max_s=SILENCE_BORNE_S))
        async with served(build(service_settings)) as url:
            yield url


@pytest.fixture
def new_lender(
    settings: Settings, http: HttpClient, service_url: str, ledger: StandingsServer
) -> Callable[[], Awaitable[Lender]]:
    """Makes a tenant with a key for everything."""

    async def make() -> Lender:
        slug = f"eligibility-{next(_numbers)}-{uuid4().hex[:6]}"
        tenant = await create_tenant(settings.owner_database_url, slug, slug)
        key = await create_key(settings.owner_database_url, tenant, ALL_SCOPES)
        second = await create_key(settings.owner_database_url, tenant, ALL_SCOPES)
        return Lender(http, service_url, tenant, key, settings.internal_key, second)

    return make


@pytest.fixture
async def lender(new_lender: Callable[[], Awaitable[Lender]]) -> Lender:
    """A tenant of the test's own."""
    return await new_lender()


@pytest.fixture
async def good(lender: Lender, ledger: StandingsServer) -> str:
    """A customer with a spotless record and history."""
    id_ = await lender.customer()
    ledger.known[lender.tenant, UUID(id_)] = dict(GOOD_STANDING)
    return id_


@pytest.fixture
async def judge(lender: Lender, settings: Settings) -> str:
    """A key of the lender for those who judge: it asked for no decision."""
    return await create_key(settings.owner_database_url, lender.tenant, ["decisions:override", "eligibility:check"])


@pytest.fixture
async def vault(service_settings: Settings) -> AsyncIterator[Vault]:
    """The service's keys, as another process sees them."""
    opened = Vault.of(service_settings)
    yield opened
    await opened.close()


@pytest.fixture
async def flow(service_settings: Settings, http: HttpClient, vault: Vault) -> AsyncIterator[Flow]:
    """The flow of another process."""
    pool = await open_pool(service_settings.eligibility_database_url, "eligibility", 3)
    ledger = Ledger(http, service_settings.transactions_url, service_settings.internal_key)
    cache = AssessmentCache(Cache(service_settings.redis_url), Memory(1, 0.0, 0.0), 5_000)
    yield Flow(pool, ledger, cache, Policies(pool), vault)
    await pool.close()


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """The owner's connection, seeing the service's schema."""
    connection = await asyncpg.connect(settings.owner_database_url, server_settings={"search_path": "eligibility"})
    yield connection
    await connection.close()


@pytest.fixture
async def owner_of_keys(settings: Settings) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """The owner's connection to the vault."""
    connection = await asyncpg.connect(settings.owner_keys_database_url, server_settings={"search_path": "vault"})
    yield connection
    await connection.close()


@pytest.fixture
async def eligibility(settings: Settings) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A connection with the service's own role, seeing its schema."""
    url = settings.eligibility_database_url
    connection = await asyncpg.connect(url, server_settings={"search_path": "eligibility"})
    yield connection
    await connection.close()
