"""`amana bench transfers`: what P4 and P5 owe, with peers on the same server in the same run.

Every path is measured once in each round, so that a machine that gets slower or faster in the course of the run does so
for all of them alike; a figure is the median of the rounds. After each measurement the invariants are checked.
"""

import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any, NamedTuple

import msgspec
from rich.console import Console

from amana.bench.ground import Ground, Measured, open_ground
from amana.bench.machine import describe_machine, package_versions
from amana.bench.movements import Pick
from amana.bench.owed import BATCH_FLOOR, SINGLE_FLOOR, figures_of
from amana.bench.peers import NAMES, PGBENCH, Peers, open_peers, pgbench_program
from amana.bench.progress import Gauge
from amana.bench.report import Report, publish, refusals
from amana.infra.migrate import with_database
from amana.infra.settings import Settings

WARM_S = 1.0
OPEN_CONNECTIONS = 256
BATCH, BATCH_CONNECTIONS = 500, 8
COLD_RATE = 500.0
"""Single transfers a second on cold accounts."""
BESIDE_RATE = BATCH_FLOOR / 2 / BATCH
"""Lists a second beside them: half of what is owed of lists."""
BESIDE_SINGLE_RATE = 1_000.0
"""The same of single transfers: a fifth of what is owed of them, so that it is the account that is busy."""
REVERSED_AFTER = 2 * OPEN_CONNECTIONS
"""Transfers, before one is reversed: its answer is there."""

CLOSED: dict[str, tuple[int, int, Pick]] = {
    "P4.single.64": (64, 1, "uniform"),
    "P4.single.256": (256, 1, "uniform"),
    "P4.single.zipf": (64, 1, "zipf"),
    "P4.single.hot": (64, 1, "hot"),
    "P5.uniform": (BATCH_CONNECTIONS, BATCH, "uniform"),
    "P5.uniform.1000": (4, 1_000, "uniform"),
    "P5.zipf": (BATCH_CONNECTIONS, BATCH, "zipf"),
    "P5.hot": (BATCH_CONNECTIONS, BATCH, "hot"),
}
"""Connections, transfers in each list, and the accounts that they draw."""
OPEN, OPEN_HALF = "P4.open", "P4.open.half"


class Beside(NamedTuple):
    """What runs beside the cold accounts: so many requests a second of so many transfers."""

    pick: Pick
    list_size: int = BATCH
    connections: int = BATCH_CONNECTIONS
    rate: float = BESIDE_RATE
    reversed_after: int = 0


COLD: dict[str, Beside | None] = {
    "P5.cold": None,
    "P5.cold.beside_uniform": Beside("uniform"),
    "P5.cold.beside_hot": Beside("hot"),
    "P5.cold.beside_hot_reversals": Beside("hot", 1, OPEN_CONNECTIONS, BESIDE_SINGLE_RATE, REVERSED_AFTER),
}
SINGLES, LISTS = [[path for path in CLOSED if path.startswith(budget)] for budget in ("P4", "P5")]
PATHS = (*SINGLES, OPEN, OPEN_HALF, *LISTS, *COLD, *NAMES)
"""Everything that is measured in a round, in its order."""
OVERHEAD_S = 3.0
"""What a measurement takes beside its seconds: starting the generator, checking the invariants."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How to measure. `only` holds beginnings of the paths and peers that are wanted; empty for all."""

    seconds: float
    runs: int
    accounts: int
    seed: int
    warm_s: float = WARM_S
    only: tuple[str, ...] = ()


async def run_transfers(console: Console, given: Settings, options: Options) -> tuple[dict[str, Any], bool]:
    """Measures and prints. The report as JSON values, and whether its figures may be published."""
    begun = time.monotonic()
    async with AsyncExitStack() as opened:
        ground = await opened.enter_async_context(
            open_ground(given, options.accounts, options.seed, lambda line: console.print(f"  {line}"))
        )
        bench = _Bench(ground, options, console)
        if bench.wants_peers:
            owner = ground.stack.settings.owner_database_url
            dsn = with_database(owner, f"amana_bench_peers_{ground.stack.ports.transactions}")
            bench.peers = await opened.enter_async_context(open_peers(dsn, options.accounts, options.seed))
        await bench.run()
        settings = await ground.server_settings()
        return publish(_report(bench, settings, time.monotonic() - begun), console)


def _report(bench: "_Bench", settings: dict[str, str], seconds: float) -> Report:
    ground, options = bench.ground, bench.options
    server = ground.stack.settings
    return Report(
        bench="transfers",
        figures=figures_of(bench.values),
        machine=describe_machine(),
        versions=package_versions() | {"postgres": settings["server_version"]},
        configuration={
            "postgres": settings,
            "ledger_shards": server.ledger_shards,
            "pool_connections": server.pool_connections,
            "log_level": server.log_level,
            **msgspec.to_builtins(options),
        },
        seed=options.seed,
        seconds=round(seconds, 1),
        invariants=ground.invariants,
        runs=bench.runs,
        refused=refusals(settings, ground.invariants),
    )


