"""The command group `amana metrics`. Light to import: the work is imported when it is asked for."""

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from amana.operate.access_commands import Running
from amana.operate.terminal import DATA_DIR, DataDir, run_lines

TIMES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"]


class Per(StrEnum):
    """The size of a bucket."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"


Bucket = Annotated[Per, typer.Option("--bucket", help="The size of the buckets; a day is one of Lagos.")]
From = Annotated[datetime | None, typer.Option("--from", formats=TIMES, help="From this bucket on, in UTC.")]
To = Annotated[datetime | None, typer.Option("--to", formats=TIMES, help="Buckets that begin before this, in UTC.")]
Tenant = Annotated[int | None, typer.Option(help="The lender's number; else the one of AMANA_API_KEY.", min=1)]


def group(running: Running) -> typer.Typer:
    """The group `amana metrics`."""
    metrics = typer.Typer(no_args_is_help=True, help="What happened, and how long it took, over time.")

    @metrics.command("decisions")
    def decisions(
        bucket: Bucket = Per.HOUR,
        start: From = None,
        end: To = None,
        tenant: Tenant = None,
        product: Annotated[str | None, typer.Option(help="Of this product.")] = None,
        outcome: Annotated[str | None, typer.Option(help="With this outcome.")] = None,
        data_dir: DataDir = DATA_DIR,
    ) -> None:
        """Show a lender's decisions by product, policy and outcome."""
        _show(running, data_dir, "decisions", tenant, bucket, start, end, product=product, outcome=outcome)

    @metrics.command("transfers")
    def transfers(
        bucket: Bucket = Per.HOUR,
        start: From = None,
        end: To = None,
        tenant: Tenant = None,
        product: Annotated[str | None, typer.Option(help="Of this product.")] = None,
        kind: Annotated[str | None, typer.Option(help="Of this kind, such as posted.")] = None,
        data_dir: DataDir = DATA_DIR,
    ) -> None:
        """Show a lender's transfers by product, kind and band of amounts."""
        _show(running, data_dir, "transfers", tenant, bucket, start, end, product=product, kind=kind)

    _add_operators_commands(metrics, running)
    return metrics


def _add_operators_commands(metrics: typer.Typer, running: Running) -> None:
    """What is not about one lender."""

    @metrics.command("latencies")
    def latencies(
        bucket: Bucket = Per.HOUR,
        start: From = None,
        end: To = None,
        service: Annotated[str | None, typer.Option(help="Of this service.")] = None,
        route: Annotated[str | None, typer.Option(help="Of this route, as a template.")] = None,
        data_dir: DataDir = DATA_DIR,
    ) -> None:
        """Show how long requests took, by route, in milliseconds."""
        _show(running, data_dir, "latencies", 0, bucket, start, end, service=service, route=route)

    @metrics.command("rebuild")
    def rebuild(data_dir: DataDir = DATA_DIR) -> None:
        """Forget the trail and its counts, and let the audit service make them again from its log."""
        from amana.operate import metrics as work

        run_lines(work.rebuild(running(data_dir).owner_metrics_database_url))


def _show(
    running: Running,
    data_dir: Path,
    what: str,
    tenant: int | None,
    bucket: Per,
    start: datetime | None,
    end: datetime | None,
    **filters: str | None,
) -> None:
    from amana.operate import metrics as work

    times = {name: None if at is None else f"{at.isoformat()}Z" for name, at in (("from", start), ("to", end))}
    run_lines(work.table(running(data_dir), what, tenant, {"bucket": bucket, **times, **filters}))
