"""Bodies that were answered at once, decoded: who is asked about is asked about again while the answer is in memory.

A body says the same whoever sends it, so it is looked up by its bytes: a sixth of what decoding takes.
"""

import time
from collections.abc import Callable
from typing import Any

BODIES_MAX = 20_000
"""Bodies that are kept, with what they say about 600 bytes each."""
BODY_MAX_BYTES = 512
"""No larger body is kept."""
LIFE_S = 10.0
"""How long they keep their places where others want them; then all are given up."""


class Bodies(dict[bytes, Any]):
    """What bodies say; `get` finds it. What was decoded is given out again and again, so nobody changes it."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock_s = clock_s
        self._until_s = 0.0

    def keep(self, body: bytes, decoded: Any) -> None:
        """Keeps what a body says, if there is a place for it. (Where more bodies come in turn than have a place, some
        are found all the same: had the newest always taken that of the oldest, none would be.)"""
        if len(body) > BODY_MAX_BYTES:
            return
        if len(self) >= BODIES_MAX:
            if self._clock_s() < self._until_s:
                return
            self.clear()
        if not self:
            self._until_s = self._clock_s() + LIFE_S
        self[body] = decoded
