"""The command group `amana audit witness`: an independent witness of logs, ours or others'. It needs no database."""

from pathlib import Path
from typing import Annotated

import typer

from amana.operate.terminal import cannot, run, say

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the witness keeps its key, logs and state.")]
PORT = 7810


def group() -> typer.Typer:
    """The group."""
    witness = typer.Typer(no_args_is_help=True, help="An independent witness: cosigns only logs that grow.")

    @witness.command("init")
    def init(
        folder: Folder,
        name: Annotated[str, typer.Argument(metavar="NAME", help="Its name, best a URL without its scheme.")],
    ) -> None:
        """Make a witness: a key and an empty state, in a new folder. Shows its verifier key."""
        from amana.audit.places import CustodyError
        from amana.audit.witnessing.folder import LOGS, make_folder

        try:
            say(str(make_folder(folder, name)))
        except CustodyError as error:
            cannot(str(error), error)
        say(f"write the verifier keys of the logs that it shall cosign into {folder / LOGS}, one a line")

    @witness.command("serve")
    def serve(
        folder: Folder,
        host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
        port: Annotated[int, typer.Option(help="The port; 0 is any free one.", min=0, max=65_535)] = PORT,
    ) -> None:
        """Cosign checkpoints at POST /add-checkpoint (C2SP tlog-witness) until SIGTERM."""
        from amana.audit.places import CustodyError
        from amana.audit.witnessing.http import serve_witness
        from amana.infra.http_server import ServerFailed
        from amana.infra.telemetry import configure_logging

        configure_logging("witness")
        try:
            run(serve_witness(folder, host, port, lambda url: say(f"the witness listens at {url}")))
        except (CustodyError, ServerFailed) as error:
            cannot(str(error), error)

    return witness
