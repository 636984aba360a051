"""A small real run of everything; and what a lag is."""

import msgspec
import pytest
from rich.console import Console

from amana.bench import platform
from amana.bench.platform import Look, Options, run_platform, worst_lag_s
from amana.bench.report import Report
from amana.infra.settings import Settings


async def test_a_rate_is_found_that_relay_and_log_keep_up_with(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "TRIALS", 1)
    for name, value in (("ANSWERED_MIN", 0.2), ("LAG_MAX_S", 60.0)):  # of a busy machine
        monkeypatch.setattr(platform, name, value)
    content, ok = await run_platform(
        Console(quiet=True), settings, Options(seconds=2.0, trial_s=2.0, accounts=200, seed=3)
    )
    report = msgspec.convert(content, Report)
    assert ok, report.refused
    figures = {figure.path: figure.value for figure in report.figures}
    assert figures["P12"] > 0
    assert {"P12.p99", "P12.lag.relay", "P12.lag.sealing", "P12.lag.gone"} <= figures.keys()
    assert not any(report.invariants.values())
    assert [run["path"] for run in report.runs] == ["P12.trial", "P12"]


def test_a_lag_is_how_long_what_was_acknowledged_has_waited() -> None:
    looks = [Look(0.0, 100, 100, 100), Look(1.0, 200, 200, 100), Look(2.0, 300, 250, 100), Look(3.0, 300, 300, 300)]
    assert worst_lag_s(looks, "published") == 1.0  # at 2.0 what was there at 1.0 is published, and no more
    assert worst_lag_s(looks, "sealed") == 2.0
    assert worst_lag_s([Look(5.0, 7, 9, 9)], "sealed") == 0.0  # what is sealed may be ahead of what we were told
