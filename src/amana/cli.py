"""The command line. Thin: what the commands do lives in `operate`, `tape` and the services."""

import os
import sys
from collections.abc import Coroutine
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import typer
import uvloop
from rich.console import Console

from amana.infra.settings import Settings, SettingsError, load_settings

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Amana: decide who may borrow, move the money, prove both."
)
tape = typer.Typer(no_args_is_help=True, help="Loan tapes: check a lender's own book and play it through the platform.")
audit = typer.Typer(no_args_is_help=True, help="The audit log.")
tenant = typer.Typer(no_args_is_help=True, help="Lenders.")
key = typer.Typer(no_args_is_help=True, help="API keys.")
for name, group in (("tape", tape), ("audit", audit), ("tenant", tenant), ("key", key)):
    app.add_typer(group, name=name)

DATA_DIR = Path(".amana")
PORT_BASE = 7801
EXIT_NOT_OK, EXIT_CANNOT = 1, 2
T = TypeVar("T")

DataDir = Annotated[Path, typer.Option("--data-dir", help="Where the stack keeps its data.")]
Report = Annotated[Path | None, typer.Option("--report", help="Write the result as JSON too.")]
Mapping = Annotated[
    str | None, typer.Option("--mapping", help="A shipped mapping's name or a .json file; else the one that fits.")
]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The folder with the tape's CSV files.")]


class Service(StrEnum):
    """What `amana serve` can be."""

    ELIGIBILITY = "eligibility"
    TRANSACTIONS = "transactions"
    AUDIT = "audit"
    RELAY = "relay"


console = Console(highlight=False)


@app.command()
def up(
    data_dir: DataDir = DATA_DIR,
    port_base: Annotated[int, typer.Option(help="First of the ports to use.", min=1024, max=65_000)] = PORT_BASE,
) -> None:
    """Start everything here and keep it running until Ctrl-C. The data stays for the next time."""
    from amana.operate.stack import Ports
    from amana.operate.up import run_up

    raise typer.Exit(uvloop.run(run_up(data_dir, Ports.at(port_base), _given(), _say, _complain)))


@app.command()
def demo(
    report: Report = None,
    borrowers: Annotated[int, typer.Option(help="How many people the seeded book has.", min=10, max=100_000)] = 5_000,
) -> None:
    """Run the main job on real servers started for it, prove the result, and stop."""
    from amana.operate.demo import run_demo

    _finish(_run(run_demo(console, borrowers)), report)


@app.command()
def serve(service: Service) -> None:
    """Run one service from the AMANA_* settings until SIGTERM."""
    from amana.infra.telemetry import configure_logging

    settings = _given()
    configure_logging(service, settings.log_level)
    module = "amana.operate.relay" if service is Service.RELAY else f"amana.{service}.app"
    uvloop.run(import_module(module).serve(settings))


@app.command()
def migrate() -> None:
    """Bring both databases of the AMANA_* settings up to date."""
    from amana.infra.migrate import migrate as apply

    for label in _run(apply(_given())) or ["nothing to do"]:
        console.print(label)


@app.command()
def reconcile(data_dir: DataDir = DATA_DIR, report: Report = None) -> None:
    """Compare counters, entries, loans, exposures, events and leaves of a running stack; name each difference."""
    from amana.operate import reconcile as reconciling

    result = _run(reconciling.reconcile(_running(data_dir)))
    for check, count in result.checks.items():
        console.print(f"{'ok' if count == 0 else f'[red]{count} differ[/]':<12} {check}")
    for difference in result.differences:
        console.print(f"[red]{difference.check}[/] {difference.subject}: {difference.expected} / {difference.found}")
    _finish((msgspec.to_builtins(result), result.ok), report)


@audit.command("verify")
def audit_verify(
    data_dir: DataDir = DATA_DIR,
    checkpoints: Annotated[Path | None, typer.Option(help="Older checkpoints to hold the log to.")] = None,
    report: Report = None,
) -> None:
    """Recompute the whole log of a running stack; name the first bad leaf."""
    from amana.audit.verify import run_verify

    result = _run(run_verify(_running(data_dir), checkpoints_file=checkpoints))
    console.print(result.told())
    _finish((msgspec.to_builtins(result), result.ok), report)


