"""A small bench of policies: what it measures is checked, and a peer that is not there is left out."""

import sys
from io import StringIO

import msgspec
import pytest
from rich.console import Console

from amana.bench.policy import NOW, SAMPLE, Options, PolicyBench, count_different, customers_of, find_zen, run_policy
from amana.bench.population import ATTRIBUTES, RULES, benched_policy, population
from amana.bench.report import Report
from amana.bench.zen import Zen, said_by_us, said_by_zen
from amana.domain.decision import CompiledPolicy, assess, compile_policy
from amana.domain.facts import fact_faults

SMALL = Options(seconds=0.01, runs=1, rows=SAMPLE, seed=7)


@pytest.fixture(scope="module")
def policy() -> CompiledPolicy:
    return compile_policy(benched_policy(), 1, "0" * 64)


def test_a_bench_measures_one_decision_and_a_table_of_them_and_checks_both() -> None:
    content, ok = run_policy(Console(quiet=True), SMALL)
    report = msgspec.convert(content, Report)
    assert ok, report.refused
    figures = {figure.path: figure for figure in report.figures}
    assert list(figures) == ["P6", "P6.assess", "P6.decide", "P6.cpu", "P7", "P7.cpu"]
    assert all(figure.value > 0 for figure in figures.values())
    assert [figures[path].peers[0].name.split(",")[0] for path in ("P6", "P7")] == ["zen-engine", "zen-engine"]
    assert report.invariants == {"table_differs": 0, "zen_differs": 0}
    assert min(report.configuration["outcomes"].values()) > SAMPLE // 20
    assert (report.configuration["rules"], report.configuration["attributes"]) == (RULES, ATTRIBUTES)


def test_without_its_package_the_peer_is_left_out_with_a_line(
    monkeypatch: pytest.MonkeyPatch, policy: CompiledPolicy
) -> None:
    monkeypatch.setitem(sys.modules, "zen", None)
    console = Console(record=True, width=120, file=StringIO())
    assert find_zen(policy, console) is None
    assert "zen-engine is left out" in console.export_text()


def test_a_table_that_says_something_else_has_no_figure() -> None:
    bench = PolicyBench(SMALL, Console(quiet=True))
    bench._sample = bench._sample[1:] + bench._sample[:1]
    bench._check()
    assert bench.invariants["table_differs"] > SAMPLE // 2


def test_the_peer_is_asked_the_same_question(policy: CompiledPolicy) -> None:
    customers = customers_of(population(3, 400, [None]))
    zen = Zen(policy.document)
    ours = [said_by_us(assess(policy, facts, NOW)) for facts, _, _ in customers]
    assert [said_by_zen(zen.evaluate(facts.values)) for facts, _, _ in customers] == ours
    assert count_different(ours, ours[1:] + ours[:1]) > 300


def test_a_population_is_of_its_seed_and_its_facts_are_facts() -> None:
    frame = population(5, 300, [None, 30])
    assert frame.equals(population(5, 300, [None, 30]))
    assert not frame.equals(population(6, 300, [None, 30]))
    assert not any(fact_faults(facts.values) for facts, _, _ in customers_of(frame))
