"""What others have locked, and who waits for that apart from every batch, holding nothing meanwhile.

A batch that can't have a lock in time (a process that was stopped has it, or an operator's session) goes on without
those of its items that need it; they wait here, with all that come later and need it too. Every `LOOK_EVERY_S` one
question tells what is still locked, and by whom. Whoever needs only what is free again goes back to the queue, before
what came later. So does whoever needs what went from hand to hand: that is contention, for which one queues at the
lock. What nobody waits for is remembered for `REMEMBER_S` more, so that the next one need not find it out again.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping
from functools import partial
from typing import Any, NamedTuple, TypeAlias, TypeVar

from amana.infra import deadline
from amana.infra.postgres import DatabaseUnavailable
from amana.infra.telemetry import logger
from amana.infra.turns import Waiting

LOOK_EVERY_S = 0.05
LOOK_WITHIN_S = 1.0
REMEMBER_S = 5.0
WAITERS_MAX = 2_000
"""At most half of them of one group; beyond it they are told at once."""
WAIT_MAX_S = 4.0
"""Longer than the server lets a transaction of a process that was stopped live."""

_log = logger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")
Holders: TypeAlias = Mapping[Any, str]
"""What is locked, by whom."""
Look: TypeAlias = Callable[[Collection[Any]], Awaitable[Holders]]
"""Which of these others have locked at this moment."""


class HeldElsewhere(DatabaseUnavailable):
    """What an item needs is locked by others. As the result of an item in a batch it sends that item here; to who
    submitted the item it says that it was waited for in vain. Nothing was done."""

    def __init__(self) -> None:
        super().__init__("another transaction has its hands on what this needs")


class _Waiter(NamedTuple):
    wanted: Collection[Hashable]
    group: Hashable
    until_s: float
    future: "asyncio.Future[Any]"
    go_back: Callable[[], None]


async def _nothing(_keys: Collection[Any]) -> Holders:
    return {}


class Elsewhere:
    """See the module; `look` asks the database."""

    def __init__(
        self, look: Look = _nothing, *, waiters_max: int = WAITERS_MAX, wait_max_s: float = WAIT_MAX_S
    ) -> None:
        self._look = look
        self._waiters_max = waiters_max
        self._wait_max_s = wait_max_s
        self.holders: dict[Any, str] = {}
        """What is known to be locked, by whom: always the same dictionary, nearly always empty."""
        self._waiters: list[_Waiter] = []
        self._of_group: Counter[Hashable] = Counter()
        self._watching: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiters)

    def has(self, wanted: Collection[Hashable]) -> bool:
        """Whether any of it is known to be locked by others."""
        return bool(self.holders) and not self.holders.keys().isdisjoint(wanted)

    def learn(self, holders: Holders) -> None:
        """What a batch found locked."""
        self.holders.update(holders)
        if self.holders and self._watching is None:
            self._watching = asyncio.create_task(self._watch())

    def wait(
        self,
        waiting: Waiting[Item, Result],
        wanted: Collection[Hashable],
        go_back: Callable[[Waiting[Item, Result]], None],
    ) -> None:
        """Keeps an item until nothing that it wants is locked; then it goes back, as if it had come so much later.
        Who waits for it is told `HeldElsewhere` if that takes too long, however often it came, or if too many wait."""
        now_s = asyncio.get_running_loop().time()
        until_s = waiting.apart_until_s or now_s + self._wait_max_s
        waiting.apart_until_s = until_s
        back = partial(_go_back, go_back, waiting, now_s)
        full = len(self._waiters) >= self._waiters_max or self._of_group[waiting.group] >= self._waiters_max // 2
        if waiting.future.done():
            return
        if full or now_s > until_s:
            waiting.future.set_exception(HeldElsewhere())
        elif not self.has(wanted):
            back()  # free again by now
        else:
            self._waiters.append(_Waiter(wanted, waiting.group, until_s, waiting.future, back))
            self._of_group[waiting.group] += 1

    async def _watch(self) -> None:
        """Until nothing is locked any more, or nobody has asked for it for a while."""
        deadline.enter(None)  # whoever's batch it was that began this
        loop = asyncio.get_running_loop()
        asked_s = loop.time()
        try:
            while self.holders and loop.time() < asked_s + REMEMBER_S:
                await asyncio.sleep(LOOK_EVERY_S)
                await self._look_again()
                self._let_go()
                if self._waiters:
                    asked_s = loop.time()
        finally:
            self._watching = None
            self.holders.clear()
            self._let_go()

    async def _look_again(self) -> None:
        before = dict(self.holders)
        try:
            async with asyncio.timeout(LOOK_WITHIN_S):
                now = await self._look(before)
        except (DatabaseUnavailable, TimeoutError) as error:  # no news: whoever waits is told when its time is over
            _log.warning("locks of others not looked at", error=type(error).__name__, detail=str(error))
            return
        for key, holder in before.items():
            if now.get(key) != holder and self.holders.get(key) == holder:
                del self.holders[key]

    def _let_go(self) -> None:
        """Everybody who need not wait any more, or may not."""
        now_s = asyncio.get_running_loop().time()
        waiters, self._waiters = self._waiters, []
        free = []
        for waiter in waiters:
            if waiter.future.done():
                continue  # nobody wants it any more
            if not self.has(waiter.wanted):
                free.append(waiter)
            elif now_s > waiter.until_s:
                waiter.future.set_exception(HeldElsewhere())
            else:
                self._waiters.append(waiter)
        self._of_group = Counter(waiter.group for waiter in self._waiters)
        for waiter in reversed(free):  # each goes before those in its queue
            waiter.go_back()


def _go_back(go_back: Callable[[Waiting[Item, Result]], None], waiting: Waiting[Item, Result], left_s: float) -> None:
    waiting.since_s += asyncio.get_running_loop().time() - left_s
    go_back(waiting)
