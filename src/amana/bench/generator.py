"""The load generator as a process of its own: a plan comes in on stdin, lines of JSON go out on stdout.

    {"accepted": 12000}          once a second, while it runs
    {"result": {...}}            at the end, or
    {"error": "the sentence"}    when the run gave no figure

`run_load` starts it and waits. It stops by itself, dies with the process that started it, and is killed when late.
A new kind of load is a `Work` with a struct that describes it, named in `Plan.work`.
"""

import asyncio
import gc
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

import msgspec

from amana.bench.checks import Checks, ChecksWork
from amana.bench.connection import LoadFailed
from amana.bench.load import DRAIN_S, STALL_S, Load, Result
from amana.bench.movements import Movements, TransfersWork
from amana.bench.program import leashed

REPORT_S = 1.0
START_S = 30.0
"""What starting Python, making the tables and connecting may take on a busy machine."""
LINE_BYTES_MAX = 1 << 20


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One run against the server at `host`:`port`, with the API key `key`.

    Without `rate` (requests a second) the loop is closed. The first `warm_s` count for nothing. A closed loop ends
    early when `items_max` items were sent; 0 is no bound.
    """

    host: str
    port: int
    key: str
    work: Movements | Checks
    connections: int
    seconds: float
    warm_s: float = 1.0
    rate: float | None = None
    items_max: int = 0

    @property
    def limit_s(self) -> float:
        """By when it has ended, whatever happens."""
        return START_S + self.warm_s + self.seconds + DRAIN_S + STALL_S


class Line(msgspec.Struct, omit_defaults=True):
    """One line of what the generator writes."""

    accepted: int | None = None
    result: Result | None = None
    error: str | None = None


async def run_load(plan: Plan, progress: Callable[[int], None] = lambda _: None) -> Result:
    """Runs the plan in a process of its own; `progress` gets the items accepted so far. Raises `LoadFailed`."""
    process = await asyncio.create_subprocess_exec(
        *leashed(sys.executable, "-m", "amana.bench.generator"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=LINE_BYTES_MAX,
        start_new_session=True,  # Ctrl-C in the terminal is ours to handle
    )
    assert process.stdin
    assert process.stdout
    try:
        async with asyncio.timeout(plan.limit_s):
            process.stdin.write(msgspec.json.encode(plan))
            process.stdin.close()
            async for text in process.stdout:
                line = msgspec.json.decode(text, type=Line)
                if line.error is not None:
                    raise LoadFailed(line.error)
                if line.result is not None:
                    return line.result
                progress(line.accepted or 0)
    except TimeoutError as error:
        raise LoadFailed(f"the load generator did not end within {plan.limit_s:g} s") from error
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    raise LoadFailed(f"the load generator ended with exit code {process.returncode}; its error is above")


def main() -> None:
    """The process: reads a `Plan`, writes `Line`s."""
    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=Plan)
    gc.disable()  # nothing here makes cycles, and a collection in the middle would look like the server's pause
    try:
        _write(Line(result=_run(plan)))
    except LoadFailed as error:
        _write(Line(error=str(error)))


def _run(plan: Plan) -> Result:
    work = _work(plan)
    load = Load(work, plan.host, plan.port, plan.connections)
    ended = threading.Event()
    threading.Thread(target=_tell, args=(load, ended), daemon=True).start()
    try:
        if plan.rate is None:
            result = load.closed(plan.warm_s, plan.seconds, plan.items_max)
        else:
            result = load.open(plan.rate, plan.warm_s, plan.seconds)
    finally:
        ended.set()
        load.close()
    if isinstance(work, ChecksWork):
        return msgspec.structs.replace(result, sources=work.sources, samples=work.samples)
    return result


def _work(plan: Plan) -> TransfersWork | ChecksWork:
    if isinstance(plan.work, Checks):
        return ChecksWork(plan.work, plan.host, plan.port, plan.key)
    return TransfersWork(plan.work, plan.host, plan.port, plan.key)


def _tell(load: Load, ended: threading.Event) -> None:
    """Says how far the run is, until it has ended."""
    while not ended.wait(REPORT_S):
        _write(Line(accepted=load.accepted))


def _write(line: Line) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
