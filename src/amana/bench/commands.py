"""The command group `amana bench`. Light to import: what measures is imported when it is asked for."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from amana.infra.settings import Settings
from amana.operate.terminal import EXIT_CANNOT, complain, console, finish, report_place, run

SECONDS_MAX, RUNS_MAX, ACCOUNTS_MAX, TRANSFERS_MAX = 60.0, 20, 1_000_000, 1_000_000_000
LEAVES_MAX = 100_000_000
CUSTOMERS_MAX, ROWS_MAX, EVENTS_MAX = 1_000_000, 10_000_000, 1_000_000
BORROWERS_MAX = 1_000_000
SEED = 20260101

Report = Annotated[Path | None, typer.Option("--report", callback=report_place, help="Write the result as JSON too.")]
Seconds = Annotated[float, typer.Option(help="How long each measurement lasts.", min=0.5, max=SECONDS_MAX)]
Runs = Annotated[int, typer.Option(help="How often each is repeated; figures are medians.", min=1, max=RUNS_MAX)]
Accounts = Annotated[int, typer.Option(help="How many accounts there are.", min=100, max=ACCOUNTS_MAX)]
Customers = Annotated[int, typer.Option(help="How many customers there are.", min=100, max=CUSTOMERS_MAX)]
Only = Annotated[list[str] | None, typer.Option(help="A path or peer, or its beginning, such as P5.hot; repeat it.")]
To = Annotated[int, typer.Option(help="How many transfers to go to.", min=1_000, max=TRANSFERS_MAX)]
Keep = Annotated[Path | None, typer.Option(help="Keep the data in this folder; else it is removed.")]
Events = Annotated[int, typer.Option(help="How many events the backlog has.", min=1_000, max=EVENTS_MAX)]
Rows = Annotated[int, typer.Option(help="How many customers the table has.", min=5_000, max=ROWS_MAX)]
Leaves = Annotated[int, typer.Option(help="How many leaves the log gets.", min=1_000, max=LEAVES_MAX)]
Seed = Annotated[int, typer.Option(help="Which accounts and amounts are drawn.", min=0)]


bench = typer.Typer(no_args_is_help=True, help="Measure, on real servers where it needs any, and check the result.")


def group(given: Callable[[], Settings]) -> typer.Typer:
    """The group; `given` reads the AMANA_* settings when a command asks for them."""

    @bench.callback()
    def remember(context: typer.Context) -> None:
        context.obj = given

    return bench


@bench.command()
def transfers(
    context: typer.Context,
    report: Report = None,
    seconds: Seconds = 5.0,
    runs: Runs = 3,
    accounts: Accounts = 100_000,
    seed: Seed = SEED,
    only: Only = None,
) -> None:
    """Transfers one by one and in lists (P4, P5), beside pgbench and a naive ledger on the same server."""
    from amana.bench.transfers import PATHS, Options, run_transfers

    _require_known(only, PATHS)
    options = Options(seconds=seconds, runs=runs, accounts=accounts, seed=seed, only=tuple(only or ()))
    finish(run(run_transfers(console(), context.obj(), options)), report)


@bench.command()
def growth(
    context: typer.Context,
    report: Report = None,
    to: To = 10_000_000,
    seconds: Seconds = 5.0,
    runs: Runs = 3,
    accounts: Accounts = 100_000,
    seed: Seed = SEED,
    keep: Keep = None,
) -> None:
    """Whether transfers get slower as they get many, and the bytes that each takes. Ten million take a while."""
    from amana.bench.growth import Options, run_growth

    options = Options(to=to, seconds=seconds, runs=runs, accounts=accounts, seed=seed)
    finish(run(run_growth(console(), context.obj(), options, keep)), report)


@bench.command()
def eligibility(
    context: typer.Context,
    report: Report = None,
    seconds: Seconds = 5.0,
    runs: Runs = 3,
    customers: Customers = 100_000,
    seed: Seed = SEED,
    only: Only = None,
) -> None:
    """Checks from memory, from Valkey and computed (P1, P2, P3, P11), beside nginx with a static body."""
    from amana.bench.check_paths import PATHS
    from amana.bench.eligibility import Options, run_eligibility

    _require_known(only, PATHS)
    options = Options(seconds=seconds, runs=runs, customers=customers, seed=seed, only=tuple(only or ()))
    finish(run(run_eligibility(console(), context.obj(), options)), report)


@bench.command("search")
def search(
    context: typer.Context,
    report: Report = None,
    events: Annotated[int, typer.Option(help="How many events the log has.", min=10_000, max=LEAVES_MAX)] = 200_000,
    rate: Annotated[float, typer.Option(help="Questions a second.", min=1, max=1_000)] = 40.0,
    seconds: Seconds = 5.0,
    runs: Runs = 3,
    seed: Seed = SEED,
) -> None:
    """The search of the audit log (P13), and the bytes of its index. Owed with --events 10000000."""
    from amana.bench.audit_queries import Options, run_audit_queries

    options = Options(events=events, rate=rate, seconds=seconds, runs=runs, seed=seed)
    finish(run(run_audit_queries(console(), context.obj(), options)), report)


@bench.command()
def events(
    context: typer.Context,
    report: Report = None,
    seconds: Seconds = 5.0,
    runs: Runs = 3,
    events: Events = 100_000,
    seed: Seed = SEED,
    only: Only = None,
) -> None:
    """The relay from committed events to the broker's acknowledgement (P8), beside the client library alone."""
    from amana.bench.events import PATHS, Options, run_events

    _require_known(only, PATHS)
    options = Options(seconds=seconds, runs=runs, events=events, seed=seed, only=tuple(only or ()))
    finish(run(run_events(console(), context.obj(), options)), report)


