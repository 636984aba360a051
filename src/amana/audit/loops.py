"""The loops beside the routes of the audit service.

None of them ends on an error: what is away is tried again, and what is broken is logged and shown in the metrics while
everything else goes on.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from amana.audit.arrivals import Arrivals
from amana.audit.places import CustodyError
from amana.audit.sealer import LogBroken
from amana.infra.breaker import pause
from amana.infra.http import UpstreamUnavailable
from amana.infra.pace import Pace
from amana.infra.postgres import DatabaseUnavailable
from amana.infra.telemetry import logger

REST_S, REST_MAX_S = 0.2, 1.0
"""Between two checkpoints of a stream, and between two looks for what to index, where leaves keep coming: the first at
least, the second at most where they take long."""
WOKEN = ("seal", "index")
"""Loops that leaves wake, by the first word of their names; the second one is the stream."""
AWAY_PAUSE_S = 1.0
BROKEN_PAUSE_S = 5.0
STOP_TIMEOUT_S = 10.0

Step = Callable[[], Awaitable[float]]
"""A bit of a loop's work; gives the seconds to wait before the next."""
Steps = Callable[[asyncio.Event], dict[str, Step]]
"""The loops by name, which are to end when the event is set."""

log = logger("amana.audit.loops")


@asynccontextmanager
async def running(steps: Steps, arrivals: Arrivals) -> AsyncIterator[None]:
    """Runs the loops around the block; at its end they are asked to stop, and after a while made to."""
    stop = asyncio.Event()
    tasks = [
        asyncio.create_task(_loop(name, step, stop, _bell_of(name, arrivals) or stop), name=name)
        for name, step in steps(stop).items()
    ]
    try:
        yield
    finally:
        stop.set()
        arrivals.ring_all()
        _, late = await asyncio.wait(tasks, timeout=STOP_TIMEOUT_S)
        for task in late:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _bell_of(loop: str, arrivals: Arrivals) -> asyncio.Event | None:
    """Of a loop that works on the leaves of a stream."""
    work, _, stream = loop.partition(" ")
    return arrivals.bell(stream) if work in WOKEN else None


async def _loop(name: str, step: Step, stop: asyncio.Event, bell: asyncio.Event) -> None:
    """Each step after the seconds that the last one gave; or, where that went well, as soon after a rest as the bell
    rings. What it waits for is said once."""
    pace, waits = Pace(REST_S, REST_MAX_S), False
    while not stop.is_set():
        if bell is not stop:
            bell.clear()
        wakes = stop
        pace.begin()
        try:
            pause_s, wakes, waits = await step(), bell, False
        except (DatabaseUnavailable, UpstreamUnavailable) as error:
            (log.debug if waits else log.warning)("loop_waits", loop=name, detail=str(error))
            waits, pause_s = True, AWAY_PAUSE_S
        except (LogBroken, CustodyError) as error:
            log.critical("refuses_to_sign", loop=name, detail=str(error))
            pause_s = BROKEN_PAUSE_S
        except Exception:
            log.exception("loop_failed", loop=name)
            pause_s = BROKEN_PAUSE_S
        rest_s = min(pause_s, pace.rest_s())
        await pause(rest_s, stop)
        await pause(pause_s - rest_s, wakes)
