"""Builds the search index behind the log: a stream's leaves, in order, up to the first gap.

One step reads a run of leaves, works out their rows in a thread, and writes them with the new mark in one transaction
under the lock of the stream's row. So each leaf is indexed once, whoever does it and however often it is killed; and
sealing, which shares nothing with it but the server, never waits for it. Two round trips for the leaves, four or five
to write.
"""

import asyncio
import time

from amana.audit.index_store import Index
from amana.audit.postings import Built, build_postings
from amana.infra.postgres import DatabaseUnavailable

STEP_LEAVES_MAX = 1_024
"""Leaves in one step: some 25 ms of a thread, and a transaction of about 100 ms."""
STEP_LEAVES_MIN = 32
"""Where the server is so slow that a step takes longer than a transaction may, steps get smaller down to this."""


class Indexer:
    """Indexes one stream."""

    def __init__(self, stream: str, index: Index) -> None:
        self.stream = stream
        self.size = 0
        """How many leaves are indexed, as of the last step."""
        self.is_behind = False
        """The last step was full: there are probably more."""
        self.took_s = 0.0
        """How long the last step took a thread of this process: who has more to do leaves it to others as long."""
        self._index = index
        self._limit = STEP_LEAVES_MAX

    async def step(self) -> int:
        """Indexes what comes next. Returns how many leaves; 0 when nothing does, or another process was quicker.

        Raises `DatabaseUnavailable`.
        """
        start, bodies = await self._read()
        self.size = start
        self.is_behind = len(bodies) == self._limit
        if not bodies:
            return 0
        begun_s = time.monotonic()
        built = await asyncio.to_thread(build_postings, self.stream, start, bodies)
        self.took_s = time.monotonic() - begun_s
        try:
            written = await self._write(start, start + len(bodies), built)
        except DatabaseUnavailable:
            self._limit = max(STEP_LEAVES_MIN, self._limit // 2)
            raise
        self._limit = min(STEP_LEAVES_MAX, self._limit * 2)
        if not written:
            return 0
        self.size = start + len(bodies)
        return len(bodies)

    async def _read(self) -> tuple[int, list[bytes]]:
        async with self._index.rows() as rows:
            start = (await rows.indexed_to([self.stream]))[self.stream].size
            return start, await rows.bodies_from(self.stream, start, self._limit)

    async def _write(self, start: int, stop: int, built: Built) -> bool:
        """Whether the rows were written: not when the mark has moved meanwhile."""
        async with self._index.transaction() as rows:
            if start == 0:
                await rows.open_indexing(self.stream)
            if await rows.lock_indexing(self.stream) != start:
                return False
            for span in built.segments:
                await rows.make_postings(span.number)
            await rows.add_postings(built.postings)
            await rows.widen_segments(built.segments)
            await rows.widen_blocks(built.blocks)
            await rows.note_indexed(self.stream, stop)
        return True
