"""The service over HTTP: pages, claims, reports, dead letters; what a key may see; what a bad request is told."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest

from amana.gateway import provision
from amana.infra import clock
from amana.infra.http import HttpClient
from amana.infra.http_server import serve
from amana.infra.postgres import open_pool
from amana.infra.settings import Settings
from amana.notifications import store
from amana.notifications.app import build
from amana.notifications.events import Told

ADA, BEN = uuid4(), uuid4()


class Service:
    """The running service, one lender with a key, another one's key, and the platform's."""

    def __init__(self, url: str, client: HttpClient, keys: dict[str, str]) -> None:
        self.url, self.client, self.keys = url, client, keys

    async def send(self, method: str, path: str, body: Any = None, key: str = "ours") -> tuple[int, dict[str, Any]]:
        headers = {"Authorization": f"Bearer {self.keys[key]}"} | ({"Amana-Tenant": "0"} if key == "platform" else {})
        raw = None if body is None else body if isinstance(body, bytes) else msgspec.json.encode(body)
        reply = await self.client.request(method, self.url + path, body=raw, headers=headers, timeout_ms=10_000)
        return reply.status, msgspec.json.decode(reply.body)

    async def ok(self, method: str, path: str, body: Any = None, key: str = "ours") -> dict[str, Any]:
        status, answer = await self.send(method, path, body, key)
        assert status == 200, answer
        return answer


@pytest.fixture
async def service(settings: Settings) -> AsyncIterator[Service]:
    """Its own lenders, with ten requests, turn by turn of two customers."""
    owner = settings.owner_database_url
    scopes = ["notifications:read", "notifications:send"]
    tenants = [await provision.create_tenant(owner, f"n{uuid4().hex[:12]}", "Notified") for _ in range(2)]
    keys = {
        name: await provision.create_key(owner, tenant, scopes)
        for name, tenant in zip(("ours", "theirs"), tenants, strict=True)
    }
    keys["platform"] = settings.internal_key
    now = clock.now()
    told = [
        Told(tenants[0], uuid4(), "loan_closed", BEN if at % 2 else ADA, uuid4(), {}, now, None) for at in range(10)
    ]
    pool = await open_pool(settings.notifications_database_url, "notifications", 1)
    async with pool.acquire() as connection:
        await store.insert(connection, told)
    await pool.close()
    nobody = msgspec.structs.replace(settings, kafka_bootstrap="127.0.0.1:1")
    stop, started = asyncio.Event(), asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(build(nobody), "127.0.0.1", 0, on_started=started.set_result, stop=stop))
    async with HttpClient() as client:
        yield Service(await started, client, keys)
    stop.set()
    await task


async def test_pages_together_are_every_request_once(service: Service) -> None:
    found: list[str] = []
    after = 0
    while True:
        page = await service.ok("GET", f"/v1/notifications?limit=3&after={after}")
        found += [one["id"] for one in page["notifications"]]
        if page["next"] is None:
            break
        after = page["next"]
    assert len(found) == len(set(found)) == 10
    of_ada = await service.ok("GET", f"/v1/notifications?customer={ADA}&state=waiting")
    assert {one["customer"] for one in of_ada["notifications"]} == {str(ADA)}
    assert len(of_ada["notifications"]) == 5
    assert (await service.ok("GET", "/v1/notifications", key="theirs"))["notifications"] == []


async def test_who_is_shown_notifications_is_written_down_before_they_are(service: Service, settings: Settings) -> None:
    await service.ok("GET", f"/v1/notifications?customer={ADA}&limit=2")
    await service.ok("GET", "/v1/notifications")
    await service.ok("POST", "/v1/notifications:claim", {"limit": 4})
    await service.ok("POST", "/v1/notifications:claim", {"limit": 100})
    await service.ok("POST", "/v1/notifications:claim", {"limit": 100})  # nothing is left to be shown
    assert (await service.send("GET", "/v1/notifications?customer=Ada"))[0] == 400
    owner = await asyncpg.connect(settings.owner_database_url)
    rows = await owner.fetch("SELECT body FROM notifications.outbox ORDER BY seq")
    await owner.close()
    events = [msgspec.json.decode(row["body"]) for row in rows]
    told = [event["data"] for event in events if event["actor"] in service.keys["ours"]]
    both = sorted([str(ADA), str(BEN)])
    assert told == [
        {"route": "/v1/notifications", "rows": 2, "customers": [str(ADA)]},
        {"route": "/v1/notifications", "rows": 10, "customers": both},
        {"route": "/v1/notifications:claim", "rows": 4, "customers": both},
        {"route": "/v1/notifications:claim", "rows": 6, "customers": both},
    ]


async def test_a_sender_claims_and_reports(service: Service) -> None:
    claimed = await service.ok("POST", "/v1/notifications:claim", {"limit": 4})
    assert [one["text"] for one in claimed["notifications"]] == ["Your loan is fully repaid. Thank you."] * 4
    ids = [one["id"] for one in claimed["notifications"]]
    reports = [{"id": ids[0], "outcome": "delivered"}, {"id": ids[1], "outcome": "failed", "error": "no_route"}]
    body = {"lease": claimed["lease"], "reports": [*reports, {"id": uuid4(), "outcome": "delivered"}]}
    results = (await service.ok("POST", "/v1/notifications:report", body))["results"]
    assert [(one["status"], one["state"], one["reason"]) for one in results] == [
        ("ok", "delivered", None),
        ("ok", "waiting", None),
        ("refused", None, "not_found"),
    ]
    theirs = (await service.ok("POST", "/v1/notifications:report", body, key="theirs"))["results"]
    assert {one["reason"] for one in theirs} == {"not_found"}
    again = (await service.ok("POST", "/v1/notifications:report", body))["results"]
    assert [one["replayed"] for one in again] == [True, True, False]


@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        ("/v1/notifications:claim", {"limit": 0}, "/limit"),
        ("/v1/notifications:claim", {"limit": 101}, "/limit"),
        ("/v1/notifications:claim", {"limit": "5"}, "/limit"),
        ("/v1/notifications:claim", {"lease_s": 1e9}, "/lease_s"),
        ("/v1/notifications:claim", {"tenant": 1}, "/tenant"),
        ("/v1/notifications:report", {"lease": "x", "reports": []}, "/lease"),
        ("/v1/notifications:report", {"lease": str(UUID(int=1)), "reports": []}, "/reports"),
        (
            "/v1/notifications:report",
            {"lease": str(UUID(int=1)), "reports": [{"id": str(UUID(int=1)), "outcome": "sent"}]},
            "/reports/0/outcome",
        ),
        (
            "/v1/notifications:report",
            {
                "lease": str(UUID(int=1)),
                "reports": [{"id": str(UUID(int=1)), "outcome": "failed", "error": "No route"}],
            },
            "/reports/0/error",
        ),
    ],
)
async def test_a_bad_request_is_told_which_field(service: Service, path: str, body: Any, pointer: str) -> None:
    status, problem = await service.send("POST", path, body)
    assert status == 400
    assert pointer in [error["pointer"] for error in problem["errors"]]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "after=-1", "after=9007199254740992", "state=lost", "customer=Ada", "page=2"]
)
async def test_a_bad_query_is_told_which_parameter(service: Service, query: str) -> None:
    status, problem = await service.send("GET", f"/v1/notifications?{query}")
    assert (status, problem["errors"][0]["pointer"]) == (400, f"?{query.partition('=')[0]}")


async def test_dead_letters_are_the_platforms_alone_and_redriving_says_what_it_may_not(service: Service) -> None:
    for method, path in (("GET", "/v1/consumers"), ("GET", "/v1/dead-letters"), ("POST", "/v1/dead-letters:redrive")):
        status, problem = await service.send(method, path, {} if method == "POST" else None)
        assert (status, problem["code"]) == (403, "scope_missing")
    assert (await service.ok("GET", "/v1/consumers", key="platform"))["consumer"] == "notifications"
    for body in ({}, {"letter": 1, "all": True}, {"all": True, "discard": True}):
        status, problem = await service.send("POST", "/v1/dead-letters:redrive", body, key="platform")
        assert (status, problem["code"]) == (400, "validation")
    status, problem = await service.send("POST", "/v1/dead-letters:redrive", {"letter": 2**50}, key="platform")
    assert (status, problem["code"]) == (404, "not_found")


async def test_it_is_not_ready_before_it_knows_where_to_begin(service: Service) -> None:
    reply = await service.client.request("GET", f"{service.url}/readyz", timeout_ms=5_000)
    assert reply.status == 503
