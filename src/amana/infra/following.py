"""Several who wait for one piece of work, each with a deadline of their own and free to leave."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from amana.infra import deadline
from amana.infra.expiry import expiry_of

Result = TypeVar("Result")


def following(
    work: "asyncio.Future[Result]", told: Callable[[Result], Result] = lambda result: result
) -> "asyncio.Future[Result]":
    """A future of what `work` comes to, as it is `told` to this one. To cancel it leaves the work alone. At the current
    deadline it has `DeadlineExceeded`, which is raised here where that is too near already."""
    future: asyncio.Future[Result] = work.get_loop().create_future()
    until_s = deadline.current()
    expiry = None if until_s is None else expiry_of(future, until_s)

    def tell(done: "asyncio.Future[Result]") -> None:
        if expiry is not None:
            expiry.timer.cancel()
        if future.done():
            return
        if done.cancelled():
            future.cancel()
        elif (error := done.exception()) is not None:
            future.set_exception(error)
        else:
            _settle(future, told, done.result())

    work.add_done_callback(tell)
    return future


def _settle(future: "asyncio.Future[Result]", told: Callable[[Result], Result], result: Result) -> None:
    try:
        future.set_result(told(result))
    except Exception as error:  # a bug in `told`: whoever waits hears of it
        future.set_exception(error)
