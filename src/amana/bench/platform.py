"""`amana bench platform`: what P12 owes. Every service is on, and the relay and the log keep up with the transfers.

Single transfers come at a constant rate. A rate holds where (nearly) all of them are answered as intended, and what
was acknowledged is published and sealed within `LAG_MAX_S`, all the time. A short closed loop says what is out of
reach; below it the highest rate that holds is searched in trials, then shown to hold for the whole time. What is
published is asked of the database, what is sealed of the audit service, once a second.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from rich.console import Console

from amana.bench.connection import LoadFailed
from amana.bench.ground import SCOPES, Ground
from amana.bench.report import Figure, figure, publish
from amana.bench.rounds import Rounds, told
from amana.bench.site import Measured, new_lender, open_stack, owner_pool
from amana.infra.http import HttpClient
from amana.infra.settings import Settings
from amana.operate.stack import SERVICES, Stack
from amana.wire.audit import StreamStatuses

PATH = "P12"
FLOOR, AIM = 3_000.0, 6_000.0
LAG_MAX_S = 5.0
ANSWERED_MIN = 0.98
"""The least part of the intended transfers that is answered within the time."""
CONNECTIONS = 64
WARM_S = 1.0
LOOK_S = 1.0
TRIALS = 4
FIRST = 0.75
"""Where the search begins, of what the closed loop does."""
NARROWER = 0.9
"""By which the rate is lowered when it did not hold for the whole time, at most `SHOWN_MAX` times."""
SHOWN_MAX = 3
SETTLE_S = 120.0
CPU = (*SERVICES, "service", "postgres", "valkey", "broker")
TIMEOUT_MS = 5_000


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How to measure: the rate that is found is shown to hold for `seconds`, after trials of `trial_s`."""

    seconds: float
    trial_s: float
    accounts: int
    seed: int


class Look(NamedTuple):
    """What was seen at one moment: events acknowledged, published, sealed, each of all that there ever were."""

    at_s: float
    acknowledged: int
    published: int
    sealed: int


async def run_platform(console: Console, given: Settings, options: Options) -> tuple[dict[str, Any], bool]:
    """Measures and prints. The report as JSON values, and whether its figures may be published."""

    def say(line: str) -> None:
        console.print(f"  {line}")

    async with open_stack(given, SERVICES, say) as stack, owner_pool(stack) as pool, HttpClient() as http:
        ground = Ground(stack, pool, *await new_lender(stack, SCOPES), options.accounts, options.seed)
        say(f"Opening {options.accounts:,} accounts")
        await ground.open_accounts()
        bench = _Bench(ground, Watch(ground, stack, http), options, console)
        await bench.run()
        configuration = {"lag_max_s": LAG_MAX_S, **msgspec.to_builtins(options)}
        return publish(await bench.report("platform", ground, bench.figures(), configuration), console)


class Watch:
    """Looks how far the relay and the log are."""

    def __init__(self, ground: Ground, stack: Stack, http: HttpClient) -> None:
        self.looks: list[Look] = []
        self.accepted = 0
        """Of the run under way, as the load generator says it."""
        self._ground = ground
        self._http = http
        self._url = f"{stack.urls['audit']}/v1/audit/streams"
        self._headers = {"Authorization": f"Bearer {stack.settings.internal_key}", "Amana-Tenant": "0"}
        self._base = 0

    async def settle(self) -> float:
        """Waits until all that there is is published and sealed; the seconds that it took. Raises `LoadFailed`."""
        begun = time.monotonic()
        while time.monotonic() < begun + SETTLE_S:
            sequenced, published, sealed = await self._stands()
            if sequenced == published == sealed:
                self._base, self.accepted, self.looks = sequenced, 0, []
                return time.monotonic() - begun
            await asyncio.sleep(LOOK_S / 5)
        raise LoadFailed(f"after {SETTLE_S:g} s {published} of {sequenced} events are published, {sealed} sealed")

    async def forever(self) -> None:
        """Looks once a second, until cancelled."""
        while True:
            accepted = self._base + self.accepted
            _, published, sealed = await self._stands()
            self.looks.append(Look(time.monotonic(), accepted, published, sealed))
            await asyncio.sleep(LOOK_S)

    async def _stands(self) -> tuple[int, int, int]:
        (row,) = await self._ground.fetch("stream_stands")
        reply = await self._http.request("GET", self._url, headers=self._headers, timeout_ms=TIMEOUT_MS)
        statuses = msgspec.json.decode(reply.body, type=StreamStatuses)
        sealed = next(one.sealed_size for one in statuses.streams if one.stream == "transactions")
        return row["sequenced"], row["published"], sealed


