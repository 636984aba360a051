"""The connection under a hot route: one request at a time, slow, silent and vanished clients, and a clean end."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable
from typing import Any

import pytest
from tests.gateway.hot_example import Till, Wire, an_order, build, serving, wire

from amana.gateway.keyring import KeyRing
from amana.infra import hotlane, http_connection, http_server
from amana.infra.http_server import serve

Asks = Callable[..., bytes]


async def until(true: Callable[[], bool]) -> None:
    """Waits until it holds, 30 s at most."""
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def small_reader(url: str) -> socket.socket:
    """A connection that takes little before it is read."""
    host, _, port = url.removeprefix("http://").partition(":")
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_192)
    sock.connect((host, int(port)))
    sock.setblocking(False)
    return sock


async def test_one_request_of_a_connection_is_in_flight_and_those_of_others_ride_together(
    server: Any, asks: Asks
) -> None:
    url, till = server
    async with wire(url) as one, wire(url) as two, wire(url) as three:
        await one.asked(asks(an_order(1)))
        till.batches.clear()
        till.open.clear()
        one.writer.write(b"".join(asks(an_order(amount)) for amount in (2, 3, 4)))
        await until(lambda: till.batches == [[2]])
        two.writer.write(asks(an_order(5)))
        three.writer.write(asks(an_order(6)))
        await asyncio.sleep(0.05)
        till.open.set()
        for connection, count in ((one, 3), (two, 1), (three, 1)):
            assert all([(await connection.answer()).startswith(b"HTTP/1.1 200") for _ in range(count)])
    assert till.batches[0] == [2] and sorted(till.batches[1])[-2:] == [5, 6]
    assert all(len({2, 3, 4} & set(batch)) <= 1 for batch in till.batches) and till.handled == 0


async def test_what_comes_while_a_request_is_answered_waits_unparsed_and_not_without_bound(
    server: Any, asks: Asks
) -> None:
    url, till = server
    till.open.clear()
    with small_reader(url) as sock:
        pipelined = asks(an_order(1)) * 100_000
        assert 0 < await _taken(sock, pipelined) < len(pipelined)
    assert till.asked == 1


async def _taken(sock: socket.socket, data: bytes) -> int:
    """How many bytes can be sent until none is taken for a fifth of a second."""
    taken, silent = 0, 0
    while silent < 20 and taken < len(data):
        try:
            taken += sock.send(data[taken : taken + 65_536])
            silent = 0
        except BlockingIOError:
            silent += 1
        await asyncio.sleep(0.01 if silent else 0)
    return taken


async def test_a_connection_that_is_answered_at_once_stays_open_while_it_is_used_and_closes_when_it_rests(
    ring: KeyRing, client: Any, asks: Asks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "KEEP_ALIVE_S", 0.4)
    async with serving(build(ring)) as (url, _), wire(url) as one:
        await ring.caller_for(f"Bearer {client.key}")
        for _ in range(8):
            assert (await one.asked(asks(an_order(1, "instant")))).startswith(b"HTTP/1.1 200")
            await asyncio.sleep(0.1)
        assert await one.closed()


async def test_a_body_that_comes_in_pieces_rides_and_one_that_takes_its_time_goes_the_normal_way(
    server: Any, asks: Asks, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, till = server
    monkeypatch.setattr(hotlane, "BODY_WAIT_S", 0.2)
    request = asks(an_order(1))
    async with wire(url) as one:
        for pause_s, handled in ((0.01, 0), (0.3, 1)):
            one.writer.write(request[:-10])
            await asyncio.sleep(pause_s)
            one.writer.write(request[-10:])
            assert (await one.answer()).startswith(b"HTTP/1.1 200") and till.handled == handled


@pytest.mark.parametrize("begun_bytes", [20, 150, -20])
async def test_a_byte_now_and_then_is_cut_off_in_the_line_the_head_and_the_body(
    server: Any, asks: Asks, monkeypatch: pytest.MonkeyPatch, begun_bytes: int
) -> None:
    url, till = server
    monkeypatch.setattr(hotlane, "BODY_WAIT_S", 0.1)
    monkeypatch.setattr(http_connection, "HEAD_TIMEOUT_S", 0.3)
    monkeypatch.setattr("amana.gateway.request.BODY_TIMEOUT_S", 0.3)
    request = asks(an_order(1))
    async with wire(url) as one:
        await one.asked(request)
        one.writer.write(request[:begun_bytes])
        dripping = asyncio.create_task(_drip(one, request[begun_bytes:][:15]))
        answer = await one.answer()
        assert answer.startswith(b"HTTP/1.1 408") and b"connection: close" in answer and await one.closed()
        dripping.cancel()
    assert till.asked == 1


async def _drip(connection: Wire, sent: bytes) -> None:
    for start in range(len(sent)):
        connection.writer.write(sent[start : start + 1])
        await asyncio.sleep(0.05)


async def test_a_client_that_never_reads_holds_up_nobody_and_gets_everything_once_it_reads(
    server: Any, asks: Asks
) -> None:
    url, till = server
    loop = asyncio.get_running_loop()
    count, size = 40, 1_000_000
    with small_reader(url) as sock:
        await loop.sock_sendall(sock, asks(an_order(size, "long")) * count)
        await asyncio.sleep(0.5)
        begun = till.asked
        assert 1 <= begun < count / 2
        async with wire(url) as other:
            assert (await other.asked(asks(an_order(1)))).startswith(b"HTTP/1.1 200")
        await asyncio.sleep(0.2)
        assert till.asked == begun + 1
        received = 0
        while received < count * size:
            data = await asyncio.wait_for(loop.sock_recv(sock, 1 << 20), 10)
            assert data
            received += len(data)
    assert till.asked == count + 1


async def test_a_client_that_reads_nothing_for_long_is_cut_off(
    server: Any, asks: Asks, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, till = server
    monkeypatch.setattr(http_connection, "READ_TIMEOUT_S", 0.2)
    loop = asyncio.get_running_loop()
    size = 16_000_000
    with small_reader(url) as sock:
        await loop.sock_sendall(sock, asks(an_order(size, "long")))
        await asyncio.sleep(0.6)
        received = 0
        with contextlib.suppress(ConnectionResetError):
            while data := await asyncio.wait_for(loop.sock_recv(sock, 1 << 20), 5):
                received += len(data)
    assert till.asked == 1 and received < size


async def test_a_client_that_left_is_dropped_before_its_batch_begins_and_never_after(
    server: Any, asks: Asks, caplog: pytest.LogCaptureFixture
) -> None:
    url, till = server
    till.open.clear()
    async with wire(url) as stays:
        async with wire(url) as begun:
            begun.writer.write(asks(an_order(1)))
            await until(lambda: till.batches == [[1]])
            async with wire(url) as queued:
                queued.writer.write(asks(an_order(2)) + asks(an_order(3)))
                await until(lambda: till.asked == 2)
            stays.writer.write(asks(an_order(4)))
            await until(lambda: till.asked == 3)
        await asyncio.sleep(0.1)
        till.open.set()
        assert (await stays.answer()).startswith(b"HTTP/1.1 200")
    assert till.batches == [[1], [4]]
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]


async def test_a_client_that_left_the_normal_way_is_no_error_either(
    server: Any, asks: Asks, caplog: pytest.LogCaptureFixture
) -> None:
    url, till = server
    till.open.clear()
    async with wire(url) as gone:
        gone.writer.write(asks(an_order(1), "Accept: application/json, */*") + asks(an_order(2)))
        await until(lambda: till.handled == 1)
    await asyncio.sleep(0.1)
    till.open.set()
    async with wire(url) as other:
        await other.asked(asks(an_order(3)))
    assert till.batches == [[1], [3]]
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]


async def test_more_connections_than_may_be_are_closed_at_once(
    server: Any, asks: Asks, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, _ = server
    monkeypatch.setattr(http_connection, "CONNECTIONS_MAX", 2)
    async with wire(url) as one, wire(url) as two:
        assert [(await c.asked(asks(an_order(1))))[:12] for c in (one, two)] == [b"HTTP/1.1 200"] * 2
        async with wire(url) as three:
            assert await three.closed()
        assert (await one.asked(asks(an_order(1)))).startswith(b"HTTP/1.1 200")


async def test_an_idle_connection_is_closed_in_time_and_a_busy_one_is_not(
    ring: KeyRing, asks: Asks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "KEEP_ALIVE_S", 0.4)
    loop = asyncio.get_running_loop()
    async with serving(build(ring)) as (url, till), wire(url) as one, wire(url) as blank:
        await blank.asked(asks(an_order(1)))
        for _ in range(3):
            await one.asked(asks(an_order(1)))
            await asyncio.sleep(0.25)
            blank.writer.write(b"\r\n")  # empty lines before a request line are allowed, but are no request
        till.open.clear()
        request = asks(an_order(1))
        one.writer.write(request + request[:20])
        await asyncio.sleep(0.05)
        till.open.set()
        await one.answer()
        till.open.clear()
        one.writer.write(request[20:])
        assert not await one.closed(within_s=0.8)
        till.open.set()
        answered_s = loop.time()
        await one.answer()
        assert await one.closed() and loop.time() - answered_s > 0.3
        assert await blank.closed(within_s=0.1)


@pytest.mark.parametrize("lanes", [True, False])
async def test_on_sigterm_what_is_queued_is_answered_with_close_and_serve_returns(
    ring: KeyRing, client: Any, asks: Asks, lanes: bool
) -> None:
    await ring.caller_for(f"Bearer {client.key}")
    app = build(ring, lanes=lanes)
    till: Till = app.state.till
    started: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    stopped = asyncio.create_task(serve(app, "127.0.0.1", 0, on_started=started.set_result))
    url = await started
    async with wire(url) as one, wire(url) as two, wire(url) as idle:
        await idle.asked(asks(an_order(1)))
        till.open.clear()
        one.writer.write(asks(an_order(1)) + asks(an_order(2)))
        two.writer.write(asks(an_order(3)))
        await until(lambda: till.asked == 3)
        os.kill(os.getpid(), signal.SIGTERM)
        assert await idle.closed()
        with pytest.raises(OSError):
            async with wire(url):
                pass
        assert not stopped.done()
        till.open.set()
        answers = [await one.answer(), await one.answer(), await two.answer()]
        assert [b"connection: close" in answer for answer in answers] == [False, True, True]
        assert await one.closed() and await two.closed()
    await asyncio.wait_for(stopped, 5)
    assert till.handled == (0 if lanes else 4)
