"""A metrics database of a test's own, in one of the two forms, and what a test does with it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
from tests.databases import copy_database

from amana.audit.metrics.store import MetricsStore, Span
from amana.audit.metrics.trail import TrailRow, amount_band
from amana.infra.databases import drop_database, ensure_database, with_database
from amana.infra.migrate import migrate_metrics
from amana.infra.settings import Settings

FORMS = ("plain", "timescale")
AGGREGATES = [f"{what}_{per}" for what in ("decisions", "transfers", "latencies") for per in ("minute", "hour", "day")]
TENANT = 7
RUNS_MAX = 50


class MetricsDatabase:
    """`store` is what the service has; `owner` may do everything."""

    def __init__(self, form: str, settings: Settings, owner: asyncpg.Connection) -> None:
        self.form = form
        self.settings = settings
        self.owner = owner
        self.store = MetricsStore(settings.metrics_database_url)

    async def add(self, *rows: TrailRow, stream: str = "eligibility") -> None:
        """Stores rows as the next ones of the stream, whatever their position says."""
        start = await self.store.next_position(stream)
        placed = [row._replace(position=start + at) for at, row in enumerate(rows)]
        assert await self.store.add(stream, start, start + len(rows), placed)

    async def settle(self) -> None:
        """Lets the extension catch up with what it does in the background."""
        if self.form == "timescale":
            for name in AGGREGATES:
                await self._call(f"refresh_continuous_aggregate('timescale.{name}', NULL, NULL)")

    async def run_policies(self) -> None:
        """Does at once what is done every few minutes: aggregates, retention, compression."""
        if self.form == "plain":
            await self.upkeep()
            return
        jobs = await self.owner.fetch(
            "SELECT job_id FROM timescaledb_information.jobs WHERE job_id >= 1000 ORDER BY proc_name DESC, job_id"
        )
        for job in jobs:
            await self._call(f"run_job({job['job_id']})")

    async def upkeep(self) -> tuple[int, int]:
        """Has everything made and dropped that is due; how many partitions of each."""
        made, dropped = 0, 0
        for _ in range(RUNS_MAX):
            now_made, now_dropped = await self.store.upkeep()
            made, dropped = made + now_made, dropped + now_dropped
            if not now_made and not now_dropped:
                return made, dropped
        raise AssertionError("the upkeep never ends")

    async def _call(self, what: str) -> None:
        """Calls a procedure; the extension's own jobs may be at it just now."""
        for _ in range(RUNS_MAX):
            try:
                await self.owner.execute(f"CALL {what}")
            except asyncpg.LockNotAvailableError:
                await asyncio.sleep(0.1)
            else:
                return
        raise AssertionError(f"never got to {what}")

    async def compress(self) -> int:
        """Compresses every chunk of the trail; how many there are."""
        if self.form == "plain":
            return 0
        return len(await self.owner.fetch("SELECT compress_chunk(c, true) FROM show_chunks('timescale.audit_trail') c"))

    async def decisions(
        self, per: str, start: datetime, end: datetime, tenant: int = TENANT
    ) -> list[tuple[object, ...]]:
        """(bucket, outcome, how many) in order."""
        rows = await self.store.decisions(tenant, Span(per, start, end), (None,) * 4, 1_000)
        return [(row["bucket"], row["outcome"], row["decisions"]) for row in rows]

    async def transfers(self, per: str, start: datetime, end: datetime) -> list[tuple[object, ...]]:
        """(product, kind, band, how many, sum) in order."""
        rows = await self.store.transfers(TENANT, Span(per, start, end), (None,) * 4, 1_000)
        return [(row["product"], row["kind"], row["amount_band"], row["transfers"], row["amount"]) for row in rows]


def decided(at: datetime, outcome: str = "approve", **more: Any) -> TrailRow:
    """A decision of the nano policy."""
    row = TrailRow(at, TENANT, 0, "DecisionMade", uuid4(), None, "key", "requested", "nano", "nano", 1, outcome)
    return row._replace(**more)


def moved(at: datetime, amount: int, product: str = "", kind: str = "posted") -> TrailRow:
    """A transfer of naira."""
    return TrailRow(
        *(at, TENANT, 0, "TransferPosted", uuid4(), UUID(int=1), "key", kind, product),
        currency="NGN",
        amount=amount,
        amount_band=amount_band(amount),
    )


@asynccontextmanager
async def open_metrics(
    settings: Settings, form: str, template: str = "", source: Path | None = None
) -> AsyncIterator[MetricsDatabase]:
    """A migrated database in this form: a copy of the one that `template` names, if it names one; else migrated by the
    files in `source`, by default those that ship."""
    name = f"amana_metrics_test_{uuid4().hex}"
    made = msgspec.structs.replace(
        settings,
        owner_metrics_database_url=with_database(settings.owner_metrics_database_url, name),
        metrics_database_url=with_database(settings.metrics_database_url, name),
    )
    if template:
        await copy_database(template, made.owner_metrics_database_url)
    else:
        await ensure_database(made.owner_metrics_database_url)
        await migrate(made, form, source)
    owner = await asyncpg.connect(made.owner_metrics_database_url)
    try:
        assert await owner.fetchval("SELECT timescale.form()") == form
        database = MetricsDatabase(form, made, owner)
        yield database
        await database.store.close()
    finally:
        await owner.close()
        await dropped(made.owner_metrics_database_url)


async def migrate(made: Settings, form: str, source: Path | None = None) -> None:
    """Brings a database of this form up to date, with the migrations in `source` where others are meant."""
    asked = "&" if "?" in made.owner_metrics_database_url else "?"
    url = made.owner_metrics_database_url + (f"{asked}amana.metrics_form=plain" if form == "plain" else "")
    await migrate_metrics(msgspec.structs.replace(made, owner_metrics_database_url=url), source)


async def dropped(dsn: str) -> None:
    """Drops a database; a worker of the server that looks at it just now (the extension's) can't be ended by us."""
    for _ in range(RUNS_MAX):
        try:
            await drop_database(dsn)
        except asyncpg.InsufficientPrivilegeError:
            await asyncio.sleep(0.2)
        else:
            return
    raise AssertionError("somebody never leaves the database")


async def has_timescale(settings: Settings) -> bool:
    """Whether the server of the run has the extension, whole."""
    owner = await asyncpg.connect(settings.owner_metrics_database_url)
    try:
        return bool(await owner.fetchval("SELECT timescale.form() = 'timescale'"))
    finally:
        await owner.close()


def outcomes(found: Sequence[tuple[object, ...]]) -> dict[object, object]:
    """How many of each outcome, over all buckets."""
    counted: dict[object, int] = {}
    for _, outcome, count in found:
        assert isinstance(count, int)
        counted[outcome] = counted.get(outcome, 0) + count
    return dict(counted)
