"""Latencies reach the metrics database, each once, or are dropped and counted; nobody waits for them."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import msgspec
import pytest
from tests.chaos.proxy import Proxy

from amana.audit.metrics.percentiles import percentiles
from amana.infra import latencies
from amana.infra.latencies import BATCHES_MAX, DROPPED, NO_BOUND_US, LatencyWriter
from amana.infra.lazy_pool import LazyPool
from amana.infra.postgres import DatabaseUnavailable
from amana.infra.settings import Settings
from amana.infra.telemetry import DURATION_BUCKETS_S, FINE_BUCKETS_US, Durations, Series

NUMBERS = itertools.count()
LABELS = ("GET", "/v1/things", "200")


def durations() -> Durations:
    return Durations(f"test_latencies_{next(NUMBERS)}_seconds", "Of a test.", ("method", "route", "status"))


@pytest.fixture
async def proxied(settings: Settings) -> AsyncIterator[tuple[Proxy, str]]:
    """The metrics database of the run behind a proxy, and the DSN that leads there."""
    parts = urlsplit(settings.metrics_database_url)
    assert parts.port is not None
    async with Proxy.before(parts.port) as proxy:
        there = f"{parts.netloc.rpartition('@')[0]}@127.0.0.1:{proxy.port}"
        yield proxy, parts._replace(netloc=there).geturl()


async def stored(settings: Settings, service: str) -> dict[tuple[str, int], tuple[int, int]]:
    """(class of status, bound) → requests, time of a service, added up over processes and instants."""
    pool = LazyPool(settings.metrics_database_url, "timescale", connections=1, statement_timeout_ms=5_000)
    async with pool.reading() as connection:
        rows = await connection.fetch(
            "SELECT status_class, le_us, sum(requests)::bigint AS requests, sum(total_us)::bigint AS total_us"
            " FROM latencies WHERE service = $1 AND per = 'day' GROUP BY 1, 2",
            service,
        )
    await pool.close()
    return {(row["status_class"], row["le_us"]): (row["requests"], row["total_us"]) for row in rows}


def test_prometheus_is_shown_what_it_was_always_shown() -> None:
    series = Series()
    for seconds in (0.0, 0.005, 0.0051, 0.2, 9, 11):
        series.observe(seconds)
    shown = dict(series.cumulated())
    assert list(shown) == [str(float(bound)) for bound in DURATION_BUCKETS_S] + ["+Inf"]
    asked = ("0.005", "0.01", "0.25", "7.5", "10.0", "+Inf")
    assert [shown[bound] for bound in asked] == [2, 3, 4, 4, 5, 6]
    assert series.total_s == pytest.approx(20.2101)


def test_no_bucket_is_wider_than_what_is_promised() -> None:
    assert list(FINE_BUCKETS_US) == sorted(set(FINE_BUCKETS_US))
    assert (FINE_BUCKETS_US[0], FINE_BUCKETS_US[-1]) == (100, 10_000_000)
    assert max(b / a for a, b in itertools.pairwise(FINE_BUCKETS_US)) <= 1.28


@pytest.mark.parametrize(
    ("buckets", "expected"),
    [
        ({100: 1}, [100] * 5),
        ({100: 50, 200: 50}, [100, 200, 200, 200, 200]),
        ({100: 989, 5_000: 10, NO_BOUND_US: 1}, [100, 100, 100, 5_000, 5_000]),
        ({100: 1, NO_BOUND_US: 999}, [None] * 5),
    ],
)
def test_a_percentile_is_the_bound_of_its_bucket(buckets: dict[int, int], expected: list[int | None]) -> None:
    assert percentiles(list(buckets), list(buckets.values())) == expected


async def test_what_two_processes_measured_adds_up(settings: Settings) -> None:
    service = "two-processes"
    for _ in range(2):
        counted = durations()
        writer = LatencyWriter(settings.metrics_database_url, service, counted)
        counted.series(*LABELS).observe(0.002)
        writer.take()
        counted.series(*LABELS).observe(0.002)
        counted.series(*LABELS[:2], "503").observe(20)
        writer.take()
        writer.take()
        assert len(writer.waiting) == 2, "what was told is not told again, and nothing is not told"
        await writer.send()
        await writer.close()
    assert await stored(settings, service) == {("2xx", 2_000): (4, 8_000), ("5xx", NO_BOUND_US): (2, 40_000_000)}


async def test_a_batch_that_is_sent_twice_counts_once(settings: Settings) -> None:
    service, counted = "twice", durations()
    writer = LatencyWriter(settings.metrics_database_url, service, counted)
    counted.series(*LABELS).observe(0.002)
    writer.take()
    writer.waiting.append(writer.waiting[0])
    await writer.send()
    await writer.close()
    assert await stored(settings, service) == {("2xx", 2_000): (1, 2_000)}


async def test_latencies_wait_for_a_database_that_is_away_and_the_oldest_are_dropped_and_counted(
    settings: Settings, proxied: tuple[Proxy, str]
) -> None:
    proxy, dsn = proxied
    service, counted = "waiting", durations()
    writer = LatencyWriter(dsn, service, counted)
    counted.series(*LABELS).observe(0.002)
    writer.take()
    await writer.send()
    proxy.hang_up()
    before = DROPPED._value.get()
    for _ in range(BATCHES_MAX + 5):
        counted.series(*LABELS).observe(0.002)
        writer.take()
    assert (len(writer.waiting), DROPPED._value.get() - before) == (BATCHES_MAX, 5)
    with pytest.raises(DatabaseUnavailable):
        await writer.send()
    assert len(writer.waiting) == BATCHES_MAX
    await proxy.take_up()
    await writer.send()
    assert not writer.waiting
    await writer.close()
    assert await stored(settings, service) == {("2xx", 2_000): (BATCHES_MAX + 1, 2_000 * (BATCHES_MAX + 1))}


async def test_a_service_ends_at_once_though_the_database_is_silent(settings: Settings) -> None:
    async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(30)
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    counted = durations()
    writer = LatencyWriter(f"postgresql://nobody:none@127.0.0.1:{port}/none", "silent", counted)
    stop = asyncio.Event()
    task = asyncio.create_task(writer.run(stop))
    counted.series(*LABELS).observe(0.002)
    await asyncio.sleep(0.01)
    stop.set()
    async with asyncio.timeout(latencies.LAST_TIMEOUT_S + 2):
        await task
    assert len(writer.waiting) == 1
    server.close()


async def test_a_database_that_is_not_migrated_counts_as_away(settings: Settings) -> None:
    pool = LazyPool(settings.metrics_database_url, "nowhere", connections=1, statement_timeout_ms=5_000)
    with pytest.raises(DatabaseUnavailable, match="nowhere is not there yet: run `amana migrate`"):
        async with pool.reading():
            pass
    with pytest.raises(DatabaseUnavailable, match="just now"):
        async with pool.reading():
            pass
    await pool.close()


async def test_without_a_metrics_database_nothing_is_written(settings: Settings) -> None:
    none = msgspec.structs.replace(settings, metrics_database_url="")
    before = asyncio.all_tasks()  # a service of another test may run in this process
    async with latencies.latencies_told(none.metrics_database_url, "none"):
        assert not [task for task in asyncio.all_tasks() - before if task.get_name() == "latencies"]
