"""How far a walk over the audit log is."""

from types import TracebackType
from typing import Self

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from amana.operate.terminal import console, say

SPOKEN_FROM_LEAVES = 100_000
"""A shorter walk needs no lines where no bar can be drawn."""


class LeavesBar:
    """How many leaves of each stream are done; where no bar can be drawn, a line for each tenth of a long one."""

    def __init__(self, done: str) -> None:
        self._done = done
        self._progress = Progress(
            *(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()),
            *(TimeElapsedColumn(), TimeRemainingColumn()),
            console=console(),
            disable=not console().is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._tenths: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def at(self, stream: str, done: int, total: int) -> None:
        """So many leaves are done."""
        if stream not in self._tasks:
            self._tasks[stream] = self._progress.add_task(f"{stream}, leaves {self._done}", total=total)
        self._progress.update(self._tasks[stream], completed=done, total=total)
        tenths = done * 10 // total
        if not console().is_terminal and total >= SPOKEN_FROM_LEAVES and tenths > self._tenths.get(stream, 0):
            self._tenths[stream] = tenths
            say(f"  {stream}: {tenths * 10} % {self._done}")
