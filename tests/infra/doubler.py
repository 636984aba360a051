"""What tests of group commit run their batches with."""

import asyncio
from collections.abc import Callable

PATIENCE_S = 5.0
"""How long a test waits for something that must happen."""


class Doubler:
    """A `run` that notes its batches, gives twice each item, and waits while `gate` is closed."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.running = 0
        self.running_max = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, items: list[int]) -> list[int | Exception]:
        self.batches.append(items)
        self.running += 1
        self.running_max = max(self.running_max, self.running)
        await self.gate.wait()
        self.running -= 1
        return [ValueError(f"{item} is negative") if item < 0 else item * 2 for item in items]


async def until(condition: Callable[[], bool]) -> None:
    """Lets the loop turn until something is so."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0)
