"""Reads the leaves of a stream ahead of the check, in runs of one size; many leaves in processes beside it."""

import asyncio
import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from types import TracebackType
from typing import Self, TypeVar

from amana.audit.findings import Scan

RUN_LEAVES = 8_192
"""Leaves in one run, and so what a process works on at a time: some 6 MB of events. A multiple of a tile's 256."""
RUNS_AHEAD_PER_WORKER = 2
WORKERS_FROM_LEAVES = 100_000
"""Fewer are read in this process: starting others takes a second."""
WORKERS_MAX = 16

T = TypeVar("T")


class Workers:
    """Processes that read. None for few leaves; else as many as there are cores, and they end with this one."""

    def __init__(self, leaves: int) -> None:
        cores = min(len(os.sched_getaffinity(0)), WORKERS_MAX)
        self.count = cores if leaves >= WORKERS_FROM_LEAVES and cores > 1 else 0
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        if self.count:
            # Not forked: a copy of a process with threads and an event loop is neither.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.count, mp_context=context, initializer=_end_with_parent)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    async def run(self, work: Callable[..., T], *arguments: object) -> T:
        """What `work` gives in one of the processes."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)


class Ahead:
    """Gives out leaves in order from runs that `read` has read, or is reading, ahead of being asked for them."""

    def __init__(self, read: Callable[[int, int], Awaitable[Scan]], workers: int, leaves: int) -> None:
        self._read = read
        self._runs_max = max(1, workers * RUNS_AHEAD_PER_WORKER)
        self._leaves = leaves
        self._runs: deque[asyncio.Task[Scan]] = deque()
        self._next_run = 0
        self._held = Scan([])
        self._at = 0

    async def take(self, start: int, stop: int) -> Scan:
        """The leaves from `start` to before `stop`; `start` is where the last ones ended."""
        assert start == self._at, "leaves are taken in order"
        while len(self._held.hashes) < stop - start and self._held.gap is None:
            self._held.add(await self._run())
        held, count = self._held, min(stop - start, len(self._held.hashes))
        taken = Scan(held.hashes[:count])
        self._at += count
        if held.odd and held.odd.position < self._at:
            taken.odd, held.odd = held.odd, None
        if held.gap and held.gap.position < stop:
            taken.gap = held.gap
        del held.hashes[:count]
        return taken

    async def _run(self) -> Scan:
        """The next run, with those behind it under way."""
        while not self._runs or (len(self._runs) < self._runs_max and self._next_run < self._leaves):
            self._runs.append(asyncio.create_task(self._started(self._next_run)))
            self._next_run += RUN_LEAVES
        return await self._runs.popleft()

    async def _started(self, start: int) -> Scan:
        return await self._read(start, start + RUN_LEAVES)

    async def close(self) -> None:
        """Gives up what is under way."""
        for run in self._runs:
            run.cancel()
        await asyncio.gather(*self._runs, return_exceptions=True)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent, "not a worker"

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
