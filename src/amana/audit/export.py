"""Writes the whole log, as far as it is sealed, to a folder that can be verified without this system or its database.

The layout is in `export_log`. Files of full tiles never change: a run that broke off goes on where it stopped, and a
later run adds what was sealed since. Each file is whole or absent (written beside its place, then renamed). Entries are
the stored bytes, level 0 the hashes recorded with each checkpoint, higher levels the stored nodes: an export of a log
that was tampered with says so when it is verified.
"""

import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from amana.audit.checkpoint import SignedStep
from amana.audit.custody import Custody
from amana.audit.export_log import CHECKPOINT, CHECKPOINTS, DROPPED, KEYS, ROTATIONS
from amana.audit.findings import CannotVerify
from amana.audit.keys import StreamKeys
from amana.audit.leaf import LOGS
from amana.audit.merkle import HASH_BYTES, STORED_LEVEL_STEP
from amana.audit.notes import claimed_size, read_notes
from amana.audit.store import Store
from amana.audit.tile_store import halves
from amana.audit.tiles import TILE_WIDTH, Tile, levels_of, tiles_of, to_bundle
from amana.audit.vouching import COSIGNED
from amana.infra.postgres import open_pool
from amana.infra.settings import Settings

PAGE_CHECKPOINTS = 50
CONNECTIONS = 2

Progress = Callable[[str, int, int], None]
"""Told (stream, leaves exported, leaves in all)."""


class NotAnExport(CannotVerify):
    """The folder holds something else."""


class LeafMissing(Exception):
    """A leaf that a checkpoint covers is not stored: the log was tampered with. What is before it was exported."""


@dataclass(slots=True)
class Exported:
    """What an export holds now: leaves by stream, files and bytes in all; `written` files are new."""

    leaves: dict[str, int]
    files: int = 0
    bytes: int = 0
    written: int = 0

    def told(self) -> str:
        """In words."""
        lines = [f"{stream}: {leaves:,} leaves" for stream, leaves in self.leaves.items()]
        lines.append(f"{self.files:,} files, {self.bytes:,} bytes; {self.written:,} files are new")
        return "\n".join(lines)


async def run_export(settings: Settings, folder: Path, progress: Progress | None = None) -> Exported:
    """Exports every stream. Raises `NotAnExport`, `LeafMissing`, `CustodyError`, `OSError` and
    `DatabaseUnavailable`."""
    custody = Custody.of(settings)
    keys = {stream: custody.keys(stream) for stream in LOGS}
    pool = await open_pool(settings.audit_database_url, "audit", CONNECTIONS)
    try:
        exported = Exported({})
        _begin(folder, keys, custody.rotations())
        for stream in LOGS:
            cosigned = custody.cosigned(stream)  # before the newest checkpoint is read, so that none is beyond it
            await _Stream(Store(pool), stream, folder / stream, exported, progress).run()
            put(folder / stream / COSIGNED, "".join(f"{note}\n" for note in cosigned).encode())
    finally:
        await pool.close()
    _measure(folder, exported)
    return exported


