"""The command group `amana eligibility`. Light to import: what does the work is imported when it is asked for."""

from collections.abc import Callable
from pathlib import Path

import typer

from amana.infra.settings import Settings
from amana.operate.prequalify import commands as prequalify


def group(running: Callable[[Path], Settings]) -> typer.Typer:
    """The group; `running` gives the settings of the stack that runs on a data directory, or the AMANA_* ones."""
    eligibility = typer.Typer(no_args_is_help=True, help="Decisions: many at once.")

    @eligibility.callback()
    def about() -> None:
        """Decisions: many at once."""

    eligibility.command("prequalify")(prequalify.command(running))
    return eligibility
