"""`amana bench eligibility`: checks from memory, from Valkey and computed, with nginx and without, with the validator
of cached answers (as always) and without, and what is kept.

Each path begins with a fresh service, whose settings make its answers come from where the path says, and an empty
Valkey. After each measurement the answers are held against the decisions that they name.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from rich.console import Console

from amana.bench.check_paths import CPU, CPU_TOLD, HOT_MAX, KEPT_PATHS, PATHS, Kept
from amana.bench.checks import Checks, Source
from amana.bench.connection import LoadFailed
from amana.bench.customers import Customers, open_customers
from amana.bench.generator import Plan, run_load
from amana.bench.owed_checks import DOWN, FIRST, KEPT, MEMORY, MISS, MISS_FLOOR, OPEN, PROXIED, STATIC, figures_of
from amana.bench.report import publish
from amana.bench.rounds import Rounds, told
from amana.bench.site import Measured
from amana.bench.wrk import run_wrk, wrk_program
from amana.infra.embedded.nginx import Nginx
from amana.infra.embedded.ports import find_free
from amana.infra.settings import Settings

WARM_S = 1.0
TTL_MS = 60_000
"""The longest that a setting allows: what is asked about before a run does not end within half a minute of it."""
MISS_TTL_MS = 100
"""The shortest: every customer has been forgotten when it is asked about again."""
WARMING = 500
"""Customers who are asked about before a run of first questions, which has no other time to warm up."""
PROCESSES = 2
"""Of the service, at one port: one for each core of the machine that is owed figures."""
DOWN_MAX = 1_000
"""The same without Valkey, where an answer is kept for a second."""
STATIC_BODY = '{"source":"memory","as_much_as":"an answer has"' + " " * 600 + "}"
"""Of nginx alone. It says what the load generator looks for."""
NOTICE_S = 2.0
"""By when the service knows that Valkey is away: it pings four times a second, and gives up after one."""
OVERHEAD_S = 12.0
"""What a measurement takes beside its seconds: starting the service, asking about each customer first."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How to measure. `only` holds beginnings of the paths that are wanted; empty for all. Without `wrk` the closed
    loops of P1 and P2 are ours too, also where it is installed."""

    seconds: float
    runs: int
    customers: int
    seed: int
    warm_s: float = WARM_S
    only: tuple[str, ...] = ()
    wrk: bool = True


MISS_CONNECTIONS, DOWN_CONNECTIONS = 256, 64


async def run_eligibility(console: Console, given: Settings, options: Options) -> tuple[dict[str, Any], bool]:
    """Measures and prints. The report as JSON values, and whether its figures may be published."""
    customers, seed = options.customers, options.seed
    async with open_customers(given, customers, seed, lambda line: console.print(f"  {line}")) as ground:
        bench = _Bench(ground, options, console)
        console.print(f"  Closed loops of P1 and P2 by {bench.generator}")
        await bench.run()
        configuration = {
            "generator": bench.generator,
            "ttl_ms": {"hits": TTL_MS, "misses": MISS_TTL_MS},
            "customers_asked": {"hits": bench.hot, DOWN: bench.down, "misses": bench.hot, FIRST: customers},
            **msgspec.to_builtins(options),
        }
        figures = figures_of(bench.values, customers)
        return publish(await bench.report("eligibility", ground, figures, configuration), console)


class _Bench(Rounds):
    """One bench: its steps, and what each round gave."""

    def __init__(self, ground: Customers, options: Options, console: Console) -> None:
        paths = [path for path in PATHS if path.startswith(options.only or ("",))]
        super().__init__(console, paths, options.runs, options.warm_s + options.seconds + OVERHEAD_S)
        self.ground = ground
        self.options = options
        self.hot, self.down = min(HOT_MAX, options.customers), min(DOWN_MAX, options.customers)
        self._run = run_wrk if options.wrk and wrk_program() else run_load

    @property
    def generator(self) -> str:
        """Who asks in the closed loops of P1 and P2."""
        return "wrk, one thread" if self._run is run_wrk else "amana, in Python"

    async def step(self, path: str) -> str:
        if path in KEPT_PATHS:
            return await self._hits(path, KEPT_PATHS[path])
        alone = {STATIC: self._static, DOWN: self._without_valkey, KEPT: self._kept}
        return await (alone[path]() if path in alone else self._misses(path))

    async def _hits(self, path: str, kept: Kept) -> str:
        """Everybody who will be asked about has been, so that all answers are kept where the path wants them."""
        options, ground = self.options, self.ground
        await ground.start(
            PROCESSES,
            assessment_ttl_ms=TTL_MS,
            assessments_in_memory=kept.in_memory,
            assessments_validated_per_s=kept.validated_per_s,
        )
        await ground.fill(self.hot, kept.source)
        plan = ground.plan(ground.checks(self.hot, kept.source), kept.connections, options.warm_s, options.seconds)
        if path == PROXIED:
            async with self._nginx() as (port, _):
                measured = await ground.run(msgspec.structs.replace(plan, port=port), self._run)
        else:
            measured = await ground.run(plan, self._run)
        await self._note(path, measured, connections=kept.connections, validated_per_s=kept.validated_per_s)
        self.value(path, measured.result.per_second)
        self._cpu(path, measured)
        self._share(path, measured, kept.source)
        return told(measured, CPU)

    async def _static(self) -> str:
        """What nginx does when it has nothing to do: the requests and the bytes of `P1.memory`, one answer to all."""
        options, ground = self.options, self.ground
        kept = KEPT_PATHS[MEMORY]
        plan = ground.plan(ground.checks(self.hot, kept.source), kept.connections, options.warm_s, options.seconds)
        async with self._nginx() as (_, port):
            (measured,) = await ground.measure(msgspec.structs.replace(plan, port=port), run=self._run)
        if measured.result.refused:
            raise LoadFailed(f"nginx did not answer with its body: {measured.result.refused}")
        self.note(STATIC, {"connections": kept.connections, **measured.to_json("request")})
        self.value(STATIC, measured.result.per_second)
        return told(measured, CPU)

    @asynccontextmanager
    async def _nginx(self) -> AsyncIterator[tuple[int, int]]:
        """nginx beside the service: the ports at which it hands requests on, and answers one body to them all."""
        ground = self.ground
        home, ports = ground.stack.home, find_free(2)
        nginx = Nginx(
            home.path / "nginx",
            home.log("nginx"),
            upstream=ground.stack.ports.eligibility,
            proxy_port=ports[0],
            static_port=ports[1],
            body=STATIC_BODY,
        )
        try:
            await nginx.start()
            ground.beside["nginx"] = nginx.process
            yield ports[0], ports[1]
        finally:
            ground.beside.pop("nginx", None)
            await nginx.stop()

    async def _without_valkey(self) -> str:
        """Memory alone, while nobody could say what to forget; first in a closed loop, then at a constant rate."""
        options, ground = self.options, self.ground
        await ground.start(PROCESSES, assessment_ttl_ms=TTL_MS, assessments_in_memory=HOT_MAX)
        await ground.fill(self.down, "memory")
        await ground.valkey.stop()
        checks = ground.checks(self.down, "memory", any_source=True)
        warm_s = options.warm_s + NOTICE_S
        measured = await ground.run(ground.plan(checks, DOWN_CONNECTIONS, warm_s, options.seconds))
        opened = await ground.run(self._open_plan(checks))
        await self._note(DOWN, measured, connections=DOWN_CONNECTIONS, open=opened.to_json("request"))
        self.value(DOWN, measured.result.per_second)
        self.latency(DOWN, opened)
        self._share(DOWN, measured, "memory")
        return told(measured, CPU)

    async def _misses(self, path: str) -> str:
        """Customers are asked about in turn; by the time that one comes again, the answer has been forgotten."""
        options, ground = self.options, self.ground
        await ground.start(PROCESSES, assessment_ttl_ms=MISS_TTL_MS, assessments_in_memory=options.customers)
        if path == FIRST:
            plan = await self._first_plan()
        else:
            await ground.ask_each(self.hot)  # so that how they stand is known here, as it is of whoever comes back
            checks = ground.checks(self.hot, "fresh")
            closed = ground.plan(checks, MISS_CONNECTIONS, options.warm_s, options.seconds)
            plan = closed if path == MISS else self._open_plan(checks)
        measured = await ground.run(plan)
        await self._note(path, measured, connections=MISS_CONNECTIONS)
        if path == OPEN:
            self.latency(path, measured, whole=True)
        else:
            self.value(path, measured.result.per_second)
            self._cpu(path, measured)
            self._share(path, measured, "fresh")
        return told(measured, CPU)

    async def _first_plan(self) -> Plan:
        """Each customer at most once, and nobody has been asked about: but by as few as warm the service up."""
        ground, customers = self.ground, self.options.customers
        await ground.ask_each(min(WARMING, customers))
        await ground.forget_standings()
        checks = ground.checks(customers, "fresh")
        return ground.plan(checks, MISS_CONNECTIONS, 0.0, self.options.seconds, items_max=customers)

    def _open_plan(self, checks: Checks) -> Plan:
        """Half of what is owed of misses, at a constant rate."""
        options = self.options
        return self.ground.plan(checks, MISS_CONNECTIONS, options.warm_s, options.seconds, rate=MISS_FLOOR / 2)

    async def _kept(self) -> str:
        """What an answer about each customer takes, of the service's memory and of Valkey's."""
        ground, customers = self.ground, self.options.customers
        await ground.start(assessment_ttl_ms=TTL_MS, assessments_in_memory=customers)
        empty, (used, keys) = ground.rss_bytes(), await ground.valkey.holds()
        await ground.ask_each(customers)
        rss, (used_after, keys_after) = ground.rss_bytes(), await ground.valkey.holds()
        broken = await ground.check()
        each = (used_after - used) / max(1, keys_after - keys)
        self.value(f"{KEPT}.rss", rss / 1e6)
        self.value(f"{KEPT}.rss.empty", empty / 1e6)
        self.value(f"{KEPT}.valkey", each)
        self.note(
            KEPT,
            {"customers": customers, "rss_bytes": rss, "rss_empty_bytes": empty, "valkey_keys": keys_after - keys}
            | {"valkey_bytes": used_after - used, "invariants": broken},
        )
        return f"{rss / 1e6:>9,.0f} MB, {empty / 1e6:,.0f} of them before; {each:,.0f} bytes a customer in Valkey"

    async def _note(self, path: str, measured: Measured, **more: Any) -> None:
        broken = await self.ground.check()
        self.note(path, {**more, **measured.to_json("request"), "invariants": broken})

    def _cpu(self, path: str, measured: Measured) -> None:
        self.cpu(path, measured, CPU_TOLD[path])
        inside = [name for name in CPU if name != "nginx"]
        if all(name in measured.cpu_us for name in inside):
            self.value(f"{path}.cpu.total", sum(measured.cpu_us[name] for name in inside))

    def _share(self, path: str, measured: Measured, source: Source) -> None:
        """Of all good answers, those that came from where they should."""
        sources = measured.result.sources
        self.value(f"{path}.share", sources.get(source, 0) / max(1, sum(sources.values())))
