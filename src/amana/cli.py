"""The command line. Thin: what the commands do lives in `operate`, `tape` and the services.

Light to import: each command imports what it needs, and a group of commands is imported when one of them is asked for.
"""

import os
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from amana.infra.settings import Settings, SettingsError, check_kafka, load_settings
from amana.operate.late import Late, group_with
from amana.operate.terminal import (
    DATA_DIR,
    EXIT_CANNOT,
    DataDir,
    cannot,
    complain,
    console,
    finish,
    folder_place,
    report_place,
    run,
    say,
)

LATER: list[Late] = []
app = typer.Typer(no_args_is_help=True, add_completion=False, cls=group_with(LATER))
tape = typer.Typer(no_args_is_help=True, help="Loan tapes: check a lender's own book and play it through the platform.")
app.add_typer(tape, name="tape")

PORT_BASE = 7801

Report = Annotated[Path | None, typer.Option("--report", callback=report_place, help="Write the result as JSON too.")]
Mapping = Annotated[
    str | None, typer.Option("--mapping", help="A shipped mapping's name or a .json file; else the one that fits.")
]
Folder = Annotated[
    Path, typer.Argument(metavar="DIR", callback=folder_place, help="The folder with the tape's CSV files.")
]


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        say(f"amana {version('amana')}")
        raise typer.Exit


class Service(StrEnum):
    """What `amana serve` can be."""

    ELIGIBILITY = "eligibility"
    TRANSACTIONS = "transactions"
    AUDIT = "audit"
    RELAY = "relay"
    NOTIFICATIONS = "notifications"


@app.callback()
def about(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which Amana this is.")
    ] = False,
) -> None:
    """Amana: decide who may borrow, move the money, prove both."""


@app.command()
def up(
    data_dir: DataDir = DATA_DIR,
    port_base: Annotated[int, typer.Option(help="First of the ports to use.", min=1024, max=65_000)] = PORT_BASE,
) -> None:
    """Start everything here and keep it running until Ctrl-C. The data stays for the next time."""
    import uvloop

    from amana.operate.stack import Ports
    from amana.operate.up import run_up

    raise typer.Exit(uvloop.run(run_up(data_dir, Ports.at(port_base), _given(), say, complain)))


@app.command()
def demo(
    report: Report = None,
    borrowers: Annotated[int, typer.Option(help="How many people the seeded book has.", min=10, max=100_000)] = 5_000,
) -> None:
    """Run the main job on real servers started for it, prove the result, and stop."""
    from amana.operate.demo import run_demo

    finish(run(run_demo(console(), borrowers)), report)


@app.command()
def serve(service: Service) -> None:
    """Run one service from the AMANA_* settings until SIGTERM."""
    import uvloop

    from amana.infra.telemetry import configure_logging

    settings = _given()
    configure_logging(service, settings.log_level)
    module = "amana.operate.relay" if service is Service.RELAY else f"amana.{service}.app"
    uvloop.run(import_module(module).serve(settings))


@app.command()
def migrate() -> None:
    """Bring the databases of the AMANA_* settings up to date."""
    from amana.infra.migrate import migrate as apply
    from amana.infra.migrate import migrate_metrics

    settings = _given()
    for label in [*run(apply(settings)), *run(migrate_metrics(settings))] or ["nothing to do"]:
        say(label)


@app.command()
def reconcile(data_dir: DataDir = DATA_DIR, report: Report = None) -> None:
    """Compare counters, entries, loans, exposures, events and leaves of a running stack; name each difference."""
    from amana.operate import reconcile as reconciling

    result = run(reconciling.reconcile(_running(data_dir)))
    for check, count in result.checks.items():
        say(f"{'ok' if count == 0 else f'{count} differ':<12} {check}")
    for source, count in result.pruned.items():
        gone = f", {result.forgotten[source]:,} of which it has dropped too" if source in result.forgotten else ""
        say(f"{count:,} events of {source} were pruned and are read from the audit log{gone}")
    for difference in result.differences:
        say(f"{difference.check} {difference.subject}: {difference.expected} / {difference.found}")
    finish((msgspec.to_builtins(result), result.ok), report)


@tape.command("import")
def tape_import(folder: Folder, mapping: Mapping = None, report: Report = None) -> None:
    """Read and check a tape: every row is accepted, repaired or refused, with its line and reason."""
    from amana.operate.tapes import check_tape
    from amana.tape.mapping import TapeError

    try:
        _, checked = check_tape(console(), folder, mapping)
    except TapeError as error:
        cannot(str(error), error)
    finish((checked.to_json(), True), report)


@tape.command("replay")
def tape_replay(
    folder: Folder,
    mapping: Mapping = None,
    data_dir: Annotated[Path | None, typer.Option(help="Keep the result here; else it is thrown away.")] = None,
    concurrency: Annotated[int, typer.Option(help="Requests in flight.", min=1, max=512)] = 64,
    report: Report = None,
) -> None:
    """Play a tape through the platform in the order it happened, and prove the result."""
    from amana.operate.tapes import run_replay

    finish(run(run_replay(console(), folder, mapping, data_dir, _given(), concurrency)), report)


def main() -> None:
    """The entry point `amana`."""
    app()


def _given() -> Settings:
    try:
        settings = load_settings(os.environ)
        check_kafka(settings)
    except SettingsError as error:
        cannot(str(error), error)
    return settings


def _running(data_dir: Path) -> Settings:
    """The settings of the AMANA_* variables or, without them, of the stack that runs on `data_dir`."""
    from amana.operate.home import running_settings

    given = _given()
    found = given if given.owner_database_url else running_settings(data_dir)
    if found is None:
        complain(f"no stack runs on {data_dir}: start one with `amana up`, or set AMANA_OWNER_DATABASE_URL")
        raise typer.Exit(EXIT_CANNOT)
    own = {"api_key": given.api_key or found.api_key, "legal_hold": given.legal_hold or found.legal_hold}
    return msgspec.structs.replace(found, **own)


LATER += [
    Late("audit", "The audit log: look things up, verify it, export it.", "operate.audit_commands", (_given, _running)),
    Late(
        "replay",
        "Rebuild what stands from the log alone, and compare it with the live tables; or tell one thing's story.",
        "operate.replay.commands",
        (_given, _running),
        "command",
    ),
    Late("bench", "Measure, on real servers where it needs any, and check the result.", "bench.commands", (_given,)),
    Late(
        "eligibility", "Decisions: many at once, and whether cached ones are true.", "operate.eligibility", (_running,)
    ),
    Late(
        "events",
        "Events: watch them, see who lags, redrive what failed, prune what is old.",
        "operate.streams.commands",
        (_running,),
    ),
    Late("transfers", "Transfers in bulk.", "operate.imports.commands", (_given,)),
    Late("metrics", "What happened, and how long it took, over time.", "operate.metrics_commands", (_running,)),
    Late(
        "policy",
        "Policies: documents that say who may borrow how much at what price.",
        "operate.policy_commands",
        (_given,),
    ),
    Late(
        "privacy",
        "Personal data: copies, erasures, and the keys that protect it.",
        "operate.privacy.commands",
        (_running,),
    ),
    Late("tenant", "Lenders.", "operate.access_commands", (_running,), "tenants"),
    Late("key", "API keys.", "operate.access_commands", (_running,), "keys"),
]

if __name__ == "__main__":
    main()
