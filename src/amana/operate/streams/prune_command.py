"""`amana events prune` at the keyboard. Light to import: the work is imported when it is asked for."""

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from amana.infra.settings import Settings
from amana.operate.terminal import DATA_DIR, EXIT_CANNOT, EXIT_NOT_OK, DataDir, cannot, complain, run, say

if TYPE_CHECKING:
    from amana.operate.streams.pruning import Part

AGE_MIN, AGE_MAX = timedelta(hours=1), timedelta(days=36_525)
"""Whoever reads a stream that Amana does not know of has the first to read it."""
_AGE = re.compile(r"(?P<number>[1-9][0-9]{0,5})(?P<unit>[dh])", re.ASCII)
_WHO = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


def _age(text: str) -> timedelta:
    """The age that `30d` or `12h` says; refused below `AGE_MIN` and above `AGE_MAX`."""
    if (found := _AGE.fullmatch(text)) is not None:
        number = int(found["number"])
        age = timedelta(days=number) if found["unit"] == "d" else timedelta(hours=number)
        if AGE_MIN <= age <= AGE_MAX:
            return age
    raise typer.BadParameter("an age such as 30d or 12h: an hour at least, a hundred years at most")


def who(text: str | None) -> str | None:
    """Who does it, as it may stand in the log; refused as an option."""
    if text is not None and not _WHO.fullmatch(text):
        raise typer.BadParameter("letters, digits, '.', '_' and '-', 64 at most")
    return text


def add_prune(events: typer.Typer, running: Callable[[Path], Settings]) -> None:
    """Adds the command to the group."""

    @events.command("prune")
    def prune(
        older_than: Annotated[str, typer.Option(help="What happened longer ago may go: 30d, 12h.")],
        by: Annotated[str | None, typer.Option(callback=who, help="Who does it, for the log.")] = None,
        dry_run: Annotated[
            bool, typer.Option("--dry-run", help="Prove and tell what would go; change nothing.")
        ] = False,
        data_dir: DataDir = DATA_DIR,
    ) -> None:
        """Let the services' outboxes go of old events that the audit log has, every one proved against its signature.

        Exit code 0: they are gone, or there were none; 1: nothing went, and why: something is behind, or a legal hold
        stands; 2: it could not be done.
        """
        age = _age(older_than)
        if not dry_run and by is None:
            complain("--by says in the log who prunes: name it, or take --dry-run")
            raise typer.Exit(EXIT_CANNOT)
        for part in _parts(running(data_dir), age, None if dry_run else by):
            say(told(part, dry_run=dry_run))


def _parts(settings: Settings, age: timedelta, by: str | None) -> "list[Part]":
    from amana.audit.announcing import HeldBack
    from amana.audit.places import CustodyError
    from amana.infra import clock
    from amana.operate.streams import pruning

    now = clock.now()
    try:
        return run(pruning.plan(settings, now - age) if by is None else pruning.prune(settings, now - age, by, now))
    except HeldBack as error:
        complain(f"nothing was pruned: {error}")
        raise typer.Exit(EXIT_NOT_OK) from error
    except CustodyError as error:
        cannot(str(error), error)


def told(part: "Part", *, dry_run: bool) -> str:
    """One line for a stream."""
    if not part.events:
        return f"{part.stream}: nothing to prune, the oldest event is at position {part.oldest:,}"
    verb = "may go" if dry_run else "went"
    rest = "would be" if dry_run else "is"
    return f"{part.stream}: {part.events:,} events {verb}, the oldest {rest} at position {part.below:,}"
