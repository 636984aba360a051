"""Ending what runs beside the requests."""

import asyncio
from collections.abc import Collection
from typing import Any

AGAIN_S = 1.0
TRIES_MAX = 20


async def end(tasks: Collection["asyncio.Task[Any]"], again_s: float = AGAIN_S) -> None:
    """Cancels tasks and waits until they have ended.

    A cancellation that meets the end of a timeout can be lost on its way: so whoever still runs after `again_s` is
    cancelled again, `TRIES_MAX` times at most.
    """
    pending = set(tasks)
    for _ in range(TRIES_MAX):
        if not pending:
            return
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=again_s)
