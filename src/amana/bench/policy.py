"""`amana bench policy`: what one decision costs (P6) and a table of them (P7), beside zen-engine on an equal table.

No server runs. In each round everything is measured once, one after the other, so that a machine that gets slower does
so for all. What is measured is checked first: the table against the decisions one by one, the peer against both.
"""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
import polars as pl
from rich.console import Console

from amana.bench.machine import describe_machine, package_versions
from amana.bench.population import ATTRIBUTES, RULES, benched_policy, population
from amana.bench.progress import Gauge
from amana.bench.report import Figure, Peer, Report, figure, publish, refusals
from amana.bench.zen import Zen, said_by_us, said_by_zen
from amana.domain.decision import Assessment, CompiledPolicy, Decision, assess, compile_policy, decide
from amana.domain.facts import FACTS, Facts
from amana.domain.policy import policy_bytes, policy_hash
from amana.domain.policy_table import PRICE, PolicyTable

ONE_FLOOR_US, ONE_AIM_US = 10.0, 4.0
TABLE_FLOOR, TABLE_AIM = 300_000.0, 1_000_000.0
SAMPLE = 5_000
"""Customers who are decided one by one, in turn, and compared."""
NOW = datetime(2026, 1, 1, tzinfo=UTC)

ONE, ASSESS, DECIDE, TABLE = "P6", "P6.assess", "P6.decide", "P7"
ZEN, ZEN_BATCH = "zen", "zen.batch"
NAMES = {
    ZEN: "zen-engine, evaluate: rules, points, band and caps alone",
    ZEN_BATCH: "zen-engine, evaluate_batch: rules, points, band and caps alone",
}


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How to measure: `seconds` each, `runs` rounds, a table of `rows`."""

    seconds: float
    runs: int
    rows: int
    seed: int


def run_policy(console: Console, options: Options) -> tuple[dict[str, Any], bool]:
    """Measures and prints. The report as JSON values, and whether its figures may be published."""
    begun = time.monotonic()
    bench = PolicyBench(options, console)
    bench.run()
    report = Report(
        bench="policy",
        figures=bench.figures(),
        machine=describe_machine(),
        versions=package_versions(),
        configuration={
            "rules": RULES,
            "attributes": ATTRIBUTES,
            "polars_threads": pl.thread_pool_size(),
            "outcomes": bench.outcomes,
            **msgspec.to_builtins(options),
        },
        seed=options.seed,
        seconds=round(time.monotonic() - begun, 1),
        invariants=bench.invariants,
        runs=bench.runs,
        refused=refusals({}, bench.invariants),
    )
    return publish(report, console)


class PolicyBench:
    """One bench: what it decides, its steps, and what each round gave."""

    def __init__(self, options: Options, console: Console) -> None:
        document = benched_policy()
        self._options = options
        self._console = console
        self._policy = compile_policy(document, 1, policy_hash(policy_bytes(document)))
        self._table = PolicyTable(self._policy)
        terms: list[int | None] = [None, *(term.term_days for term in document.price.terms)]
        self._frame = population(options.seed, max(options.rows, SAMPLE), terms)
        self._sample = customers_of(self._frame[:SAMPLE])
        self._zen = find_zen(self._policy, console)
        self.values: dict[str, list[float]] = {}
        self.runs: list[dict[str, Any]] = []
        self.invariants: dict[str, int] = {}
        self.outcomes: dict[str, int] = {}

    def run(self) -> None:
        """Checks, then all rounds, with a line for each measurement."""
        self._check()
        steps = self._steps()
        with Gauge(self._console, "Measuring", self._options.runs * len(steps)) as gauge:
            for round_ in range(1, self._options.runs + 1):
                for path, (work, many) in steps.items():
                    took = measure(work, self._options.seconds, many)
                    self._note(path, took)
                    self.runs.append({"path": path, "round": round_, "us": took.wall_us, "cpu_us": took.cpu_us})
                    told = f"{took.wall_us:>9.2f} µs a decision, {took.cpu_us:.2f} µs of CPU"
                    gauge.say(f"{round_}/{self._options.runs}  {path:<12} {told}")
                    gauge.at(len(self.runs))

    def _note(self, path: str, took: "Took") -> None:
        self.values.setdefault(path, []).append(1e6 / took.wall_us if path in (TABLE, ZEN_BATCH) else took.wall_us)
        self.values.setdefault(f"{path}.cpu", []).append(took.cpu_us)

    def figures(self) -> list[Figure]:
        """What was measured, with the peers beside."""
        values = self.values
        one, table = self._peers(ZEN), self._peers(ZEN_BATCH)
        bounds = {"better": "lower", "floor": ONE_FLOOR_US, "aim": ONE_AIM_US}
        return [
            figure(ONE, values[ONE], "µs/decision", peers=one, **bounds),
            figure(ASSESS, values[ASSESS], "µs/assessment", better="lower"),
            figure(DECIDE, values[DECIDE], "µs/decision", better="lower"),
            figure(f"{ONE}.cpu", values[f"{ONE}.cpu"], "µs/decision", better="lower"),
            figure(TABLE, values[TABLE], "decisions/s", floor=TABLE_FLOOR, aim=TABLE_AIM, peers=table),
            figure(f"{TABLE}.cpu", values[f"{TABLE}.cpu"], "µs/decision", better="lower"),
        ]

    def _peers(self, name: str) -> list[Peer]:
        return [Peer(NAMES[name], figure(name, self.values[name], "").value)] if name in self.values else []

    def _steps(self) -> dict[str, tuple[Callable[[], object], int]]:
        """Each measurement: the work of one turn, and how many decisions that is."""
        policy, sample, many = self._policy, self._sample, len(self._sample)
        made = [assess(policy, facts, NOW) for facts, _, _ in sample]
        asked = [(amount, term_days) for _, amount, term_days in sample]
        steps: dict[str, tuple[Callable[[], object], int]] = {
            ONE: (lambda: decide_each(policy, sample), many),
            ASSESS: (lambda: assess_all(policy, sample), many),
            DECIDE: (lambda: decide_all(policy, made, asked), many),
            TABLE: (lambda: self._table.decide(self._frame), self._frame.height),
        }
        if (zen := self._zen) is not None:
            values = [facts.values for facts, _, _ in sample]
            steps[ZEN] = (lambda: [zen.evaluate(one) for one in values], many)
            steps[ZEN_BATCH] = (lambda: zen.evaluate_all(values), many)
        return steps

    def _check(self) -> None:
        """How often the table and the peer say something else than decisions one by one."""
        decided = both(self._policy, self._sample)
        for _, decision in decided:
            self.outcomes[decision.outcome] = self.outcomes.get(decision.outcome, 0) + 1
        told = self._table.decide(self._frame[:SAMPLE]).to_dicts()
        self.invariants["table_differs"] = count_different(told, [as_row(*one) for one in decided])
        if self._zen is not None:
            said = [said_by_zen(one) for one in self._zen.evaluate_all([facts.values for facts, _, _ in self._sample])]
            self.invariants["zen_differs"] = count_different(said, [said_by_us(made) for made, _ in decided])


Customer = tuple[Facts, int, int | None]
"""Facts, the amount, the term asked for."""


def find_zen(policy: CompiledPolicy, console: Console) -> Zen | None:
    """The peer, where its package is installed; else a line says that it is left out."""
    try:
        return Zen(policy.document)
    except ImportError:
        console.print("  zen-engine is left out: it comes with amana's extra `bench`")
        return None


def customers_of(frame: pl.DataFrame) -> list[Customer]:
    """The rows of a population, as they are decided one by one."""
    return [
        (Facts(values={name: row[name] for name in FACTS}, as_of={}, version=1), row["amount"], row["term_days"])
        for row in frame.iter_rows(named=True)
    ]


def both(policy: CompiledPolicy, customers: Sequence[Customer]) -> list[tuple[Assessment, Decision]]:
    """Assesses and decides each."""
    return [
        (made := assess(policy, facts, NOW), decide(policy, made, amount, term_days))
        for facts, amount, term_days in customers
    ]


def decide_each(policy: CompiledPolicy, customers: Sequence[Customer]) -> None:
    """The same, and keeps nothing."""
    for facts, amount, term_days in customers:
        decide(policy, assess(policy, facts, NOW), amount, term_days)


def assess_all(policy: CompiledPolicy, customers: Sequence[Customer]) -> None:
    """Assesses each."""
    for facts, _, _ in customers:
        assess(policy, facts, NOW)


def decide_all(policy: CompiledPolicy, made: Sequence[Assessment], asked: Sequence[tuple[int, int | None]]) -> None:
    """Applies each assessment to what was asked."""
    for assessment, (amount, term_days) in zip(made, asked, strict=True):
        decide(policy, assessment, amount, term_days)


def as_row(made: Assessment, decision: Decision) -> dict[str, Any]:
    """A decision as the table gives it."""
    price = dict.fromkeys(PRICE) if decision.price is None else msgspec.structs.asdict(decision.price)
    names = ("exposure_cap", "exposure", "headroom", "score", "band")
    told = {"outcome": decision.outcome.value, "limit": decision.limit, "reasons": list(decision.reasons)}
    return told | price | {name: getattr(made, name) for name in names}


def count_different(said: Sequence[dict[str, Any]], ours: Sequence[dict[str, Any]]) -> int:
    """How many of them differ."""
    return sum(one != other for one, other in zip(said, ours, strict=True))


class Took(NamedTuple):
    """Microseconds of a decision: by the clock, and of CPU on all cores."""

    wall_us: float
    cpu_us: float


def measure(work: Callable[[], object], seconds: float, many: int) -> Took:
    """The mean of turns that last `seconds` together, at least one, after one that does not count.

    A turn makes `many` decisions.
    """
    work()
    turns, begun, begun_cpu = 0, time.perf_counter(), time.process_time()
    while True:
        work()
        turns += 1
        if (taken := time.perf_counter() - begun) >= seconds:
            each = 1e6 / turns / many
            return Took(round(taken * each, 3), round((time.process_time() - begun_cpu) * each, 3))
