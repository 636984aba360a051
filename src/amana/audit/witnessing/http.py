"""The witness over HTTP: `POST /add-checkpoint`. No key is asked for: what is signed by a known log is all it needs."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from litestar import Litestar, Request, Response, post
from litestar.datastructures import State

from amana.audit.places import CustodyError
from amana.audit.witnessing.adding import TEXT_TYPE, Answer, Witness, log
from amana.audit.witnessing.folder import WitnessFolder
from amana.infra.http_server import serve

BODY_MAX_BYTES = 128 * 1024
"""More than the longest note and the longest proof."""


@post("/add-checkpoint", status_code=200)
async def add_checkpoint(request: Request[Any, Any, Any], state: State) -> Response[str]:
    """Cosigns a checkpoint that extends the last one."""
    try:
        answer = await state.witness.add(await request.body())
    except CustodyError as error:
        log.critical("state_unusable", detail=str(error))
        answer = Answer(500, "the witness can't use its state\n", TEXT_TYPE)
    return Response(answer.body, status_code=answer.status, media_type=answer.media_type)


def build(witness: Witness) -> Litestar:
    """The application."""
    return Litestar(
        route_handlers=[add_checkpoint],
        state=State({"witness": witness}),
        request_max_body_size=BODY_MAX_BYTES,
        openapi_config=None,
        logging_config=None,
    )


async def serve_witness(
    folder: Path, host: str, port: int, on_started: Callable[[str], Awaitable[None] | None]
) -> None:
    """Serves until SIGTERM. Raises `CustodyError` where the folder is not whole, or another process has it."""
    kept = WitnessFolder(folder)
    with kept.held():
        await serve(build(Witness(kept)), host, port, on_started=on_started)