@bench.command()
def platform(
    context: typer.Context,
    report: Report = None,
    seconds: Annotated[float, typer.Option(help="How long the rate must hold.", min=2.0, max=3600.0)] = 300.0,
    trial_s: Annotated[float, typer.Option("--trial", help="Seconds of each trial before.", min=2.0, max=60.0)] = 15.0,
    accounts: Accounts = 100_000,
    seed: Seed = SEED,
) -> None:
    """Everything on: the highest rate of transfers with which relay and log keep up (P12). About ten minutes."""
    from amana.bench.platform import Options, run_platform

    options = Options(seconds=seconds, trial_s=trial_s, accounts=accounts, seed=seed)
    finish(run(run_platform(console(), context.obj(), options)), report)


@bench.command()
def policy(
    report: Report = None,
    seconds: Seconds = 2.0,
    runs: Runs = 5,
    rows: Rows = 300_000,
    seed: Seed = SEED,
) -> None:
    """One decision and tables of them (P6, P7), beside zen-engine on an equal table. Needs no server."""
    from amana.bench.policy import Options, run_policy

    finish(run_policy(console(), Options(seconds=seconds, runs=runs, rows=rows, seed=seed)), report)


@bench.command()
def audit(
    context: typer.Context,
    report: Report = None,
    leaves: Leaves = 300_000,
    runs: Runs = 3,
    seed: Seed = SEED,
    only: Only = None,
) -> None:
    """The audit log: receiving, sealing, exporting and verifying it, and the bytes of an event (P9)."""
    from amana.bench.audit import PATHS, run_audit
    from amana.bench.audit_ground import Options
    from amana.bench.site import QUIET
    from amana.infra.telemetry import configure_logging

    _require_known(only, PATHS)
    configure_logging("bench", QUIET)  # what seals runs in this process
    options = Options(leaves=leaves, runs=runs, seed=seed)
    finish(run(run_audit(console(), context.obj(), options, tuple(only or ()))), report)


@bench.command()
def replay(
    context: typer.Context,
    report: Report = None,
    borrowers: Annotated[
        int, typer.Option(help="How many borrowers both lenders have.", min=2, max=BORROWERS_MAX)
    ] = 5_000,
    runs: Runs = 3,
    seed: Seed = SEED,
    only: Only = None,
) -> None:
    """Rebuilding what stands from the log: from outboxes, audit log, export, service and snapshot; 0 differences."""
    from amana.bench.replaying import PATHS, Options, run_replays
    from amana.bench.site import QUIET
    from amana.infra.telemetry import configure_logging

    _require_known(only, PATHS)
    configure_logging("bench", QUIET)  # what exports runs in this process
    options = Options(borrowers=borrowers, runs=runs, seed=seed, only=tuple(only or ()))
    finish(run(run_replays(console(), context.obj(), options)), report)


def _require_known(only: list[str] | None, paths: tuple[str, ...]) -> None:
    from amana.bench.rounds import path_unknown

    if unknown := path_unknown(tuple(only or ()), paths):
        complain(f"no path or peer begins with {unknown}")
        raise typer.Exit(EXIT_CANNOT)
