"""Deadlines of what is answered together: a batch has items of several requests, each with a time of its own.

Before its batch is begun an item leaves at its own deadline. Once begun, the batch goes by the earliest deadline of its
items. Where that cuts it short nothing of it was done; those whose time is over then, or would be were it to take as
long once more, are left out, and the rest is run again: twice at most, the last time without anybody who has a
deadline. So one item's short deadline can slow its neighbours down, threefold at the worst, and never fail them.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from amana.infra import deadline
from amana.infra.deadline import DeadlineExceeded

Item = TypeVar("Item")
Result = TypeVar("Result")

LEAST_S = 0.01
"""What a batch needs at least. An item that has less left is not begun."""
ROUNDS_MAX = 2
"""How often a batch is run under deadlines."""

Run = Callable[[list[Item]], Awaitable[list[Result | Exception]]]


class Expiry(NamedTuple):
    """An item's deadline; the future of those who wait for it, and the timer that ends their waiting."""

    until_s: float
    future: "asyncio.Future[Any]"
    timer: asyncio.TimerHandle

    def is_late(self) -> bool:
        """Whether nobody waits any more. If somebody does, they wait to the end from now on."""
        self.timer.cancel()
        return self.future.done()

    def again(self) -> "Expiry":
        """For an item that its batch left out: whoever waits for it waits until the deadline once more."""
        self.timer.cancel()
        left_s = max(0.0, self.until_s - LEAST_S - time.monotonic())
        return self._replace(timer=self.future.get_loop().call_later(left_s, _expire, self.future))


def expiry_of(future: "asyncio.Future[Result]", until_s: float) -> Expiry:
    """Ends the waiting for `future` in time. Raises `DeadlineExceeded` where that is too near already."""
    left_s = until_s - LEAST_S - time.monotonic()
    if left_s <= 0:
        raise DeadlineExceeded
    return Expiry(until_s, future, future.get_loop().call_later(left_s, _expire, future))


def _expire(future: "asyncio.Future[Result]") -> None:
    if not future.done():
        future.set_exception(DeadlineExceeded())


async def run_in_time(
    run: "Run[Item, Result]", items: Sequence[Item], expiries: Sequence[Expiry | None]
) -> list[Result | Exception]:
    """`run(items)` under the deadlines of its items, in a task of its own. An item that expired between being taken
    and now is left out, and has that for its result."""
    if not any(expiries):
        deadline.enter(None)
        return await run(list(items))
    untils = [None if expiry is None else expiry.until_s for expiry in expiries]
    late = {at for at, expiry in enumerate(expiries) if expiry is not None and expiry.is_late()}
    results: dict[int, Result | Exception] = dict.fromkeys(late, DeadlineExceeded())
    places = [at for at in range(len(items)) if at not in late]
    for number in range(ROUNDS_MAX + 1):
        began_s = time.monotonic()
        results |= await _round(run, items, untils, places)
        over_s = math.inf if number + 1 == ROUNDS_MAX else 2 * time.monotonic() - began_s
        cut = [at for at in places if isinstance(results[at], DeadlineExceeded)]
        places = [at for at in cut if not _is_over(untils[at], over_s)]
        for expiry in (expiries[at] for at in sorted(set(cut) - set(places))):
            assert expiry is not None, "only who has a deadline can be over it"
            _expire(expiry.future)  # now: the rest may take long
        if not places:
            break
    return [results[at] for at in range(len(items))]


async def _round(
    run: "Run[Item, Result]", items: Sequence[Item], untils: Sequence[float | None], places: Sequence[int]
) -> dict[int, Result | Exception]:
    """The results of the items at `places`, by place, under the earliest deadline of those."""
    if not places:
        return {}
    deadline.enter(min((until for at in places if (until := untils[at]) is not None), default=None))
    try:
        found = await run([items[at] for at in places])
    except DeadlineExceeded as error:
        return dict.fromkeys(places, error)
    return dict(zip(places, found, strict=True))


def _is_over(until_s: float | None, at_s: float) -> bool:
    return until_s is not None and until_s <= at_s
