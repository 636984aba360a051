"""`amana bench growth`: whether a transfer costs more when there are many, and what each takes of the disk.

The history is made as any client would make it, by lists over HTTP. At each checkpoint the throughput of a few windows
is taken, with the sizes of the tables, the write-ahead log and the share of HOT updates.
"""

import asyncio
import shutil
import time
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
from rich.console import Console

from amana.bench.ground import Ground, open_ground
from amana.bench.machine import describe_machine, package_versions
from amana.bench.progress import Gauge
from amana.bench.report import Figure, Report, figure, publish, refusals
from amana.infra.embedded.process import ServerError
from amana.infra.settings import Settings

CHECKPOINTS = (100_000, 1_000_000, 2_000_000, 5_000_000, 10_000_000)
RATIO_FLOOR = 0.85
"""At the last checkpoint at least this much of the throughput at the first: "within 15 %"."""
LIST_SIZE, CONNECTIONS = 500, 8
FILL_S = 6 * 3600.0
"""A fill that takes longer is given up."""
WARM_S = 1.0
BYTES_PER_TRANSFER = 1_500
"""With its event, entries, indexes and bloat: a bound for the room that is asked for, not a figure."""
ROOM_BYTES = 5 << 30
"""Write-ahead log (2 GB before a checkpoint is forced), the empty database, and something to spare."""
STATISTICS_S = 1.5
"""After so long an idle session of PostgreSQL has reported what it did."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How far to go, and the windows at each checkpoint."""

    to: int
    seconds: float
    runs: int
    accounts: int
    seed: int


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured with about `stored` transfers. Bytes are for each transfer stored so far."""

    stored: int
    per_second: list[float]
    service_us: float | None
    postgres_us: float | None
    table_bytes: dict[str, float]
    index_bytes: dict[str, float]
    wal_bytes: float
    """Of write-ahead log for each transfer of the windows."""
    hot_share: float
    """Of the updates of accounts, in the windows."""


async def run_growth(
    console: Console, given: Settings, options: Options, keep: Path | None
) -> tuple[dict[str, Any], bool]:
    """Measures and prints. The report as JSON values, and whether its figures may be published."""
    begun = time.monotonic()
    accounts, seed = options.accounts, options.seed
    _require_empty(keep)
    async with open_ground(given, accounts, seed, lambda line: console.print(f"  {line}"), keep) as ground:
        _require_room(ground, options.to)
        checkpoints = []
        for at in sorted({at for at in CHECKPOINTS if at < options.to} | {options.to}):
            await _fill(ground, at, console)
            checkpoints.append(await _measure(ground, options))
            console.print(_told(checkpoints[-1]), markup=False, soft_wrap=True)
        with console.status("Checking the invariants over the whole history"):
            await ground.check()
        settings = await ground.server_settings()
        report = Report(
            bench="growth",
            figures=_figures(checkpoints),
            machine=describe_machine(),
            versions=package_versions() | {"postgres": settings["server_version"]},
            configuration={"postgres": settings, **msgspec.to_builtins(options)},
            seed=seed,
            seconds=round(time.monotonic() - begun, 1),
            invariants=ground.invariants,
            runs=[msgspec.to_builtins(one) for one in checkpoints],
            refused=refusals(settings, ground.invariants),
        )
        return publish(report, console)


def room_needed(transfers: int) -> int:
    """Bytes of disk that a history of so many transfers is expected to need at most."""
    return ROOM_BYTES + transfers * BYTES_PER_TRANSFER


def _require_empty(folder: Path | None) -> None:
    if folder and folder.exists() and any(folder.iterdir()):
        raise ServerError(f"{folder} is not empty: the sizes there would be of two histories")


def _require_room(ground: Ground, transfers: int) -> None:
    """`ServerError` where the disk of our own PostgreSQL is too small; a given server's disk is not ours to see."""
    server = ground.stack.postgres
    if server is None:
        return
    folder, needed = server.folder, room_needed(transfers)
    if (free := shutil.disk_usage(folder).free) < needed:
        raise ServerError(
            f"{transfers:,} transfers need about {needed >> 30} GB and the disk of {folder} has {free >> 30} GB: "
            "free some space, ask for fewer with --to, or choose a folder elsewhere with --keep"
        )


