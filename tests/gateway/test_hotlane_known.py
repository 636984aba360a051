"""A connection that knows the head of its requests: what it must not take for one of them, and what ends it."""

import asyncio
import os
import re
from typing import Any

import pytest
from tests.gateway.hot_example import Wire, an_order, build, post_order, serving, wire
from tests.gateway.test_hotlane_connections import small_reader

from amana.gateway import provision
from amana.gateway.frame import MADE_AT_A_TIME, new_lines
from amana.gateway.keyring import FRESH_S, KeyRing
from amana.gateway.store import KeyStore
from amana.infra import http_server
from amana.infra.settings import Settings

KINDS = ["instant", "good"]


class Clock:
    """Seconds that pass when told to."""

    now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


async def known(connection: Wire, request: bytes) -> None:
    """Asks until the head is known."""
    for _ in range(3):
        assert (await connection.asked(request)).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("kind", KINDS)
async def test_bytes_of_a_known_request_that_end_another_one_are_not_taken_for_it(
    server: Any, asks: Any, kind: str
) -> None:
    url, till = server
    request = asks(an_order(1, kind))
    other = b"GET /v1/nowhere HTTP/1.1\r\nHost: a\r\n"
    within_head, within_body = other + b"X: ", other + b"Content-Length: %d\r\n\r\n" % len(request)
    for before in (within_head, within_body):
        for behind in (request, b""):
            async with wire(url) as one:
                await known(one, request)
                one.writer.write(behind + before)
                assert not behind or (await one.answer()).startswith(b"HTTP/1.1 200")
                asked = till.asked
                await asyncio.sleep(0.05)
                one.writer.write(request)
                assert (await one.answer()).startswith(b"HTTP/1.1 404")
                await asyncio.sleep(0.05)
                assert till.asked == asked
                assert (await one.asked(request)).startswith(b"HTTP/1.1 200") and till.asked == asked + 1


@pytest.mark.parametrize("kind", KINDS)
async def test_a_known_request_in_two_pieces_and_two_in_one_are_answered_in_turn(
    server: Any, asks: Any, kind: str
) -> None:
    url, _ = server
    request, other = asks(an_order(1, kind)), asks(an_order(2, kind))
    async with wire(url) as one:
        await known(one, request)
        for cut in (1, 20, len(request) - 5):
            one.writer.write(other + request[:cut])
            assert b'"amount":2' in await one.answer()
            one.writer.write(request[cut:] + other + request)
            assert [b'"amount":1' in await one.answer() for _ in range(3)] == [True, False, True]
            assert b'"amount":1' in await one.asked(request)


async def test_a_connection_is_not_closed_while_a_known_request_rides_and_is_once_it_rests(
    ring: KeyRing, client: Any, asks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "KEEP_ALIVE_S", 0.4)
    loop = asyncio.get_running_loop()
    async with serving(build(ring)) as (url, till), wire(url) as one:
        await ring.caller_for(f"Bearer {client.key}")
        await known(one, asks(an_order(1)))
        till.open.clear()
        one.writer.write(asks(an_order(1)))
        assert not await one.closed(within_s=0.9)
        till.open.set()
        answered_s = loop.time()
        assert (await one.answer()).startswith(b"HTTP/1.1 200")
        assert await one.closed() and loop.time() - answered_s > 0.3


@pytest.mark.parametrize("kind", KINDS)
async def test_a_known_head_opens_nothing_five_seconds_after_its_key_was_revoked(settings: Settings, kind: str) -> None:
    owner = settings.owner_database_url
    tenant = await provision.create_tenant(owner, "till-without-key", "A till that loses its key")
    key = await provision.create_key(owner, tenant, ["transfers:write"])
    clock = Clock()
    ring = KeyRing(KeyStore(settings.eligibility_database_url), clock_s=clock)
    async with serving(build(ring)) as (url, _), wire(url) as one:
        request = post_order(key, an_order(1, kind))
        await known(one, request)
        assert await provision.revoke_key(owner, key.split("_")[1])
        clock.now_s += FRESH_S
        assert (await one.asked(request)).startswith(b"HTTP/1.1 401")
        assert (await one.asked(request)).startswith(b"HTTP/1.1 401")


async def test_a_client_that_does_not_read_what_is_answered_at_once_is_asked_to_wait_and_loses_nothing(
    server: Any, asks: Any
) -> None:
    url, till = server
    loop = asyncio.get_running_loop()
    count, size = 60, 300_000
    request = asks(an_order(size, "rendered"))
    with small_reader(url) as sock:
        for _ in range(count):
            await loop.sock_sendall(sock, request)
            await asyncio.sleep(0.002)
        assert 3 <= till.asked < count
        received = 0
        while received < count * size:
            data = await asyncio.wait_for(loop.sock_recv(sock, 1 << 20), 10)
            assert data
            received += len(data)
    assert till.asked == count


def test_new_ids_are_well_formed_and_nobody_has_them_yet() -> None:
    shape = re.compile(rb"x-request-id: ([0-9a-f]{32})\r\ntraceparent: 00-([0-9a-f]{32})-([0-9a-f]{16})-01\r\n")
    found = [shape.fullmatch(new_lines()) for _ in range(3 * MADE_AT_A_TIME)]
    ids = [id_ for match in found if match for id_ in match.groups()]
    assert len(ids) == len(set(ids)) == 9 * MADE_AT_A_TIME


def test_a_forked_process_gives_out_other_ids() -> None:
    new_lines()  # there are some in store
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.write(write, new_lines())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(read, 1_000)
    os.close(read)
    os.close(write)
    assert theirs and theirs not in [new_lines() for _ in range(MADE_AT_A_TIME)]
