"""The log part of `amana bench audit` (P9): receiving, sealing, exporting, and verifying both ways.

What is timed is what the service and the commands run, without HTTP and the broker. Beside it stands hashing alone: the
same bytes through SHA-256, one hash for each leaf and one for each node, on one core, with nothing stored or compared.
"""

import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from rich.console import Console

from amana.audit.custody import Custody
from amana.audit.export import Exported, run_export
from amana.audit.findings import Kind, VerifyReport
from amana.audit.flow import RECEIVE_MAX, receive
from amana.audit.offline import verify_export
from amana.audit.sealer import Sealer
from amana.audit.verify import run_verify
from amana.bench.audit_ground import STREAM, AuditGround, Options, Outcome, bodies, events
from amana.bench.machine import tree_cpu_s
from amana.bench.progress import Gauge
from amana.bench.report import Figure, Peer, figure

RECEIVE, SEAL, ROAD = "P9.receive", "P9.seal", "P9.seal.received"
VERIFY, OFFLINE, EXPORT, BYTES = "P9.verify", "P9.verify.offline", "P9.export", "P9.bytes"
PATHS = (RECEIVE, SEAL, ROAD, VERIFY, OFFLINE, EXPORT, BYTES)
SEAL_FLOOR, SEAL_AIM = 10_000.0, 30_000.0
VERIFY_FLOOR, VERIFY_AIM = 50_000.0, 150_000.0
HASHED = 50_000
"""Leaves that the peer hashes."""
ALTER = "UPDATE leaves SET bytes = set_byte(bytes, 40, get_byte(bytes, 40) # 1) WHERE stream = $1 AND position = $2"


async def measure_log(ground: AuditGround, options: Options, console: Console) -> Outcome:
    """Fills the log run by run, then exports and verifies all of it as often."""
    bench = _LogBench(ground, options)
    with Gauge(console, "receiving and sealing", options.leaves, spoken=True) as gauge:
        for run in range(options.runs):
            await bench.fill(run, gauge)
    with tempfile.TemporaryDirectory(prefix="amana-bench-export-") as folder:
        await bench.export(Path(folder))
        for run in range(options.runs):
            console.print(f"  verifying, {run + 1} of {options.runs}")
            await bench.verify(Path(folder))
    await bench.alter()
    return await bench.outcome()


