"""A small bench of replays: what is rebuilt from each place is what stands."""

import msgspec
from rich.console import Console
from typer.testing import CliRunner

from amana.bench.replaying import PATHS, Options, run_replays
from amana.bench.report import Report
from amana.cli import app
from amana.infra.settings import Settings


async def test_a_bench_of_replays_rebuilds_a_town_from_each_place_without_a_difference(settings: Settings) -> None:
    options = Options(borrowers=30, runs=1, seed=7)
    content, ok = await run_replays(Console(quiet=True), settings, options)
    report = msgspec.convert(content, Report)
    assert ok, report.refused
    assert set(report.invariants.values()) == {0}
    assert {figure.path for figure in report.figures} == {f"{path}{part}" for path in PATHS for part in PARTS}
    assert all(figure.value > 0 for figure in report.figures)
    events = {run["path"]: run["events"] for run in report.runs}
    whole = events.pop("replay.audit")
    assert 0 < events.pop("replay.snapshot") < whole, "what came before the snapshot is not read"
    assert set(events.values()) == {whole}
    assert all(run["rows"]["loans"] and run["rows"]["decisions"] for run in report.runs)


PARTS = ("", ".fold", ".cpu")


def test_a_place_that_is_none_is_named() -> None:
    said = CliRunner().invoke(app, ["bench", "replay", "--only", "replay.tape"])
    assert said.exit_code == 2
    assert "no path or peer begins with replay.tape" in said.output
