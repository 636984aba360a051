"""The generator's arithmetic: ids, accounts, replies, and latencies that no stall can hide from."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import msgspec
import pytest

from amana.bench.connection import LoadFailed, content_length
from amana.bench.generator import Plan, run_load
from amana.bench.load import latency_of
from amana.bench.movements import Movements, Pick, TransfersWork, account_ids
from amana.domain.ids import bucket_of, shard_of

ACCOUNTS, LIST = 50, 40
LOOPBACK = "127.0.0.1"
STALL_S = 0.4
POSTED = b'{"results":[{"status":"posted"}]}'


def movements(stream: int = 1, pick: Pick = "uniform", list_size: int = LIST, first: int = 0) -> Movements:
    return Movements(
        seed=7,
        stream=stream,
        opened_ms=1_000,
        began_ms=2_000,
        accounts=ACCOUNTS,
        first=first,
        last=ACCOUNTS,
        list_size=list_size,
        pick=pick,
    )


def sent(given: Movements) -> list[dict[str, str]]:
    """The transfers of three requests."""
    work = TransfersWork(given, "host", 80, "key")
    bodies = [work.request().partition(b"\r\n\r\n")[2] for _ in range(3)]
    return [transfer for body in bodies for transfer in msgspec.json.decode(body)["transfers"]]


def test_ids_are_unique_and_fall_in_the_shard_of_the_debit_account() -> None:
    transfers = [one for stream in (1, 2) for one in sent(movements(stream))]
    ids = [UUID(one["id"]) for one in transfers]
    assert len(set(ids)) == len(transfers) == 2 * 3 * LIST
    for id_, one in zip(ids, transfers, strict=True):
        assert (id_.version, id_.variant) == (7, UUID(int=0b10 << 62).variant)
        assert bucket_of(id_) == bucket_of(UUID(one["debit_account"]))
    assert {shard_of(id_, 8) for id_ in ids} == set(range(8))


def test_one_seed_sends_the_same_bytes_and_another_stream_others() -> None:
    assert sent(movements()) == sent(movements())
    assert sent(movements(1)) != sent(movements(2))


@pytest.mark.parametrize("pick", ["uniform", "zipf", "hot"])
def test_a_transfer_is_between_two_open_accounts(pick: Pick) -> None:
    known = account_ids(7, 1_000, ACCOUNTS)
    assert len(set(known)) == ACCOUNTS
    for one in sent(movements(pick=pick)):
        assert one["debit_account"] != one["credit_account"]
        assert {one["debit_account"], one["credit_account"]} <= set(known)


def test_the_hot_account_is_in_every_transfer_and_the_cold_ones_are_apart() -> None:
    known = account_ids(7, 1_000, ACCOUNTS)
    sides = Counter(one["debit_account"] == known[0] for one in sent(movements(pick="hot")))
    assert sides[True] == sides[False]
    cold = {one[side] for one in sent(movements(first=25)) for side in ("debit_account", "credit_account")}
    assert not cold & set(known[:25])


def test_reversals_are_of_what_was_posted_some_time_before_each_once() -> None:
    posted: list[str] = []
    reversed_: list[str] = []
    after = 7
    for one in sent(msgspec.structs.replace(movements(pick="hot"), reversed_after=after)):
        if one.get("kind") != "reverse":
            posted.append(one["id"])
            continue
        assert posted.index(one["reverses"]) < len(posted) - after
        assert bucket_of(UUID(one["id"])) == bucket_of(UUID(one["reverses"]))
        reversed_.append(one["reverses"])
    assert reversed_ == posted[: len(reversed_)] and len(posted) == len(reversed_) + after + 1


def test_what_was_not_posted_is_counted_by_its_reason() -> None:
    work, refused = TransfersWork(movements(list_size=3), "host", 80, "key"), Counter[str]()
    body = b'{"results":[{"status":"posted"},{"status":"refused","reason":"limit_exceeded"},{"status":"posted"}]}'
    assert work.judge(200, body, refused) == 2
    assert work.judge(503, b'{"code":"overloaded"}', refused) == 0
    assert refused == {"limit_exceeded": 1, "503 overloaded": 3}


def test_percentiles_are_by_nearest_rank() -> None:
    latency = latency_of([number / 1000 for number in range(1, 101)])
    assert (latency.p50_ms, latency.p99_ms, latency.p999_ms, latency.max_ms) == (50, 99, 100, 100)


def test_a_length_is_found_in_any_spelling_of_its_header() -> None:
    for head in (b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\na: b", b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\na: b"):
        assert content_length(head + b"\r\n\r\n", len(head)) == 12
    with pytest.raises(LoadFailed, match="without a length"):
        content_length(b"HTTP/1.1 200 OK\r\n\r\n", 15)


@asynccontextmanager
async def server(stall_at: int = 0, close_at: int = 0) -> AsyncIterator[int]:
    """Answers each request with a posted transfer; the one numbered `stall_at` late, `close_at` by hanging up."""
    count = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        while head := (await reader.readuntil(b"\r\n\r\n") if not reader.at_eof() else b""):
            await reader.readexactly(content_length(head, len(head) - 4))
            count += 1
            if count == close_at:
                break
            if count == stall_at:
                await asyncio.sleep(STALL_S)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(POSTED))
            await asyncio.sleep(0)  # head and body come apart
            writer.write(POSTED)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
        except asyncio.IncompleteReadError:
            writer.close()

    listening = await asyncio.start_server(serve, LOOPBACK, 0)
    async with listening:
        yield listening.sockets[0].getsockname()[1]


def plan(port: int, **more: float) -> Plan:
    work = movements(list_size=1)
    asked = Plan(host=LOOPBACK, port=port, key="k", work=work, connections=1, seconds=1.0, warm_s=0.0)
    return msgspec.structs.replace(asked, **more)


async def test_an_open_loop_counts_from_the_intended_moment() -> None:
    async with server(stall_at=20) as port:
        result = await run_load(plan(port, rate=100.0))
    assert result.requests == result.accepted == 100
    # One reply was late: counted from when it was sent, its request would be the one above the 99th percentile. But
    # forty requests were meant to go out meanwhile and had to wait, the first of them nearly as long.
    assert result.latency.p99_ms > STALL_S * 1000 * 0.9


async def test_a_closed_loop_ends_at_its_number_of_items() -> None:
    async with server() as port:
        result = await run_load(plan(port, items_max=25, seconds=30.0))
    assert (result.requests, result.accepted, result.unsent, result.refused) == (25, 25, 0, {})


async def test_a_server_that_hangs_up_is_an_error_and_not_a_figure() -> None:
    async with server(close_at=5) as port:
        with pytest.raises(LoadFailed, match="the server closed a connection"):
            await run_load(plan(port))


async def test_a_server_that_is_not_there_is_an_error() -> None:
    async with server() as port:
        pass
    with pytest.raises(LoadFailed, match=f"no connection to {LOOPBACK}:{port}"):
        await run_load(plan(port))
