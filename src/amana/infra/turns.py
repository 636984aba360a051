"""What waits for its batch, by group: groups take turns, and none has more than half of the places."""

import asyncio
from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

import msgspec

from amana.infra.expiry import Expiry

Item = TypeVar("Item")
Result = TypeVar("Result")


class Later(Exception):
    """The result of an item that has to wait, in a batch without those it rode with. Nothing was done for it."""


class Waiting(msgspec.Struct, Generic[Item, Result]):
    """An item, and who waits for its result. What others have locked is waited for until `apart_until_s`."""

    item: Item
    future: "asyncio.Future[Result]"
    since_s: float
    group: Hashable
    expiry: Expiry | None
    apart_until_s: float | None = None


class Turns(Generic[Item, Result]):
    """Queues by group, in the order in which the groups get their turn, and how many places are taken: also by what
    is on its way between queues."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._places_of_one = max(1, places // 2)
        self.taken = 0
        self._taken_of: dict[Hashable, int] = {}
        self.queues: dict[Hashable, deque[Waiting[Item, Result]]] = {}
        """The first one is next; `pass_on` ends its turn."""

    def have_no_place(self, group: Hashable) -> bool:
        """Whether another one of a group would be too many."""
        return self.taken >= self._places or self._taken_of.get(group, 0) >= self._places_of_one

    def enter(self, group: Hashable) -> None:
        """Takes a place."""
        self.taken += 1
        self._taken_of[group] = self._taken_of.get(group, 0) + 1

    def leave(self, group: Hashable) -> None:
        """Gives it back."""
        self.taken -= 1
        self._taken_of[group] -= 1
        if not self._taken_of[group]:
            del self._taken_of[group]

    def last(self, waiting: Waiting[Item, Result]) -> None:
        """At the end of its group's queue."""
        self._queue_of(waiting.group).append(waiting)

    def first(self, waiting: Waiting[Item, Result]) -> None:
        """Before the others of its group."""
        self._queue_of(waiting.group).appendleft(waiting)

    def pass_on(self) -> None:
        """The next group's turn; one without items leaves."""
        group = next(iter(self.queues))
        if queue := self.queues.pop(group):
            self.queues[group] = queue

    def _queue_of(self, group: Hashable) -> "deque[Waiting[Item, Result]]":
        queue = self.queues.get(group)
        if queue is None:
            queue = self.queues[group] = deque()
        return queue
