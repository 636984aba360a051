"""A stream of the log as an export holds it, for the verifier. Imports no driver.

    DIRECTORY/keys                    the verifier keys, one a line: for people, never trusted
    DIRECTORY/rotations               how each key was replaced by the next, signed by both
    DIRECTORY/<stream>/checkpoint     the newest checkpoint
    DIRECTORY/<stream>/checkpoints    every checkpoint, smallest first
    DIRECTORY/<stream>/cosigned       the newest checkpoint that each witness cosigned
    DIRECTORY/<stream>/dropped        where in `accesses` the event is that says what retention dropped, if it did
    DIRECTORY/<stream>/tile/...       tiles and entry bundles (C2SP tlog-tiles)

The tiles of level 0 are the leaf hashes as they were recorded when they were signed.
"""

import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from amana.audit.ahead import Ahead, Workers
from amana.audit.check import scan_bodies
from amana.audit.checkpoint import NoteError, SignedStep, parse_checkpoint
from amana.audit.dropped import Dropped, read_dropped
from amana.audit.findings import Bad, Fault, Kind, Scan
from amana.audit.merkle import HASH_BYTES, STORED_LEVEL_STEP, Node, leaf_hash
from amana.audit.notes import claimed_size, read_notes
from amana.audit.tiles import TILE_WIDTH, Tile, split_bundle

KEYS, ROTATIONS, CHECKPOINT, CHECKPOINTS, DROPPED = "keys", "rotations", "checkpoint", "checkpoints", "dropped"
TILE_BYTES_MAX = TILE_WIDTH * (2 + 0xFFFF)
"""The largest that any file of a tile or bundle can be; a larger one is none."""
TILES_HELD = 64
DROPPED_BYTES_MAX = 17
ABSENT_MAX = 10_000
"""Bundles that are looked for in vain; behind so many there is none."""
_WIDTH = re.compile(r"[1-9][0-9]{0,2}")


