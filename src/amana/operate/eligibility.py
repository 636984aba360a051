"""The command group `amana eligibility`. Light to import: what does the work is imported when it is asked for."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from amana.infra.settings import Settings
from amana.operate.prequalify import commands as prequalify
from amana.operate.terminal import DATA_DIR, DataDir, cannot, console, finish, report_place, run

SAMPLE_MAX = 200

Report = Annotated[Path | None, typer.Option("--report", callback=report_place, help="Write the result as JSON too.")]
Sample = Annotated[int, typer.Option(help="How many cached answers to look at.", min=1, max=SAMPLE_MAX)]


def group(running: Callable[[Path], Settings]) -> typer.Typer:
    """The group; `running` gives the settings of the stack that runs on a data directory, or the AMANA_* ones."""
    eligibility = typer.Typer(no_args_is_help=True, help="Decisions: many at once, and whether cached ones are true.")

    @eligibility.callback()
    def about() -> None:
        """Decisions: many at once, and whether cached ones are true."""

    eligibility.command("prequalify")(prequalify.command(running))

    @eligibility.command()
    def validate(sample: Sample = SAMPLE_MAX, data_dir: DataDir = DATA_DIR, report: Report = None) -> None:
        """Work cached answers out again from the records and the ledger; what differs is told and forgotten.

        Exit code 0: nothing differed; 1: something did; 2: it could not be asked.
        """
        from amana.infra.http import UpstreamUnavailable
        from amana.operate.validating import run_validate

        try:
            finish(run(run_validate(console(), running(data_dir), sample)), report)
        except UpstreamUnavailable as error:
            cannot(f"cached answers can't be validated: {error}", error)

    return eligibility
