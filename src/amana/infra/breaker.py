"""When to try again: jittered backoff, a circuit breaker on top of it, and a pause that can be cut short.

Times are seconds on the monotonic clock.
"""

import asyncio
import random
import time
from enum import IntEnum

BACKOFF_FIRST_S = 0.1
BACKOFF_MAX_S = 5.0


class Backoff:
    """Waits that double from `first_s` to `max_s`, each between half and the whole, until `reset`."""

    def __init__(self, first_s: float = BACKOFF_FIRST_S, max_s: float = BACKOFF_MAX_S) -> None:
        self._first_s = first_s
        self._max_s = max_s
        self._next_s = first_s

    def next_s(self) -> float:
        """How long to wait now."""
        wait_s = self._next_s
        self._next_s = min(self._max_s, wait_s * 2)
        return wait_s * random.uniform(0.5, 1.0)  # noqa: S311 (jitter is no secret)

    def reset(self) -> None:
        """It worked: begin again with the shortest wait."""
        self._next_s = self._first_s


class State(IntEnum):
    """As the gauge shows it."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class Breaker:
    """Opens at the first failure (whoever calls has retried inside), lets one try through after each backoff."""

    def __init__(self, backoff: Backoff | None = None) -> None:
        self._backoff = backoff or Backoff()
        self._failed = False
        self._open_until = 0.0

    @property
    def state(self) -> State:
        """Closed: all is well. Open: don't try. Half open: the next try decides."""
        if not self._failed:
            return State.CLOSED
        return State.OPEN if self.wait_s() > 0 else State.HALF_OPEN

    def wait_s(self) -> float:
        """How long not to try; 0 when a try is allowed."""
        return max(0.0, self._open_until - time.monotonic()) if self._failed else 0.0

    def failed(self) -> None:
        """It did not work: open, for longer than last time."""
        self._failed = True
        self._open_until = time.monotonic() + self._backoff.next_s()

    def worked(self) -> None:
        """It worked: close."""
        self._failed = False
        self._backoff.reset()


async def pause(seconds: float, stop: asyncio.Event) -> None:
    """Sleep, but not past `stop`."""
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
