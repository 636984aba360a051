"""The command group `amana audit`. Light to import: what works is imported when it is asked for."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from amana.infra.settings import Settings
from amana.operate import audit_reads, witness_commands
from amana.operate.terminal import (
    DATA_DIR,
    EXIT_CANNOT,
    EXIT_NOT_OK,
    DataDir,
    cannot,
    complain,
    finish,
    report_place,
    run,
    say,
)

if TYPE_CHECKING:
    from amana.audit.export import Exported
    from amana.audit.findings import VerifyReport


Report = Annotated[Path | None, typer.Option("--report", callback=report_place, help="Write the result as JSON too.")]
Export = Annotated[
    Path | None, typer.Argument(metavar="[DIRECTORY]", help="An export to verify offline; else the running log is.")
]
Folder = Annotated[Path, typer.Argument(metavar="DIRECTORY", help="Where the export goes, or is added to.")]
Keys = Annotated[list[str] | None, typer.Option("--key", help="For an export: a verifier key you trust; repeat it.")]
KeyFile = Annotated[Path | None, typer.Option("--keys", help="For an export: a file of such keys, one a line.")]
Checkpoints = Annotated[
    list[Path] | None, typer.Option("--checkpoints", help="A file of checkpoints you kept; repeat it.")
]

WitnessKeys = Annotated[
    list[str] | None,
    typer.Option("--witness-key", help="The verifier key of a witness who must have cosigned; repeat it."),
]


def group(given: Callable[[], Settings], running: Callable[[Path], Settings]) -> typer.Typer:
    """The group; `given` reads the settings, `running` also looks for a stack that runs on a folder."""

    def settings(data_dir: Path) -> Settings:
        """Where the log and its key are."""
        found = given()
        return found if found.audit_key_file else running(data_dir)

    audit = typer.Typer(no_args_is_help=True, help="The audit log: look things up, verify it, export it.")
    _add_verify(audit, settings)
    _add_export(audit, settings)
    audit.add_typer(_keys(settings), name="key")
    audit.add_typer(witness_commands.group(), name="witness")
    audit_reads.add_to(audit, running)
    return audit


def _add_verify(audit: typer.Typer, settings: Callable[[Path], Settings]) -> None:
    @audit.command("verify")
    def verify(
        directory: Export = None,
        data_dir: DataDir = DATA_DIR,
        key: Keys = None,
        keys: KeyFile = None,
        checkpoints: Checkpoints = None,
        witness_key: WitnessKeys = None,
        report: Report = None,
    ) -> None:
        """Recompute the whole log; name the first bad leaf of each stream.

        With DIRECTORY an export is verified, without any database: only the keys and checkpoints given are trusted.
        Exit code 0 when all holds, 1 when something is bad, 2 when it could not be verified.
        """
        if directory is None:
            if key or keys:
                complain("--key and --keys are for an export: a running log is verified with the key of its settings")
                raise typer.Exit(EXIT_CANNOT)
            found = _verify_running(settings(data_dir), checkpoints or [], witness_key or [])
        else:
            found = _verify_export(directory, all_keys(key, keys), checkpoints or [], witness_key or [])
        finish(_verified(found), report)


def _add_export(audit: typer.Typer, settings: Callable[[Path], Settings]) -> None:
    @audit.command("export")
    def export(directory: Folder, data_dir: DataDir = DATA_DIR, report: Report = None) -> None:
        """Write the whole log to a folder: tiles, entries, checkpoints, keys. Run again to go on or to add to it."""
        exported = _export(settings(data_dir), directory)
        say(exported.told())
        finish((msgspec.to_builtins(exported), True), report)


def _keys(settings: Callable[[Path], Settings]) -> typer.Typer:
    key = typer.Typer(no_args_is_help=True, help="The keys that sign checkpoints.")

    @key.command("show")
    def show(data_dir: DataDir = DATA_DIR) -> None:
        """The verifier keys, oldest first: keep them where the log is not."""
        from amana.audit.custody import Custody
        from amana.audit.leaf import LOGS

        custody = Custody.of(settings(data_dir))
        with _explained():
            for stream in LOGS:
                for each in custody.keys(stream).keys:
                    say(str(each))

    @key.command("rotate")
    def rotate(data_dir: DataDir = DATA_DIR) -> None:
        """Take a new signing key into use, vouched for by the old one. A running service takes it up by itself."""
        from amana.audit.custody import Custody
        from amana.audit.rotation import rotate_key
        from amana.infra import clock

        custody = Custody.of(settings(data_dir))
        with _explained():
            for each in rotate_key(custody, clock.now()):
                say(str(each))

    return key


def _verify_running(settings: Settings, checkpoints: list[Path], witnesses: list[str]) -> "VerifyReport":
    from amana.audit.verify import run_verify
    from amana.operate.leaves_bar import LeavesBar

    with _explained(), LeavesBar("verified") as bar:
        return run(run_verify(settings, checkpoints=checkpoints, witnesses=witnesses, progress=bar.at))


def _verify_export(directory: Path, keys: list[str], checkpoints: list[Path], witnesses: list[str]) -> "VerifyReport":
    from amana.audit.offline import verify_export
    from amana.operate.leaves_bar import LeavesBar

    with _explained(), LeavesBar("verified") as bar:
        return run(verify_export(directory, keys, checkpoints, bar.at, witnesses=witnesses))


def _verified(report: "VerifyReport") -> tuple[dict[str, Any], bool]:
    say(report.told())
    return msgspec.to_builtins(report), report.ok


def _export(settings: Settings, directory: Path) -> "Exported":
    from amana.audit.export import LeafMissing, run_export
    from amana.operate.leaves_bar import LeavesBar

    try:
        with _explained(), LeavesBar("exported") as bar:
            return run(run_export(settings, directory, bar.at))
    except LeafMissing as error:
        complain(str(error))
        raise typer.Exit(EXIT_NOT_OK) from error


def all_keys(given: list[str] | None, file: Path | None) -> list[str]:
    """The keys on the command line and those of a file."""
    with _explained():
        lines = file.read_text(encoding="utf-8").splitlines() if file else []
    return [*(given or ()), *(line for line in lines if line.strip())]


@contextmanager
def _explained() -> Iterator[None]:
    """What a person can mend, in one line and exit code 2."""
    from amana.audit.findings import CannotVerify
    from amana.audit.places import CustodyError

    try:
        yield
    except (CannotVerify, CustodyError, OSError) as error:
        cannot(str(error), error)
