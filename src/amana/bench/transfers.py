"""`amana bench transfers`: what P4 and P5 owe, with peers on the same server in the same run.

Every path is measured once in each round, so that a machine that gets slower or faster in the course of the run does so
for all of them alike; a figure is the median of the rounds. After each measurement the invariants are checked.
"""

from contextlib import AsyncExitStack
from typing import Any, NamedTuple

import msgspec
from rich.console import Console

from amana.bench.ground import Ground, open_ground
from amana.bench.movements import Pick
from amana.bench.owed import BATCH_FLOOR, SINGLE_FLOOR, figures_of
from amana.bench.peers import NAMES, PGBENCH, Peers, open_peers, pgbench_program
from amana.bench.report import publish
from amana.bench.rounds import Rounds, told
from amana.bench.site import Measured
from amana.infra.databases import with_database
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
CPU = ("service", "postgres")
"""Whose CPU is told."""
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
        configuration = {"ledger_shards": ground.stack.settings.ledger_shards, **msgspec.to_builtins(options)}
        report = await bench.report("transfers", ground, figures_of(bench.values), configuration)
        return publish(report, console)


class _Bench(Rounds):
    """One bench: its steps, and what each round gave."""

    def __init__(self, ground: Ground, options: Options, console: Console) -> None:
        paths = [path for path in PATHS if path.startswith(options.only or ("",))]
        if OPEN_HALF in paths and "P4.single.64" not in paths:
            paths.remove(OPEN_HALF)
        if PGBENCH in paths and pgbench_program() is None:
            console.print("  pgbench is left out: it comes with amana's extra `embedded`")
            paths.remove(PGBENCH)
        super().__init__(console, paths, options.runs, options.warm_s + options.seconds + OVERHEAD_S)
        self.ground = ground
        self.options = options
        self.peers: Peers | None = None

    @property
    def wants_peers(self) -> bool:
        """Whether a peer is among the steps."""
        return not NAMES.keys().isdisjoint(self.paths)

    async def step(self, path: str) -> str:
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
        self.value(path, measured.result.per_second)
        self.cpu(path, measured, CPU)
        return told(measured, CPU)

    async def _open(self, path: str, rate: float) -> str:
        options = self.options
        plan = self.ground.plan(
            self.ground.movements(), OPEN_CONNECTIONS, options.warm_s, options.seconds, rate=max(1.0, rate)
        )
        (measured,) = await self.ground.measure(plan)
        await self._note(path, measured, rate=rate)
        self.latency(path, measured, whole=path == OPEN)
        return f"{told(measured, CPU)} at {rate:,.0f}/s"

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
        self.latency(path, measured[0])
        return told(measured[0], CPU)

    async def _peer(self, path: str) -> str:
        assert self.peers
        per_second = await self.peers.measure(path, self.options.warm_s, self.options.seconds)
        self.note(path, {"per_second": round(per_second, 1)})
        self.value(path, per_second)
        return f"{per_second:>9,.0f}/s"

    async def _note(self, path: str, measured: Measured, **more: Any) -> None:
        broken = await self.ground.check()
        self.note(path, {**more, **measured.to_json(), "stored": self.ground.stored, "invariants": broken})
