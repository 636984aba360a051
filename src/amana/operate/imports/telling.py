"""What a person sees of an import: how far it is, and what came of it."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from amana.domain.lending import business_date
from amana.infra import clock
from amana.operate.imports.journal import MALFORMED, State
from amana.operate.imports.lists import Fault, Item
from amana.operate.imports.options import STDIN, Options

SHOWN_MAX = 5
"""Lines that were not tried that are told as they come; the file of refused lines has them all."""


class Bar:
    """How far the file is, by its bytes; where no bar can be drawn, a line for each tenth."""

    def __init__(self, console: Console, options: Options, title: str) -> None:
        self._total = None if options.file == STDIN else max(1, Path(options.file).stat().st_size)
        self.progress = Progress(
            *(TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[told]}")),
            *(TimeElapsedColumn(), TimeRemainingColumn()),
            console=console,
            disable=not console.is_terminal,
        )
        self._title = title
        self._task = self.progress.add_task(title, total=self._total, told="")
        self._tenths = 0
        self._shown = 0

    def at(self, state: State, faults: list[Fault]) -> None:
        """A list is done, but for these lines of it."""
        self._show(faults)
        told = f"{state.mark.line:,} lines"
        if not_posted := state.counts.get(MALFORMED, 0) + sum(state.refused.values()):
            told += f", {not_posted:,} not posted"
        self.progress.update(self._task, completed=state.mark.bytes, told=told)
        tenths = state.mark.bytes * 10 // self._total if self._total else 0
        if tenths > self._tenths and self.progress.disable:
            self._tenths = tenths
            self._say(f"  {self._title}: {tenths * 10} %, {told}")

    def _show(self, faults: list[Fault]) -> None:
        for fault in faults[: SHOWN_MAX - self._shown]:
            self._shown += 1
            for error in fault.errors[:1]:
                self._say(f"line {fault.line}: {error.pointer.removeprefix('/')} {error.detail}")

    def _say(self, line: str) -> None:
        self.progress.console.print(line, markup=False, soft_wrap=True)


class Dates:
    """What a dry run can't check: whether the key may send business dates other than the day's."""

    def __init__(self) -> None:
        self.past = self.today = 0

    def note(self, items: list[Item]) -> None:
        """Counts the lines that name a business date."""
        today = business_date(clock.now())
        for item in items:
            self.past += item.effective_on is not None and item.effective_on < today
            self.today += item.effective_on == today

    def tell(self, console: Console) -> dict[str, Any]:
        """Says what may become of them, and the same as JSON."""
        if self.past:
            console.print(
                f"{self.past:,} lines name an effective_on that is over: without the scope tape:import they will be "
                "refused, unless they were posted on that day",
                soft_wrap=True,
            )
        if self.today:
            console.print(f"{self.today:,} lines name today: what is sent after midnight needs the scope tape:import")
        return {"past_dates": self.past, "dated_today": self.today}


def tell(console: Console, state: State, refused_file: Path) -> dict[str, Any]:
    """Prints what came of the lines, and the same as JSON."""
    table = Table("What came of it", "Lines", title=f"{state.mark.line:,} lines read")
    for outcome, count in sorted(state.counts.items()):
        table.add_row(outcome, f"{count:,}")
    for reason, count in sorted(state.refused.items()):
        table.add_row(f"refused: {reason}", f"{count:,}")
    console.print(table)
    if state.is_all_well:
        refused_file.unlink(missing_ok=True)
    else:
        console.print(f"Line by line: {escape(str(refused_file))}", soft_wrap=True)
    return {
        "import_id": state.import_id,
        "lines": state.mark.line,
        "counts": state.counts,
        "refused": state.refused,
        "ok": state.is_all_well,
    }
