"""`amana bench audit`: the audit log (P9), part by part on one ground."""

import time
from typing import Any

import msgspec
from rich.console import Console

from amana.bench import audit_log
from amana.bench.audit_ground import Options, Part, open_audit_ground
from amana.bench.machine import describe_machine, package_versions
from amana.bench.report import Figure, Report, publish, refusals
from amana.infra.settings import Settings

PARTS = (Part("log", audit_log.PATHS, audit_log.measure_log),)
"""In this order: a later one finds what an earlier one left in the database."""
PATHS = tuple(path for part in PARTS for path in part.paths)


async def run_audit(
    console: Console, given: Settings, options: Options, only: tuple[str, ...] = ()
) -> tuple[dict[str, Any], bool]:
    """Measures the parts that have a path beginning with one of `only`, or all, and prints. The report as JSON values,
    and whether its figures may be published."""
    begun = time.monotonic()
    wanted = [part for part in PARTS if not only or any(path.startswith(only) for path in part.paths)]
    figures: list[Figure] = []
    runs: list[dict[str, Any]] = []
    invariants: dict[str, int] = {}
    async with open_audit_ground(given, console) as ground:
        for part in wanted:
            outcome = await part.measure(ground, options, console)
            figures += [one for one in outcome.figures if not only or one.path.startswith(only)]
            runs += outcome.runs
            invariants |= outcome.invariants
        settings = await ground.server_settings()
    report = Report(
        bench="audit",
        figures=figures,
        machine=describe_machine(),
        versions=package_versions(),
        configuration=settings | msgspec.structs.asdict(options) | {"parts": [part.name for part in wanted]},
        seed=options.seed,
        seconds=round(time.monotonic() - begun, 1),
        invariants=invariants,
        runs=runs,
        refused=refusals(settings, invariants),
    )
    return publish(report, console)
