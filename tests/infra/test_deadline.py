"""A request's deadline: what waits, waits no longer; what is too late is not begun; from COMMIT on there is none."""

import asyncio
import contextvars
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import asyncpg
import pytest
from tests.infra.doubler import Doubler, until

from amana.infra import deadline, expiry
from amana.infra.bisecting import bisecting
from amana.infra.collector import Collector
from amana.infra.deadline import DeadlineExceeded
from amana.infra.embedded.ports import LOOPBACK
from amana.infra.http import HttpClient, UpstreamUnavailable
from amana.infra.postgres import Connection, Pool, in_transaction, open_pool, reading, reading_at_once
from amana.infra.settings import Settings

FAR_S = 30.0
SLACK_S = 1.0
"""By how much a test lets an answer be late, on a busy machine."""


@pytest.fixture(autouse=True)
def no_deadline() -> Iterator[None]:
    deadline.enter(None)
    yield
    deadline.enter(None)


@pytest.fixture(scope="module")
async def pool(settings: Settings) -> AsyncIterator[Pool]:
    opened = await open_pool(settings.owner_database_url, "public", 2)
    await opened.execute("CREATE TABLE IF NOT EXISTS deadline_tests (id integer PRIMARY KEY)")
    yield opened
    await opened.execute("DROP TABLE deadline_tests")
    await opened.close()


async def timed(left_s: float, work: Callable[[], Awaitable[object]]) -> object:
    """What `work` comes to in a task of its own, which has a deadline."""

    async def run() -> object:
        deadline.enter(time.monotonic() + left_s)
        return await work()

    return await asyncio.create_task(run())


@asynccontextmanager
async def within_s(seconds: float) -> AsyncIterator[None]:
    began_s = time.monotonic()
    yield
    assert time.monotonic() - began_s < seconds + SLACK_S


def test_a_bound_is_what_is_left_where_that_is_less() -> None:
    assert deadline.within(5.0) == 5.0
    deadline.enter(time.monotonic() + 1.0)
    assert 0.5 < deadline.within(5.0) <= 1.0
    assert deadline.within(0.1) == 0.1
    deadline.enter(time.monotonic() - 1.0)
    assert deadline.is_over()
    with pytest.raises(DeadlineExceeded):
        deadline.within(5.0)


async def test_what_is_shielded_goes_on_when_one_of_those_who_wait_for_it_has_no_more_time() -> None:
    gate = asyncio.Event()
    shared = asyncio.create_task(gate.wait())
    with pytest.raises(DeadlineExceeded):
        await timed(0.03, lambda: deadline.in_time(asyncio.shield(shared)))
    other = asyncio.create_task(timed(FAR_S, lambda: deadline.in_time(asyncio.shield(shared))))
    gate.set()
    assert await other is True


async def test_a_time_out_that_is_not_the_deadlines_stays_what_it_is() -> None:
    async def fails() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        await timed(FAR_S, lambda: deadline.in_time(fails()))


async def test_what_waits_in_a_queue_leaves_it_at_its_deadline_and_is_never_begun() -> None:
    run = Doubler()
    collector: Collector[int, int] = Collector(run, batch_max=10, batches_in_flight=1, queue_max=10)
    run.gate.clear()
    running = asyncio.create_task(collector.submit(0))
    await until(lambda: run.running == 1)
    patient = asyncio.create_task(timed(FAR_S, lambda: collector.submit(2)))
    async with within_s(0.1):
        with pytest.raises(DeadlineExceeded):
            await timed(0.1, lambda: collector.submit(1))
    run.gate.set()
    assert [await running, await patient] == [0, 4]
    await collector.drain()
    assert run.batches == [[0], [2]]


async def test_what_can_not_be_finished_in_time_is_not_queued() -> None:
    run = Doubler()
    collector: Collector[int, int] = Collector(run, batch_max=10, batches_in_flight=1, queue_max=10)
    with pytest.raises(DeadlineExceeded):
        await timed(expiry.LEAST_S / 2, lambda: collector.submit(1))
    await collector.drain()
    assert run.batches == []


