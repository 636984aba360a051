"""`amana bench events`: what P8 owes. Committed events become positions and messages that a broker has acknowledged.

In each round: a backlog is committed at once under a relay; then events are committed at a constant rate beside
the relay; then the same bytes are sent by the client library alone. After each, what stands in the topic is held
against what was committed.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
from rich.console import Console

from amana.bench.connection import LoadFailed
from amana.bench.load import latency_of
from amana.bench.outbox import Outbox, open_outbox
from amana.bench.owed_events import BACKLOG, BARE, FLOOR, LIVE, figures_of
from amana.bench.report import publish
from amana.bench.rounds import Rounds
from amana.infra.kafka import ensure_topics
from amana.infra.kafka_bare import send_bare
from amana.infra.settings import Settings

PATHS = (BACKLOG, LIVE, BARE)
LIVE_RATE = FLOOR
"""Events a second that are committed while the relay runs."""
LOOK_S = 0.005
TRANSACTION = 100
"""Events that are committed together there."""
STALL_S = 60.0
"""No event published for so long while some are due ends a run."""
OVERHEAD_S = 12.0
BARE_TOPIC = "amana.bench.bare"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How to measure: a backlog of `events`, `seconds` of constant rate."""

    seconds: float
    runs: int
    events: int
    seed: int
    only: tuple[str, ...] = ()


async def run_events(console: Console, given: Settings, options: Options) -> tuple[dict[str, Any], bool]:
    """Measures and prints. The report as JSON values, and whether its figures may be published."""
    async with open_outbox(given, options.seed, lambda line: console.print(f"  {line}")) as outbox:
        bench = _Bench(outbox, options, console)
        await bench.run()
        configuration = {"live_rate": LIVE_RATE, "transaction": TRANSACTION, **msgspec.to_builtins(options)}
        report = await bench.report("events", outbox, figures_of(bench.values), configuration)
        return publish(report, console)


class _Commit(NamedTuple):
    """When so many events in all were committed."""

    at_s: float
    committed: int


class _Bench(Rounds):
    """One bench: its steps, and what each round gave."""

    def __init__(self, outbox: Outbox, options: Options, console: Console) -> None:
        paths = [path for path in PATHS if path.startswith(options.only or ("",))]
        super().__init__(console, paths, options.runs, options.seconds + OVERHEAD_S)
        self.outbox = outbox
        self.options = options

    async def step(self, path: str) -> str:
        return await {BACKLOG: self._backlog, LIVE: self._live, BARE: self._bare}[path]()

    async def _backlog(self) -> str:
        """Everything becomes visible at once to a relay that has met its broker: what it finds after it was away."""
        outbox, count = self.outbox, self.options.events
        await self._relay_ready()
        rows = outbox.make(count)
        await outbox.commit(rows)
        began, before = time.perf_counter(), outbox.cpu_s()
        per_second = count / (await self._reached(outbox.committed) - began)
        after = outbox.cpu_s()
        cpu_us = {name: round((after[name] - before[name]) / count * 1e6, 1) for name in before}
        self.value(BACKLOG, per_second)
        for name, value in cpu_us.items():
            self.value(f"{BACKLOG}.cpu.{name}", value)
        self.note(
            BACKLOG,
            {"events": count, "per_second": round(per_second, 1), "cpu_us_per_event": cpu_us}
            | {"invariants": await outbox.check()},
        )
        return f"{per_second:>9,.0f}/s  CPU " + ", ".join(f"{name} {value}" for name, value in cpu_us.items()) + " µs"

    async def _live(self) -> str:
        """Events at a constant rate; how long after its COMMIT each transaction's last event was acknowledged."""
        outbox, options = self.outbox, self.options
        await self._relay_ready()
        rows = outbox.make(int(LIVE_RATE * options.seconds) // TRANSACTION * TRANSACTION)
        commits: list[_Commit] = []
        seen: list[_Commit] = []
        begun = time.perf_counter()
        writing = asyncio.create_task(self._write(rows, begun, commits))
        await self._reached(outbox.committed + len(rows), lambda at_s, count: seen.append(_Commit(at_s, count)))
        await writing
        per_second = len(rows) / (seen[-1].at_s - begun)
        latency = latency_of(lags_s(commits, seen))
        self.value(LIVE, per_second)
        for name in ("p50", "p99", "max"):
            self.value(f"{LIVE}.{name}", getattr(latency, f"{name}_ms"))
        self.note(
            LIVE,
            {"events": len(rows), "rate": LIVE_RATE, "per_second": round(per_second, 1)}
            | {"lag": msgspec.to_builtins(latency), "invariants": await outbox.check()},
        )
        return f"{per_second:>9,.0f}/s  lag p50 {latency.p50_ms:,.1f}  p99 {latency.p99_ms:,.1f} ms"

    async def _relay_ready(self) -> None:
        """A relay runs, leads and has published all that there is."""
        await self.outbox.start_relay()
        await self.outbox.commit(self.outbox.make(TRANSACTION))
        await self._reached(self.outbox.committed)

    async def _write(self, rows: list[Any], begun: float, commits: list[_Commit]) -> None:
        """Each transaction as soon after its intended moment as the one before it has ended."""
        for first in range(0, len(rows), TRANSACTION):
            await asyncio.sleep(max(0.0, begun + first / LIVE_RATE - time.perf_counter()))
            await self.outbox.commit(rows[first : first + TRANSACTION])
            commits.append(_Commit(time.perf_counter(), self.outbox.committed))

    async def _bare(self) -> str:
        """The client library alone, with as many events as the backlog has."""
        messages = [(str(row.aggregate_id).encode(), row.body) for row in self.outbox.make_apart(self.options.events)]
        await ensure_topics(self.outbox.bootstrap, [BARE_TOPIC])
        per_second = len(messages) / await send_bare(self.outbox.bootstrap, BARE_TOPIC, messages)
        self.value(BARE, per_second)
        self.note(BARE, {"events": len(messages), "per_second": round(per_second, 1)})
        return f"{per_second:>9,.0f}/s"

    async def _reached(self, count: int, note: Callable[[float, int], None] = lambda _at_s, _count: None) -> float:
        """Looks until so many events in all are published; the time then. `note` is told of every look."""
        last, heard = -1, time.perf_counter()
        while True:
            published = await self.outbox.published()
            now = time.perf_counter()
            note(now, published)
            if published >= count:
                return now
            if published > last:
                last, heard = published, now
            elif now - heard > STALL_S:
                raise LoadFailed(f"{count - published} events are not published and none was for {STALL_S:g} s")
            await asyncio.sleep(LOOK_S)


def lags_s(commits: list[_Commit], seen: list[_Commit]) -> list[float]:
    """For each commit, the time until a look first saw all that was committed by then published."""
    lags, looks = [], iter(seen)
    look = next(looks)
    for commit in commits:
        while look.committed < commit.committed:
            look = next(looks)
        lags.append(max(0.0, look.at_s - commit.at_s))
    return lags