class _Stream:
    """The export of one stream."""

    def __init__(self, store: Store, stream: str, folder: Path, exported: Exported, progress: Progress | None) -> None:
        self._store = store
        self._stream = stream
        self._folder = folder
        self._exported = exported
        self._progress = progress

    async def run(self) -> None:
        """Bundles and tiles up to the newest checkpoint first, then the checkpoints that vouch for them."""
        self._folder.mkdir(exist_ok=True)
        async with self._store.rows() as rows:
            newest = await rows.newest_checkpoint(self._stream)
        size = newest.size if newest else 0
        done = self._size_before()
        if done > size:
            raise LeafMissing(f"{self._stream}: {done} leaves were exported, the log has only {size}")
        await self._write_bundles(size, done)
        await self._write_hashes_and_notes(size, done)
        for level in levels_of(size)[1:]:
            await self._write_nodes(level, size, done >> level * STORED_LEVEL_STEP)
        await self._write_dropped()
        self._put(self._folder / CHECKPOINT, newest.note.encode() if newest else b"")
        self._exported.leaves[self._stream] = size

    def _size_before(self) -> int:
        """How far an earlier export is whole: checkpoints are the last that is written."""
        notes = self._folder / CHECKPOINTS
        return max(map(claimed_size, read_notes(notes)), default=0) if notes.exists() else 0

    async def _write_bundles(self, size: int, done: int) -> None:
        for tile in self._to_do(None, size, done):
            async with self._store.rows() as rows:
                bodies = await rows.bodies_in(self._stream, tile.first, tile.stop)
                if len(bodies) != tile.width and tile.first < await rows.dropped_below(self._stream):
                    continue
                if len(bodies) != tile.width:
                    position = await rows.first_missing(self._stream, tile.first)
                    raise LeafMissing(f"{self._stream}: leaf {position} is sealed and not there")
            self._put_tile(tile, to_bundle(bodies))
            if self._progress:
                self._progress(self._stream, tile.stop, size)

    async def _write_dropped(self) -> None:
        """Where the event is that says what retention dropped, if any was."""
        async with self._store.rows() as rows:
            announced = await rows.dropped(self._stream)
        if announced:
            self._put(self._folder / DROPPED, f"{announced.position}\n".encode())

    async def _write_hashes_and_notes(self, size: int, done: int) -> None:
        """Tiles of level 0 from the hashes recorded with each checkpoint, then the file of all checkpoints."""
        coming = self._folder / f".{CHECKPOINTS}"
        with coming.open("w", encoding="utf-8", newline="\n") as notes:
            if done:
                notes.writelines(f"{note}\n" for note in read_notes(self._folder / CHECKPOINTS))
            hashes, first = b"", done // TILE_WIDTH * TILE_WIDTH
            async for step in self._steps(first, size):
                skipped = max(0, first + len(hashes) // HASH_BYTES - (step.size - len(step.leaf_hashes) // HASH_BYTES))
                hashes += step.leaf_hashes[skipped * HASH_BYTES :]
                while len(hashes) >= TILE_WIDTH * HASH_BYTES:
                    self._put_tile(Tile(0, first // TILE_WIDTH), hashes[: TILE_WIDTH * HASH_BYTES])
                    hashes, first = hashes[TILE_WIDTH * HASH_BYTES :], first + TILE_WIDTH
                if step.size > done:
                    notes.write(f"{step.note}\n")
            if hashes:
                self._put_tile(Tile(0, first // TILE_WIDTH, len(hashes) // HASH_BYTES), hashes)
            notes.flush()
            os.fsync(notes.fileno())
        coming.replace(self._folder / CHECKPOINTS)

    async def _steps(self, first: int, size: int) -> AsyncIterator[SignedStep]:
        """The checkpoints from the one that added leaf `first` to the one of `size` leaves."""
        while first < size:
            async with self._store.rows() as rows:
                page = await rows.checkpoints_after(self._stream, first, PAGE_CHECKPOINTS)
            for step in page:
                if step.size <= size:
                    yield step
            if not page:
                return
            first = page[-1].size

    async def _write_nodes(self, level: int, size: int, done: int) -> None:
        """Tiles of a higher level from the stored nodes, as many as are there."""
        for tile in self._to_do(level, size, done):
            async with self._store.rows() as rows:
                ranges = [(level * STORED_LEVEL_STEP, half) for half in halves(tile)]
                nodes = await rows.nodes_in(self._stream, ranges)
            self._put_tile(tile, b"".join(nodes[node] for node in sorted(nodes)))

    def _to_do(self, level: int | None, size: int, done: int) -> Iterator[Tile]:
        return (tile for tile in tiles_of(level, size, done) if not (self._folder / tile.path).exists())

    def _put_tile(self, tile: Tile, content: bytes) -> None:
        """Writes a tile; narrower ones of its place are no longer needed then."""
        file = self._folder / tile.path
        self._put(file, content)
        partial = file.parent if tile.width < TILE_WIDTH else file.with_name(f"{file.name}.p")
        for narrower in partial.iterdir() if partial.is_dir() else ():
            if narrower != file:
                narrower.unlink()
        if partial != file.parent and partial.is_dir():
            partial.rmdir()

    def _put(self, file: Path, content: bytes) -> None:
        put(file, content)
        self._exported.written += 1


def put(file: Path, content: bytes) -> None:
    """Writes a file whole, or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    coming = file.with_name(f".{file.name}.new")
    coming.write_bytes(content)
    coming.replace(file)


def _begin(folder: Path, keys: Mapping[str, StreamKeys], rotations: Iterable[str]) -> None:
    """Writes the keys. An export is added to, never mixed: a folder with something else in it is left alone."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [str(key) for each in keys.values() for key in each.keys]
    file = folder / KEYS
    if file.exists():
        if not set(file.read_text(encoding="utf-8", errors="replace").splitlines()) <= set(lines):
            raise NotAnExport(f"{folder} holds an export of another log")
    elif any(folder.iterdir()):
        raise NotAnExport(f"{folder} is not empty and holds no export of a log")
    put(file, "".join(f"{line}\n" for line in lines).encode())
    put(folder / ROTATIONS, "".join(f"{note}\n" for note in rotations).encode())


def _measure(folder: Path, exported: Exported) -> None:
    """Counts files and bytes."""
    for file in folder.rglob("*"):
        if file.is_file():
            exported.files += 1
            exported.bytes += file.stat().st_size
