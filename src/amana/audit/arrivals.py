"""Who waits for new leaves is told of those that this process stored, and need not ask the database all the time.

What another process stores is found by looking, so nothing depends on being told.
"""

import asyncio
from collections import defaultdict


class Arrivals:
    """Of one process, by stream. A bell stays rung until its owner clears it."""

    def __init__(self) -> None:
        self._bells: dict[str, list[asyncio.Event]] = defaultdict(list)

    def bell(self, stream: str) -> asyncio.Event:
        """A new bell, which every arrival in the stream rings."""
        bell = asyncio.Event()
        self._bells[stream].append(bell)
        return bell

    def ring(self, stream: str) -> None:
        """Leaves of the stream are committed."""
        for bell in self._bells[stream]:
            bell.set()

    def ring_all(self) -> None:
        """Nobody is to wait any longer."""
        for stream in list(self._bells):
            self.ring(stream)