class _Bench:
    """One bench: its steps, and what each round gave."""

    def __init__(self, ground: Ground, options: Options, console: Console) -> None:
        self.ground = ground
        self.options = options
        self.peers: Peers | None = None
        self.values: dict[str, list[float]] = {}
        self.runs: list[dict[str, Any]] = []
        self._console = console
        self._round = 0
        self._paths = [path for path in PATHS if path.startswith(options.only or ("",))]
        if OPEN_HALF in self._paths and "P4.single.64" not in self._paths:
            self._paths.remove(OPEN_HALF)
        if PGBENCH in self._paths and pgbench_program() is None:
            console.print("  pgbench is left out: it comes with amana's extra `embedded`")
            self._paths.remove(PGBENCH)

    @property
    def wants_peers(self) -> bool:
        """Whether a peer is among the steps."""
        return not NAMES.keys().isdisjoint(self._paths)

    async def run(self) -> None:
        """All rounds, with a line for each measurement."""
        options, done = self.options, 0
        total = options.runs * len(self._paths)
        step_s = options.warm_s + options.seconds + OVERHEAD_S
        self._console.print(f"{total} measurements, about {total * step_s / 60:.1f} minutes")
        with Gauge(self._console, "Measuring", total) as gauge:
            for self._round in range(1, options.runs + 1):
                for path in self._paths:
                    gauge.say(f"{self._round}/{options.runs}  {path:<28} {await self._step(path)}")
                    gauge.at(done := done + 1)

    async def _step(self, path: str) -> str:
        """Measures one path; the line to show."""
        if path in CLOSED:
            return await self._closed(path)
        if path in COLD:
            return await self._cold(path)
        if path in NAMES:
            return await self._peer(path)
        return await self._open(path, SINGLE_FLOOR / 2 if path == OPEN else self.values["P4.single.64"][-1] / 2)

    async def _closed(self, path: str) -> str:
        options, (connections, list_size, pick) = self.options, CLOSED[path]
        movements = self.ground.movements(list_size=list_size, pick=pick)
        plan = self.ground.plan(movements, connections, options.warm_s, options.seconds)
        (measured,) = await self.ground.measure(plan)
        await self._note(path, measured, connections=connections, list_size=list_size, pick=pick)
        self._value(path, measured.result.per_second)
        self._cpu(path, measured)
        return _told(measured)

    async def _open(self, path: str, rate: float) -> str:
        options = self.options
        plan = self.ground.plan(
            self.ground.movements(), OPEN_CONNECTIONS, options.warm_s, options.seconds, rate=max(1.0, rate)
        )
        (measured,) = await self.ground.measure(plan)
        await self._note(path, measured, rate=rate)
        self._latency(path, measured)
        return f"{_told(measured)} at {rate:,.0f}/s"

    async def _cold(self, path: str) -> str:
        """Latency of the accounts of the upper half while others are busy in the lower half, or alone."""
        options, half, beside = self.options, self.options.accounts // 2, COLD[path]
        plans = [
            self.ground.plan(
                self.ground.movements(first=half), OPEN_CONNECTIONS, options.warm_s, options.seconds, rate=COLD_RATE
            )
        ]
        if beside:
            movements = self.ground.movements(
                last=half, list_size=beside.list_size, pick=beside.pick, reversed_after=beside.reversed_after
            )
            seconds = options.warm_s + options.seconds
            plans.append(self.ground.plan(movements, beside.connections, 0.0, seconds, rate=beside.rate))
        measured = await self.ground.measure(*plans)
        await self._note(path, measured[0], rate=COLD_RATE, beside=[one.to_json() for one in measured[1:]])
        self._latency(path, measured[0])
        return _told(measured[0])

    async def _peer(self, path: str) -> str:
        assert self.peers
        per_second = await self.peers.measure(path, self.options.warm_s, self.options.seconds)
        self.runs.append({"path": path, "round": self._round, "per_second": round(per_second, 1)})
        self._value(path, per_second)
        return f"{per_second:>9,.0f}/s"

    async def _note(self, path: str, measured: Measured, **more: Any) -> None:
        broken = await self.ground.check()
        told = {"path": path, "round": self._round, **more, **measured.to_json(), "stored": self.ground.stored}
        self.runs.append(told | {"invariants": broken})

    def _value(self, path: str, value: float) -> None:
        self.values.setdefault(path, []).append(value)

    def _latency(self, path: str, measured: Measured) -> None:
        shown = ("p50_ms", "p99_ms", "p999_ms", "max_ms") if path == OPEN else ("p50_ms", "p99_ms")
        for name in shown:
            value = getattr(measured.result.latency, name)
            self._value(f"{path}.{name.removesuffix('_ms')}", value)

    def _cpu(self, path: str, measured: Measured) -> None:
        for name, value in (("service", measured.service_us), ("postgres", measured.postgres_us)):
            if value is not None:
                self._value(f"{path}.cpu.{name}", value)


def _told(measured: Measured) -> str:
    result = measured.result
    line = f"{result.per_second:>9,.0f}/s  p50 {result.latency.p50_ms:,.1f}  p99 {result.latency.p99_ms:,.1f} ms"
    line += f"  CPU {measured.service_us} µs"
    line += "" if measured.postgres_us is None else f" + PostgreSQL {measured.postgres_us} µs"
    return line + (f"  refused {result.refused}" if result.refused else "")


def path_unknown(only: Sequence[str]) -> str:
    """The first of `only` that no path or peer begins with; empty when there is none."""
    return next((one for one in only if not any(path.startswith(one) for path in PATHS)), "")
