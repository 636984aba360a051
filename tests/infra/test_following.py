"""Many who wait for one piece of work: each hears of it in their own way, by their own deadline, and may leave."""

import asyncio
import contextvars
import time
from collections.abc import Iterator

import pytest

from amana.infra import deadline
from amana.infra.deadline import DeadlineExceeded
from amana.infra.following import following


@pytest.fixture(autouse=True)
def no_deadline() -> Iterator[None]:
    deadline.enter(None)
    yield
    deadline.enter(None)


async def answered(by: "asyncio.Future[int]") -> int:
    return await by


def by(left_s: float, task: "asyncio.Task[int]") -> "asyncio.Future[int]":
    """A follower with a deadline."""

    def follow() -> "asyncio.Future[int]":
        deadline.enter(time.monotonic() + left_s)
        return following(task)

    return contextvars.copy_context().run(follow)


async def test_each_hears_of_it_in_their_own_way() -> None:
    result: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(answered(result))
    first, double = following(task), following(task, lambda number: number * 2)
    result.set_result(21)
    assert (await first, await double) == (21, 42)
    assert await following(task) == 21  # it is over by now


async def test_who_leaves_takes_the_work_from_nobody() -> None:
    result: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(answered(result))
    leaves, stays = following(task), following(task)
    leaves.cancel()
    await asyncio.sleep(0)
    result.set_result(1)
    assert await stays == 1 and leaves.cancelled()


async def test_who_has_little_time_waits_no_longer_and_the_others_do() -> None:
    result: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(answered(result))
    hurried, patient, far = by(0.05, task), following(task), by(30.0, task)
    with pytest.raises(DeadlineExceeded):
        await hurried
    with pytest.raises(DeadlineExceeded):
        by(0.0, task)
    result.set_result(1)
    assert (await patient, await far) == (1, 1)


async def test_what_goes_wrong_is_told_to_all_and_a_bug_in_telling_to_its_own() -> None:
    result: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(answered(result))
    followers = following(task), following(task, lambda number: number + 1)
    result.set_exception(LookupError("nobody"))
    assert [str(one) for one in await asyncio.gather(*followers, return_exceptions=True)] == ["nobody"] * 2

    task = asyncio.create_task(asyncio.sleep(0, 1))
    well, badly = following(task), following(task, lambda number: number // 0)
    assert await well == 1
    with pytest.raises(ZeroDivisionError):
        await badly


async def test_work_that_is_cancelled_is_waited_for_by_nobody() -> None:
    task = asyncio.create_task(asyncio.sleep(30, 1))
    follower = following(task)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await follower