class _Bench(Rounds):
    """The search, and what came of it."""

    def __init__(self, ground: Ground, watch: Watch, options: Options, console: Console) -> None:
        super().__init__(console, [PATH], 1, options.seconds + (TRIALS + 1) * options.trial_s)
        self.ground = ground
        self.watch = watch
        self.options = options

    def figures(self) -> list[Figure]:
        """What was found."""
        made = [figure(PATH, self.values[PATH], "transfers/s", floor=FLOOR, aim=AIM)]
        for path, values in self.values.items():
            if path != PATH:
                unit = "µs/transfer" if ".cpu." in path else "ms" if path.endswith((".p50", ".p99")) else "s"
                made.append(figure(path, values, unit, better="lower"))
        return made

    async def step(self, path: str) -> str:
        options = self.options
        rate = await self._search(path)
        for _ in range(SHOWN_MAX):
            measured, lags = await self._at(rate, options.seconds)
            if holds(measured, rate, lags):
                break
            rate *= NARROWER
        else:
            raise LoadFailed(f"no rate held for {options.seconds:g} s: the last was {rate / NARROWER:,.0f}/s")
        healed_s = await self.watch.settle()
        self.value(path, measured.result.per_second)
        self.latency(path, measured)
        for name, lag in zip(("relay", "sealing"), lags, strict=True):
            self.value(f"{path}.lag.{name}", lag)
        self.value(f"{path}.lag.gone", healed_s)
        self.cpu(path, measured, CPU)
        told_ = {"rate": rate, "lag_s": lags, "stored": self.ground.stored, "invariants": await self.ground.check()}
        self.note(path, told_ | measured.to_json())
        return f"{told(measured, CPU)}  lags {lags[0]:.1f}, {lags[1]:.1f} s"

    async def _search(self, path: str) -> float:
        """The highest rate of a few that held for the time of a trial, between nothing and what a closed loop does."""
        await self.watch.settle()
        plan = self.ground.plan(self.ground.movements(), CONNECTIONS, WARM_S, self.options.trial_s / 2)
        (closed,) = await self.ground.measure(plan)
        low, high = 0.0, closed.result.per_second
        for _ in range(TRIALS):
            rate = (low + high) / 2 if low else high * FIRST
            measured, lags = await self._at(rate, self.options.trial_s)
            held = holds(measured, rate, lags)
            self.console.print(
                f"  {rate:,.0f}/s {'holds' if held else 'is too much'}: {measured.result.per_second:,.0f}/s, "
                f"p99 {measured.result.latency.p99_ms:,.0f} ms, lags {lags[0]:.1f} and {lags[1]:.1f} s"
            )
            self.note(f"{path}.trial", {"rate": rate, "held": held, "lag_s": lags} | measured.to_json())
            low, high = (rate, high) if held else (low, rate)
        return low or high * NARROWER

    async def _at(self, rate: float, seconds: float) -> tuple[Measured, tuple[float, float]]:
        """A run at a constant rate, and the worst lags of the relay and of the log in it."""
        await self.watch.settle()
        # Without a beginning that counts for nothing: what is acknowledged is held against every event.
        plan = self.ground.plan(self.ground.movements(), CONNECTIONS, 0.0, seconds, rate=rate)
        looking = asyncio.create_task(self.watch.forever())
        try:
            (measured,) = await self.ground.measure(plan, progress=self._accepted)
        finally:
            looking.cancel()
        looks = self.watch.looks
        return measured, (worst_lag_s(looks, "published"), worst_lag_s(looks, "sealed"))

    def _accepted(self, count: int) -> None:
        self.watch.accepted = count


def holds(measured: Measured, rate: float, lags: Sequence[float]) -> bool:
    """Whether the platform kept up."""
    result = measured.result
    return not result.refused and result.per_second >= ANSWERED_MIN * rate and max(lags) <= LAG_MAX_S


def worst_lag_s(looks: Sequence[Look], what: str) -> float:
    """How long, at the worst look, the newest acknowledged events had been waiting: since a look that had seen no more
    acknowledged than is published (or sealed) now."""
    worst, at = 0.0, 0
    for look in looks:
        done = getattr(look, what)
        while at + 1 < len(looks) and looks[at + 1].at_s <= look.at_s and looks[at + 1].acknowledged <= done:
            at += 1
        behind = looks[at].acknowledged < look.acknowledged and done < look.acknowledged
        worst = max(worst, look.at_s - looks[at].at_s if behind else 0.0)
    return worst
