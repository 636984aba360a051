"""The server under raw sockets: bounds on heads, bodies and time, pipelining, and a clean end. And its client."""

import asyncio
import json
import os
import signal
from typing import Any
from urllib.parse import urlsplit

import pytest

from amana.infra import http_connection
from amana.infra.embedded.ports import find_free
from amana.infra.http import HttpClient, UpstreamUnavailable
from amana.infra.http_server import ServerFailed, serve

ID = "0190c7a2-1111-7000-8000-000000000001"


async def exchange(url: str, *parts: bytes, pause_s: float = 0.0) -> bytes:
    """Sends the parts and reads until the server closes or is silent for a second."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    answer = b""
    try:
        for part in parts:
            writer.write(part)
            await asyncio.sleep(pause_s)
        while data := await asyncio.wait_for(reader.read(65_536), 1.0):
            answer += data
    except (TimeoutError, ConnectionError):
        pass
    finally:
        writer.close()
    return answer


def post(key: str, body: bytes, *headers: bytes) -> bytes:
    lines = [b"POST /v1/payments HTTP/1.1", b"Host: a", b"Authorization: Bearer " + key.encode()]
    lines += [b"Content-Type: application/json", *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def statuses(answer: bytes) -> list[int]:
    return [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]


HEADS = {
    "a URI of 9 kB": (b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    "a header of 40 kB": (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 40_000 + b"\r\n\r\n", 431),
    "a header without end": (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 70_000, 431),
    "10,000 headers": (b"GET / HTTP/1.1\r\n" + b"X: 1\r\n" * 10_000 + b"\r\n", 431),
    "both lengths": (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "two lengths": (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", 400),
    "a negative length": (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
    "a folded header": (b"GET / HTTP/1.1\r\nX: a\r\n b\r\n\r\n", 400),
    "no HTTP at all": (b"hello\r\n\r\n", 400),
    "an unknown method": (b"FETCH / HTTP/1.1\r\n\r\n", 400),
    "a control character in the path": (b"GET /\x01 HTTP/1.1\r\n\r\n", 400),
}


@pytest.mark.parametrize("name", HEADS)
async def test_a_head_that_breaks_the_rules_is_answered_and_the_connection_closed(client: Any, name: str) -> None:
    sent, status = HEADS[name]
    answer = await exchange(client.url, sent)
    assert statuses(answer) == [status]
    assert b"application/problem+json" in answer and b"connection: close" in answer.lower()


async def test_a_slow_head_and_a_slow_body_are_cut_off(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connection, "HEAD_TIMEOUT_S", 0.2)
    monkeypatch.setattr("amana.gateway.request.BODY_TIMEOUT_S", 0.2)
    head = await exchange(client.url, b"GET ", b"/ HTTP", pause_s=0.05)
    body = await exchange(client.url, post(client.key, b"{", b"Content-Length: 50"))
    assert (statuses(head), statuses(body)) == ([408], [408])
    assert b"request_timeout" in body and b"connection: close" in body


async def test_a_large_body_is_refused_without_being_read(client: Any) -> None:
    announced = await exchange(client.url, post(client.key, b"", b"Content-Length: 9000000000"))
    chunked = post(client.key, b"fa0\r\n" + b" " * 4_000 + b"\r\n", b"Transfer-Encoding: chunked")
    assert statuses(announced) == [413] and b"connection: close" in announced
    assert statuses(await exchange(client.url, chunked)) == [413]


async def test_a_client_that_waits_for_100_continue_is_refused_before_it_sends(client: Any) -> None:
    wrong = post("nobody", b"", b"Content-Length: 100", b"Expect: 100-continue")
    good = post(client.key, b"", b"Content-Length: 20", b"Expect: 100-continue")
    assert statuses(await exchange(client.url, wrong)) == [401]
    assert statuses(await exchange(client.url, good, b"x" * 20, pause_s=0.1)) == [100, 400]


async def test_pipelined_requests_are_answered_in_order(client: Any) -> None:
    requests = []
    for amount in (1, 0, 2):
        body = json.dumps({"id": ID, "amount": amount, "currency": "NGN"}).encode()
        requests.append(post(client.key, body, b"Content-Length: %d" % len(body)))
    answer = await exchange(client.url, b"".join(requests))
    assert statuses(answer) == [200, 400, 200]


async def test_a_client_that_leaves_in_the_middle_of_its_body_breaks_nothing(client: Any) -> None:
    address = urlsplit(client.url)
    for _ in range(5):
        _, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(post(client.key, b"{", b"Content-Length: 50"))
        await writer.drain()
        writer.transport.abort()
    await asyncio.sleep(0.1)
    reply, _ = await client.send("GET", "/v1/whoami")
    metrics = await client.http.request("GET", client.url + "/metrics", timeout_ms=1_000)
    assert reply.status == 200
    assert b'http_response_status_code="499"' in metrics.body
    assert b'http_response_status_code="500",http_route="/v1/payments"' not in metrics.body


async def test_on_sigterm_what_was_begun_is_answered_and_serve_returns(
    client: Any, build_example: Any, http: HttpClient
) -> None:
    started: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(build_example(), "127.0.0.1", 0, on_started=started.set_result))
    url = await started
    headers = {"Authorization": f"Bearer {client.key}"}
    asking = asyncio.create_task(http.request("GET", url + "/v1/slow", headers=headers, timeout_ms=5_000))
    await asyncio.sleep(0.2)
    os.kill(os.getpid(), signal.SIGTERM)
    assert (await asking).body == b'{"answered":"whole"}'
    await asyncio.wait_for(task, 5)
    with pytest.raises(UpstreamUnavailable) as caught:
        await http.request("GET", url + "/livez", timeout_ms=1_000)
    assert caught.value.outcome_known


async def test_from_sigterm_on_readyz_says_no_until_the_listener_closes(
    client: Any, build_example: Any, http: HttpClient
) -> None:
    async def status(path: str) -> int:
        return (await http.request("GET", url + path, headers=headers, timeout_ms=5_000)).status

    started: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    serving = serve(build_example(), "127.0.0.1", 0, on_started=started.set_result, drain_pause_s=0.4)
    task = asyncio.create_task(serving)
    url = await started
    headers = {"Authorization": f"Bearer {client.key}"}
    assert await status("/readyz") == 200
    asking = asyncio.create_task(status("/v1/slow"))
    await asyncio.sleep(0.1)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(0.1)
    assert [await status(path) for path in ("/readyz", "/livez", "/v1/whoami")] == [503, 200, 200]
    assert not asking.done() and await asking == 200
    await asyncio.wait_for(task, 5)
    assert (await http.request("GET", client.url + "/readyz", timeout_ms=1_000)).status == 200  # another server


async def test_a_second_signal_ends_the_pause(build_example: Any) -> None:
    started: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(build_example(), "127.0.0.1", 0, on_started=started.set_result, drain_pause_s=60))
    await started
    for _ in range(2):
        assert not task.done()
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0.2)
    await asyncio.wait_for(task, 5)


async def test_a_taken_port_is_said_plainly(client: Any, build_example: Any) -> None:
    port = urlsplit(client.url).port
    with pytest.raises(ServerFailed, match=f"127.0.0.1:{port}"):
        await serve(build_example(), "127.0.0.1", port)


async def test_a_shared_port_is_served_by_whoever_of_them_is_left(build_example: Any, http: HttpClient) -> None:
    (port,), stops = find_free(1), [asyncio.Event(), asyncio.Event()]
    started: asyncio.Queue[str] = asyncio.Queue()
    tasks = [
        asyncio.create_task(
            serve(build_example(), "127.0.0.1", port, on_started=started.put_nowait, stop=stop, shared=True)
        )
        for stop in stops
    ]
    url = {await asyncio.wait_for(started.get(), 10) for _ in tasks}.pop()
    with pytest.raises(ServerFailed, match=f"127.0.0.1:{port}"):  # one that does not share it
        await serve(build_example(), "127.0.0.1", port)
    for stop, task in zip(stops, tasks, strict=True):
        for _ in range(10):
            async with HttpClient() as anew:  # a new connection each time
                assert (await anew.request("GET", f"{url}/livez", timeout_ms=1_000)).status == 200
        stop.set()
        await asyncio.wait_for(task, 5)


async def test_a_client_that_gets_no_answer_in_time_does_not_know_the_outcome(client: Any, http: HttpClient) -> None:
    headers = {"Authorization": f"Bearer {client.key}"}
    with pytest.raises(UpstreamUnavailable) as caught:
        await http.request("GET", client.url + "/v1/slow", headers=headers, timeout_ms=100)
    assert not caught.value.outcome_known


async def test_the_client_opens_no_more_connections_than_it_may(client: Any) -> None:
    headers = {"Authorization": f"Bearer {client.key}"}
    async with HttpClient(connections_max=2) as few:
        asked = (few.request("GET", client.url + "/v1/whoami", headers=headers, timeout_ms=5_000) for _ in range(50))
        assert {reply.status for reply in await asyncio.gather(*asked)} == {200}
