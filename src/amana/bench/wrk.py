"""wrk as the generator of checks in a closed loop, where it is installed: it takes less CPU than ours in Python.

It counts replies in the same way (`checks.lua`). What is under way when its time is over it drops: those requests have
no reply, so that it can't be told what came of them.
"""

import resource
import shutil
import tempfile
from collections.abc import Callable
from importlib.resources import as_file, files
from pathlib import Path

import msgspec

from amana.bench.checks import Checks, request_around
from amana.bench.connection import LoadFailed
from amana.bench.generator import Plan
from amana.bench.load import STALL_S, Latency, Result
from amana.bench.program import run_program

REPLY_TIMEOUT_S = 10
MARGIN_S = 30.0
TOLD, SAMPLE = "amana:", "sample:"


class Told(msgspec.Struct, frozen=True):
    """What the script says of one run. `broken`: connections and replies that failed or did not come in time."""

    wanted: int
    sources: dict[str, int]
    refused: dict[str, int]
    broken: int
    seconds: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float


def wrk_program() -> str | None:
    """wrk, if it is on the path."""
    return shutil.which("wrk")


async def run_wrk(plan: Plan, _: Callable[[int], None]) -> Result:
    """Runs a closed loop of checks, after one that warms up. wrk knows whole seconds only. Raises `LoadFailed`."""
    assert isinstance(plan.work, Checks) and plan.rate is None and not plan.work.any_source
    with tempfile.TemporaryDirectory(prefix="amana-bench-") as folder:  # of mode 700: a key is in it
        arguments = _arguments(Path(folder), plan, plan.work)
        warm = await _run(plan, plan.warm_s, arguments)
        before = _children_cpu_s()
        measured = await _run(plan, plan.seconds, arguments)
        cpu_s = _children_cpu_s() - before
    return _result(plan, *warm, *measured, cpu_s)


def _arguments(folder: Path, plan: Plan, checks: Checks) -> list[str]:
    """What the script is to send, in files: the key stands in no list of processes."""
    request, ids = folder / "request", folder / "ids"
    request.write_bytes(b"@".join(request_around(plan.host, plan.port, plan.key)))
    ids.write_text("\n".join(checks.ids()))
    return [str(request), str(ids), checks.source]


async def _run(plan: Plan, seconds: float, arguments: list[str]) -> tuple[Told, list[str]]:
    program, whole = wrk_program(), max(1, round(seconds))
    assert program, "the caller asked whether there is one"
    with as_file(files("amana.bench").joinpath("checks.lua")) as script:
        said = await run_program(
            "wrk",
            *(program, "-t", "1", "-c", str(plan.connections), "-d", f"{whole}s", "--timeout", f"{REPLY_TIMEOUT_S}s"),
            *("-s", str(script), f"http://{plan.host}:{plan.port}/", "--", *arguments),
            limit_s=whole + STALL_S + MARGIN_S,
        )
    lines = said.splitlines()
    told = next((line.removeprefix(TOLD) for line in lines if line.startswith(TOLD)), None)
    if told is None:
        raise LoadFailed(f"wrk did not say its figures: {said[-200:]}")
    samples = [line.removeprefix(SAMPLE) for line in lines if line.startswith(SAMPLE)]
    return msgspec.json.decode(told, type=Told), samples


def _result(plan: Plan, warm: Told, _: list[str], told: Told, samples: list[str], cpu_s: float) -> Result:
    """Both runs as one, the first of them as warming up."""
    assert isinstance(plan.work, Checks)
    runs = (warm, told)
    sources: dict[str, int] = {plan.work.source: warm.wanted + told.wanted}
    refused: dict[str, int] = {}
    for run in runs:
        _add(sources, run.sources)
        _add(refused, run.refused | ({"no reply": run.broken} if run.broken else {}))
    replies = told.wanted + sum(told.sources.values()) + sum(told.refused.values())
    return Result(
        per_second=told.wanted / told.seconds,
        seconds=round(told.seconds, 3),
        requests=sum(sources.values()) + sum(refused.values()),
        accepted=sources[plan.work.source],
        unsure=len(runs) * plan.connections if refused or sources.get("fresh") else 0,
        unsent=0,
        refused=refused,
        latency=Latency(*(round(value, 3) for value in (told.p50_ms, told.p99_ms, told.p999_ms, told.max_ms))),
        cpu_us_per_request=round(cpu_s * 1e6 / max(1, replies), 1),
        sources=sources,
        samples=samples,
    )


def _add(counts: dict[str, int], more: dict[str, int]) -> None:
    for name, count in more.items():
        counts[name] = counts.get(name, 0) + count


def _children_cpu_s() -> float:
    """CPU of the children that have ended: nothing else that we started ends meanwhile."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
