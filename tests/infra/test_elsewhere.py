"""What others have locked is waited for apart: no batch, no place in the queue and no neighbour waits with it."""

import asyncio
import contextvars
import time

import pytest
from tests.infra.doubler import PATIENCE_S, Doubler, until

from amana.infra import deadline
from amana.infra.claims import Board
from amana.infra.collector import Collector, Overloaded
from amana.infra.deadline import DeadlineExceeded
from amana.infra.elsewhere import Elsewhere, HeldElsewhere
from amana.infra.turns import Later


class Locks:
    """What others have locked, by whom. As the `run` of a collector it sends back what needs any of it."""

    def __init__(self, **holders: str) -> None:
        self.holders: dict[int, str] = {int(key[1:]): holder for key, holder in holders.items()}
        self.done = Doubler()
        self.looks = 0
        self.is_away = False
        self.elsewhere = Elsewhere(self.look, waiters_max=8, wait_max_s=0.3)

    async def look(self, keys: object) -> dict[int, str]:
        self.looks += 1
        if self.is_away:
            raise ConnectionError("away")
        return dict(self.holders)

    async def __call__(self, items: list[int]) -> list[int | Exception]:
        free = iter(await self.done([n for n in items if n % 10 not in self.holders]))
        self.elsewhere.learn(self.holders)
        return [HeldElsewhere() if n % 10 in self.holders else next(free) for n in items]

    def collecting(self, in_flight: int = 2, queue_max: int = 100) -> Collector[int, int]:
        """Each item claims its units digit; its tenant is its hundreds."""
        return Collector(
            self,
            batch_max=4,
            batches_in_flight=in_flight,
            queue_max=queue_max,
            group=lambda n: n // 100,
            claims=lambda n: {n % 10},
            board=Board(self.elsewhere),
        )


async def test_neighbours_are_answered_at_once_and_the_rest_when_it_is_free() -> None:
    locks = Locks(k1="them")
    collector = locks.collecting()
    held, free = [collector.enqueue(n) for n in (1, 11)], [collector.enqueue(n) for n in (2, 3)]
    async with asyncio.timeout(PATIENCE_S):
        assert await asyncio.gather(*free) == [4, 6]
    assert not any(future.done() for future in held)
    locks.holders.clear()
    assert await asyncio.gather(*held) == [2, 22]
    assert locks.done.batches == [[2, 3], [1, 11]]


async def test_what_comes_later_and_needs_it_too_goes_apart_without_a_batch_and_in_its_order() -> None:
    locks = Locks(k1="them")
    collector = locks.collecting()
    first = collector.enqueue(1)
    await until(lambda: locks.elsewhere.waiting == 1)
    began = len(locks.done.batches)
    later = [collector.enqueue(n) for n in (11, 21)]
    assert await collector.submit(2) == 4
    assert locks.done.batches[began:] == [[2]]
    locks.holders.clear()
    assert await asyncio.gather(first, *later) == [2, 22, 42]
    assert locks.done.batches[-1] == [1, 11, 21]


async def test_batches_full_of_it_stop_no_lane() -> None:
    locks = Locks(k1="them", k2="them")
    collector = locks.collecting(in_flight=1)
    held = [collector.enqueue(n) for n in (1, 101, 201, 301, 2, 102, 202, 302)]
    async with asyncio.timeout(PATIENCE_S):
        assert await collector.submit(3) == 6
    assert not any(future.done() for future in held)
    locks.holders.clear()
    await asyncio.gather(*held)


