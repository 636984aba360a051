"""`amana bench replay`: how fast what stands is rebuilt from the log and compared, from each place that has the log.

Two lenders play a synthetic book each, over HTTP. After the first book a snapshot is written, so that what is replayed
from it is the second one. Then the services rest, and everything is replayed in this process, as `amana replay` does.
"""

import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from rich.console import Console

from amana.audit.custody import Custody
from amana.audit.export import run_export
from amana.audit.leaf import STREAMS
from amana.bench.machine import describe_machine, package_versions
from amana.bench.report import Figure, Report, figure, publish, refusals
from amana.bench.site import SERVER_SETTINGS, SQL, open_stack, owner_pool
from amana.gateway import provision
from amana.infra.postgres import reading
from amana.infra.settings import Settings
from amana.operate.play import SETTLE_S, play
from amana.operate.reconcile import reconcile
from amana.operate.replay.options import Log
from amana.operate.replay.options import Options as Replay
from amana.operate.replay.result import Replayed
from amana.operate.replay.run import replay
from amana.operate.replay.telling import Telling
from amana.operate.stack import Stack
from amana.tape.generate import generate_book

PLACES = ("outbox", "audit", "export", "service", "snapshot")
PATHS = tuple(f"replay.{place}" for place in PLACES)
SERVICES = ("eligibility", "transactions", "relay", "audit")
PLAY_FAILED, RECONCILED, DIFFER = "book not played whole", "differences found by reconciling", "differences"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How many borrowers both lenders have, and how often each place is replayed."""

    borrowers: int
    runs: int
    seed: int
    only: tuple[str, ...] = ()


class Town(NamedTuple):
    """What the log is of: settings with which all of it may be read, and by place what is asked of a replay."""

    settings: Settings
    asked: dict[str, Replay]


async def run_replays(console: Console, given: Settings, options: Options) -> tuple[dict[str, Any], bool]:
    """Measures and prints. The report as JSON values, and whether its figures may be published."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="amana-bench-replay-") as folder:
        async with open_stack(given, SERVICES, lambda line: console.print(f"  {line}")) as stack:
            bench = _Bench(stack, options, console)
            town = await bench.build(Path(folder))
            for run in range(options.runs):
                for place, asked in town.asked.items():
                    await bench.replay(town.settings, place, asked, run)
            async with owner_pool(stack) as pool, reading(pool) as connection:
                rows = await connection.fetch(SQL["server_settings"], list(SERVER_SETTINGS))
    settings = {row["name"]: row["value"] for row in rows}
    return publish(
        Report(
            bench="replay",
            figures=bench.figures(),
            machine=describe_machine(),
            versions=package_versions() | {"postgres": settings["server_version"]},
            configuration={"postgres": settings, **msgspec.to_builtins(options)},
            seed=options.seed,
            seconds=round(time.monotonic() - begun, 1),
            invariants=bench.invariants,
            runs=bench.runs,
            refused=refusals(settings, bench.invariants),
        ),
        console,
    )


class _Bench:
    """The town that is built, and what each replay gave."""

    def __init__(self, stack: Stack, options: Options, console: Console) -> None:
        self.invariants = {PLAY_FAILED: 0, RECONCILED: 0, DIFFER: 0}
        self.runs: list[dict[str, Any]] = []
        self._stack = stack
        self._options = options
        self._console = console
        self._quiet = Telling(console, quiet=True)
        self._values: dict[str, list[float]] = defaultdict(list)

    async def build(self, folder: Path) -> Town:
        """Plays both books; leaves a snapshot between them, and an export of the whole log, in a folder."""
        snapshot, exported = folder / "half.snapshot", folder / "export"
        await self._play("first")
        self._count(await replay(self._stack.settings, Replay(write_snapshot=snapshot), self._quiet))
        key = await self._play("second")
        exported.mkdir()
        await run_export(self._stack.settings, exported)
        keys = _trusted(self._stack.settings)
        asked = {
            "outbox": Replay(log=Log.OUTBOX),
            "audit": Replay(),
            "export": Replay(from_export=exported, keys=keys),
            "service": Replay(from_audit=self._stack.urls["audit"], keys=keys),
            "snapshot": Replay(from_snapshot=snapshot),
        }
        only = self._options.only or PATHS
        wanted = {place: one for place, one in asked.items() if f"replay.{place}".startswith(only)}
        return Town(msgspec.structs.replace(self._stack.settings, api_key=key), wanted)

    async def replay(self, settings: Settings, place: str, asked: Replay, run: int) -> None:
        """One replay, timed from end to end: reading and verifying, folding, comparing."""
        cpu_s = time.process_time()
        result = await replay(settings, asked, self._quiet)
        cpu_s, path = time.process_time() - cpu_s, f"replay.{place}"
        self._count(result)
        per_s, cpu_us = result.events / result.seconds, cpu_s / result.events * 1e6
        self._values[path].append(per_s)
        self._values[f"{path}.fold"].append(result.events / max(result.fold_seconds, 0.001))
        self._values[f"{path}.cpu"].append(cpu_us)
        told = {"events": result.events, "seconds": result.seconds, "fold_seconds": result.fold_seconds}
        self.runs.append({"path": path, "run": run, **told, "cpu_us": round(cpu_us, 1), "rows": result.live})
        self._console.print(
            f"  {path}: {result.events:,} events in {result.seconds:.1f} s, {cpu_us:.0f} µs of CPU each"
        )

    def figures(self) -> list[Figure]:
        """Of each place: from end to end, while folding alone, and this process's CPU."""
        return [
            figure(path, values, "µs/event", better="lower")
            if path.endswith(".cpu")
            else figure(path, values, "events/s")
            for path, values in self._values.items()
        ]

    async def _play(self, which: str) -> str:
        """Plays a book of half of the borrowers, as a lender of its own, until the log has all of it; the key."""
        dsn, second = self._stack.settings.owner_database_url, which == "second"
        tenant = await provision.create_tenant(dsn, f"bench-{which}", f"The {which} lender of the bench")
        key = await provision.create_key(dsn, tenant, provision.ALL_SCOPES)
        book = generate_book(self._options.seed + second, max(1, self._options.borrowers // 2))
        played = await play(self._stack, book, key, self._console, f"The {which} lender: {len(book.loans):,} loans")
        self.invariants[PLAY_FAILED] += played.failed
        with self._console.status("Reconciling"):
            self.invariants[RECONCILED] += len((await reconcile(self._stack.settings, SETTLE_S)).differences)
        return key

    def _count(self, result: Replayed) -> None:
        self.invariants[DIFFER] += result.differing


def _trusted(settings: Settings) -> Sequence[str]:
    custody = Custody.of(settings)
    return tuple(str(key) for stream in STREAMS for key in custody.keys(stream).keys)