class Slow:
    """A `run` that takes `takes_s`, or gives up at its deadline having done nothing."""

    def __init__(self, takes_s: float) -> None:
        self.takes_s = takes_s
        self.rounds: list[tuple[list[int], bool]] = []
        """What was run, and whether under a deadline."""

    async def __call__(self, items: list[int]) -> list[int | Exception]:
        self.rounds.append((items, deadline.current() is not None))
        await deadline.in_time(asyncio.sleep(self.takes_s))
        return [item * 2 for item in items]


async def submitted(collector: Collector[int, int], lefts_s: dict[int, float | None]) -> list[int | BaseException]:
    """What becomes of items that are sent together, each with its deadline or none."""

    futures = []
    for item, left_s in lefts_s.items():
        context = contextvars.copy_context()
        context.run(deadline.enter, None if left_s is None else time.monotonic() + left_s)
        futures.append(context.run(collector.enqueue, item))
    return await asyncio.gather(*futures, return_exceptions=True)


async def test_a_batch_goes_by_its_earliest_deadline_and_the_others_are_run_again() -> None:
    run = Slow(0.2)
    collector: Collector[int, int] = Collector(run, batch_max=10, batches_in_flight=1, queue_max=10)
    found = await submitted(collector, {1: None, 2: 0.1, 3: FAR_S})
    assert [found[0], type(found[1]), found[2]] == [2, DeadlineExceeded, 6]
    assert run.rounds == [([1, 2, 3], True), ([1, 3], True)]


async def test_after_two_rounds_a_batch_is_run_for_those_without_a_deadline_alone() -> None:
    run = Slow(0.6)
    collector: Collector[int, int] = Collector(run, batch_max=10, batches_in_flight=1, queue_max=10)
    found = await submitted(collector, {1: None, 2: 0.1, 3: 0.4, 4: None, 5: 0.9})
    assert [found[0], found[3]] == [2, 8]
    assert {type(found[at]) for at in (1, 2, 4)} == {DeadlineExceeded}
    assert run.rounds == [([1, 2, 3, 4, 5], True), ([1, 3, 4, 5], True), ([1, 4], False)]


async def test_a_batch_without_deadlines_is_run_once_and_inherits_none_from_who_came_first() -> None:
    run = Slow(0.05)
    collector: Collector[int, int] = Collector(run, batch_max=1, batches_in_flight=1, queue_max=10)
    assert await submitted(collector, {1: FAR_S, 2: None}) == [2, 4]
    assert run.rounds == [([1], True), ([2], False)]


async def test_an_item_whose_half_was_committed_keeps_its_result() -> None:
    runs: list[list[int]] = []

    async def run(items: list[int]) -> list[int | Exception]:
        runs.append(items)
        if len(items) == 4:
            raise ValueError("in halves")
        if items[0] == 3:
            await asyncio.sleep(0.1)
            raise DeadlineExceeded
        return [item * 2 for item in items]

    collector: Collector[int, int] = Collector(bisecting(run, ()), batch_max=4, batches_in_flight=1, queue_max=10)
    found = await submitted(collector, dict.fromkeys((1, 2, 3, 4), 0.05))
    assert found[:2] == [2, 4]
    assert [type(error) for error in found[2:]] == [DeadlineExceeded] * 2
    assert runs == [[1, 2, 3, 4], [1, 2], [3, 4]]


@pytest.mark.parametrize("read", [reading, reading_at_once])
async def test_a_read_ends_at_the_deadline_and_the_pool_goes_on(
    pool: Pool, read: Callable[[Pool], AbstractAsyncContextManager[Connection]]
) -> None:
    async def work() -> None:
        async with read(pool) as connection:
            await connection.execute("SELECT pg_sleep(5)")

    async with within_s(0.2):
        with pytest.raises(DeadlineExceeded):
            await timed(0.2, work)
    async with reading(pool) as connection:
        assert await connection.fetchval("SELECT 1") == 1