async def test_it_has_no_place_in_the_queue_and_no_more_wait_than_may() -> None:
    locks = Locks(k1="them")
    collector = locks.collecting(queue_max=4)
    held = []
    for n in (1, 11, 21, 31):
        held.append(collector.enqueue(n))
        await until(lambda: locks.elsewhere.waiting == len(held))
    others = [collector.enqueue(n) for n in (2, 3)]
    with pytest.raises(Overloaded):
        collector.enqueue(4)  # half of the queue is one tenant's
    assert await asyncio.gather(*others) == [4, 6]
    with pytest.raises(HeldElsewhere):
        await collector.submit(41)  # half of those who may wait are one tenant's
    another = collector.enqueue(101)
    await until(lambda: locks.elsewhere.waiting == 5)
    locks.holders.clear()
    assert await asyncio.gather(*held, another) == [2, 22, 42, 62, 202]


async def test_who_waits_in_vain_is_told_in_time_however_often_it_came_back() -> None:
    locks = Locks(k1="them")
    collector = locks.collecting()
    began_s = time.monotonic()
    waiting = collector.enqueue(1)
    for holder in range(1_000):  # from hand to hand
        if waiting.done():
            break
        locks.holders[1] = str(holder)
        await asyncio.sleep(0.02)
    with pytest.raises(HeldElsewhere):
        await waiting
    assert time.monotonic() - began_s < 2.0
    assert [1] not in locks.done.batches


async def test_what_goes_from_hand_to_hand_is_queued_for_at_the_lock() -> None:
    locks = Locks(k1="them")
    collector = locks.collecting()
    waiting = collector.enqueue(1)
    await until(lambda: locks.elsewhere.waiting == 1)
    batches = len(locks.done.batches)
    locks.holders[1] = "others"
    await until_s(lambda: len(locks.done.batches) > batches)  # it was tried again, although it is locked still
    locks.holders.clear()
    assert await waiting == 2


async def test_a_look_that_fails_is_no_news() -> None:
    locks = Locks(k1="them")
    locks.is_away = True
    collector = locks.collecting()
    waiting = collector.enqueue(1)
    await until_s(lambda: locks.looks > 1)
    assert not waiting.done()
    locks.is_away = False
    locks.holders.clear()
    assert await waiting == 2


async def test_who_left_meanwhile_is_left_out() -> None:
    locks = Locks(k1="them")
    collector = locks.collecting()
    leaving, staying = collector.enqueue(1), collector.enqueue(11)
    await until(lambda: locks.elsewhere.waiting == 2)
    leaving.cancel()
    locks.holders.clear()
    assert await staying == 22
    assert locks.done.batches[-1] == [11]


async def test_its_deadline_ends_its_waiting_although_its_batch_had_begun() -> None:
    locks = Locks(k1="them")
    collector = locks.collecting()
    context = contextvars.copy_context()
    context.run(deadline.enter, time.monotonic() + 0.15)
    short = context.run(collector.enqueue, 1)
    patient = collector.enqueue(11)
    began_s = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        await short
    assert time.monotonic() - began_s < 0.28
    locks.holders.clear()
    assert await patient == 22
    assert locks.done.batches[-1] == [11]


async def test_draining_waits_for_it() -> None:
    locks = Locks(k1="them")
    collector = locks.collecting()
    waiting = collector.enqueue(1)
    await until(lambda: locks.elsewhere.waiting == 1)
    draining = asyncio.create_task(collector.drain())
    await asyncio.sleep(0.1)
    assert not draining.done()
    locks.holders.clear()
    await draining
    assert waiting.result() == 2


async def test_what_has_to_wait_for_something_of_its_own_rides_once_more_without_its_neighbours() -> None:
    runs: list[list[int]] = []

    async def run(items: list[int]) -> list[int | Exception]:
        runs.append(items)
        return [Later() if n < 10 and len(items) > 1 else n * 2 for n in items]

    collector: Collector[int, int] = Collector(run, batch_max=9, batches_in_flight=1, queue_max=9)
    assert await asyncio.gather(*(collector.submit(n) for n in (1, 20, 30))) == [2, 40, 60]
    assert runs == [[1, 20, 30], [1]]


async def until_s(condition: object) -> None:
    """Waits for something that takes a while."""
    assert callable(condition)
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.01)
