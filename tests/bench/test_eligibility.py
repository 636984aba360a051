"""A small real bench of checks, end to end: every path, real servers, answers held against decisions."""

from collections import Counter
from collections.abc import Callable
from uuid import UUID

import msgspec
import pytest
from rich.console import Console
from typer.testing import CliRunner

from amana.bench.check_paths import PATHS
from amana.bench.checks import Checks, ChecksWork
from amana.bench.customers import ANSWERS, NOT_GOOD, STORED, open_customers
from amana.bench.eligibility import Options, run_eligibility
from amana.bench.generator import Plan, run_load
from amana.bench.load import Result
from amana.bench.owed_checks import (
    CACHE,
    DOWN,
    FIRST,
    KEPT,
    MEMORY,
    MISS,
    OPEN,
    PROXIED,
    UNVALIDATED,
    cores,
    figures_of,
)
from amana.bench.report import Report
from amana.bench.wrk import wrk_program
from amana.cli import app
from amana.infra.settings import Settings
from amana.operate.stack import silent
from amana.operate.terminal import EXIT_CANNOT

CUSTOMERS = 300
SMALL = Options(seconds=0.5, warm_s=0.2, runs=1, customers=CUSTOMERS, seed=1, wrk=False)


def checks(source: str = "memory") -> ChecksWork:
    given = msgspec.convert({"seed": 7, "opened_ms": 1_000, "first": 2, "last": 5, "source": source}, Checks)
    return ChecksWork(given, "host", 80, "key")


async def test_a_bench_of_checks_measures_and_proves_its_answers(settings: Settings) -> None:
    content, ok = await run_eligibility(Console(quiet=True), settings, SMALL)
    report = msgspec.convert(content, Report)
    assert ok, report.refused
    assert report.invariants == {ANSWERS: 0, NOT_GOOD: 0, STORED: 0}
    figures = {figure.path: figure for figure in report.figures}
    owed = {
        MEMORY,
        UNVALIDATED,
        PROXIED,
        DOWN,
        CACHE,
        MISS,
        FIRST,
        f"{OPEN}.p99",
        f"{DOWN}.p99",
        f"{KEPT}.rss",
        f"{KEPT}.valkey",
    }
    assert owed <= figures.keys()
    assert all(figures[path].value > 0 for path in owed)
    assert [peer.name.split(",")[0] for peer in figures[MEMORY].peers] == ["nginx"]
    assert all(0 < figures[f"{path}.share"].value <= 1 for path in (MEMORY, UNVALIDATED, PROXIED, CACHE, MISS, FIRST))
    assert {f"{path}.cpu.service" for path in (MEMORY, UNVALIDATED)} <= figures.keys()
    assert [run["validated_per_s"] for run in report.runs if run["path"] in (MEMORY, UNVALIDATED)] == [20, 0]
    assert [run["path"] for run in report.runs] == list(PATHS)
    assert report.configuration["generator"] == "amana, in Python"


@pytest.mark.skipif(wrk_program() is None, reason="wrk is not installed")
async def test_wrk_counts_the_same_answers(settings: Settings) -> None:
    options = msgspec.structs.replace(SMALL, wrk=True, only=(MEMORY,))
    content, ok = await run_eligibility(Console(quiet=True), settings, options)
    report = msgspec.convert(content, Report)
    assert ok, report.refused
    assert report.configuration["generator"] == "wrk, one thread"
    memory = report.runs[0]
    assert memory["requests"] == sum(memory["sources"].values())
    assert memory["sources"]["memory"] == memory["accepted"]
    # What the other process of the service knew first may come from Valkey, and what a slow Valkey missed is computed.
    assert memory["sources"]["memory"] > memory["requests"] / 2


async def test_what_was_answered_wrongly_or_not_recorded_is_counted(settings: Settings) -> None:
    async def lying(plan: Plan, progress: Callable[[int], None]) -> Result:
        """The run, with a limit that is not the decision's, a computed answer too many, and one that failed."""
        result = await run_load(plan, progress)
        answer = msgspec.json.decode(result.samples[0])
        samples = [msgspec.json.encode(answer | {"limit": answer["limit"] + 1}).decode()]
        sources = {"fresh": result.sources["fresh"] + 1}
        return msgspec.structs.replace(result, samples=samples, sources=sources, refused={"503 overloaded": 1})

    async with open_customers(settings, CUSTOMERS, 1, silent) as ground:
        plan = ground.plan(ground.checks(CUSTOMERS, "fresh"), 4, 0.0, 30.0, items_max=CUSTOMERS)
        await ground.run(plan, lying)
        assert await ground.check() == {ANSWERS: 1, NOT_GOOD: 1, STORED: 1}
        assert ground.invariants == {ANSWERS: 1, NOT_GOOD: 1, STORED: 1}


def test_customers_are_asked_about_in_turn_in_requests_of_one_length() -> None:
    work = checks()
    sent = [work.request() for _ in range(4)]
    assert sent[0] == sent[3] and len(set(sent)) == 3
    assert len({len(request) for request in sent}) == 1
    head, _, body = sent[0].partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert UUID(msgspec.json.decode(body)["customer"]).version == 7


def test_an_answer_from_elsewhere_is_counted_and_not_accepted() -> None:
    work, refused = checks(), Counter[str]()
    assert [work.judge(200, b'{"source":"%b"}' % source, refused) for source in (b"memory", b"cache")] == [1, 0]
    assert work.judge(503, b'{"code":"overloaded"}', refused) == 0
    assert work.sources == {"memory": 1, "cache": 1}
    assert work.samples == ['{"source":"memory"}']
    assert refused == {"503 overloaded": 1}


def test_cores_are_of_the_mix_of_hits_and_misses() -> None:
    values = {f"{MEMORY}.cpu.total": [20.0], f"{MISS}.cpu.total": [400.0]}
    found = {one.path: one.value for one in cores(values, MEMORY)}
    assert found == {f"{MEMORY}.cores.hits_{hits}": value for hits, value in ((50, 10.5), (90, 2.9), (99, 1.19))}
    assert cores({f"{MEMORY}.cpu.total": [20.0]}, MEMORY) == []


def test_memory_is_owed_for_as_many_answers_as_the_budget_names() -> None:
    for customers, floor in ((100_000, 250.0), (500, None)):
        (made,) = figures_of({f"{KEPT}.rss": [180.0]}, customers)
        assert (made.unit, made.floor, made.better) == ("MB", floor, "lower")


def test_the_command_names_a_path_of_checks_that_it_does_not_know() -> None:
    said = CliRunner().invoke(app, ["bench", "eligibility", "--only", "P4"])
    assert said.exit_code == EXIT_CANNOT
    assert "no path or peer begins with P4" in said.output
