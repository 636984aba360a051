"""Both ways of a hot route give the same bytes, and a table says which requests take the short one."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
import structlog
from litestar import post
from tests.gateway.hot_example import BODY_MAX_BYTES, ID, Order, Till, an_order, begin, build, post_order, serving, wire

from amana.gateway import frame, provision
from amana.gateway import hot as hot_routes
from amana.gateway.edge import build_app
from amana.gateway.keyring import KeyRing
from amana.gateway.store import KeyStore
from amana.infra import telemetry
from amana.infra.settings import Settings
from amana.infra.trace import Trace

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
GOOD = an_order(7)
ASKED_AGAIN = 3
"""The second time the head is remembered, the third time it is known."""
RIDES, NORMAL = True, False


class Both(NamedTuple):
    """Two servers of one application, with the lane and without, and the keys that they know."""

    hot: str
    normal: str
    till: Till
    keys: dict[str, str]

    async def compare(self, request: bytes) -> tuple[bytes, bool]:
        """The answer, which is the same both ways, and whether it came by the lane. Asked again on its connection,
        whose head is known by then, it is the same too."""
        asked, handled = self.till.asked, self.till.handled
        async with wire(self.hot) as one, wire(self.normal) as other:
            for _ in range(ASKED_AGAIN):
                answer, expected = await asyncio.gather(one.asked(request), other.asked(request))
                assert answer == expected
                if b"connection: close" in answer:
                    assert await one.closed() and await other.closed()
                    break
        return answer, self.till.asked > asked and self.till.handled == handled


@pytest_asyncio.fixture(scope="module")
async def both(client: Any, settings: Settings) -> AsyncIterator[Both]:
    """Clock and ids stand still."""
    owner = settings.owner_database_url
    internal = provision.new_internal_key()
    await provision.ensure_internal_key(owner, internal)
    keys = {
        "good": client.key,
        "wrong": client.key[:-1] + ("a" if client.key[-1] != "a" else "b"),
        "unknown": "amana_aaaaaaaaaaaa_" + "0" * 43,
        "without": await provision.create_key(owner, client.tenant, ["accounts:read"]),
        "internal": internal,
    }
    ring = KeyRing(KeyStore(settings.eligibility_database_url), clock_s=lambda: 0.0)  # no key ages
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("uvicorn.server.formatdate", lambda *_, **__: "Thu, 01 Jan 2026 00:00:00 GMT")
        patch.setattr(frame, "next_span", lambda parent: Trace(parent.trace_id if parent else TRACE, SPAN))
        patch.setattr(frame, "random_hex", lambda count: "0" * count)
        patch.setattr(hot_routes, "new_lines", lambda: frame.lines_of(frame.ids_of(frame.NOTHING_SENT)))
        async with serving(build(ring)) as (hot, till), serving(build(ring, lanes=False)) as (normal, _):
            for key in keys.values():
                await ring.caller_for(f"Bearer {key}")
            yield Both(hot, normal, till, keys)


class Row(NamedTuple):
    rides: bool
    status: int
    body: bytes = GOOD
    headers: tuple[str, ...] = ()
    line: str = "POST /v1/orders HTTP/1.1"
    key: str = "good"


HEADERS = {
    "as usual": Row(RIDES, 200),
    "a charset": Row(RIDES, 200, headers=("Content-Type: application/json; charset=utf-8",)),
    "anything accepted": Row(RIDES, 200, headers=("Accept: */*", "User-Agent: curl/8")),
    "JSON accepted": Row(RIDES, 200, headers=("accept: application/json",)),
    "keep-alive": Row(RIDES, 200, headers=("Connection: Keep-Alive",)),
    "no host": Row(RIDES, 200, headers=("Host: ",)),
    "a trace": Row(RIDES, 200, headers=(f"traceparent: 00-{ID.replace('-', '')}-{SPAN}-00",)),
    "a bad trace": Row(RIDES, 200, headers=("traceparent: 00-x",)),
    "a request id": Row(RIDES, 200, headers=("X-Request-Id: order-17",)),
    "a bad request id": Row(RIDES, 200, headers=("X-Request-Id: {}",)),
    "a timeout": Row(RIDES, 200, headers=("X-Request-Timeout: 5000",)),
    "a longer timeout than the route has": Row(RIDES, 200, headers=("x-request-timeout: 999999999",)),
    "a timeout in which nothing is begun": Row(RIDES, 503, headers=("X-Request-Timeout: 1",)),
    "a timeout of nothing": Row(NORMAL, 400, headers=("X-Request-Timeout: 0",)),
    "a negative timeout": Row(NORMAL, 400, headers=("X-Request-Timeout: -5",)),
    "a timeout with a unit": Row(NORMAL, 400, headers=("X-Request-Timeout: 5s",)),
    "a timeout without end": Row(NORMAL, 400, headers=("X-Request-Timeout: 1000000000",)),
    "a timeout in other digits": Row(NORMAL, 400, headers=("X-Request-Timeout: \xb2",)),
    "a timeout twice": Row(NORMAL, 400, headers=("X-Request-Timeout: 500", "x-request-timeout: 500")),
    "a header twice": Row(NORMAL, 200, headers=("X-Request-Id: a", "x-request-id: b")),
    "a content type twice": Row(NORMAL, 415, headers=("Content-Type: application/json", "content-type: text/plain")),
    "no content type": Row(NORMAL, 415, headers=("Content-Type: ",)),
    "text": Row(NORMAL, 415, headers=("Content-Type: text/plain",)),
    "odd capitals": Row(NORMAL, 200, headers=("Content-Type: Application/JSON",)),
    "compressed": Row(NORMAL, 415, headers=("Content-Encoding: gzip",)),
    "not compressed": Row(NORMAL, 200, headers=("Content-Encoding: identity",)),
    "HTML accepted": Row(NORMAL, 406, headers=("Accept: text/html",)),
    "HTML preferred": Row(NORMAL, 200, headers=("Accept: text/html, */*;q=0.1",)),
    "an idempotency key": Row(NORMAL, 200, headers=(f"Idempotency-Key: {ID}",)),
    "another idempotency key": Row(NORMAL, 400, headers=("Idempotency-Key: x",)),
    "a tenant": Row(NORMAL, 403, headers=("Amana-Tenant: 1",)),
    "a bad host": Row(NORMAL, 400, headers=("Host: a b",)),
    "a rare host": Row(NORMAL, 200, headers=("Host: a_b",)),
    "close": Row(NORMAL, 200, headers=("Connection: close",)),
    "an upgrade": Row(NORMAL, 400, headers=("Connection: Upgrade", "Upgrade: h2c")),
    "an upgrade not meant": Row(NORMAL, 200, headers=("Upgrade: h2c",)),
    "expecting": Row(NORMAL, 200, headers=("Expect: 100-continue",)),
    "expecting more": Row(NORMAL, 200, headers=("Expect: miracles",)),
    "chunked": Row(
        NORMAL, 200, b"%x\r\n%s\r\n0\r\n\r\n" % (len(GOOD), GOOD), ("Content-Length: ", "Transfer-Encoding: chunked")
    ),
    "chunked with a trailer": Row(
        NORMAL,
        200,
        b"%x\r\n%s\r\n0\r\nX: 1\r\n\r\n" % (len(GOOD), GOOD),
        ("Content-Length: ", "Transfer-Encoding: chunked"),
    ),
    "no length": Row(NORMAL, 400, b"", headers=("Content-Length: ",)),
}
LINES = {
    "a query": Row(NORMAL, 400, line="POST /v1/orders?a=1 HTTP/1.1"),
    "an empty query": Row(NORMAL, 200, line="POST /v1/orders? HTTP/1.1"),
    "a slash more": Row(NORMAL, 200, line="POST /v1/orders/ HTTP/1.1"),
    "an encoded path": Row(NORMAL, 200, line="POST /v1/order%73 HTTP/1.1"),
    "a whole URI": Row(NORMAL, 200, line="POST http://localhost/v1/orders HTTP/1.1"),
    "another method": Row(NORMAL, 405, line="PUT /v1/orders HTTP/1.1"),
    "OPTIONS": Row(NORMAL, 204, line="OPTIONS /v1/orders HTTP/1.1"),
    "HTTP/1.0": Row(NORMAL, 200, line="POST /v1/orders HTTP/1.0"),
    "HTTP/1.0 kept alive": Row(NORMAL, 200, headers=("Connection: keep-alive",), line="POST /v1/orders HTTP/1.0"),
    "another path": Row(NORMAL, 404, line="POST /v1/order HTTP/1.1"),
}
KEYS = {
    "no key": Row(NORMAL, 401, headers=("Authorization: ",)),
    "another scheme": Row(NORMAL, 401, headers=("Authorization: Basic eDp5",)),
    "no text": Row(NORMAL, 401, headers=("Authorization: Bearer \xe9",)),
    "an unknown key": Row(NORMAL, 401, key="unknown"),
    "a wrong secret": Row(NORMAL, 401, key="wrong"),
    "another scope": Row(NORMAL, 403, key="without"),
    "an internal key": Row(NORMAL, 403, key="internal"),
    "another scope and a bad body": Row(NORMAL, 403, b"{", key="without"),
}
BODIES = {
    "no body": Row(NORMAL, 400, b""),
    "no JSON": Row(NORMAL, 400, b"{"),
    "no text": Row(NORMAL, 400, b"\xff"),
    "a name twice": Row(NORMAL, 400, b'{"id":"%s","amount":1,"amount":2}' % ID.encode()),
    "another name": Row(NORMAL, 400, b'{"id":"%s","amount":1,"x":2}' % ID.encode()),
    "no amount": Row(NORMAL, 400, b'{"id":"%s"}' % ID.encode()),
    "too large": Row(NORMAL, 413, b" " * BODY_MAX_BYTES + GOOD),
    "as large as may be": Row(RIDES, 200, GOOD.rjust(BODY_MAX_BYTES)),
}
OUTCOMES = {
    "declined": Row(NORMAL, 200, an_order(kind="declined")),
    "broken before it was begun": Row(NORMAL, 500, an_order(kind="broken")),
    "answered at once": Row(RIDES, 200, an_order(kind="instant")),
    "rendered at once": Row(RIDES, 200, an_order(kind="rendered")),
    "broken when asked at once": Row(NORMAL, 500, an_order(kind="broken at once")),
    "answered at once, with a timeout": Row(RIDES, 200, an_order(kind="instant"), ("X-Request-Timeout: 5000",)),
    "full": Row(RIDES, 503, an_order(kind="full")),
    "overload": Row(RIDES, 503, an_order(kind="overload")),
    "database": Row(RIDES, 503, an_order(kind="database")),
    "commit": Row(RIDES, 504, an_order(kind="commit")),
    "refusal": Row(RIDES, 422, an_order(kind="refusal")),
    "timeout": Row(RIDES, 408, an_order(kind="timeout")),
    "bug": Row(RIDES, 500, an_order(kind="bug")),
    "strange": Row(RIDES, 500, an_order(kind="strange")),
    "long": Row(RIDES, 200, an_order(100_000, "long")),
}
ROWS = HEADERS | LINES | KEYS | BODIES | OUTCOMES


@pytest.mark.parametrize("name", ROWS)
async def test_both_ways_give_the_same_bytes(both: Both, name: str) -> None:
    row = ROWS[name]
    request = post_order(both.keys[row.key], row.body, *row.headers, line=row.line)
    answer, rode = await both.compare(request)
    last = answer.rpartition(b"HTTP/1.1 ")[2]
    assert (int(last[:3]), rode) == (row.status, row.rides)


async def test_pipelined_and_mixed_requests_give_the_same_bytes_as_one_at_a_time(both: Both) -> None:
    key = both.keys["good"]
    normal = post_order(key, b"", "Content-Type: ", "Content-Length: ", line="GET /v1/whoami HTTP/1.1")
    requests = [
        post_order(key, an_order(1)),
        normal,
        post_order(key, an_order(2)),
        post_order(key, an_order(3)),
        post_order(key, an_order(4, "refusal")),
        post_order(key, b"{"),
        post_order(key, an_order(50_000, "long")),
        normal,
        post_order(key, an_order(5), "Expect: miracles"),
        post_order(key, an_order(6), "Connection: close"),
    ]
    expected = [(await both.compare(request))[0] for request in requests]
    whole = b"".join(requests)
    sizes = (len(whole), 1_000, 97, 7)
    for url in (both.hot, both.normal):
        assert [await _in_pieces(url, whole, size) for size in sizes] == [b"".join(expected)] * len(sizes)


async def test_a_known_head_answers_for_its_own_body_whatever_came_before(both: Both) -> None:
    key = both.keys["good"]
    bodies = [
        an_order(amount, kind) for amount in (1, 2, 17, 300) for kind in ("good", "instant", "refusal", "declined")
    ]
    bodies += [b"{" + b" " * (len(GOOD) - 1), GOOD.replace(b'"amount"', b'"amoun_"'), GOOD, an_order(9, "bug"), GOOD]
    async with wire(both.hot) as one, wire(both.normal) as other:
        for body in bodies + bodies[::-1]:
            answer, expected = await asyncio.gather(
                one.asked(post_order(key, body)), other.asked(post_order(key, body))
            )
            assert answer == expected


async def test_a_known_head_with_another_behind_it_is_two_requests(both: Both) -> None:
    one_order, two = post_order(both.keys["good"], an_order(1)), post_order(both.keys["good"], an_order(2))
    expected = [(await both.compare(request))[0] for request in (one_order, two)]
    async with wire(both.hot) as one:
        for _ in range(ASKED_AGAIN):
            assert await one.asked(one_order) == expected[0]
        one.writer.write(one_order + two)
        assert [await one.answer(), await one.answer()] == expected
        one.writer.write(one_order[:-5])
        await asyncio.sleep(0.02)
        assert await one.asked(one_order[-5:] + two) == expected[0]
        assert await one.answer() == expected[1]


async def test_both_ways_leave_the_queue_at_their_deadline_also_under_a_head_that_is_known(both: Both) -> None:
    timeout, normal = "X-Request-Timeout: 80", "Expect: miracles"
    both.till.open.clear()
    try:
        async with wire(both.hot) as first, wire(both.hot) as one, wire(both.hot) as other:
            first.writer.write(post_order(both.keys["good"], an_order(1)))
            await asyncio.sleep(0.05)
            batches = len(both.till.batches)
            for _ in range(ASKED_AGAIN):
                answer, expected = await asyncio.gather(
                    one.asked(post_order(both.keys["good"], GOOD, timeout)),
                    other.asked(post_order(both.keys["good"], GOOD, timeout, normal)),
                )
                assert answer == expected
                assert b'"code":"deadline_exceeded"' in answer and b"retry-after: 1" in answer
            both.till.open.set()
            assert (await first.answer()).startswith(b"HTTP/1.1 200 ")
            assert len(both.till.batches) == batches  # nothing of it was ever begun
    finally:
        both.till.open.set()


@pytest.mark.parametrize("way", ["", "Expect: miracles"])
async def test_a_pipelined_request_has_nothing_of_the_deadline_of_the_one_before(both: Both, way: str) -> None:
    more = [way] if way else []
    both.till.open.clear()
    try:
        async with wire(both.hot) as first, wire(both.hot) as one:
            first.writer.write(post_order(both.keys["good"], an_order(1)))
            await asyncio.sleep(0.05)
            short = post_order(both.keys["good"], GOOD, "X-Request-Timeout: 80", *more)
            one.writer.write(short + post_order(both.keys["good"], GOOD, *more))
            assert b" 503 " in await one.answer()
            await asyncio.sleep(0.15)
            both.till.open.set()
            assert (await one.answer()).rpartition(b"HTTP/1.1 ")[2].startswith(b"200 ")
    finally:
        both.till.open.set()


async def _in_pieces(url: str, sent: bytes, size: int) -> bytes:
    async with wire(url) as one:
        one.writer.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(sent), size):
            one.writer.write(sent[start : start + size])
            await asyncio.sleep(0)
        return await asyncio.wait_for(one.reader.read(-1), 10)


async def test_both_ways_are_counted_and_logged_alike_and_success_only_at_debug(both: Both) -> None:
    told = []
    for url in (both.hot, both.normal):
        with structlog.testing.capture_logs() as lines:
            async with wire(url) as one:
                for kind in ("good", "refusal", "database", "bug"):
                    await one.asked(post_order(both.keys["good"], an_order(1, kind), f"X-Request-Id: {kind}"))
        told.append([{name: line[name] for name in line if name not in ("duration_us", "exc_info")} for line in lines])
    assert told[0] == told[1]
    requests = [line for line in told[0] if line["event"] == "request"]
    assert [line["log_level"] for line in requests] == ["debug", "info", "info", "info"]
    assert {line["http.route"] for line in requests} == {"/v1/orders"}
    assert [line["event"] for line in told[0] if line["event"] != "request"] == ["unavailable", "unhandled exception"]
    metrics = await _metrics(both.hot)
    await both.compare(post_order(both.keys["good"], GOOD))
    assert await _metrics(both.hot) == metrics + 2 * ASKED_AGAIN


@pytest.mark.parametrize("kind", ["instant", "rendered"])
async def test_what_is_answered_at_once_is_the_same_and_counted_whatever_is_logged(
    both: Both, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    given = [(), ("X-Request-Id: order-17",), (f"traceparent: 00-{ID.replace('-', '')}-{SPAN}-00",)]
    told = []
    for level in ("debug", "info"):
        monkeypatch.setattr(telemetry._least, "severity", telemetry._SEVERITY[level])
        before = await _metrics(both.hot)
        told.append([await both.compare(post_order(both.keys["good"], an_order(3, kind), *more)) for more in given])
        assert await _metrics(both.hot) == before + 2 * ASKED_AGAIN * len(given)
    assert told[0] == told[1] and all(rode for _, rode in told[0])


async def _metrics(url: str) -> int:
    """How many orders were answered with 200, by both servers: they share the process."""
    async with wire(url) as one:
        text = (await one.asked(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")).decode()
    labels = 'http_request_method="POST",http_response_status_code="200",http_route="/v1/orders"'
    found = re.search(f"http_server_request_duration_seconds_count{{{labels}}} ([0-9]+)", text)
    assert found
    return int(found[1])


async def plain(data: Order) -> None: ...


async def asking(data: Order, limit: int = 1) -> None: ...


async def optional(data: Order | None = None) -> None: ...


@pytest.mark.parametrize(
    ("path", "handler"),
    [
        ("/v1/orders/{order_id:uuid}", plain),
        ("/v1/orders", asking),
        ("/v1/orders", optional),
        ("/livez/orders", plain),  # open to all
    ],
)
def test_a_route_with_parameters_without_a_body_or_open_to_all_can_not_be_hot(path: str, handler: Any) -> None:
    opt: dict[str, Any] = {"hot": begin}
    if path.startswith("/v1"):
        opt["scope"] = "transfers:write"
    with pytest.raises(AssertionError, match=path):
        build_app(service="till", routes=[post(path, opt=opt)(handler)], keys=KeyRing(KeyStore("")))
