"""What a person sees of a replay: how far it is, and what came of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table

from amana.audit.findings import Progress
from amana.operate.leaves_bar import LeavesBar
from amana.operate.replay.result import Replayed

SHOWN_MAX = 50
"""Differences that are printed; the report has them all."""


class Telling:
    """Says what a replay is at; `quiet` says nothing, for those who print their own."""

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        self._console = console
        self._quiet = quiet

    @contextmanager
    def folding(self, stream: str, start: int, end: int) -> Iterator[Callable[[int], None]]:
        """A bar from one position to another, or a line for each tenth; gives what tells it how far it is."""
        tenths = 0
        bar = Bars(
            *(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}")),
            *(TimeElapsedColumn(), TimeRemainingColumn()),
            console=self._console,
            disable=self._quiet or not self._console.is_terminal or end - start < 1,
        )
        task = bar.add_task(f"Replaying {stream}", total=max(1, end - start), rate="")

        def done(position: int) -> None:
            nonlocal tenths
            reached = (position - start) * 10 // max(1, end - start)
            if reached > tenths and not self._quiet and not self._console.is_terminal:
                tenths = reached
                self._console.print(f"  Replaying {stream}: {tenths * 10} %")
            speed = bar.tasks[0].speed
            bar.update(task, completed=position - start, rate="" if speed is None else f"{speed:,.0f} events/s")

        with bar:
            yield done

    @contextmanager
    def verifying(self) -> Iterator[Progress | None]:
        """A bar for each stream of an export that is verified; gives what tells it how far that is."""
        if self._quiet:
            yield None
            return
        with LeavesBar("verified") as bar:
            yield bar.at

    def copying(self, table: str) -> None:
        """A live table is being read."""
        self._say(f"Reading {table} as it stands")

    def comparing(self, table: str) -> None:
        """A table is being compared."""
        self._say(f"Comparing {table}")

    def _say(self, line: str) -> None:
        if not self._quiet and self._console.is_terminal:
            self._console.print(f"[dim]{line}")


def tell(console: Console, result: Replayed) -> None:
    """Prints what came of it: a line for each table, then each difference."""
    console.print(_compared(result) if result.compared else _rebuilt(result))
    for difference in result.differences[:SHOWN_MAX]:
        console.print(difference.told(), markup=False, soft_wrap=True)
    for stream, differs in result.differences_of_roots.items():
        console.print(f"{stream}: the log is not the one that was signed: {differs}", markup=False, soft_wrap=True)
    if len(result.differences) > SHOWN_MAX:
        console.print(f"... and {len(result.differences) - SHOWN_MAX:,} more in the report")
    for stream, position in result.positions.items():
        tail = result.tails.get(stream, 0)
        more = f" and {tail:,} events that have none yet" if tail else ""
        later = result.later.get(stream, 0)
        more = f", {later:,} of them after the export, from the outboxes{more}" if later else more
        console.print(f"{stream}: up to position {position:,}{more}; root {result.roots[stream]}", soft_wrap=True)
    _tell_end(console, result)


def _compared(result: Replayed) -> Table:
    table = Table("Table", "Rows", "Differ", title="The log against the live tables", min_width=60)
    for name, differing in result.tables.items():
        rows = result.live.get(name)
        table.add_row(name, "-" if rows is None else f"{rows:,}", f"[red]{differing:,}" if differing else "0")
    return table


def _rebuilt(result: Replayed) -> Table:
    table = Table("Table", "Rows", title="What the log comes to", min_width=60)
    for name, rows in result.rebuilt.items():
        table.add_row(name, f"{rows:,}")
    return table


def _tell_end(console: Console, result: Replayed) -> None:
    for row in result.totals:
        counters = f"debits {row['debits']:,} + {row['debits_pending']:,} held"
        counters += f", credits {row['credits']:,} + {row['credits_pending']:,} held"
        accounts = f"tenant {row['tenant']}, {row['currency']} {row['code']}: {row['accounts']:,} accounts"
        console.print(f"{accounts}, {counters}", markup=False, soft_wrap=True)
    if result.until is not None:
        against = ": compared with what the ledger's transfers say of then" if result.compared else ""
        console.print(f"As it stood just before {result.until}{against}")
    if result.schema:
        console.print(f"Kept in schema {result.schema}", soft_wrap=True)
    if result.snapshot:
        console.print(f"Snapshot sha256 {result.snapshot}", soft_wrap=True)
    rate = f"{result.events:,} events at {result.events_per_s:,} a second, {result.seconds:g} s in all"
    verdict = "[green]0 differences[/]" if result.ok else f"[red]{result.differing:,} differences[/]"
    if not result.compared:
        verdict += " within the log, compared with nothing else"
    console.print(f"Replayed {rate}: {verdict}", soft_wrap=True)
