"""The commands of `amana privacy` about legal holds."""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, TypeVar
from uuid import UUID, uuid4

import typer

from amana.domain.privacy import HoldReason, ReleaseReason
from amana.infra.settings import Settings
from amana.operate.terminal import DATA_DIR, DataDir, cannot, run, say

Customer = Annotated[UUID, typer.Argument(metavar="CUSTOMER", help="The customer's id.")]
Hold = Annotated[UUID, typer.Argument(metavar="HOLD", help="The legal hold's id.")]
By = Annotated[str, typer.Option(help="Who has it done: letters, digits, '.', '_' and '-'. It stands in the log.")]
T = TypeVar("T")


def add_holds(privacy: typer.Typer, running: Callable[[Path], Settings]) -> None:
    """Adds the commands to their group."""
    _add_steps(privacy, running)

    @privacy.command("holds")
    def holds(
        customer: Annotated[UUID | None, typer.Argument(metavar="CUSTOMER", help="Whose; of all without it.")] = None,
        released: Annotated[bool, typer.Option(help="Those that were released too.")] = False,
        data_dir: DataDir = DATA_DIR,
    ) -> None:
        """List the legal holds that stand (scope privacy:read)."""
        from amana.operate.privacy import client

        for each in asked(client.list_holds(running(data_dir), customer, released=released)):
            end = f", released {each['released_at']}: {each['release_reason']}" if each["released_at"] else ""
            said = f"{each['placed_at']} {each['reason']}, for {each['placed_for']}{end}"
            say(f"{each['id']} on customer {each['customer']}: {said}")


def _add_steps(privacy: typer.Typer, running: Callable[[Path], Settings]) -> None:
    @privacy.command("hold")
    def hold(
        customer: Customer,
        reason: Annotated[HoldReason, typer.Option(help="Why: a code, because a free text could name the person.")],
        by: By,
        id_: Annotated[UUID | None, typer.Option("--id", help="The hold's id; a new one without it.")] = None,
        data_dir: DataDir = DATA_DIR,
    ) -> None:
        """Place a legal hold: while it stands nothing of the customer is destroyed (scope privacy:hold)."""
        from amana.operate.privacy import client

        placed = asked(client.place_hold(running(data_dir), customer, id_ or uuid4(), reason, by))
        before = " (placed before)" if placed["replayed"] else ""
        say(f"legal hold {placed['id']} on customer {customer}{before}")
        if placed["released_at"]:
            say(f"it was released at {placed['released_at']}")

    @privacy.command("release")
    def release(
        customer: Customer,
        hold: Hold,
        reason: Annotated[ReleaseReason, typer.Option(help="Why it is released.")],
        by: By,
        data_dir: DataDir = DATA_DIR,
    ) -> None:
        """Release a legal hold; who was due to be erased meanwhile is erased then (scope privacy:hold)."""
        from amana.operate.privacy import client

        released = asked(client.release_hold(running(data_dir), customer, hold, reason, by))
        say(f"legal hold {hold} was released at {released['released_at']}")


def asked(work: Coroutine[object, object, T]) -> T:
    """What running services answered; what they refuse is said, with the exit code for "can't"."""
    from amana.operate.privacy.client import PrivacyRefused

    try:
        return run(work)
    except PrivacyRefused as error:
        cannot(str(error), error)
