"""The log as a tiled transparency log (C2SP tlog-tiles): what monitors, mirrors and witnesses of others read.

Hashes and checkpoints tell nothing of any tenant. Entries are all tenants' events: only the platform's own key gets
them; whoever else is to have the whole log gets an export.
"""

import asyncio
from collections.abc import Sequence

from litestar import MediaType, Response, get
from litestar.datastructures import State
from litestar.types import ControllerRouterHandler

from amana.audit.cosignature import with_lines
from amana.audit.http import newest_checkpoint
from amana.audit.status import LogName
from amana.audit.tile_store import BundleDropped, read_tile
from amana.audit.tiles import TileError, parse_tile
from amana.domain.reasons import Reason
from amana.gateway.caller import Caller
from amana.wire.problems import Refused

CHECKPOINT_CACHE = "private, max-age=1"
TILE_CACHE = "private, max-age=31536000, immutable"
"""A tile never changes. Private, because it is given for a key."""


@get("/v1/audit/log/{stream:str}/checkpoint", opt={"scope": "audit:read"}, tags=["Audit"])
async def get_log_checkpoint(caller: Caller, state: State, stream: LogName) -> Response[str]:
    """The newest signed checkpoint, as a C2SP signed note, with the cosignatures that it has by now."""
    async with state.store.rows() as rows:
        newest = await newest_checkpoint(rows, stream)
    cosigned = await asyncio.to_thread(state.custody.cosigned, stream)
    lines = [note.removeprefix(newest.note) for note in cosigned if note.startswith(newest.note)]
    asked = {"stream": stream}
    await state.accesses.record(caller, "/v1/audit/log/{stream}/checkpoint", asked, 1, at_once=False)
    headers = {"cache-control": CHECKPOINT_CACHE}
    return Response(with_lines(newest.note, lines), media_type=MediaType.TEXT, headers=headers)


@get("/v1/audit/log/{stream:str}/tile/entries/{place:path}", opt={"scope": "internal"}, tags=["Internal"])
async def get_entries(caller: Caller, state: State, stream: LogName, place: str) -> Response[bytes]:
    """An entry bundle: up to 256 leaves of all tenants, each after its length in two bytes."""
    return await _tile(caller, state, stream, f"entries{place}", at_once=True)


@get("/v1/audit/log/{stream:str}/tile/{level:str}/{place:path}", opt={"scope": "audit:read"}, tags=["Audit"])
async def get_tile(caller: Caller, state: State, stream: LogName, level: str, place: str) -> Response[bytes]:
    """A tile: up to 256 hashes of 32 bytes. `place` is the tile's number in groups of three digits."""
    return await _tile(caller, state, stream, f"{level}{place}", at_once=False)


TILE_ROUTES: Sequence[ControllerRouterHandler] = (get_log_checkpoint, get_entries, get_tile)


async def _tile(caller: Caller, state: State, stream: str, path: str, *, at_once: bool) -> Response[bytes]:
    """A tile, once its reading is recorded where it shows events."""
    try:
        tile = parse_tile(path)
    except TileError as error:
        raise Refused(Reason.NOT_FOUND, "Not the path of a tile.") from error
    async with state.store.rows() as rows:
        try:
            content = await read_tile(rows, stream, tile)
        except BundleDropped as error:
            raise Refused(Reason.DROPPED_BY_RETENTION) from error
    if content is None:
        raise Refused(Reason.NOT_FOUND, "The log has no such tile.")
    asked = {"stream": stream, "tile": tile.path}
    await state.accesses.record(caller, "/v1/audit/log/{stream}/{tile}", asked, tile.width, at_once=at_once)
    return Response(content, media_type="application/octet-stream", headers={"cache-control": TILE_CACHE})
