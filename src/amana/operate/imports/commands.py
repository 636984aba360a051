"""The command group `amana transfers`. Light to import: the importer is imported when it is asked for."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from amana.infra.settings import Settings
from amana.operate.terminal import cannot, console, finish, report_place, run

IN_FLIGHT_MAX = 16

Report = Annotated[Path | None, typer.Option("--report", callback=report_place, help="Write the result as JSON too.")]
File = Annotated[str, typer.Argument(metavar="FILE", help="CSV or JSON Lines; - reads stdin, not resumable.")]
Url = Annotated[str, typer.Option(help="Where transactions is; else AMANA_TRANSACTIONS_URL.")]
ImportId = Annotated[str, typer.Option(help="What ids are derived from; else what the file holds.")]
State = Annotated[Path | None, typer.Option(help="How far it is; else FILE.import.json.")]
Format = Annotated[str, typer.Option("--format", help="csv or jsonl; else by the suffix.")]
InFlight = Annotated[
    int, typer.Option(help="Lists in flight; with more than one, lines may overtake.", min=1, max=IN_FLIGHT_MAX)
]
Strict = Annotated[bool, typer.Option("--strict", help="Send nothing unless every line is well-formed.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check the file and send nothing.")]


def group(given: Callable[[], Settings]) -> typer.Typer:
    """The group; `given` reads the AMANA_* settings."""
    transfers = typer.Typer(no_args_is_help=True, help="Transfers in bulk.")

    @transfers.callback()
    def about() -> None:
        """Transfers in bulk."""

    @transfers.command("import")
    def import_(
        file: File,
        url: Url = "",
        import_id: ImportId = "",
        state: State = None,
        format_: Format = "",
        in_flight: InFlight = 1,
        strict: Strict = False,
        dry_run: DryRun = False,
        report: Report = None,
    ) -> None:
        """Send a file of transfers, millions if need be. Killed? Run it again: it goes on, and nothing happens twice.

        The API key, with the scope transfers:write, is AMANA_API_KEY. Exit code 0: every line is posted; 1: some were
        refused or malformed, see FILE.refused.jsonl; 2: it could not go on.
        """
        from amana.operate.imports.importer import check_file, run_import
        from amana.operate.imports.lines import CannotImport
        from amana.operate.imports.options import Options

        settings = given()
        url = url.rstrip("/") or settings.transactions_url
        options = Options(file, url, settings.api_key, format_, import_id, state, in_flight, strict)
        try:
            finish(check_file(console(), options) if dry_run else run(run_import(console(), options)), report)
        except (CannotImport, OSError) as error:
            cannot(str(error), error)

    return transfers