async def _fill(ground: Ground, until: int, console: Console) -> None:
    """Posts transfers until about `until` are stored, in lists over HTTP."""
    missing = until - ground.stored
    if missing <= 0:
        return
    plan = ground.plan(ground.movements(list_size=LIST_SIZE), CONNECTIONS, 0.0, FILL_S, items_max=missing)
    with Gauge(console, f"Posting up to {until:,}", missing, spoken=True) as gauge:
        await ground.measure(plan, progress=gauge.at)
        gauge.at(missing)
    await ground.count()


async def _measure(ground: Ground, options: Options) -> Checkpoint:
    stored, wal, (updates, hot) = ground.stored, await _wal(ground), await _updates(ground)
    measured = []
    for _ in range(options.runs):
        plan = ground.plan(ground.movements(list_size=LIST_SIZE), CONNECTIONS, WARM_S, options.seconds)
        measured += await ground.measure(plan)
    await ground.count()
    posted = max(1, ground.stored - stored)
    wal_after, (updates_after, hot_after) = await _wal(ground), await _updates(ground)
    sizes = await ground.fetch("table_sizes")
    return Checkpoint(
        stored=stored,
        per_second=[round(one.result.per_second, 1) for one in measured],
        service_us=_middle([one.cpu_us.get("service") for one in measured]),
        postgres_us=_middle([one.cpu_us.get("postgres") for one in measured]),
        table_bytes={row["name"]: round(row["bytes"] / ground.stored, 1) for row in sizes},
        index_bytes={row["name"]: round(row["index_bytes"] / ground.stored, 1) for row in sizes},
        wal_bytes=round((wal_after - wal) / posted, 1),
        hot_share=round((hot_after - hot) / max(1, updates_after - updates), 4),
    )


async def _wal(ground: Ground) -> int:
    (row,) = await ground.fetch("wal_bytes")
    return int(row["bytes"])


async def _updates(ground: Ground) -> tuple[int, int]:
    await asyncio.sleep(STATISTICS_S)
    (row,) = await ground.fetch("account_updates")
    return row["updates"], row["hot"]


def _middle(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def _figures(checkpoints: list[Checkpoint]) -> list[Figure]:
    """Throughput at each checkpoint and, of the last, its ratio to the first and what a transfer takes."""
    first, last = checkpoints[0], checkpoints[-1]
    made = [figure(f"P5.growth.{one.stored}", one.per_second, "transfers/s") for one in checkpoints]
    ratio = median(last.per_second) / median(first.per_second) if median(first.per_second) else 0.0
    made.append(figure("P5.growth.ratio", [ratio], "ratio", floor=RATIO_FLOOR, aim=1.0))
    for name, value in last.table_bytes.items():
        if value >= 1:
            made.append(figure(f"P5.growth.bytes.{name.rpartition('.')[2]}", [value], "bytes/transfer", better="lower"))
    made.append(figure("P5.growth.bytes", [sum(last.table_bytes.values())], "bytes/transfer", better="lower"))
    made.append(figure("P5.growth.wal", [last.wal_bytes], "bytes/transfer", better="lower"))
    made.append(figure("P5.growth.accounts_hot", [last.hot_share], "share"))
    return made


def _told(one: Checkpoint) -> str:
    per_second = ", ".join(f"{value:,.0f}" for value in one.per_second)
    return (
        f"{one.stored:>11,} stored: {per_second} transfers/s, {sum(one.table_bytes.values()):,.0f} bytes and "
        f"{one.wal_bytes:,.0f} bytes of WAL each, {one.hot_share:.1%} of updates HOT"
    )
