"""`amana bench search`: how long the search of the audit log takes (P13), and what its index takes of the disk.

Leaves and the rows of the index are copied in, the rows those that the service itself would write; then the service
seals, and each shape of question is asked over HTTP at a constant rate, measured from when it was to be sent. What a
sample of the answers should hold is known from making the events.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from rich.console import Console

from amana.bench.audit_events import BEGINNING, SETTLEMENT, STEP, Maker, Truth
from amana.bench.audit_load import SQL, load
from amana.bench.connection import LoadFailed
from amana.bench.machine import describe_machine, package_versions
from amana.bench.movements import seeded
from amana.bench.report import Figure, Report, figure, publish, refusals
from amana.bench.site import SERVER_SETTINGS, new_lender, open_stack
from amana.bench.site import SQL as SITE_SQL
from amana.infra.http import HttpClient, UpstreamUnavailable
from amana.infra.postgres import open_pool, reading
from amana.infra.settings import Settings
from amana.operate.stack import Stack

FLOOR_MS, AIM_MS = 100.0, 30.0
OWED_EVENTS = 10_000_000
"""With how many events P13 is owed; with fewer the figures are of something else."""
SHAPES = ("customer", "account", "decision", "type", "time")
"""What P13 names. `account.hot` and `trace` are measured beside them."""
BESIDE = ("account.hot", "trace")
PATHS = tuple(f"P13.{shape}" for shape in (*SHAPES, *BESIDE))
PAGE = 100
WARM_S = 1.0
ANSWER_TIMEOUT_MS = 10_000
SEALED_WITHIN_S = 3_600.0
COPY_TIMEOUT_MS = 600_000


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How many events, and how each shape is asked: for `seconds`, `rate` times a second, in `runs` rounds."""

    events: int
    rate: float
    seconds: float
    runs: int
    seed: int


class Asked(NamedTuple):
    """A question, and how many events its page must have; None where that was not counted."""

    query: str
    expected: int | None


async def run_audit_queries(console: Console, given: Settings, options: Options) -> tuple[dict[str, Any], bool]:
    """Measures and prints. The report as JSON values, and whether its figures may be published."""
    begun = time.monotonic()
    async with open_stack(given, (), lambda line: console.print(f"  {line}")) as stack:
        tenant, key = await new_lender(stack, ("audit:read",))
        maker = Maker(tenant, options.events, options.seed)
        pool = await open_pool(stack.settings.owner_audit_database_url, "audit", 1, COPY_TIMEOUT_MS)
        try:
            async with reading(pool) as connection:
                loaded_s = await load(connection, maker, options.events, console)
                sizes = {name: await connection.fetchval(SQL[name]) for name in ("index_bytes", "leaves_bytes")}
                rows = await connection.fetch(SITE_SQL["server_settings"], list(SERVER_SETTINGS))
        finally:
            pool.terminate()
        settings = {row["name"]: row["value"] for row in rows}
        # Without a metrics store: its trail would follow what was copied in for half an hour, and be what is measured.
        stack.settings = msgspec.structs.replace(stack.settings, metrics_database_url="")
        await stack.start_service("audit")
        bench = _Bench(stack, key, maker.truth, options)
        await bench.until_sealed(console)
        for _ in range(options.runs):
            await bench.round(console)
    figures = [*bench.figures(), *_sizes(sizes, options.events, loaded_s)]
    invariants = {"answers_wrong": bench.wrong}
    return publish(
        Report(
            bench="search",
            figures=figures,
            machine=describe_machine(),
            versions=package_versions() | {"postgres": settings["server_version"]},
            configuration={"postgres": settings, **msgspec.to_builtins(options)},
            seed=options.seed,
            seconds=round(time.monotonic() - begun, 1),
            invariants=invariants,
            runs=bench.runs,
            refused=refusals(settings, invariants),
        ),
        console,
    )


def _sizes(sizes: dict[str, int], events: int, loaded_s: float) -> list[Figure]:
    return [
        figure("P13.index", [sizes["index_bytes"] / events], "bytes/event", better="lower"),
        figure("P13.leaves", [sizes["leaves_bytes"] / events], "bytes/event", better="lower"),
        figure("P13.load", [events / loaded_s], "events/s"),
    ]


