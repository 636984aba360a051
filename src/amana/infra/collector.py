"""Group commit: requests that arrive together are answered together.

`submit` queues an item; a batch starts as soon as a slot is free and takes whatever waits, so there is no fixed wait:
an idle service answers a single item at once, a busy one fills its batches. That is where throughput comes from.

- Bounds: a batch weighs at most `batch_max` (an item weighs one unless `weigh` says more; a heavier one goes alone),
  `batches_in_flight` batches run at once, `queue_max` items wait and no group has more than half of the places (beyond
  it `Overloaded`: a bounded queue sheds instead of growing), and none waits longer than `wait_max_s`, or than its
  request's deadline (`expiry`), by which its batch goes too.
- Fairness: `group` says whose an item is (its tenant); groups take turns.
- Contention: `claims` says what an item will lock. An item that claims what a batch in flight has claimed is set
  aside until that batch ends, and then goes before what came later. So whatever is hot fills batches of its own, and
  what is cold never waits behind a lock. Collectors that share a `board` see each other's claims; one that does not
  `yields` (bulk, whose claims would meet some batch or other for ever) starts all the same and leaves it to the locks.
- Patience: where something else always has what it claims, an item would be set aside again and again. After
  `patience_s` it yields no more: it rides with others like it, and waits at the lock with them. One such batch runs at
  a time, beside the others.
- Neighbours: an item whose result is `HeldElsewhere` waits, without a place or a batch, until what it claims is free
  (`elsewhere`); one whose result is `Later` rides once more, with what yields no more.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Hashable
from functools import partial
from typing import Generic, TypeVar

from amana.infra import deadline
from amana.infra.claims import Board, Claimed
from amana.infra.elsewhere import HeldElsewhere
from amana.infra.expiry import expiry_of, run_in_time
from amana.infra.turns import Later, Turns, Waiting

Item = TypeVar("Item")
Result = TypeVar("Result")

WAIT_MAX_S = 5.0
PATIENCE_S = 0.1
DRAIN_POLL_S = 0.01


class Overloaded(Exception):
    """The queue is full, or the wait was too long. Nothing was done; send it again after `retry_after_s`."""

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
        wait_max_s: float = WAIT_MAX_S,
        patience_s: float = PATIENCE_S,
        weigh: Callable[[Item], int] = lambda _item: 1,
        group: Callable[[Item], Hashable] = lambda _item: None,
        claims: Callable[[Item], Collection[Hashable]] = lambda _item: (),
        board: Board | None = None,
        yields: bool = True,
    ) -> None:
        self._run = run
        self._weigh = weigh
        self._group = group
        self._claims = claims
        self._board = board or Board()
        self._held = self._board.elsewhere.holders
        self._come_back = partial(self._put_back, entering=True)
        self._yields = yields
        self._batch_max = batch_max
        self._slots = batches_in_flight
        self._wait_max_s = wait_max_s
        self._patience_s = patience_s
        self._turns: Turns[Item, Result] = Turns(queue_max)  # what is set aside has its place too
        self._late: deque[Waiting[Item, Result]] = deque()  # what yields no more
        self._late_running = 0
        self._running: set[asyncio.Task[None]] = set()
        self._scheduled = False

    async def submit(self, item: Item) -> Result:
        """The result for `item`. Raises `Overloaded`; else as `enqueue`."""
        return await self.enqueue(item)

    def enqueue(self, item: Item) -> "asyncio.Future[Result]":
        """A future of the result for `item`. Raises `Overloaded` when the queue is full, or `DeadlineExceeded`.

        One that is cancelled before its batch starts is left out of it; after that its item runs to the end.
        """
        loop = asyncio.get_running_loop()
        group = self._group(item)
        if self._turns.have_no_place(group):
            raise Overloaded
        future: asyncio.Future[Result] = loop.create_future()
        until_s = deadline.current()
        expiry = None if until_s is None else expiry_of(future, until_s)
        self._turns.last(Waiting(item, future, loop.time(), group, expiry))
        self._turns.enter(group)
        self._schedule()  # a turn later, so that everything read from the sockets in this turn rides together
        return future

    async def drain(self) -> None:
        """Waits until nothing is queued or running: for a clean stop."""
        while self._turns.taken or self._running or self._board.elsewhere.waiting:
            self._start_batches()
            if self._running:
                await asyncio.wait(list(self._running))
            else:
                await asyncio.sleep(DRAIN_POLL_S)  # for another collector's batch, or for what others have locked

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._start_batches)

    def _start_batches(self) -> None:
        self._scheduled = False
        if self._late and not self._late_running and (taken := self._take_late())[0]:
            self._start(*taken, late=True)
        while self._turns.queues and len(self._running) - self._late_running < self._slots:
            if not (taken := self._take())[0]:
                break
            self._start(*taken, late=False)

    def _start(self, batch: "list[Waiting[Item, Result]]", claimed: Claimed, *, late: bool) -> None:
        self._board.add(claimed)
        self._late_running += late
        task = asyncio.create_task(self._answer(batch))
        self._running.add(task)
        task.add_done_callback(partial(self._finished, claimed, late))

    def _finished(self, claimed: Claimed, late: bool, task: "asyncio.Task[None]") -> None:
        self._running.discard(task)
        self._late_running -= late
        self._board.remove(claimed)
        self._schedule()  # after those who waited for this batch, whichever collector's they are

    def _put_back(self, waiting: "Waiting[Item, Result]", *, entering: bool = False) -> None:
        if entering:
            self._turns.enter(waiting.group)
        self._turns.first(waiting)
        self._schedule()

    def _take_late(self) -> "tuple[list[Waiting[Item, Result]], Claimed]":
        """The next batch of what yields no more."""
        batch, claimed, weight = list[Waiting[Item, Result]](), Claimed(), 0
        now_s = asyncio.get_running_loop().time()
        while self._late:
            weight += self._weigh(self._late[0].item)
            if batch and weight > self._batch_max:
                break
            waiting = self._late.popleft()
            wanted = self._claims(waiting.item)
            if self._is_wanted(waiting, now_s) and not (self._held and self._is_elsewhere(waiting, wanted)):
                claimed.keys.update(wanted)
                self._turns.leave(waiting.group)
                batch.append(waiting)
        return batch, claimed

    def _take(self) -> "tuple[list[Waiting[Item, Result]], Claimed]":
        """The next batch and what it claims; groups take turns, one item each."""
        batch, claimed, weight = list[Waiting[Item, Result]](), Claimed(), 0
        now_s = asyncio.get_running_loop().time()
        queues = self._turns.queues
        while queues:
            if queue := next(iter(queues.values())):
                waiting = queue[0]
                weight += self._weigh(waiting.item)
                if batch and weight > self._batch_max:
                    break
                queue.popleft()
                if self._is_wanted(waiting, now_s) and self._claim(waiting, claimed, now_s):
                    self._turns.leave(waiting.group)
                    batch.append(waiting)
                else:
                    weight -= self._weigh(waiting.item)
            if len(queues) > 1 or not queue:
                self._turns.pass_on()
        return batch, claimed

    def _is_wanted(self, waiting: "Waiting[Item, Result]", now_s: float) -> bool:
        """Whether somebody still waits for it, and not for too long."""
        if not waiting.future.done():
            if now_s <= waiting.since_s + self._wait_max_s:
                return True
            waiting.future.set_exception(Overloaded())
        self._turns.leave(waiting.group)
        return False

    def _is_elsewhere(self, waiting: "Waiting[Item, Result]", wanted: Collection[Hashable]) -> bool:
        """Whether others have locked what the item will lock: then it waits apart."""
        if not self._board.elsewhere.has(wanted):
            return False
        self._turns.leave(waiting.group)
        self._board.elsewhere.wait(waiting, wanted, self._come_back)
        return True

    def _claim(self, waiting: "Waiting[Item, Result]", claimed: Claimed, now_s: float) -> bool:
        """Claims what the item will lock, or sets it aside while a batch in flight, or somebody else, has any of it."""
        wanted = self._claims(waiting.item)
        if self._held and self._is_elsewhere(waiting, wanted):
            return False
        other = self._board.find(wanted) if self._yields else None
        if other is not None:
            if now_s < waiting.since_s + self._patience_s:
                other.aside.append(partial(self._put_back, waiting))
            else:
                self._late.append(waiting)
                self._schedule()
            return False
        claimed.keys.update(wanted)
        return True

    async def _answer(self, batch: "list[Waiting[Item, Result]]") -> None:
        try:
            results = await run_in_time(self._run, [each.item for each in batch], [each.expiry for each in batch])
            assert len(results) == len(batch), "a batch must give one result for each item"
        except BaseException as error:
            for waiting in batch:
                if not waiting.future.done():
                    waiting.future.set_exception(error)
            if not isinstance(error, Exception):
                raise
            return
        for waiting, result in zip(batch, results, strict=True):
            if waiting.future.done():
                continue
            if isinstance(result, Exception):
                self._told(waiting, result)
            else:
                waiting.future.set_result(result)

    def _told(self, waiting: "Waiting[Item, Result]", result: Exception) -> None:
        """Raises it to who waits, or lets them wait on; then their deadline is their own again."""
        if isinstance(result, HeldElsewhere | Later):
            waiting.expiry = waiting.expiry and waiting.expiry.again()
        if isinstance(result, HeldElsewhere):
            self._board.elsewhere.wait(waiting, self._claims(waiting.item), self._come_back)
        elif isinstance(result, Later):
            self._turns.enter(waiting.group)
            self._late.append(waiting)
        else:
            waiting.future.set_exception(result)
