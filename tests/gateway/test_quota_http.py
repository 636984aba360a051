"""Over its quota a request is refused with 429 before its body is read, by the lane and the framework alike."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from uuid import uuid4

import msgspec
import pytest
import structlog
from tests.gateway.hot_example import Till, an_order, build, post_order, serving, wire

from amana.gateway import frame, provision
from amana.gateway.keyring import KeyRing
from amana.gateway.keys import Quota
from amana.gateway.quota import Quotas
from amana.gateway.store import KeyStore
from amana.infra.settings import Settings
from amana.infra.trace import Trace

GOOD = an_order(7)
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
WHOAMI = "GET /v1/whoami HTTP/1.1"


class Both(NamedTuple):
    """Servers of one application with the lane and without, each a process of its own, whose clocks stand still."""

    hot: str
    normal: str
    till: Till
    ring: KeyRing
    owner: str
    tenant: int

    async def key(self, *scopes: str, rate: int = 1, burst: int = 2, tenant: int = 0) -> str:
        """A new key that the ring knows."""
        whose = tenant or self.tenant
        text = await provision.create_key(self.owner, whose, scopes or ["transfers:write"], Quota(rate, burst))
        await self.ring.caller_for(f"Bearer {text}")
        return text

    async def asked(self, request: bytes) -> bytes:
        """The answer, which is the same both ways."""
        async with wire(self.hot) as one, wire(self.normal) as other:
            answer, expected = await asyncio.gather(one.asked(request), other.asked(request))
        assert answer == expected
        return answer

    async def statuses(self, *requests: bytes) -> list[int]:
        return [int((await self.asked(request)).rpartition(b"HTTP/1.1 ")[2][:3]) for request in requests]


@asynccontextmanager
async def opened(client: Any, settings: Settings) -> AsyncIterator[Both]:
    ring = KeyRing(KeyStore(settings.eligibility_database_url))
    quotas = [Quotas(None, clock_ns=lambda: 10**15) for _ in range(2)]
    hot_app, normal_app = build(ring, quotas=quotas[0]), build(ring, lanes=False, quotas=quotas[1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("uvicorn.server.formatdate", lambda *_, **__: "Thu, 01 Jan 2026 00:00:00 GMT")
        patch.setattr(frame, "next_span", lambda parent: Trace(parent.trace_id if parent else TRACE, SPAN))
        patch.setattr(frame, "random_hex", lambda count: "0" * count)
        async with serving(hot_app) as (hot, till), serving(normal_app) as (normal, _):
            yield Both(hot, normal, till, ring, settings.owner_database_url, client.tenant)


@pytest.fixture
async def both(client: Any, settings: Settings) -> AsyncIterator[Both]:
    async with opened(client, settings) as made:
        yield made


async def test_both_ways_refuse_with_the_same_bytes_and_the_lane_does_it_itself(both: Both) -> None:
    request = post_order(await both.key(), GOOD)
    assert await both.statuses(request, request) == [200, 200]
    with structlog.testing.capture_logs() as lines:
        head, _, body = (await both.asked(request)).partition(b"\r\n\r\n")
    assert (both.till.asked, both.till.handled) == (2, 0)
    assert head.split(b"\r\n")[0] == b"HTTP/1.1 429 Too Many Requests"
    named = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
    assert [named[name] for name in (b"retry-after", b"ratelimit-policy", b"ratelimit", b"content-type")] == [
        b"1",
        b'"default";q=2;w=2',
        b'"default";r=0;t=1',
        b"application/problem+json",
    ]
    assert msgspec.json.decode(body) == {
        "type": "https://amana.dev/problems/quota_exceeded",
        "title": "Quota exceeded",
        "status": 429,
        "detail": "The client's quota is used up for now.",
        "instance": "/v1/orders",
        "code": "quota_exceeded",
        "request_id": "0" * 32,
        "retryable": True,
        "errors": [],
        "figures": {"rate_per_s": 1, "burst": 2},
    }
    told = [{name: line[name] for name in line if name != "duration_us"} for line in lines]
    assert len(told) == 2 and told[0] == told[1]
    assert told[0]["key_id"] is not None and told[0]["tenant_id"] == both.tenant


async def test_both_ways_refuse_alike_what_is_over_the_tenants_quota_and_name_it(both: Both) -> None:
    tenant, _ = await provision.ensure_tenant(both.owner, f"t{uuid4().hex[:12]}", "A small lender", Quota(1, 2))
    keys = [await both.key(burst=9, tenant=tenant.tenant) for _ in range(2)]
    one, other = (post_order(key, GOOD) for key in keys)
    assert await both.statuses(one, other) == [200, 200]
    for request in (one, other):
        head, _, body = (await both.asked(request)).partition(b"\r\n\r\n")
        assert b"retry-after: 1" in head and b'ratelimit: "tenant";r=0;t=1' in head
        problem = msgspec.json.decode(body)
        assert (problem["status"], problem["code"]) == (429, "tenant_quota_exceeded")
        assert problem["figures"] == {"rate_per_s": 1, "burst": 2}
    assert both.till.handled == 0


async def test_the_routes_of_a_key_have_one_quota_whichever_way_they_go(both: Both) -> None:
    key = await both.key(burst=3)
    order, declined = post_order(key, GOOD), post_order(key, an_order(kind="declined"))
    whoami = post_order(key, b"", "Content-Type: ", "Content-Length: ", line=WHOAMI)
    assert await both.statuses(order, declined, whoami, order, whoami) == [200, 200, 200, 429, 429]


async def test_a_request_that_the_lane_declines_is_counted_once(both: Both) -> None:
    key = await both.key(burst=4)
    kinds = (an_order(kind="declined"), b"{", an_order(kind="broken"), an_order(kind="declined"), b"{", GOOD)
    assert await both.statuses(*(post_order(key, body) for body in kinds)) == [200, 400, 500, 200, 429, 429]


async def test_a_body_is_not_looked_at_when_the_quota_is_used_up(both: Both) -> None:
    key = await both.key(burst=1)
    requests = [post_order(key, GOOD), post_order(key, b"{"), post_order(key, GOOD, "Content-Type: text/plain")]
    assert await both.statuses(*requests) == [200, 429, 429]


async def test_who_is_not_the_key_s_owner_spends_nothing_of_it(both: Both) -> None:
    key = await both.key(burst=1)
    wrong = key[:-1] + ("a" if key[-1] != "a" else "b")
    assert await both.statuses(*[post_order(wrong, GOOD)] * 3, post_order(key, GOOD)) == [401, 401, 401, 200]


async def test_what_a_key_may_not_do_at_all_is_not_counted(both: Both) -> None:
    key = await both.key("accounts:read", burst=1)
    assert await both.statuses(*[post_order(key, GOOD)] * 3) == [403] * 3


async def test_open_routes_have_no_quota(both: Both) -> None:
    key = await both.key(burst=1)
    lines = [f"GET {path} HTTP/1.1" for path in ("/livez", "/readyz", "/livez", "/readyz")]
    requests = [post_order(key, b"", "Content-Type: ", "Content-Length: ", line=line) for line in lines]
    assert await both.statuses(post_order(key, GOOD), *requests) == [200] * 5
