"""A small bench of the audit log: what it measures is verified, and tampering is found before figures are told."""

import msgspec
from rich.console import Console
from typer.testing import CliRunner

from amana.bench.audit import PARTS, PATHS, run_audit
from amana.bench.audit_ground import Options, events
from amana.bench.report import Report
from amana.cli import app
from amana.infra.settings import Settings


async def test_a_bench_of_the_log_measures_it_on_a_log_that_verifies(settings: Settings) -> None:
    options = Options(leaves=1_000, runs=2, seed=7)
    content, ok = await run_audit(Console(quiet=True), settings, options, ("P9",))
    report = msgspec.convert(content, Report)
    assert ok, report.refused
    figures = {figure.path: figure for figure in report.figures}
    assert set(figures) == {path for path in PATHS if path.startswith("P9")}
    assert all(figure.value > 0 for figure in figures.values())
    assert figures["P9.verify"].peers[0].name.startswith("SHA-256 alone")
    assert set(report.invariants.values()) == {0}
    assert report.configuration["parts"] == [PARTS[0].name]


def test_events_are_the_same_for_the_same_seed_and_position() -> None:
    assert events(7, 0, 20)[10:] == events(7, 10, 10)
    assert events(7, 0, 1) != events(8, 0, 1)


def test_a_path_that_is_none_is_named() -> None:
    said = CliRunner().invoke(app, ["bench", "audit", "--only", "P1"])
    assert said.exit_code == 2
    assert "no path or peer begins with P1" in said.output
