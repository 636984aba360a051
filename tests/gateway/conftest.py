"""A small application behind the real edge, on a real socket, with keys in the real database."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import date
from typing import Annotated, Any
from uuid import UUID

import pytest
import pytest_asyncio
from litestar import Litestar, get, post, put
from msgspec import Meta, json
from tests.gateway import hot_example
from tests.gateway.hot_example import Till

from amana.domain.reasons import Reason
from amana.gateway import provision
from amana.gateway.caller import Caller
from amana.gateway.edge import build_app
from amana.gateway.keyring import KeyRing
from amana.gateway.store import KeyStore
from amana.infra.collector import Overloaded
from amana.infra.http import HttpClient, Reply, UpstreamUnavailable
from amana.infra.http_server import serve
from amana.infra.postgres import DatabaseUnavailable
from amana.infra.settings import Settings
from amana.wire.common import Amount, PageSize, Request, Response
from amana.wire.problems import Refused

BODY_MAX_BYTES = 2_000


class Payment(Request):
    id: UUID
    amount: Amount
    currency: str
    memo: str | None = None
    on: date | None = None


class Payments(Request):
    payments: Annotated[list[Payment], Meta(max_length=3)]


class Receipt(Response):
    id: UUID
    amount: int
    tenant: int
    trace: str


class Note(Request):
    text: str = ""


@post("/v1/payments", opt={"scope": "transfers:write"}, status_code=200)
async def pay(data: Payment, caller: Caller) -> Receipt:
    """Takes a payment."""
    return Receipt(id=data.id, amount=data.amount, tenant=caller.tenant, trace=caller.trace)


@post("/v1/payment-lists", opt={"scope": ("transfers:write", "tape:import")}, status_code=200)
async def pay_all(data: Payments) -> dict[str, int]:
    return {"count": len(data.payments)}


@post("/v1/notes", opt={"scope": "transfers:write"}, status_code=200)
async def note(data: Note | None = None) -> dict[str, str]:
    return {"text": data.text if data else "(none)"}


@put("/v1/documents", opt={"scope": "policies:write"})
async def document(data: dict[str, Any]) -> dict[str, Any]:
    return data


@get("/v1/payments", opt={"scope": "accounts:read"})
async def list_payments(owner: UUID, limit: PageSize = 100, after: str | None = None) -> dict[str, Any]:
    return {"owner": owner, "limit": limit, "after": after}


@get("/v1/payments/{payment_id:uuid}", opt={"scope": "accounts:read"})
async def find_payment(payment_id: UUID) -> Receipt:
    raise Refused(Reason.NOT_FOUND)


@get("/v1/whoami", opt={"scope": ("accounts:read", "internal")})
async def whoami(caller: Caller) -> dict[str, Any]:
    return {"tenant": caller.tenant, "key_id": caller.key_id, "scopes": sorted(caller.scopes)}


FAILURES: dict[str, Exception] = {
    "bug": AssertionError("select secret from api_keys"),
    "database": DatabaseUnavailable("connection refused"),
    "commit": DatabaseUnavailable("lost in commit", outcome_known=False),
    "overload": Overloaded(),
    "upstream": UpstreamUnavailable("POST http://eligibility: timed out", outcome_known=True),
    "refusal": Refused(Reason.LIMIT_EXCEEDED, "Over the limit.", {"limit": 5_000, "exposure": 4_900}),
}


@get("/v1/failures/{kind:str}", opt={"scope": "accounts:read"})
async def fail(kind: str) -> dict[str, str]:
    raise FAILURES[kind]


@get("/v1/slow", opt={"scope": "accounts:read"})
async def slow() -> dict[str, str]:
    await asyncio.sleep(0.5)
    return {"answered": "whole"}


ROUTES = [pay, pay_all, note, document, list_payments, find_payment, whoami, fail, slow]


def keys_dsn(settings: Settings) -> str:
    """The least role that may read keys."""
    return settings.gateway_database_url or settings.eligibility_database_url


def build(settings: Settings) -> Litestar:
    return build_app(
        service="example",
        routes=ROUTES,
        keys=KeyRing(KeyStore(keys_dsn(settings))),
        body_max_bytes=BODY_MAX_BYTES,
        body_max_by_path={"/v1/payment-lists": 10 * BODY_MAX_BYTES},
    )


@asynccontextmanager
async def serving(app: Litestar) -> AsyncIterator[str]:
    """Serves `app` on a free port; the base URL."""
    stop = asyncio.Event()
    started: asyncio.Queue[str] = asyncio.Queue()
    task = asyncio.create_task(serve(app, "127.0.0.1", 0, on_started=started.put_nowait, stop=stop))
    try:
        yield await asyncio.wait_for(started.get(), 10)
    finally:
        stop.set()
        await task


class Client:
    """Calls the example application with one key."""

    def __init__(self, url: str, http: HttpClient, key: str, tenant: int) -> None:
        self.url = url
        self.http = http
        self.key = key
        self.tenant = tenant

    async def send(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[Reply, Any]:
        """The reply, and its body as plain values."""
        sent = {"Authorization": f"Bearer {self.key}", **(headers or {})}
        reply = await self.http.request(method, self.url + path, body=body, headers=sent, timeout_ms=5_000)
        return reply, json.decode(reply.body) if "json" in reply.headers.get("content-type", "") else None


@pytest.fixture(scope="session")
async def http() -> AsyncIterator[HttpClient]:
    async with HttpClient() as client:
        yield client


@pytest.fixture(scope="session")
def build_example(settings: Settings) -> Callable[[], Litestar]:
    """Builds the example application, as often as a test likes."""
    return lambda: build(settings)


@pytest.fixture(scope="session")
async def edge_url(build_example: Callable[[], Litestar]) -> AsyncIterator[str]:
    async with serving(build_example()) as url:
        yield url


@pytest.fixture(scope="session")
async def client(settings: Settings, edge_url: str, http: HttpClient) -> Client:
    tenant = await provision.create_tenant(settings.owner_database_url, "edge-tests", "Edge tests")
    scopes = ["accounts:read", "policies:write", "transfers:write"]
    key = await provision.create_key(settings.owner_database_url, tenant, scopes)
    return Client(edge_url, http, key, tenant)


@pytest_asyncio.fixture(scope="module")
async def ring(client: Any, settings: Settings) -> KeyRing:
    """Knows the client's key, which does not age."""
    ring = KeyRing(KeyStore(settings.eligibility_database_url), clock_s=lambda: 0.0)
    await ring.caller_for(f"Bearer {client.key}")
    return ring


@pytest_asyncio.fixture
async def server(ring: KeyRing, client: Any) -> AsyncIterator[tuple[str, Till]]:
    """The example of hot routes: where it is served, and its till."""
    await ring.caller_for(f"Bearer {client.key}")
    async with hot_example.serving(hot_example.build(ring)) as (url, till):
        yield url, till


@pytest.fixture
def asks(client: Any) -> Callable[..., bytes]:
    """Makes a request of an order; as `post_order`, without the key."""
    return lambda *args, **more: hot_example.post_order(client.key, *args, **more)
