"""Faults at random moments, each kind as often as the others; which and when follows from the seed."""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random

from tests.chaos.site import Ledger, Site

DEAD_MAX_S = 0.4
PAUSED_S = (2.2, 3.2)
"""Longer than the server lets a batch hold its locks."""


class Storm:
    """What happens to a site under load."""

    def __init__(self, site: Site, ledgers: list[Ledger], random: Random, gap_max_s: float) -> None:
        self._site = site
        self._ledgers = ledgers
        self._random = random
        self._gap_max_s = gap_max_s
        self.counts: Counter[str] = Counter()
        self._faults: dict[str, Callable[[], Awaitable[object]]] = {
            "kill -9 of the service": self._kill_service,
            "immediate shutdown of PostgreSQL": lambda: site.crash_postgres(signal.SIGQUIT),
            "kill -9 of PostgreSQL": lambda: site.crash_postgres(signal.SIGKILL),
            "kill -9 of a session": lambda: site.kill_backend(random.randrange(100)),
            "kill -9 of both": self._kill_both,
            "pause of the service": self._pause_service,
        }

    async def run(self, seconds: float) -> None:
        """At least every kind once, and on until the time is over."""
        until_s = time.monotonic() + seconds
        while not self.counts or time.monotonic() < until_s:
            for name in self._random.sample(list(self._faults), len(self._faults)):
                await asyncio.sleep(self._random.uniform(0.1, self._gap_max_s))
                await self._faults[name]()
                self.counts[name] += 1
        await asyncio.sleep(self._gap_max_s)

    async def _kill_service(self) -> None:
        ledger = self._random.choice(self._ledgers)
        await ledger.kill()
        await asyncio.sleep(self._random.uniform(0, DEAD_MAX_S))
        await ledger.start()

    async def _kill_both(self) -> None:
        ledger = self._random.choice(self._ledgers)
        ledger.signal(signal.SIGKILL)
        await self._site.crash_postgres(self._random.choice([signal.SIGQUIT, signal.SIGKILL]))
        await ledger.start()

    async def _pause_service(self) -> None:
        ledger = self._random.choice(self._ledgers)
        ledger.signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(self._random.uniform(*PAUSED_S))
        finally:
            ledger.signal(signal.SIGCONT)
