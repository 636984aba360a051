"""Measuring in rounds: every path once in each, so that a machine that gets slower or faster does so for all of them.

A figure is the median of the rounds.
"""

import time
from abc import ABC, abstractmethod
from typing import Any

from rich.console import Console

from amana.bench.machine import describe_machine, package_versions
from amana.bench.progress import Gauge
from amana.bench.report import Figure, Report, refusals
from amana.bench.site import Measured, Site


class Rounds(ABC):
    """The rounds of one bench: `values` of each figure, one a round, and `runs` as they were taken."""

    def __init__(self, console: Console, paths: list[str], rounds: int, step_s: float) -> None:
        self.console = console
        self.paths = paths
        self.values: dict[str, list[float]] = {}
        self.runs: list[dict[str, Any]] = []
        self.round = 0
        self._begun = time.monotonic()
        self._rounds = rounds
        self._step_s = step_s

    @abstractmethod
    async def step(self, path: str) -> str:
        """Measures one path; the line to show."""

    async def run(self) -> None:
        """All rounds, with a line for each measurement."""
        total, done = self._rounds * len(self.paths), 0
        self.console.print(f"{total} measurements, about {total * self._step_s / 60:.1f} minutes")
        with Gauge(self.console, "Measuring", total) as gauge:
            for number in range(1, self._rounds + 1):
                self.round = number
                for path in self.paths:
                    gauge.say(f"{number}/{self._rounds}  {path:<28} {await self.step(path)}")
                    gauge.at(done := done + 1)

    async def report(self, bench: str, site: Site, figures: list[Figure], configuration: dict[str, Any]) -> Report:
        """What to publish. `configuration` holds the options, with the seed, and what else a figure depends on."""
        settings = await site.server_settings()
        server = site.stack.settings
        return Report(
            bench=bench,
            figures=figures,
            machine=describe_machine(),
            versions=package_versions() | {"postgres": settings["server_version"]},
            configuration={
                "postgres": settings,
                "pool_connections": server.pool_connections,
                "log_level": server.log_level,
                **configuration,
            },
            seed=configuration["seed"],
            seconds=round(time.monotonic() - self._begun, 1),
            invariants=site.invariants,
            runs=self.runs,
            refused=refusals(settings, site.invariants),
        )

    def value(self, path: str, value: float) -> None:
        """What a figure is in this round."""
        self.values.setdefault(path, []).append(value)

    def latency(self, path: str, measured: Measured, *, whole: bool = False) -> None:
        """The middle and the 99th percentile; with `whole` also what is above."""
        for name in ("p50_ms", "p99_ms", "p999_ms", "max_ms") if whole else ("p50_ms", "p99_ms"):
            self.value(f"{path}.{name.removesuffix('_ms')}", getattr(measured.result.latency, name))

    def cpu(self, path: str, measured: Measured, names: tuple[str, ...]) -> None:
        """CPU for each item, of those servers that can be looked at."""
        for name in names:
            if name in measured.cpu_us:
                self.value(f"{path}.cpu.{name}", measured.cpu_us[name])

    def note(self, path: str, told: dict[str, Any]) -> None:
        """A measurement as it was taken."""
        self.runs.append({"path": path, "round": self.round, **told})


def told(measured: Measured, names: tuple[str, ...]) -> str:
    """A measurement in a line."""
    result = measured.result
    line = f"{result.per_second:>9,.0f}/s  p50 {result.latency.p50_ms:,.1f}  p99 {result.latency.p99_ms:,.1f} ms  CPU "
    line += ", ".join(f"{name} {measured.cpu_us[name]}" for name in names if name in measured.cpu_us)
    return f"{line} µs" + (f"  refused {result.refused}" if result.refused else "")


def path_unknown(only: tuple[str, ...], paths: tuple[str, ...]) -> str:
    """The first of `only` that no path begins with; empty when there is none."""
    return next((one for one in only if not any(path.startswith(one) for path in paths)), "")
