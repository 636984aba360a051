"""A small real bench, end to end: real servers, every kind of step, nothing left behind."""

import os
from pathlib import Path

import asyncpg
import msgspec
from rich.console import Console
from typer.testing import CliRunner

from amana.bench.growth import room_needed
from amana.bench.report import Report
from amana.bench.rounds import path_unknown
from amana.bench.site import own_databases
from amana.bench.transfers import PATHS, Options, run_transfers
from amana.cli import app
from amana.infra.settings import Settings
from amana.operate.terminal import EXIT_CANNOT

SMALL = Options(
    seconds=0.5,
    warm_s=0.2,
    runs=1,
    accounts=200,
    seed=1,
    only=("P4.single.64", "P4.single.hot", "P4.single.zipf", "P4.open.half", "P5.hot", "P5.cold.", "naive"),
)


def descendants() -> set[str]:
    """Ids of the processes that this one, or a child of it, started, but PostgreSQL's workers, which come and go."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            if (entry.parent / "cmdline").read_bytes().startswith(b"postgres:"):
                continue
            parents[entry.parent.name] = entry.read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue
    found, size = {str(os.getpid())}, 0
    while size < len(found):
        size = len(found)
        found |= {pid for pid, parent in parents.items() if parent in found}
    return found


async def databases(settings: Settings) -> set[str]:
    connection = await asyncpg.connect(settings.owner_database_url)
    try:
        return {row["datname"] for row in await connection.fetch("SELECT datname FROM pg_database")}
    finally:
        await connection.close()


async def test_a_bench_measures_proves_its_result_and_leaves_nothing(settings: Settings) -> None:
    processes, before = descendants(), await databases(settings)
    content, ok = await run_transfers(Console(quiet=True), settings, SMALL)
    report = msgspec.convert(content, Report)
    assert ok, report.refused
    paths = {"P4.single.64", "P4.single.zipf", "P4.single.hot.to_uniform", "P4.open.half.p99", "P5.hot"}
    paths |= {f"P5.cold.beside_{what}.p99" for what in ("hot", "uniform", "hot_reversals")}
    assert paths <= {figure.path for figure in report.figures}
    assert all(figure.value > 0 for figure in report.figures if ".cpu." not in figure.path)
    hot = next(figure for figure in report.figures if figure.path == "P5.hot")
    assert [peer.name.split()[0] for peer in hot.peers] == ["one", "pgledger"]
    assert set(report.invariants.values()) == {0}
    assert [run["refused"] for run in report.runs if "refused" in run] == [{}] * 8
    assert report.configuration["postgres"]["fsync"] == "on"
    assert descendants() <= processes
    assert await databases(settings) == before


def test_a_bench_on_given_servers_uses_none_of_their_databases(settings: Settings) -> None:
    moved = own_databases(settings)
    assert settings.audit_key_file and not moved.audit_key_file
    urls = {name: url for name, url in msgspec.structs.asdict(moved).items() if name.endswith("_database_url")}
    own = {f"/amana_bench_{part}{os.getpid()}" for part in ("", "audit_", "keys_", "metrics_")}
    assert [name for name, url in urls.items() if url and not any(database in url for database in own)] == []
    assert {database for database in own if any(database in url for url in urls.values())} == own


def test_a_path_is_known_by_its_beginning() -> None:
    assert path_unknown(("P5", "P4.open", "pgbench"), PATHS) == ""
    assert path_unknown(("P5", "P9"), PATHS) == "P9"
    assert len(set(PATHS)) == len(PATHS)


def test_the_command_names_a_path_that_it_does_not_know() -> None:
    said = CliRunner().invoke(app, ["bench", "transfers", "--only", "P9"])
    assert said.exit_code == EXIT_CANNOT
    assert "no path or peer begins with P9" in said.output


def test_ten_million_transfers_ask_for_less_than_a_small_disk() -> None:
    assert room_needed(10_000_000) < 24 << 30
