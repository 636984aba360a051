"""`amana events retire` at the keyboard. Light to import: the work is imported when it is asked for."""

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from amana.infra.settings import Settings
from amana.operate.streams.prune_command import who
from amana.operate.terminal import DATA_DIR, EXIT_CANNOT, EXIT_NOT_OK, DataDir, complain, run, say

if TYPE_CHECKING:
    from amana.operate.streams.retiring import Consumer, Retired


class Service(StrEnum):
    """A service whose consumer keeps its progress in the main database."""

    ELIGIBILITY = "eligibility"
    NOTIFICATIONS = "notifications"


class Consumed(StrEnum):
    """A stream that such a consumer may have begun."""

    ELIGIBILITY = "eligibility"
    TRANSACTIONS = "transactions"
    NOTIFICATIONS = "notifications"


class Reason(StrEnum):
    """Why it is gone: the codes of the event."""

    SERVICE_REMOVED = "service_removed"
    CONSUMER_REPLACED = "consumer_replaced"
    STREAM_NOT_NEEDED = "stream_not_needed"


def add_retire(events: typer.Typer, running: Callable[[Path], Settings]) -> None:
    """Adds the command to the group."""

    @events.command("retire")
    def retire(
        consumer: Annotated[str, typer.Argument(help="Its name, as `amana events prune` says it.")],
        service: Annotated[Service, typer.Option(help="The service that it belonged to.")],
        stream: Annotated[Consumed, typer.Option(help="The stream that it took.")],
        reason: Annotated[Reason | None, typer.Option(help="Why it is gone, for the log.")] = None,
        by: Annotated[str | None, typer.Option(callback=who, help="Who says so, for the log.")] = None,
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell where it stands; change nothing.")] = False,
        data_dir: DataDir = DATA_DIR,
    ) -> None:
        """Let a consumer that is gone for good hold back no prune any more. Should it come back, it begins at the end.

        Exit code 0: it is retired; 1: nothing was done, and why: it is level, moved within the hour, or its service is
        there; 2: it could not be done.
        """
        if not dry_run and (by is None or reason is None):
            complain("--by and --reason say in the log who retires it, and why: name both, or take --dry-run")
            raise typer.Exit(EXIT_CANNOT)
        from amana.operate.streams.retiring import Consumer

        asked = Consumer(service.value, consumer, stream.value)
        found = _found(running(data_dir), asked, None if dry_run else by, reason)
        say(told(asked, found, dry_run=dry_run))


def _found(settings: Settings, asked: "Consumer", by: str | None, reason: Reason | None) -> "Retired":
    from amana.audit.announcing import HeldBack
    from amana.domain.event_types_audit import RetireReason
    from amana.infra import clock
    from amana.operate.streams import retiring

    try:
        if by is None or reason is None:
            return run(retiring.stands(settings, asked))
        return run(retiring.retire(settings, asked, RetireReason(reason.value), by, clock.now()))
    except HeldBack as error:
        complain(f"nothing was retired: {error}")
        raise typer.Exit(EXIT_NOT_OK) from error


def told(asked: "Consumer", found: "Retired", *, dry_run: bool) -> str:
    """One line."""
    verb = "may be retired" if dry_run else "is retired"
    missed = found.last + 1 - found.below
    letters = f"; {found.letters:,} open letters stay" if found.letters else ""
    return (
        f"{asked.name} of {asked.service} {verb}: {missed:,} events of {asked.stream} from position {found.below:,} on"
        f" were not taken{letters}"
    )
