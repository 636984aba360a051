"""A report of figures: what `amana bench` writes as JSON and prints as a table.

Nothing is published of a run that was not durable or broke an invariant: the report then has no figures, `refused` says
why, and the command ends with exit code 1.
"""

from collections.abc import Mapping
from statistics import median
from typing import Any, Literal

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

DURABLE = ("fsync", "synchronous_commit", "full_page_writes")
"""Settings of PostgreSQL without which a commit may be lost."""


class Peer(msgspec.Struct, frozen=True):
    """The same figure of something else; its name says when it was not measured in this run."""

    name: str
    value: float


class Figure(msgspec.Struct, kw_only=True):
    """A figure: the median of `values`. `path` begins with the number of its budget.

    `floor` must hold and `aim` is wanted: least values where more is better, greatest where less is.
    """

    path: str
    value: float
    unit: str
    better: Literal["higher", "lower"] = "higher"
    floor: float | None = None
    aim: float | None = None
    peers: list[Peer] = []
    values: list[float] = []

    @property
    def holds(self) -> bool | None:
        """Whether the floor holds; None without one."""
        if self.floor is None:
            return None
        return self.value >= self.floor if self.better == "higher" else self.value <= self.floor


class Report(msgspec.Struct, kw_only=True):
    """Everything that somebody who wants to repeat or doubt a figure asks for."""

    bench: str
    figures: list[Figure]
    machine: dict[str, Any]
    versions: dict[str, str]
    configuration: dict[str, Any]
    seed: int
    seconds: float
    invariants: dict[str, int]
    """How often each was broken, over all checks."""
    runs: list[dict[str, Any]]
    """Each measurement as it was taken, in order."""
    refused: list[str] = []
    """Why no figure is published; empty when they are."""

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        content: dict[str, Any] = msgspec.to_builtins(self)
        return content


def figure(path: str, values: list[float], unit: str, **more: Any) -> Figure:
    """A `Figure` from what each run gave."""
    rounded = [significant(value) for value in values]
    return Figure(path=path, value=significant(median(values)), unit=unit, values=rounded, **more)


def significant(value: float) -> float:
    """To four digits: no run repeats more of them."""
    return float(f"{value:.4g}")


def refusals(settings: Mapping[str, str], invariants: Mapping[str, int]) -> list[str]:
    """Why figures taken with these server settings and these counts of breaks may not be published.

    `settings` are empty where no server ran.
    """
    lax = [f"PostgreSQL runs with {name} = {settings[name]}" for name in DURABLE if settings.get(name) == "off"]
    return lax + [f"{name}: broken {count} times" for name, count in invariants.items() if count]


def publish(report: Report, console: Console) -> tuple[dict[str, Any], bool]:
    """Prints the report; its JSON values, without figures when it is refused, and whether it is not."""
    if report.refused:
        report.figures = []
        for reason in report.refused:
            console.print(f"[red]No figure is published: {reason}")
    else:
        machine = report.machine
        console.print(f"{machine['cores']} cores, {machine['cpu']}; value is the median of the runs")
        console.print(as_table(report))
        for peer, paths in peers_of(report).items():
            console.print(f"{_told(peer.value):>8}  {peer.name}, beside {', '.join(paths)}", soft_wrap=True)
    return report.to_json(), not report.refused


def as_table(report: Report) -> Table:
    """The figures, one a row; what misses its floor in red."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("path", overflow="fold")
    for column in ("value", "unit", "owed, wanted", "least to most"):
        table.add_column(column, justify="left" if column == "unit" else "right", no_wrap=True)
    for one in report.figures:
        colour = {True: "green", False: "red", None: "default"}[one.holds]
        bounds = [_told(bound) for bound in (one.floor, one.aim) if bound is not None]
        table.add_row(
            one.path,
            f"[{colour}]{_told(one.value)}",
            one.unit,
            ("≥ " if one.better == "higher" else "≤ ") + ", ".join(bounds) if bounds else "",
            f"{_told(min(one.values))} to {_told(max(one.values))}",
        )
    return table


def peers_of(report: Report) -> dict[Peer, list[str]]:
    """Each peer with the paths of the figures that it stands beside."""
    found: dict[Peer, list[str]] = {}
    for one in report.figures:
        for peer in one.peers:
            found.setdefault(peer, []).append(one.path)
    return found


def _told(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