async def test_no_connection_is_waited_for_longer_than_is_left(pool: Pool) -> None:
    async def work() -> None:
        async with reading(pool):
            raise AssertionError("there was one")

    async with reading(pool), reading(pool), within_s(0.1):
        with pytest.raises(DeadlineExceeded):
            await timed(0.1, work)


async def insert(connection: Connection) -> str:
    await connection.execute("INSERT INTO deadline_tests VALUES (1)")
    return "done"


@asynccontextmanager
async def table(pool: Pool, settings: Settings, *, locked: bool) -> AsyncIterator[None]:
    """An empty table, which another session may have locked."""
    other = await asyncpg.connect(settings.owner_database_url)
    try:
        await other.execute("DELETE FROM deadline_tests")
        async with other.transaction():
            if locked:
                await other.execute("LOCK TABLE deadline_tests IN ACCESS EXCLUSIVE MODE")
            yield
        await other.execute("DELETE FROM deadline_tests")
    finally:
        await other.close()


@pytest.mark.parametrize("left_s", [0.3, 1.7])
async def test_a_lock_is_waited_for_no_longer_than_is_left(pool: Pool, settings: Settings, left_s: float) -> None:
    """By the server's own time-out where that is short, by ours else."""
    async with table(pool, settings, locked=True), within_s(left_s):
        with pytest.raises(DeadlineExceeded):
            await timed(left_s, lambda: in_transaction(pool, insert))
    assert await pool.fetchval("SELECT count(*) FROM deadline_tests") == 0


async def test_work_that_is_done_too_late_is_rolled_back(pool: Pool, settings: Settings) -> None:
    async def late(connection: Connection) -> str:
        done = await insert(connection)
        time.sleep(0.15)  # noqa: ASYNC251 - the loop itself is late, so that no timer helps
        return done

    async with table(pool, settings, locked=False):
        with pytest.raises(DeadlineExceeded):
            await timed(0.1, lambda: in_transaction(pool, late))
        assert await pool.fetchval("SELECT count(*) FROM deadline_tests") == 0


async def test_a_commit_that_was_begun_is_waited_for_and_what_follows_it_has_no_deadline(pool: Pool) -> None:
    async def work(connection: Connection) -> str:
        await connection.execute(
            """CREATE TEMP TABLE slow (id integer) ON COMMIT DROP;
            CREATE FUNCTION pg_temp.sleep() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN PERFORM pg_sleep(0.6); RETURN NEW; END $$;
            CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON slow DEFERRABLE INITIALLY DEFERRED
                FOR EACH ROW EXECUTE FUNCTION pg_temp.sleep();
            INSERT INTO slow VALUES (1)"""
        )
        return "done"

    async def both() -> object:
        done = await in_transaction(pool, work)
        async with reading(pool) as connection:
            return done, await connection.fetchval("SELECT 1")

    assert await timed(0.4, both) == ("done", 1)


async def test_a_call_to_another_service_tells_what_is_left_and_ends_with_it() -> None:
    heads: list[bytes] = []

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, LOOPBACK, 0)
    url = f"http://{LOOPBACK}:{server.sockets[0].getsockname()[1]}/"
    async with server, HttpClient() as client:

        async def call() -> None:
            await client.request("POST", url, body=b"{}", timeout_ms=300)

        async with within_s(0.2):
            with pytest.raises(DeadlineExceeded):
                await timed(0.2, call)
        with pytest.raises(UpstreamUnavailable):  # its own time-out is nearer
            await timed(FAR_S, call)
        with pytest.raises(UpstreamUnavailable):
            await call()
    named = [line for head in heads for line in head.split(b"\r\n") if line.lower().startswith(b"x-request-timeout")]
    assert [int(line.partition(b": ")[2]) <= most for line, most in zip(named, (200, 30_000), strict=True)] == [
        True
    ] * 2


def test_a_deadline_is_its_own_requests() -> None:
    other = contextvars.copy_context()
    other.run(deadline.enter, 1.0)
    assert deadline.current() is None
