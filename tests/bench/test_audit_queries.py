"""A small bench of the audit log's search: its answers hold as many events as were made of what was asked for."""

import msgspec
import pytest
from rich.console import Console

from amana.bench import audit_queries
from amana.bench.audit_queries import BESIDE, SHAPES, Options, run_audit_queries
from amana.bench.report import Report
from amana.infra.settings import Settings


async def test_a_bench_of_the_search_knows_what_its_answers_hold(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_queries, "WARM_S", 0.0)
    options = Options(events=10_000, rate=100.0, seconds=0.1, runs=1, seed=7)
    content, ok = await run_audit_queries(Console(quiet=True), settings, options)
    report = msgspec.convert(content, Report)
    assert ok, report.refused
    assert report.invariants == {"answers_wrong": 0}
    figures = {figure.path: figure for figure in report.figures}
    asked = {f"P13.{shape}.{part}" for shape in (*SHAPES, *BESIDE) for part in ("p50", "p99")}
    assert set(figures) == asked | {"P13.index", "P13.leaves", "P13.load"}
    assert all(figure.value > 0 and figure.floor is None for figure in figures.values())
