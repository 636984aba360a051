"""How far a bench is: a bar with the time that is left where a bar can be drawn, and lines above it."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

ESTIMATE_WINDOW_S = 600.0
"""The time that is left is judged by the last ten minutes."""


class Gauge:
    """`with Gauge(console, title, total) as gauge: gauge.at(done)`. With `spoken`, a line for each tenth stands in
    for the bar where none can be drawn."""

    def __init__(self, console: Console, title: str, total: int, *, spoken: bool = False) -> None:
        self._bar = Progress(
            *(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()),
            *(TimeElapsedColumn(), TimeRemainingColumn()),
            console=console,
            disable=not console.is_terminal,
            speed_estimate_period=ESTIMATE_WINDOW_S,
        )
        self._task = self._bar.add_task(title, total=total)
        self._title = title
        self._total = total
        self._spoken = spoken and not console.is_terminal
        self._tenths = 0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def at(self, done: int) -> None:
        """So many are done."""
        self._bar.update(self._task, completed=done)
        if self._spoken and done * 10 // self._total > self._tenths:
            self._tenths = done * 10 // self._total
            self.say(f"  {self._title}: {self._tenths * 10} %")

    def say(self, line: str) -> None:
        """A line of its own, never wrapped."""
        self._bar.console.print(line, markup=False, soft_wrap=True)
