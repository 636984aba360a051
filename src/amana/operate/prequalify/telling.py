"""What a person sees of a prequalification: how far it is, and what came of it."""

from collections import Counter
from datetime import datetime
from typing import Any

import msgspec
import polars as pl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from amana.operate.prequalify.warming import APPROVE

REASONS_SHOWN_MAX = 6


class Bar:
    """How many are done and how many a second; where no bar can be drawn, a line for each tenth."""

    def __init__(self, console: Console, title: str, total: int) -> None:
        self.progress = Progress(
            *(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}")),
            *(TimeElapsedColumn(), TimeRemainingColumn()),
            console=console,
            disable=not console.is_terminal,
        )
        self._title = title
        self._total = max(1, total)
        self._task = self.progress.add_task(title, total=self._total, rate="")
        self._tenths = 0

    def at(self, done: int) -> None:
        """So many are done."""
        speed = self.progress.tasks[self._task].speed
        self.progress.update(self._task, completed=done, rate="" if speed is None else f"{speed:,.0f}/s")
        tenths = min(10, done * 10 // self._total)
        if self.progress.disable and tenths > self._tenths:
            self._tenths = tenths
            self.progress.console.print(f"  {self._title}: {tenths * 10} %", highlight=False)


class Tally(msgspec.Struct):
    """What the rows say, counted: outcomes, reasons, the sum of what could be offered in minor units."""

    customers: int = 0
    outcomes: Counter[str] = msgspec.field(default_factory=Counter)
    reasons: Counter[str] = msgspec.field(default_factory=Counter)
    offered: int = 0
    first_as_of: datetime | None = None
    last_as_of: datetime | None = None

    def add(self, rows: pl.DataFrame, as_of: datetime) -> None:
        """Counts the rows of a page."""
        self.customers += rows.height
        self.outcomes.update(rows["outcome"])
        self.reasons.update(rows["reasons"].explode(empty_as_null=False))
        self.offered += int(rows.filter(pl.col("outcome") == APPROVE)["limit"].sum())
        self.first_as_of = self.first_as_of or as_of
        self.last_as_of = as_of


def tell(console: Console, report: dict[str, Any]) -> None:
    """Prints what came of it."""
    policy = report["policy"]
    table = Table(show_header=False, title="What could be offered", min_width=60)
    table.add_row("Policy", f"{policy['product']} version {policy['version']}, {policy['hash'][:12]}")
    table.add_row("As of", f"{report['as_of']['first']} to {report['as_of']['last']}")
    for outcome, count in report["outcomes"].items():
        table.add_row(f"Customers: {outcome}", f"{count:,}")
    reasons = list(report["reasons"].items())[:REASONS_SHOWN_MAX]
    table.add_row("Reasons, most frequent", ", ".join(f"{code} {count:,}" for code, count in reasons))
    table.add_row("Limits of the approved", f"{report['offered']:,} {policy['currency']} minor units")
    table.add_row("Customers a second", f"{report['customers_per_s']:,} in {report['seconds']} s")
    table.add_row("Decisions of the table", f"{report['table']['decisions_per_s']:,} a second")
    if warmed := report["warmed"]:
        outcomes = ", ".join(f"{count:,} {outcome}" for outcome, count in warmed["outcomes"].items())
        refused = "".join(f", {count:,} refused: {code}" for code, count in warmed["refused"].items())
        table.add_row("Checks of --warm", f"{outcomes or 'none'}{refused} in {warmed['seconds']} s")
    console.print(table)
    console.print(f"Advice and no offer, as of then: {report['file']}", markup=False, soft_wrap=True)
