"""Group commit and contention: two batches in flight never claim the same thing, and whatever is hot rides together."""

import asyncio

import pytest
from tests.infra.doubler import PATIENCE_S, Doubler, until

from amana.infra.claims import Board
from amana.infra.collector import Collector, Overloaded


class TestClaims:
    """Each item claims its tens digit and its units digit, as a transfer does its two accounts."""

    def collecting(
        self, run: Doubler, batch_max: int = 10, in_flight: int = 2, queue_max: int = 100
    ) -> Collector[int, int]:
        return Collector(
            run,
            batch_max=batch_max,
            batches_in_flight=in_flight,
            queue_max=queue_max,
            claims=lambda n: {n // 10, n % 10},
        )

    async def test_two_batches_in_flight_never_claim_the_same(self) -> None:
        run = Doubler()
        collector = self.collecting(run)
        run.gate.clear()
        hot = collector.enqueue(12)
        await until(lambda: run.running == 1)
        others = [collector.enqueue(n) for n in (13, 45, 62, 78)]
        await until(lambda: run.running == 2)
        run.gate.set()
        assert await asyncio.gather(hot, *others) == [24, 26, 90, 124, 156]
        assert run.batches == [[12], [45, 78], [13, 62]]

    async def test_what_is_hot_rides_together_and_keeps_its_order(self) -> None:
        run = Doubler()
        collector = self.collecting(run, in_flight=4)
        run.gate.clear()
        first = collector.enqueue(12)
        await until(lambda: run.running == 1)
        hot = [collector.enqueue(n) for n in (13, 14, 15, 16)]
        await asyncio.sleep(0)
        run.gate.set()
        await asyncio.gather(first, *hot)
        assert run.batches == [[12], [13, 14, 15, 16]]

    async def test_what_was_set_aside_goes_before_what_came_later(self) -> None:
        run = Doubler()
        collector = self.collecting(run, batch_max=1)
        run.gate.clear()
        first = collector.enqueue(12)
        await until(lambda: run.running == 1)
        cold = collector.enqueue(90)
        aside = collector.enqueue(13)
        await until(lambda: run.running == 2)
        later = [collector.enqueue(n) for n in (14, 15)]
        run.gate.set()
        await asyncio.gather(first, cold, aside, *later)
        assert [batch[0] for batch in run.batches if batch[0] != 90] == [12, 13, 14, 15]

    async def test_what_is_set_aside_still_counts_as_waiting_and_may_be_left(self) -> None:
        run = Doubler()
        collector = self.collecting(run, queue_max=8)
        run.gate.clear()
        first = collector.enqueue(12)
        await until(lambda: run.running == 1)
        aside = [collector.enqueue(n) for n in (13, 14)]
        await asyncio.sleep(0)
        more = [collector.enqueue(n) for n in (15, 16)]
        with pytest.raises(Overloaded):
            collector.enqueue(17)
        aside[0].cancel()
        run.gate.set()
        assert await asyncio.gather(first, aside[1], *more) == [24, 28, 30, 32]
        assert run.batches == [[12], [14, 15, 16]]
        await collector.drain()

    async def test_draining_waits_for_what_was_set_aside(self) -> None:
        run = Doubler()
        collector = self.collecting(run)
        run.gate.clear()
        waiting = [collector.enqueue(12)]
        await until(lambda: run.running == 1)
        waiting += [collector.enqueue(n) for n in (13, 14)]
        draining = asyncio.create_task(collector.drain())
        await asyncio.sleep(0)
        run.gate.set()
        await draining
        assert [future.result() for future in waiting] == [24, 26, 28]

    async def test_a_batch_that_failed_gives_its_claims_back(self) -> None:
        fail = [True]

        async def run(items: list[int]) -> list[int | Exception]:
            if fail.pop():
                raise ConnectionError("away")
            return list(items)

        collector: Collector[int, int] = Collector(
            run, batch_max=1, batches_in_flight=2, queue_max=10, claims=lambda _: {"one"}
        )
        fail.insert(0, False)
        first, second = collector.enqueue(1), collector.enqueue(2)
        heard = await asyncio.gather(first, second, return_exceptions=True)
        assert isinstance(heard[0], ConnectionError)
        assert heard[1] == 2

    async def test_whatever_comes_all_are_answered_once_and_claims_never_meet(self) -> None:
        running: list[list[int]] = []
        done: list[int] = []

        async def run(items: list[int]) -> list[int | Exception]:
            mine = {digit for n in items for digit in (n // 10, n % 10)}
            for other in running:
                assert not mine & {digit for n in other for digit in (n // 10, n % 10)}
            running.append(items)
            await asyncio.sleep(0.001 * (items[0] % 3))
            running.remove(items)
            done.extend(items)
            return [n * 2 for n in items]

        collector: Collector[int, int] = Collector(
            run, batch_max=5, batches_in_flight=3, queue_max=1_000, patience_s=60, claims=lambda n: {n // 10, n % 10}
        )
        asked = [(n * 37) % 100 for n in range(300)]
        assert await asyncio.gather(*(collector.submit(n) for n in asked)) == [n * 2 for n in asked]
        assert sorted(done) == sorted(asked)


class TestOneBoardForTwoCollectors:
    """Single requests and lists: the claims of both are on one board, and only the single ones yield."""

    def collecting(self, run: Doubler, board: Board, *, yields: bool) -> Collector[int, int]:
        return Collector(
            run,
            batch_max=10,
            batches_in_flight=1,
            queue_max=10,
            claims=lambda n: {n // 10, n % 10},
            board=board,
            yields=yields,
        )

    async def test_the_single_ones_wait_for_a_list_and_lists_wait_for_nobody(self) -> None:
        board, singles, lists = Board(), Doubler(), Doubler()
        single = self.collecting(singles, board, yields=True)
        many = self.collecting(lists, board, yields=False)
        singles.gate.clear()
        lists.gate.clear()
        first = many.enqueue(12)
        await until(lambda: lists.running == 1)
        waiting = [single.enqueue(n) for n in (13, 45)]
        await until(lambda: singles.running == 1)
        assert singles.batches == [[45]]
        lists.gate.set()
        second = many.enqueue(46)
        assert [await first, await second] == [24, 92]
        singles.gate.set()
        assert await asyncio.gather(*waiting) == [26, 90]

    async def test_a_single_one_that_some_list_always_holds_up_goes_all_the_same_and_cold_ones_go_on(self) -> None:
        board, singles = Board(), Doubler()
        single, many = (
            Collector[int, int](
                run,
                batch_max=10,
                batches_in_flight=1 if run is singles else 2,
                queue_max=10,
                patience_s=0.05,
                claims=lambda n: {n // 10, n % 10},
                board=board,
                yields=run is singles,
            )
            for run in (singles, _slowly)
        )
        lists = [asyncio.create_task(_one_after_the_other(many, begin_s)) for begin_s in (0.0, 0.01)]
        await asyncio.sleep(0.02)
        singles.gate.clear()
        hot = [single.enqueue(n) for n in (13, 14)]
        await until(lambda: singles.batches == [[13, 14]])
        hot.append(single.enqueue(15))
        cold = single.enqueue(67)
        await until(lambda: singles.running == 2)
        await asyncio.sleep(0.1)
        assert singles.batches == [[13, 14], [67]]  # the one slot is left to what is cold
        singles.gate.set()
        assert await asyncio.gather(*hot, cold) == [26, 28, 30, 134]
        for task in lists:
            task.cancel()
        await asyncio.wait(lists)

    async def test_draining_waits_for_what_the_other_one_holds_up(self) -> None:
        board, singles, lists = Board(), Doubler(), Doubler()
        single = self.collecting(singles, board, yields=True)
        many = self.collecting(lists, board, yields=False)
        lists.gate.clear()
        first = many.enqueue(12)
        await until(lambda: lists.running == 1)
        aside = single.enqueue(13)
        draining = asyncio.create_task(single.drain())
        await asyncio.sleep(0.02)
        assert not draining.done()
        lists.gate.set()
        async with asyncio.timeout(PATIENCE_S):
            await draining
        assert [await first, aside.result()] == [24, 26]


async def _slowly(items: list[int]) -> list[int | Exception]:
    await asyncio.sleep(0.02)
    return [n * 2 for n in items]


async def _one_after_the_other(many: Collector[int, int], begin_s: float) -> None:
    """Lists on one account; of two that began apart, one is always in flight."""
    await asyncio.sleep(begin_s)
    while True:
        await many.submit(12)
