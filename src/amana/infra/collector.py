"""Group commit: requests that arrive together are answered together.

`submit` queues an item; a batch starts as soon as a slot is free and takes whatever waits, so there is no fixed wait:
an idle service answers a single item at once, a busy one fills its batches. That is where throughput comes from.

Bounds: a batch weighs at most `batch_max` (an item weighs one unless `weigh` says more; a heavier one goes alone),
`batches_in_flight` batches run at once, `queue_max` items wait (beyond it `Overloaded`: a bounded queue sheds instead
of growing).
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Overloaded(Exception):
    """The queue is full. Nothing was done; the same request may be sent again after `retry_after_s`."""

    retry_after_s = 1


class Collector(Generic[Item, Result]):
    """Collects items into batches for `run`, which returns one result for each item, in order.

    A result that is an exception is raised to its own submitter. If `run` itself raises, every item of the batch gets
    that exception.
    """

    def __init__(
        self,
        run: Callable[[list[Item]], Awaitable[list[Result | Exception]]],
        *,
        batch_max: int,
        batches_in_flight: int,
        queue_max: int,
        weigh: Callable[[Item], int] = lambda _item: 1,
    ) -> None:
        self._run = run
        self._weigh = weigh
        self._batch_max = batch_max
        self._slots = batches_in_flight
        self._queue_max = queue_max
        self._queue: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._scheduled = False

    async def submit(self, item: Item) -> Result:
        """The result for `item`. Raises `Overloaded` when the queue is full.

        A caller that is cancelled before its batch starts is left out of it; after that its item runs to the end.
        """
        if len(self._queue) >= self._queue_max:
            raise Overloaded
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._queue.append((item, future))
        if not self._scheduled:
            # One turn of the loop later, so that everything read from the sockets in this turn rides together.
            self._scheduled = True
            loop.call_soon(self._start_batches)
        return await future

    async def drain(self) -> None:
        """Waits until nothing is queued or running: for a clean stop."""
        while self._queue or self._running:
            self._start_batches()
            if self._running:
                await asyncio.wait(list(self._running))

    def _start_batches(self) -> None:
        self._scheduled = False
        while self._queue and len(self._running) < self._slots:
            batch = self._take()
            if batch:
                task = asyncio.create_task(self._answer(batch))
                self._running.add(task)
                task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._start_batches()

    def _take(self) -> list[tuple[Item, "asyncio.Future[Result]"]]:
        batch: list[tuple[Item, asyncio.Future[Result]]] = []
        weight = 0
        while self._queue:
            item, future = self._queue[0]
            weight += self._weigh(item)
            if batch and weight > self._batch_max:
                break
            self._queue.popleft()
            if not future.cancelled():
                batch.append((item, future))
        return batch

    async def _answer(self, batch: list[tuple[Item, "asyncio.Future[Result]"]]) -> None:
        try:
            results = await self._run([item for item, _ in batch])
            assert len(results) == len(batch), "a batch must give one result for each item"
        except BaseException as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            if not isinstance(error, Exception):
                raise
            return
        for (_, future), result in zip(batch, results, strict=True):
            if future.done():
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)


def bisecting(
    run: Callable[[list[Item]], Awaitable[list[Result | Exception]]], whole: tuple[type[Exception], ...]
) -> Callable[[list[Item]], Awaitable[list[Result | Exception]]]:
    """`run`, but one bad item never fails its neighbours.

    An exception of a type in `whole` (the database is away) concerns the whole batch and is raised. After any other
    the batch is run in halves, and so on, until only the offending item has it for its result. `run` must do all or
    nothing.
    """

    async def halving(items: list[Item]) -> list[Result | Exception]:
        try:
            return await run(items)
        except whole:
            raise
        except Exception as error:
            if len(items) == 1:
                return [error]
        # Outside the handler, or every level would be chained to the error of the one above.
        middle = len(items) // 2
        return await halving(items[:middle]) + await halving(items[middle:])

    return halving
