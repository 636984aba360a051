"""A small real bench of events: a backlog, a constant rate, the bare client; and what is counted as broken."""

from collections.abc import AsyncIterator

import msgspec
import pytest
from rich.console import Console
from tests.declared import faults

from amana.bench.events import Options, _Commit, lags_s, run_events
from amana.bench.outbox import ALTERED, DISORDERED, LOST, Outbox, open_outbox
from amana.bench.report import Report
from amana.infra.settings import Settings

SMALL = Options(seconds=0.5, runs=1, events=2_000, seed=3)


async def test_a_bench_measures_the_relay_and_finds_every_event_in_its_order(settings: Settings) -> None:
    content, ok = await run_events(Console(quiet=True), settings, SMALL)
    report = msgspec.convert(content, Report)
    assert ok, report.refused
    figures = {figure.path: figure for figure in report.figures}
    assert list(figures) == [
        *("P8", "P8.cpu.relay", "P8.cpu.broker"),  # PostgreSQL is not the bench's own here
        *("P8.live", "P8.live.p50", "P8.live.p99", "P8.live.max"),
    ]
    assert all(figure.value > 0 for path, figure in figures.items() if ".cpu." not in path)
    assert [peer.name.split()[0] for peer in figures["P8"].peers] == ["confluent-kafka"]
    assert report.invariants == {LOST: 0, ALTERED: 0, DISORDERED: 0}
    live = next(run for run in report.runs if run["path"] == "P8.live")
    assert (live["events"], live["invariants"]["messages"]) == (
        5_000,
        5_100,
    )  # with those that showed that the relay was ready


@pytest.fixture(scope="module")
async def outbox(settings: Settings) -> AsyncIterator[Outbox]:
    async with open_outbox(settings, 3, lambda _: None) as opened:
        yield opened


async def test_the_events_of_a_bench_are_events_as_they_are_declared(outbox: Outbox) -> None:
    assert faults((row.body for row in outbox.make_apart(200)), "transactions") == []


async def test_what_is_altered_or_out_of_order_is_counted(outbox: Outbox) -> None:
    rows = [row for row in outbox.make(50_000) if row.aggregate_id == outbox._holds[0]][:3]
    outbox._bodies.update((str(row.event_id).encode(), hash(row.body)) for row in rows)
    for position, row in [(0, rows[0]), (0, rows[0]), (1, rows[2]), (2, rows[1])]:
        outbox._note(position, str(row.event_id).encode(), row.body)
    assert (outbox.invariants[ALTERED], outbox.invariants[DISORDERED]) == (0, 2)
    outbox._note(3, str(rows[0].event_id).encode(), rows[1].body)
    assert outbox.invariants[ALTERED] == 1


def test_a_lag_ends_when_all_that_was_committed_is_seen_published() -> None:
    commits = [_Commit(1.0, 100), _Commit(2.0, 200), _Commit(3.0, 300)]
    seen = [_Commit(0.5, 0), _Commit(1.5, 150), _Commit(2.5, 200), _Commit(2.9, 299), _Commit(4.0, 300)]
    assert lags_s(commits, seen) == [0.5, 0.5, 1.0]