@tape.command("import")
def tape_import(folder: Folder, mapping: Mapping = None, report: Report = None) -> None:
    """Read and check a tape: every row is accepted, repaired or refused, with its line and reason."""
    from amana.operate.tapes import check_tape
    from amana.tape.mapping import TapeError

    try:
        _, checked = check_tape(console, folder, mapping)
    except TapeError as error:
        _complain(str(error))
        raise typer.Exit(EXIT_CANNOT) from error
    _finish((checked.to_json(), True), report)


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

    _finish(_run(run_replay(console, folder, mapping, data_dir, _given(), concurrency)), report)


@tenant.command("create")
def tenant_create(slug: str, name: str, data_dir: DataDir = DATA_DIR) -> None:
    """Make a lender; an existing one is left as it is."""
    from amana.gateway.provision import create_tenant

    try:
        console.print(_run(create_tenant(_running(data_dir).owner_database_url, slug, name)))
    except ValueError as error:
        _complain(str(error))
        raise typer.Exit(EXIT_CANNOT) from error


@key.command("create")
def key_create(
    tenant_number: Annotated[int, typer.Argument(metavar="TENANT", min=1)],
    scope: Annotated[list[str], typer.Option(help="What it may do; repeat it.")],
    data_dir: DataDir = DATA_DIR,
) -> None:
    """Make an API key. Its text is shown now and never again."""
    from amana.gateway.provision import create_key

    try:
        console.print(_run(create_key(_running(data_dir).owner_database_url, tenant_number, scope)))
    except ValueError as error:  # a scope that does not exist
        _complain(str(error))
        raise typer.Exit(EXIT_CANNOT) from error


@key.command("revoke")
def key_revoke(key_id: str, data_dir: DataDir = DATA_DIR) -> None:
    """Revoke an API key by its id (the part after `amana_`). It works everywhere within 5 s."""
    from amana.gateway.provision import revoke_key

    revoked = _run(revoke_key(_running(data_dir).owner_database_url, key_id))
    console.print("revoked" if revoked else "there is no such live key")
    raise typer.Exit(0 if revoked else EXIT_NOT_OK)


def main() -> None:
    """The entry point `amana`."""
    app()


def _given() -> Settings:
    try:
        return load_settings(os.environ)
    except SettingsError as error:
        _complain(str(error))
        raise typer.Exit(EXIT_CANNOT) from error


def _running(data_dir: Path) -> Settings:
    """The settings of the AMANA_* variables or, without them, of the stack that runs on `data_dir`."""
    from amana.operate.home import running_settings

    given = _given()
    found = given if given.owner_database_url else running_settings(data_dir)
    if found is None:
        _complain(f"no stack runs on {data_dir}: start one with `amana up`, or set AMANA_OWNER_DATABASE_URL")
        raise typer.Exit(EXIT_CANNOT)
    return found


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Runs `work`; what a person at the keyboard can mend is said in one line, with exit code 2."""
    from amana.operate.stack import STACK_ERRORS
    from amana.tape.mapping import TapeError

    try:
        return uvloop.run(work)
    except (*STACK_ERRORS, TapeError) as error:
        _complain(str(error))
        raise typer.Exit(EXIT_CANNOT) from error
    except KeyboardInterrupt as error:
        raise typer.Exit(130) from error


def _finish(result: tuple[dict[str, Any], bool], report: Path | None) -> None:
    content, ok = result
    if report is not None:
        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=2))
        console.print(f"Report: {report}")
    if not ok:
        raise typer.Exit(EXIT_NOT_OK)


def _say(line: str) -> None:
    console.print(line, markup=False, soft_wrap=True)  # keys and commands are copied from here: never wrapped


def _complain(line: str) -> None:
    print(f"amana: {line}", file=sys.stderr)  # noqa: T201 - plain, also where the console is a pipe


if __name__ == "__main__":
    main()
