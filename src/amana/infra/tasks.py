"""Ending what runs beside the requests, and working while the database does."""

import asyncio
from collections.abc import Callable, Collection, Coroutine
from typing import Any, TypeVar

Sent = TypeVar("Sent")
Made = TypeVar("Made")

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


async def meanwhile(sent: Coroutine[Any, Any, Sent], make: Callable[[], Made]) -> tuple[Sent, Made]:
    """What the database answers to `sent`, and what `make` makes while the database works on it.

    Two batches of a busy ledger nearly always have an account in common, so the time between the locks and the COMMIT
    is what bounds it; half of that time would go by with either side waiting for the other.
    """
    answer = asyncio.create_task(sent)
    await asyncio.sleep(0)  # the statement leaves
    try:
        made = make()
    finally:
        await asyncio.gather(answer, return_exceptions=True)  # which is cancelled where we are
    return answer.result(), made
