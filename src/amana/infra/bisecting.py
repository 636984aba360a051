"""Batches of which one bad item fails alone."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from amana.infra import deadline
from amana.infra.deadline import DeadlineExceeded

Item = TypeVar("Item")
Result = TypeVar("Result")


def bisecting(
    run: Callable[[list[Item]], Awaitable[list[Result | Exception]]], whole: tuple[type[Exception], ...]
) -> Callable[[list[Item]], Awaitable[list[Result | Exception]]]:
    """`run`, but one bad item never fails its neighbours.

    An exception of a type in `whole` (the database is away), or a deadline that is over, concerns everything that was
    run: each item has it for its result, so that a half that was committed before keeps its own. After any other the
    batch is run in halves, and so on, until only the offending item has it. `run` must do all or nothing. A deadline
    holds for each half anew, also after the other one was committed.
    """

    all_alike: tuple[type[Exception], ...] = (*whole, DeadlineExceeded)

    async def halving(items: list[Item]) -> list[Result | Exception]:
        until_s = deadline.current()
        try:
            return await run(items)
        except all_alike as error:
            return [error] * len(items)
        except Exception as error:
            if len(items) == 1:
                return [error]
        finally:
            deadline.enter(until_s)
        # Outside the handler, or every level would be chained to the error of the one above.
        middle = len(items) // 2
        return await halving(items[:middle]) + await halving(items[middle:])

    return halving
