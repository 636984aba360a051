"""Group commit: what arrives together is answered together, each by its own result."""

import asyncio

import pytest
from tests.infra.doubler import Doubler, until

from amana.infra.bisecting import bisecting
from amana.infra.collector import Collector, Overloaded


def collecting(run: Doubler, batch_max: int = 10, in_flight: int = 1, queue_max: int = 100) -> Collector[int, int]:
    return Collector(run, batch_max=batch_max, batches_in_flight=in_flight, queue_max=queue_max)


async def test_what_arrives_in_one_turn_rides_in_one_batch_and_keeps_its_order() -> None:
    run = Doubler()
    collector = collecting(run)
    assert await asyncio.gather(*(collector.submit(n) for n in range(5))) == [0, 2, 4, 6, 8]
    assert run.batches == [[0, 1, 2, 3, 4]]


async def test_a_single_item_does_not_wait_for_company() -> None:
    run = Doubler()
    assert await collecting(run, batch_max=1_000).submit(21) == 42
    assert run.batches == [[21]]


async def test_a_batch_takes_no_more_than_its_bound() -> None:
    run = Doubler()
    collector = collecting(run, batch_max=2)
    assert await asyncio.gather(*(collector.submit(n) for n in range(5))) == [0, 2, 4, 6, 8]
    assert run.batches == [[0, 1], [2, 3], [4]]


@pytest.mark.parametrize("in_flight", [1, 2, 3])
async def test_no_more_batches_run_at_once_than_there_are_slots(in_flight: int) -> None:
    run = Doubler()
    collector = collecting(run, batch_max=1, in_flight=in_flight)
    run.gate.clear()
    asked = [asyncio.create_task(collector.submit(n)) for n in range(8)]
    await until(lambda: run.running == in_flight)
    run.gate.set()
    assert await asyncio.gather(*asked) == [n * 2 for n in range(8)]
    assert run.running_max == in_flight


async def test_what_comes_while_a_batch_runs_fills_the_next_one() -> None:
    run = Doubler()
    collector = collecting(run)
    run.gate.clear()
    first = asyncio.create_task(collector.submit(0))
    await until(lambda: run.running == 1)
    later = [asyncio.create_task(collector.submit(n)) for n in (1, 2, 3)]
    await asyncio.sleep(0)
    run.gate.set()
    await asyncio.gather(first, *later)
    assert run.batches == [[0], [1, 2, 3]]


