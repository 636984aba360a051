"""Until when somebody waits for the answer to the request that is being worked on.

A client may say how long it will wait (`HEADER`). The edge makes a deadline of it, an instant of `time.monotonic`,
which lives in a context variable while the request is answered: whatever waits on its way (a queue, a connection, a
statement, a lock, another service) waits no longer than that, and what can't be finished in time is not begun. Tasks
inherit it; one that works for several requests enters its own (`enter`). Without the header there is none, and nothing
is bounded but by what bounds it anyway.

From its COMMIT on a request has no deadline any more: its fate is settled, however long that takes.
"""

import asyncio
import time
from collections.abc import Awaitable
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")

HEADER = "X-Request-Timeout"
"""Whole milliseconds, from 1 on. Calls between services say in it what is left."""
EARLY_S = 0.005
"""Timers of the loop may be so much too early."""

_until_s: ContextVar[float | None] = ContextVar("amana_deadline", default=None)


class DeadlineExceeded(Exception):
    """The time that the client gives is over, or too short to begin in. Nothing was done; it may be sent again."""

    retry_after_s = 1


def enter(until_s: float | None) -> None:
    """The deadline for what this task does from now on; None is no deadline."""
    _until_s.set(until_s)


def current() -> float | None:
    """The deadline, if there is one."""
    return _until_s.get()


def left_s() -> float | None:
    """How long until the deadline, below zero after it; None where there is none."""
    until_s = _until_s.get()
    return None if until_s is None else until_s - time.monotonic()


def is_over() -> bool:
    """Whether there is a deadline, and it is over."""
    left = left_s()
    return left is not None and left <= EARLY_S


def within(bound_s: float) -> float:
    """`bound_s`, or what is left where that is less. Raises `DeadlineExceeded` when nothing is."""
    left = left_s()
    if left is None:
        return bound_s
    if left <= 0:
        raise DeadlineExceeded
    return min(bound_s, left)


def point_of_no_return() -> None:
    """Called before a COMMIT: raises `DeadlineExceeded` if it is too late for one, else there is no deadline from here
    on, neither for it nor for what this task does after it."""
    if is_over():
        raise DeadlineExceeded
    _until_s.set(None)


async def in_time(awaited: Awaitable[T]) -> T:
    """What `awaited` comes to. At the deadline it is cancelled, and `DeadlineExceeded` raised: shield what others wait
    for too."""
    until_s = _until_s.get()
    if until_s is None:
        return await awaited
    try:
        async with asyncio.timeout(until_s - time.monotonic()):
            return await awaited
    except TimeoutError:
        if is_over():
            raise DeadlineExceeded from None
        raise
