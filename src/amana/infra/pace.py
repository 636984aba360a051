"""How long a loop rests between two bits of work, so that on a busy machine these are fewer and fuller.

Each bit costs something whatever it does: round trips, a commit, a message to the next in the chain, which begins a bit
of its own for it. A loop that rests for a fixed time takes more of the machine the slower this gets.
"""

import time
from collections.abc import Callable

REST_FOR_WORK = 4.0
"""Seconds of rest for one of work: a loop works a fifth of the time, where its bounds allow that."""


class Pace:
    """Rests of `least_s` to `most_s` seconds, by what the work took that they follow."""

    def __init__(self, least_s: float, most_s: float, clock_s: Callable[[], float] = time.monotonic) -> None:
        assert 0 <= least_s <= most_s, f"rests of {least_s} to {most_s} s"
        self._least_s = least_s
        self._most_s = most_s
        self._clock_s = clock_s
        self._begun_s: float | None = None

    def begin(self) -> None:
        """A bit of work begins."""
        self._begun_s = self._clock_s()

    def rest_s(self) -> float:
        """How long to rest from now on; the least where no work was begun since the last rest."""
        if self._begun_s is None:
            return self._least_s
        worked_s, self._begun_s = self._clock_s() - self._begun_s, None
        return min(self._most_s, max(self._least_s, REST_FOR_WORK * worked_s))
