"""The command group `amana privacy`. Light to import: what does the work is imported when it is asked for.

`export`, `erase` and those about legal holds ask running services with the key AMANA_API_KEY. The others work on the
databases themselves.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated
from uuid import UUID, uuid4

import msgspec
import typer

from amana.domain.privacy import ErasureReason
from amana.infra.settings import Settings
from amana.operate.privacy.holds import Customer, add_holds, asked
from amana.operate.terminal import DATA_DIR, DataDir, cannot, finish, report_place, run, say

Out = Annotated[Path | None, typer.Option("--out", callback=report_place, help="Write it here; else it is shown.")]
Reason = Annotated[ErasureReason, typer.Option(help="Why: a code, because a free text could name the person.")]
Id = Annotated[UUID | None, typer.Option("--id", help="The request's id; a new one without it.")]
Running = Callable[[Path], Settings]


def group(running: Running) -> typer.Typer:
    """The group; `running` gives the settings of the stack that runs on a data directory, or the AMANA_* ones."""
    privacy = typer.Typer(no_args_is_help=True, help="Personal data: copies, erasures, and the keys that protect it.")
    _add_customers(privacy, running)
    add_holds(privacy, running)
    _add_keys(privacy, running)
    return privacy


def _add_customers(privacy: typer.Typer, running: Running) -> None:
    @privacy.command("export")
    def export(customer: Customer, out: Out = None, data_dir: DataDir = DATA_DIR) -> None:
        """Write down all that is known of a customer, for them to read (scopes privacy:read, loans:read)."""
        from amana.operate.privacy import client

        found = asked(client.export(running(data_dir), customer))
        if out is None:
            say(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
        else:
            finish((found, True), out)

    @privacy.command("erase")
    def erase(customer: Customer, reason: Reason, id_: Id = None, data_dir: DataDir = DATA_DIR) -> None:
        """Erase a customer: restricted at once, destroyed when no law keeps them any longer (scope privacy:write)."""
        from amana.operate.privacy import client

        found = asked(client.erase(running(data_dir), customer, id_ or uuid4(), reason))
        say(f"customer {found['customer']} is {found['state']}{' (asked for before)' if found['replayed'] else ''}")
        if found["held"]:
            say("a legal hold stands: nothing is destroyed before it is released")
        if found["state"] == "restricted":
            due = found["due_at"]
            say(f"to be destroyed at {due}" if due else "when to destroy is not known yet: something may be owed")


def _add_keys(privacy: typer.Typer, running: Running) -> None:
    @privacy.command("encrypt")
    def encrypt(data_dir: DataDir = DATA_DIR) -> None:
        """Seal what an older version wrote in clear. It may be ended and run again."""
        from amana.operate.privacy.encrypting import StillClear
        from amana.operate.privacy.encrypting import encrypt as seal

        try:
            count = run(seal(running(data_dir), say))
        except StillClear as error:
            cannot(str(error), error)
        say(f"{count} rows sealed; nothing personal is in clear" if count else "nothing personal is in clear")

    @privacy.command("rotate-keys")
    def rotate_keys(data_dir: DataDir = DATA_DIR) -> None:
        """Put a new version into the key file. Bring the file to every host, then run rewrap-keys."""
        from amana.operate.privacy import keys

        for line in run(keys.rotate_keys(running(data_dir))):
            say(line)

    @privacy.command("rewrap-keys")
    def rewrap_keys(
        drop_old: Annotated[bool, typer.Option(help="Then drop the older versions from the key file.")] = False,
        data_dir: DataDir = DATA_DIR,
    ) -> None:
        """Wrap every customer's key under the newest version. It may be ended and run again."""
        from amana.operate.privacy import keys

        for line in run(keys.rewrap_keys(running(data_dir), say, drop_old=drop_old)):
            say(line)
