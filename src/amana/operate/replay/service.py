"""Events from the audit service over HTTP: its log as tiles, so neither its database nor the sources' are needed.

What is read up to is the newest checkpoint, whose signature is opened with the keys that are given; every event is
hashed, and the tree has to come to the checkpoint's root, and on its way to those of checkpoints that somebody kept.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import msgspec

from amana.audit.checkpoint import Checkpoint, NoteError
from amana.audit.findings import CannotVerify
from amana.audit.keys import StreamKeys, stream_keys
from amana.audit.notes import notes_of
from amana.audit.offline import read_kept, read_keys
from amana.audit.tiles import TILE_WIDTH, Tile, TileError, from_bundle
from amana.gateway.caller import TENANT_HEADER
from amana.infra.http import HttpClient, Reply, UpstreamUnavailable
from amana.operate.replay.options import CannotReplay
from amana.operate.replay.sources import Event, Signed, filed
from amana.wire.audit import AuditKeys

TIMEOUT_MS = 30_000
BUNDLES_MAX = 16
"""Asked for at a time: 4,096 events."""
TRIES_MAX = 5
PAUSE_S = 0.2
"""Before the second try; then twice as long each time."""
ANY_TENANT = "0"


class AuditService:
    """The service, and the keys with which it is asked: entries are every lender's, so the platform's own gets them."""

    def __init__(self, http: HttpClient, url: str, api_key: str, internal_key: str) -> None:
        self._http = http
        self._url = f"{url.rstrip('/')}/v1/audit/"
        self._headers = {"Authorization": f"Bearer {api_key}"}
        self._internal = {"Authorization": f"Bearer {internal_key}", TENANT_HEADER: ANY_TENANT}

    async def get(self, path: str, *, internal: bool = False) -> bytes | None:
        """What is at a path, None for nothing. Raises `CannotReplay` and, after some tries, `UpstreamUnavailable`."""
        url, headers = f"{self._url}{path}", self._internal if internal else self._headers
        for tried in range(1, TRIES_MAX + 1):
            try:
                reply = await self._http.request("GET", url, headers=headers, timeout_ms=TIMEOUT_MS)
                if reply.status < 500 and reply.status != 429:
                    return _content(url, reply, "AMANA_INTERNAL_KEY" if internal else "AMANA_API_KEY")
                away = UpstreamUnavailable(f"GET {url}: status {reply.status}", outcome_known=True)
            except UpstreamUnavailable as error:
                away = error
            if tried == TRIES_MAX:
                raise away
            await asyncio.sleep(PAUSE_S * 2 ** (tried - 1))
        raise AssertionError("unreachable: the last try returns or raises")


def _content(url: str, reply: Reply, key: str) -> bytes | None:
    if reply.status in (401, 403):
        raise CannotReplay(f"--from-audit: {url} answers {reply.status}: {key} is no key that may read it")
    if reply.status == 410:
        raise CannotReplay(f"--from-audit: what is at {url} was dropped by retention: begin with a snapshot of later")
    if reply.status not in (200, 404):
        raise CannotReplay(f"--from-audit: {url} answers {reply.status}: is it the audit service?")
    return reply.body if reply.status == 200 else None


class Served:
    """One stream of the service's log. `kept` are checkpoints from elsewhere, in order of size."""

    place = "audit service's log"
    advice = "let audit catch up"

    def __init__(self, service: AuditService, stream: str, keys: StreamKeys, kept: Sequence[Signed]) -> None:
        self.stream = stream
        self._service = service
        self._keys = keys
        self._kept = kept
        self._newest = Signed(0, b"")

    async def last(self) -> int:
        """The last that is sealed, by the newest checkpoint."""
        note = await self._service.get(f"log/{self.stream}/checkpoint")
        if note is not None:
            found = opened(self._keys, note.decode(errors="replace"))
            if found.size < self._newest.size:
                raise CannotReplay(f"the log of {self.stream} had {self._newest.size:,} leaves, and now {found.size:,}")
            self._newest = Signed(found.size, found.root)
        if self._kept and self._kept[-1].size > self._newest.size:
            cut = f"a checkpoint of {self._kept[-1].size:,} leaves was kept, and there are {self._newest.size:,}"
            raise CannotReplay(f"the log of {self.stream} was cut off: {cut}")
        return self._newest.size - 1

    async def page(self, start: int, limit: int) -> list[Event]:
        """See `Source`."""
        first, stop = start // TILE_WIDTH, min(start + limit, self._newest.size)
        numbers = range(first, min(first + BUNDLES_MAX, -(-stop // TILE_WIDTH)))
        bundles = await asyncio.gather(*map(self._bundle, numbers))
        bodies = [body for bundle in bundles for body in bundle][start - first * TILE_WIDTH : stop - first * TILE_WIDTH]
        return [filed(self.stream, position, body) for position, body in enumerate(bodies, start)]

    async def signed(self, size: int) -> list[Signed]:
        """The checkpoints that were kept, and the newest, whatever is read."""
        return [each for each in (*self._kept, self._newest) if each.size > 0]

    async def tree_at(self, size: int) -> None:
        """Unknown until it is read."""
        return

    async def oldest(self) -> int:
        """See `Source`: it is read from the first one."""
        return 0

    async def _bundle(self, number: int) -> list[bytes]:
        tile = Tile(None, number, min(TILE_WIDTH, self._newest.size - number * TILE_WIDTH))
        content = await self._service.get(f"log/{self.stream}/{tile.path}", internal=True)
        try:
            entries = from_bundle(content or b"")
        except TileError as error:
            raise CannotReplay(f"{self.stream}, {tile.path}: {error}") from error
        if len(entries) != tile.width:
            detail = f"{tile.path} has {len(entries)} of {tile.width} entries"
            raise CannotReplay(f"the audit service's log of {self.stream} is not whole: {detail}")
        return entries


async def served(
    service: AuditService, streams: Sequence[str], keys: Sequence[str], checkpoints: Sequence[Path]
) -> list[Served]:
    """The streams of the log whose keys are given. Raises `CannotReplay` and `UpstreamUnavailable`."""
    try:
        origin, trusted = read_keys(keys)
        kept = read_kept(origin, checkpoints)
    except (CannotVerify, OSError) as error:
        raise CannotReplay(f"--from-audit: {error}") from error
    told = await service.get("key")
    if told is None:
        raise CannotReplay("--from-audit: nothing there knows the keys of a log: is it the audit service?")
    try:
        rotations = msgspec.json.decode(told, type=AuditKeys).rotations
        found = [stream_keys(origin, stream, trusted, rotations) for stream in streams]
    except (msgspec.MsgspecError, NoteError) as error:
        raise CannotReplay(f"--from-audit: the keys of the service: {error}") from error
    return [Served(service, each.name.rpartition("/")[2], each, _kept(each, kept)) for each in found]


def _kept(keys: StreamKeys, notes: Sequence[str]) -> list[Signed]:
    found = [opened(keys, note) for note in notes_of(notes, keys.name)]
    return [Signed(each.size, each.root) for each in found]


def opened(keys: StreamKeys, note: str) -> Checkpoint:
    """The checkpoint in a note. Raises `CannotReplay` for one that none of the keys signed."""
    try:
        return keys.open(note)
    except NoteError as error:
        raise CannotReplay(f"a checkpoint of {keys.name}: {error}") from error
