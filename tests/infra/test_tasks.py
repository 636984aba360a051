"""What runs beside the requests ends, whatever it does with its first cancellation."""

import asyncio

from amana.infra.tasks import end


async def test_a_task_that_loses_its_first_cancellation_is_cancelled_again() -> None:
    lost = 0

    async def works() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if lost == 2:
                    raise
                lost += 1

    tasks = [asyncio.create_task(works()), asyncio.create_task(asyncio.sleep(60))]
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await end(tasks, again_s=0.05)
    assert lost == 2
    assert all(task.cancelled() for task in tasks)


async def test_nothing_to_end_is_ended() -> None:
    await end([])