class ExportLog:
    """See `check.Source`."""

    def __init__(self, folder: Path, stream: str, workers: Workers, floor: int = 0) -> None:
        """Before `floor` a bundle may be absent: retention dropped it."""
        self._folder = folder
        self._stream = stream
        self._floor = floor
        self._workers = workers
        self._claimed = _claimed(folder)
        self._ahead = Ahead(self._run, workers.count, self._claimed)
        self._tile = lru_cache(TILES_HELD)(self._read_tile)

    async def highest(self) -> int:
        """The last leaf that the newest checkpoint is said to cover."""
        return self._claimed - 1

    async def steps(self) -> AsyncIterator[SignedStep]:
        """The checkpoints, each with the hashes that the tiles have of the leaves that it added."""
        size = 0
        for note in _notes(self._folder):
            try:
                signed = parse_checkpoint(note.rpartition("\n\n")[0] + "\n")
            except NoteError as error:
                raise Bad(Fault(self._stream, size, Kind.CHECKPOINT, f"no checkpoint: {error}")) from error
            hashes = self._hashes(0, size, signed.size) if signed.size > size else b""
            yield SignedStep(signed.size, signed.root, note, hashes)
            size = signed.size

    async def scan(self, start: int, stop: int) -> Scan:
        """Leaves, up to the first gap."""
        return await self._ahead.take(start, stop)

    async def nodes(self, nodes: Sequence[Node]) -> Mapping[Node, bytes]:
        """What the tiles have of these full subtrees."""
        found = {}
        for node in nodes:
            content = self._tile(Tile(node.level // STORED_LEVEL_STEP, node.number // TILE_WIDTH))
            at = node.number % TILE_WIDTH * HASH_BYTES
            found[node] = content[at : at + HASH_BYTES]
        return found

    async def where_is(self, leaf_hash: bytes) -> int | None:
        """Where the leaf with this hash is. Reads every bundle."""
        for number in _numbers(self._folder, 0, self._claimed):
            if (at := _index(entries_of(self._folder, number)[0], leaf_hash)) is not None:
                return number * TILE_WIDTH + at
        return None

    async def close(self) -> None:
        """Gives up what is read ahead."""
        await self._ahead.close()

    async def _run(self, start: int, stop: int) -> Scan:
        arguments = (self._folder, self._stream, start, stop, self._claimed, self._floor)
        if self._workers.count:
            return await self._workers.run(scan_export, *arguments)
        return scan_export(*arguments)

    def _hashes(self, level: int, start: int, stop: int) -> bytes:
        """The hashes of a level from `start` to before `stop`, which the tiles must have."""
        parts = []
        while start < stop:
            tile = Tile(level, start // TILE_WIDTH)
            until = min(stop, tile.stop)
            part = self._tile(tile)[(start - tile.first) * HASH_BYTES : (until - tile.first) * HASH_BYTES]
            if len(part) != (until - start) * HASH_BYTES:
                detail = f"{tile.path} is missing or lacks hashes"
                raise Bad(Fault(self._stream, start + len(part) // HASH_BYTES, Kind.NODE, detail))
            parts.append(part)
            start = until
        return b"".join(parts)

    def _read_tile(self, tile: Tile) -> bytes:
        return _read(self._folder, tile) or b""


def leaves_at_hand(folder: Path) -> int:
    """How many leaves the newest checkpoint is said to cover; 0 where the last of them is not there."""
    claimed = _claimed(folder)
    return claimed if claimed and _place(folder, Tile(None, (claimed - 1) // TILE_WIDTH)) else 0


def _claimed(folder: Path) -> int:
    return max(map(claimed_size, _notes(folder)), default=0)


def scan_export(folder: Path, stream: str, start: int, stop: int, claimed: int, floor: int = 0) -> Scan:
    """Reads leaves from `start`, the first of a bundle, to before `stop`, up to the first gap, and looks at each."""
    scan = Scan([])
    for first in range(start, stop, TILE_WIDTH):
        if first < floor and _place(folder, Tile(None, first // TILE_WIDTH)) is None:
            scan.add(_scan_dropped(folder, stream, first))
            if scan.gap:
                break
            continue
        entries, rest = entries_of(folder, first // TILE_WIDTH)
        scan.add(scan_bodies(stream, first, entries[:TILE_WIDTH]))
        if len(entries) > TILE_WIDTH:
            scan.odd = scan.odd or Fault(stream, first + TILE_WIDTH, Kind.MALFORMED, "a bundle has too many entries")
        if len(entries) < TILE_WIDTH:
            scan.gap = _gap(folder, stream, first + len(entries), claimed, rest)
            break
    return scan


def _scan_dropped(folder: Path, stream: str, first: int) -> Scan:
    """The hashes of a bundle that was dropped, from its tile."""
    content = _read(folder, Tile(0, first // TILE_WIDTH)) or b""
    hashes = [content[at : at + HASH_BYTES] for at in range(0, TILE_WIDTH * HASH_BYTES, HASH_BYTES)]
    whole = [hash_ for hash_ in hashes if len(hash_) == HASH_BYTES]
    if len(whole) == TILE_WIDTH:
        return Scan(whole)
    detail = "neither the leaf nor its hash is there"
    return Scan(whole, gap=Fault(stream, first + len(whole), Kind.MISSING, detail))


def dropped_in(folder: Path, stream: str, announcing: str) -> Dropped | None:
    """What retention dropped of a stream of the export in `folder`, by the event that its file names; of the stream
    `announcing`, whose leaves are verified like all others. None where no event says that anything was."""
    file = folder / stream / DROPPED
    if not file.is_file():
        return None
    said = file.read_bytes()[:DROPPED_BYTES_MAX].strip()
    if not said.isdigit():
        return None
    number, at = divmod(int(said), TILE_WIDTH)
    entries, _ = entries_of(folder / announcing, number)
    return read_dropped(entries[at], stream) if at < len(entries) else None


def entries_of(folder: Path, number: int) -> tuple[list[bytes], bytes]:
    """The whole entries of a bundle, none where there is no file of it, and what is behind them that is none."""
    return split_bundle(_read(folder, Tile(None, number)) or b"")


def _gap(folder: Path, stream: str, position: int, claimed: int, rest: bytes) -> Fault:
    """Malformed where something else stands there, missing where there are leaves behind it, else the log ends."""
    if rest:
        return Fault(stream, position, Kind.MALFORMED, "its bundle ends in the middle of an entry")
    if any(_numbers(folder, position // TILE_WIDTH + 1, claimed)):
        return Fault(stream, position, Kind.MISSING, "the leaf is gone")
    return Fault(stream, position, Kind.TRUNCATED, "the log ends here")


def _numbers(folder: Path, first: int, claimed: int) -> Iterator[int]:
    """The bundles that there are from `first` on. A size that is merely claimed makes nobody look for ever."""
    absent = 0
    for number in range(first, -(-claimed // TILE_WIDTH)):
        if _place(folder, Tile(None, number)) is not None:
            yield number
        else:
            absent += 1
            if absent >= ABSENT_MAX:
                return


def _read(folder: Path, tile: Tile) -> bytes | None:
    """The bytes of a tile: whole, or else as wide as there is."""
    file = _place(folder, tile)
    if file is None:
        return None
    with file.open("rb") as stream:
        return stream.read(TILE_BYTES_MAX + 1)


def _place(folder: Path, tile: Tile) -> Path | None:
    whole = folder / tile.path
    if whole.is_file():
        return whole
    partial = whole.with_name(f"{whole.name}.p")
    widths = [int(file.name) for file in partial.iterdir() if _WIDTH.fullmatch(file.name)] if partial.is_dir() else []
    return partial / str(max(widths)) if widths else None


def _notes(folder: Path) -> Iterator[str]:
    file = folder / CHECKPOINTS
    return read_notes(file) if file.is_file() else iter(())


def _index(bodies: Sequence[bytes], hash_: bytes) -> int | None:
    return next((at for at, body in enumerate(bodies) if leaf_hash(body) == hash_), None)