class _Bench:
    """The questions, and what each round gave. `wrong` counts answers that hold another number of events."""

    def __init__(self, stack: Stack, key: str, truth: Truth, options: Options) -> None:
        self.wrong = 0
        self.runs: list[dict[str, Any]] = []
        self._url = f"{stack.urls['audit']}/v1/audit"
        self._internal = stack.settings.internal_key
        self._key = key
        self._truth = truth
        self._options = options
        self._draw = seeded(options.seed + 1)  # other draws than those that made the events
        self._values: dict[str, list[float]] = defaultdict(list)

    async def until_sealed(self, console: Console) -> None:
        """Waits until the service has sealed everything: else that is what would be measured."""
        until_s = time.monotonic() + SEALED_WITHIN_S
        headers = {"Authorization": f"Bearer {self._internal}"}
        async with HttpClient() as client:
            with console.status("Sealing"):
                while time.monotonic() < until_s:
                    with suppress(UpstreamUnavailable):  # to count what is unsealed may take longer than an answer may
                        reply = await client.request(
                            "GET", f"{self._url}/streams", headers=headers, timeout_ms=ANSWER_TIMEOUT_MS
                        )
                        streams = msgspec.json.decode(reply.body)["streams"] if reply.status == 200 else []
                        if streams and all(stream["sealed_size"] == stream["received"] + 1 for stream in streams):
                            return
                    await asyncio.sleep(1.0)
        raise LoadFailed(f"the log was not sealed within {SEALED_WITHIN_S:g} s")

    async def round(self, console: Console) -> None:
        """Asks each shape once, for its seconds."""
        for shape in (*SHAPES, *BESIDE):
            took_ms = await self._ask(shape)
            p50, p99 = _percentile(took_ms, 50), _percentile(took_ms, 99)
            self._values[f"P13.{shape}.p50"].append(p50)
            self._values[f"P13.{shape}.p99"].append(p99)
            self.runs.append({"path": f"P13.{shape}", "asked": len(took_ms), "p50_ms": p50, "p99_ms": p99})
            console.print(f"  P13.{shape}: {len(took_ms)} asked, p50 {p50:.1f} ms, p99 {p99:.1f} ms")

    def figures(self) -> list[Figure]:
        """A figure of each shape's p50 and p99; owed are the p99 of what P13 names, with ten million events."""
        return [self._figure(path) for path in self._values]

    def _figure(self, path: str) -> Figure:
        owed = self._options.events >= OWED_EVENTS and path.endswith(".p99")
        owed = owed and path.removeprefix("P13.").removesuffix(".p99") in SHAPES
        bounds = {"floor": FLOOR_MS, "aim": AIM_MS} if owed else {}
        return figure(path, self._values[path], "ms", better="lower", **bounds)

    async def _ask(self, shape: str) -> list[float]:
        """Asks at the constant rate; the milliseconds of each answer after the warm part, from when it was due."""
        options = self._options
        count = int((WARM_S + options.seconds) * options.rate)
        questions = islice(self._questions(shape), count)
        async with HttpClient() as client:
            begun = time.monotonic()
            tasks = []
            for number, question in enumerate(questions):
                due_s = begun + number / options.rate
                await asyncio.sleep(max(0.0, due_s - time.monotonic()))
                tasks.append(asyncio.create_task(self._answered(client, question, due_s)))
            took_ms = await asyncio.gather(*tasks)
        return list(took_ms[int(WARM_S * options.rate) :])

    async def _answered(self, client: HttpClient, asked: Asked, due_s: float) -> float:
        headers = {"Authorization": f"Bearer {self._key}"}
        url = f"{self._url}/events?limit={PAGE}&{asked.query}"
        reply = await client.request("GET", url, headers=headers, timeout_ms=ANSWER_TIMEOUT_MS)
        took_ms = (time.monotonic() - due_s) * 1_000
        if reply.status != 200:
            raise LoadFailed(f"{asked.query}: status {reply.status}")
        found = len(msgspec.json.decode(reply.body)["events"])
        if asked.expected is not None and found != min(PAGE, asked.expected):
            self.wrong += 1
            self.runs.append({"wrong": asked.query, "found": found, "expected": asked.expected})
        return took_ms

    def _questions(self, shape: str) -> Iterator[Asked]:
        drawn: dict[str, Callable[[], Asked]] = {
            "customer": lambda: self._of("customer", self._truth.customer),
            "account": lambda: self._of("account", self._truth.account),
            "decision": lambda: self._of("decision", self._truth.decision),
            "account.hot": lambda: Asked(f"account={SETTLEMENT}&order=newest&{self._window()}", None),
            "type": lambda: Asked(f"type=LoanBooked&order=newest&{self._window()}", None),
            "time": lambda: Asked(self._window(), None),
            "trace": lambda: Asked(f"trace={self._draw.getrandbits(128):032x}", 0),
        }
        while True:
            yield drawn[shape]()

    def _of(self, name: str, truth: dict[UUID, int]) -> Asked:
        id_ = self._draw.choice(list(truth))
        return Asked(f"{name}={id_}&order={self._draw.choice(('oldest', 'newest'))}", truth[id_])

    def _window(self) -> str:
        """A window of a quarter of an hour somewhere in the time of the events."""
        since = BEGINNING + self._draw.randrange(self._options.events) * STEP
        return f"from={since:%Y-%m-%dT%H:%M:%SZ}&to={since + STEP * 3_600:%Y-%m-%dT%H:%M:%SZ}"


def _percentile(values: list[float], percent: int) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]