async def test_a_full_queue_sheds_and_takes_again_when_there_is_room() -> None:
    run = Doubler()
    collector = collecting(run, batch_max=1, queue_max=4)
    run.gate.clear()
    running = asyncio.create_task(collector.submit(0))
    await until(lambda: run.running == 1)
    queued = [asyncio.create_task(collector.submit(n)) for n in (1, 2)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await collector.submit(3)
    run.gate.set()
    assert await asyncio.gather(running, *queued) == [0, 2, 4]
    assert await collector.submit(4) == 8
    assert [3] not in run.batches


async def test_the_exception_of_one_item_reaches_only_its_submitter() -> None:
    collector = collecting(Doubler())
    good, bad, also_good = await asyncio.gather(
        collector.submit(1), collector.submit(-1), collector.submit(3), return_exceptions=True
    )
    assert (good, also_good) == (2, 6)
    assert isinstance(bad, ValueError)
    assert str(bad) == "-1 is negative"


async def test_when_a_batch_fails_as_a_whole_all_of_it_hears_of_it_and_the_next_one_runs() -> None:
    fail = True

    async def run(items: list[int]) -> list[int | Exception]:
        if fail:
            raise ConnectionError("away")
        return list(items)

    collector: Collector[int, int] = Collector(run, batch_max=10, batches_in_flight=1, queue_max=10)
    heard = await asyncio.gather(*(collector.submit(n) for n in range(3)), return_exceptions=True)
    assert [type(error) for error in heard] == [ConnectionError] * 3
    fail = False
    assert await collector.submit(7) == 7


async def test_a_batch_with_too_few_results_is_a_bug_that_every_submitter_hears_of() -> None:
    async def run(items: list[int]) -> list[int | Exception]:
        return list(items[1:])

    collector: Collector[int, int] = Collector(run, batch_max=10, batches_in_flight=1, queue_max=10)
    heard = await asyncio.gather(collector.submit(1), collector.submit(2), return_exceptions=True)
    assert [type(error) for error in heard] == [AssertionError] * 2


async def test_a_submitter_that_left_before_its_batch_began_is_left_out_of_it() -> None:
    run = Doubler()
    collector = collecting(run, batch_max=1)
    run.gate.clear()
    asked = [asyncio.create_task(collector.submit(n)) for n in range(3)]
    await until(lambda: run.running == 1)
    asked[1].cancel()
    await asyncio.sleep(0)
    run.gate.set()
    assert await asked[2] == 4
    assert run.batches == [[0], [2]]


async def test_a_submitter_that_leaves_later_does_not_stop_its_batch() -> None:
    run = Doubler()
    collector = collecting(run)
    run.gate.clear()
    leaving, staying = (asyncio.create_task(collector.submit(n)) for n in (1, 2))
    await until(lambda: run.running == 1)
    leaving.cancel()
    run.gate.set()
    assert await staying == 4
    assert run.batches == [[1, 2]]


async def test_draining_answers_all_that_is_queued() -> None:
    run = Doubler()
    collector = collecting(run, batch_max=2)
    asked = [asyncio.create_task(collector.submit(n)) for n in range(5)]
    await asyncio.sleep(0)
    await collector.drain()
    assert [task.result() for task in asked] == [0, 2, 4, 6, 8]
    assert run.batches == [[0, 1], [2, 3], [4]]


async def test_draining_an_idle_collector_is_nothing() -> None:
    await collecting(Doubler()).drain()


async def test_draining_is_nothing_where_everybody_left() -> None:
    run = Doubler()
    collector = collecting(run)
    leaving = asyncio.create_task(collector.submit(1))
    await asyncio.sleep(0)
    leaving.cancel()
    await collector.drain()
    assert run.batches == []


async def test_a_heavy_item_goes_alone_and_light_ones_share() -> None:
    batches: list[list[int]] = []

    async def run(items: list[int]) -> list[int | Exception]:
        batches.append(items)
        return list(items)

    collector: Collector[int, int] = Collector(run, batch_max=10, batches_in_flight=1, queue_max=99, weigh=lambda n: n)
    assert await asyncio.gather(*(collector.submit(n) for n in (4, 5, 30, 1, 2))) == [4, 5, 30, 1, 2]
    assert batches == [[4, 5], [30], [1, 2]]


async def test_bisecting_finds_the_offending_item_and_spares_the_rest() -> None:
    async def run(items: list[int]) -> list[int | Exception]:
        if 13 in items:
            raise ValueError("unlucky")
        return list(items)

    results = await bisecting(run, whole=(OSError,))(list(range(20)))
    assert [n for n, result in enumerate(results) if isinstance(result, ValueError)] == [13]


async def test_trouble_of_the_whole_reaches_all_that_was_run_and_leaves_a_half_that_was_done() -> None:
    async def run(items: list[int]) -> list[int | Exception]:
        if len(items) > 2:
            raise ValueError("a bug, somewhere")
        if 3 in items:
            raise OSError("away")
        return list(items)

    results = await bisecting(run, whole=(OSError,))([1, 2, 3, 4])
    assert results[:2] == [1, 2]
    assert [str(result) for result in results[2:]] == ["away", "away"]


async def test_enqueue_gives_a_future_and_says_at_once_when_there_is_no_room() -> None:
    run = Doubler()
    collector = collecting(run, queue_max=4)
    futures = [collector.enqueue(n) for n in (1, 2)]
    with pytest.raises(Overloaded):
        collector.enqueue(3)
    assert await asyncio.gather(*futures) == [2, 4]
    assert await collector.enqueue(4) == 8


async def test_what_waited_too_long_is_shed_and_was_not_done() -> None:
    run = Doubler()
    collector: Collector[int, int] = Collector(run, batch_max=1, batches_in_flight=1, queue_max=10, wait_max_s=0.01)
    run.gate.clear()
    first = collector.enqueue(1)
    await until(lambda: run.running == 1)
    second = collector.enqueue(2)
    await asyncio.sleep(0.03)
    run.gate.set()
    assert await first == 2
    with pytest.raises(Overloaded):
        await second
    assert await collector.submit(3) == 6
    assert run.batches == [[1], [3]]


class TestGroups:
    """Tens are one tenant's, units of hundreds another's."""

    def collecting(self, run: Doubler) -> Collector[int, int]:
        return Collector(run, batch_max=4, batches_in_flight=1, queue_max=8, group=lambda n: n // 100)

    async def test_they_take_turns_however_much_one_of_them_sends(self) -> None:
        run = Doubler()
        collector = self.collecting(run)
        await asyncio.gather(*(collector.submit(n) for n in (100, 101, 102, 103, 200, 201, 300)))
        assert run.batches == [[100, 200, 300, 101], [201, 102, 103]]

    async def test_none_has_more_than_half_of_the_places(self) -> None:
        run = Doubler()
        collector = self.collecting(run)
        waiting = [collector.enqueue(n) for n in (100, 101, 102, 103)]
        with pytest.raises(Overloaded):
            collector.enqueue(104)
        waiting += [collector.enqueue(n) for n in (200, 201, 202, 203)]
        with pytest.raises(Overloaded):
            collector.enqueue(300)
        await asyncio.gather(*waiting)

    async def test_also_not_of_those_that_are_set_aside(self) -> None:
        run = Doubler()
        collector: Collector[int, int] = Collector(
            run, batch_max=9, batches_in_flight=2, queue_max=8, group=lambda n: n // 100, claims=lambda n: {n // 100}
        )
        run.gate.clear()
        running = collector.enqueue(100)
        await until(lambda: run.running == 1)
        hot = [collector.enqueue(n) for n in (101, 102, 103, 104)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            collector.enqueue(105)
        cold = collector.enqueue(200)
        await until(lambda: run.running == 2)
        run.gate.set()
        await asyncio.gather(running, cold, *hot)
        assert run.batches == [[100], [200], [101, 102, 103, 104]]