class _LogBench:
    """The measurements so far; `_values` by path."""

    def __init__(self, ground: AuditGround, options: Options) -> None:
        self._ground = ground
        self._options = options
        self._custody = Custody.of(ground.settings)
        self._sealer = Sealer(STREAM, ground.store, self._custody)
        self._values: dict[str, list[float]] = {path: [] for path in PATHS}
        self._runs: list[dict[str, Any]] = []
        self._invariants = {"log does not verify": 0, "export does not verify": 0, "altered leaf is not named": 0}
        self._hashed: list[float] = []
        self._leaves = 0
        self._exported_bytes = 0

    async def fill(self, run: int, gauge: Gauge) -> None:
        """One run's share of the leaves: made, received, sealed. Making them is not timed."""
        count = self._options.leaves // self._options.runs
        took_s, cpu_s, first = 0.0, 0.0, self._leaves
        for start in range(first, first + count, RECEIVE_MAX):
            batch = events(self._options.seed, start, min(RECEIVE_MAX, first + count - start))
            if start - first < HASHED // self._options.runs:
                self._hash(bodies(batch))
            begun, begun_cpu = time.perf_counter(), self._cpu_s()
            await receive(self._ground.store, STREAM, batch)
            took_s, cpu_s = took_s + time.perf_counter() - begun, cpu_s + self._cpu_s() - begun_cpu
            self._leaves += len(batch)
            gauge.at(self._leaves)
        self._note(RECEIVE, run, count, took_s, cpu_s)
        seal_s = await self._timed(SEAL, run, count, self._seal)
        self._values[ROAD].append(count / (took_s + seal_s))

    async def export(self, folder: Path) -> None:
        """The whole log, once."""
        exported: list[Exported] = []

        async def run() -> None:
            exported.append(await run_export(self._ground.settings, folder))

        await self._timed(EXPORT, 0, self._leaves, run)
        self._exported_bytes = exported[0].bytes

    async def verify(self, folder: Path) -> None:
        """In the database, and the export."""
        key = str(self._custody.keys(STREAM).current)
        kept = [self._custody.key_file.parent / "checkpoints" / f"{STREAM}.log"]
        reports: list[VerifyReport] = []

        async def online() -> None:
            reports.append(await run_verify(self._ground.settings))

        async def offline() -> None:
            reports.append(await verify_export(folder, [key], kept))

        await self._timed(VERIFY, len(self._values[VERIFY]), self._leaves, online)
        await self._timed(OFFLINE, len(self._values[OFFLINE]), self._leaves, offline)
        for name, report in zip(("log does not verify", "export does not verify"), reports, strict=True):
            self._invariants[name] += not report.ok or report.leaves != self._leaves

    async def alter(self) -> None:
        """One bit of one leaf, as a superuser could: the figures are of a verifier that finds it."""
        position = self._leaves * 2 // 3
        async with self._ground.owner.acquire() as connection:
            await connection.execute("ALTER TABLE leaves DISABLE TRIGGER append_only")
            await connection.execute(ALTER, STREAM, position)
        bad = (await run_verify(self._ground.settings)).first_bad
        named = bad is not None and (bad.stream, bad.position, bad.kind) == (STREAM, position, Kind.ALTERED)
        self._invariants["altered leaf is not named"] += not named

    async def outcome(self) -> Outcome:
        """The figures."""
        sizes = {row["name"]: row for row in await self._ground.fetch("audit_sizes")}
        stored = {name: (row["bytes"] - row["index_bytes"], row["index_bytes"]) for name, row in sizes.items()}
        self._values[BYTES].append(sum(map(sum, stored.values())) / self._leaves)
        told = {
            f"{name}{part}": round(size / self._leaves, 1)
            for name, both in stored.items()
            for part, size in zip(("", ".indexes"), both, strict=True)
        }
        self._runs.append({"path": BYTES} | told | {"export": round(self._exported_bytes / self._leaves, 1)})
        return Outcome(self._figures(), self._runs, self._invariants)

    def _figures(self) -> list[Figure]:
        hashing = [Peer("SHA-256 alone over the same bytes, one core", round(max(self._hashed)))]
        seal = {"floor": SEAL_FLOOR, "aim": SEAL_AIM}
        verify = {"floor": VERIFY_FLOOR, "aim": VERIFY_AIM, "peers": hashing}
        more: dict[str, dict[str, Any]] = {SEAL: seal, ROAD: seal, VERIFY: verify, OFFLINE: verify}
        figures = [
            figure(path, values, "leaves/s", **more.get(path, {}))
            for path, values in self._values.items()
            if path != BYTES
        ]
        return [*figures, figure(BYTES, self._values[BYTES], "bytes/event", better="lower")]

    async def _seal(self) -> None:
        while await self._sealer.seal():
            pass

    async def _timed(self, path: str, run: int, leaves: int, work: Callable[[], Awaitable[None]]) -> float:
        begun, begun_cpu = time.perf_counter(), self._cpu_s()
        await work()
        took_s = time.perf_counter() - begun
        self._note(path, run, leaves, took_s, self._cpu_s() - begun_cpu)
        return took_s

    def _note(self, path: str, run: int, leaves: int, took_s: float, cpu_s: float) -> None:
        self._values[path].append(leaves / took_s)
        told = {"path": path, "run": run, "leaves": leaves, "seconds": round(took_s, 3)}
        self._runs.append(told | {"cpu_us_per_leaf": round(cpu_s / leaves * 1e6, 2)})

    def _cpu_s(self) -> float:
        """Of this process and of all that it started: workers, and PostgreSQL where it is ours."""
        return tree_cpu_s(os.getpid())

    def _hash(self, leaves: list[bytes]) -> None:
        begun = time.perf_counter()
        hashes = [sha256(b"\x00" + body).digest() for body in leaves]
        for at in range(1, len(hashes)):
            sha256(b"\x01" + hashes[at - 1] + hashes[at]).digest()
        self._hashed.append(len(leaves) / (time.perf_counter() - begun))
