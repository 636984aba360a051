"""A report says what was measured, and no figure of a run that was not durable or broke an invariant."""

from io import StringIO
from typing import Any

import msgspec
import pytest
from rich.console import Console

from amana.bench.report import DURABLE, Figure, Peer, Report, figure, publish, refusals

SAFE = dict.fromkeys(DURABLE, "on")


def report(**given: Any) -> Report:
    made = figure("P5.hot", [21_000.0, 9_000.0, 20_000.4], "transfers/s", floor=10_000.0, peers=[Peer("pgbench", 2.0)])
    return Report(
        bench="transfers",
        figures=[made],
        machine={"cores": 2, "cpu": "a processor"},
        versions={"postgres": "18"},
        configuration={"postgres": SAFE},
        seed=1,
        seconds=1.5,
        invariants={},
        runs=[{"path": "P5.hot", "round": 1}],
        **given,
    )


def test_a_report_can_be_read_back_from_its_json() -> None:
    content, ok = publish(report(), Console(quiet=True))
    assert ok
    assert msgspec.convert(msgspec.json.decode(msgspec.json.encode(content)), Report) == report()
    assert content["figures"][0] == {
        "path": "P5.hot",
        "value": 20_000.0,
        "unit": "transfers/s",
        "better": "higher",
        "floor": 10_000.0,
        "aim": None,
        "peers": [{"name": "pgbench", "value": 2.0}],
        "values": [21_000.0, 9_000.0, 20_000.0],
    }


def test_the_table_shows_every_figure_and_the_peers_beside_it() -> None:
    console = Console(record=True, width=120, file=StringIO())
    publish(report(), console)
    shown = console.export_text()
    assert "P5.hot" in shown
    assert "pgbench, beside P5.hot" in shown


@pytest.mark.parametrize("setting", DURABLE)
def test_figures_of_a_server_that_may_lose_a_commit_are_refused(setting: str) -> None:
    assert refusals(SAFE | {setting: "off"}, {}) == [f"PostgreSQL runs with {setting} = off"]


def test_a_refused_report_has_no_figures_and_says_which_invariant_broke() -> None:
    refused = refusals(SAFE, {"balances_not_zero": 0, "limits_broken": 2})
    content, ok = publish(report(refused=refused), Console(quiet=True))
    assert not ok
    assert content["figures"] == []
    assert content["refused"] == ["limits_broken: broken 2 times"]
    assert content["runs"]


def test_a_floor_is_the_least_where_more_is_better_and_the_most_where_less_is() -> None:
    assert Figure(path="P4", value=5.0, unit="transfers/s", floor=5.0).holds
    assert not Figure(path="P4", value=151.0, unit="ms", better="lower", floor=150.0).holds
    assert Figure(path="P4", value=1.0, unit="ms").holds is None
