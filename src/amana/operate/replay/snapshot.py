"""Snapshots: the rows of a replay at positions of a log, so that the next one need not begin at the first event.

A zip file: `manifest.json` and each table in PostgreSQL's binary COPY format. The manifest has the size and root of
each stream, the SHA-256 of each table and what they were made with; its own SHA-256 is the snapshot's name. One is
refused whose tables are not those that it names, or that was made of another log than the one that is there now.
"""

import hashlib
import zipfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import IO, Any

import msgspec

from amana.audit.merkle import Tree
from amana.domain.projection.folds import VERSIONS_MAX
from amana.operate.replay.log import Stream
from amana.operate.replay.options import CannotReplay, Options
from amana.operate.replay.scratch import Scratch
from amana.operate.replay.tables import TABLES

FORMAT = 2
"""Grows with any change of rows or folds that makes older snapshots wrong."""
MANIFEST = "manifest.json"
CHUNK_BYTES = 1 << 18


class Place(msgspec.Struct, frozen=True):
    """How much of a stream is folded, and the root over it, in hexadecimal; and the full subtrees that it is of, with
    which it can grow where nobody has the events before it. Older snapshots have none."""

    size: int
    root: str
    peaks: tuple[str, ...] = ()


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a snapshot is of. `events` are the versions that were read, by type where not 1 (in older snapshots one for
    all); `columns` and `sha256` are by table."""

    format: int
    events: dict[str, int] | int
    shards: int
    streams: dict[str, Place]
    columns: dict[str, list[str]]
    sha256: dict[str, str]


async def write_snapshot(path: Path, scratch: Scratch, streams: list[Stream], shards: int) -> str:
    """Writes the rows in the scratch schema, whose state is all put down there. Its SHA-256, in hexadecimal.

    A file that is there already is replaced once the new one is whole. Raises `OSError`.
    """
    part = path.with_name(f"{path.name}.part")
    digests: dict[str, str] = {}
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, table in TABLES.items():
            with archive.open(f"{name}.copy", "w", force_zip64=True) as member:
                hashing = _Hashing(member.write)
                await scratch.connection.copy_from_table(
                    name, columns=table.columns, output=hashing.take, format="binary"
                )
            digests[name] = hashing.digest.hexdigest()
        manifest = Manifest(
            format=FORMAT,
            events=VERSIONS_MAX,
            shards=shards,
            streams={stream.name: _place(stream.tree) for stream in streams},
            columns={name: list(table.columns) for name, table in TABLES.items()},
            sha256=digests,
        )
        encoded = msgspec.json.encode(manifest, order="deterministic")
        archive.writestr(MANIFEST, encoded)
    part.replace(path)
    return hashlib.sha256(encoded).hexdigest()


def _place(tree: Tree) -> Place:
    return Place(tree.size, tree.root().hex(), tuple(peak.hex() for peak in tree.peaks))


class _Hashing:
    """Passes bytes on and hashes them."""

    def __init__(self, write: Callable[[bytes], Any]) -> None:
        self.digest = hashlib.sha256()
        self._write = write

    async def take(self, chunk: bytes) -> None:
        self.digest.update(chunk)
        self._write(chunk)


async def read_snapshot(path: Path, scratch: Scratch, streams: list[Stream], options: Options, shards: int) -> None:
    """Loads the wanted tables and sets the streams to where it was made. Raises `CannotReplay`."""
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = msgspec.json.decode(archive.read(MANIFEST), type=Manifest)
            _require_ours(manifest, shards)
            for stream in streams:
                await _go_to(stream, manifest.streams[stream.name])
            for name, table in TABLES.items():
                if table.group in options.groups:
                    with archive.open(f"{name}.copy") as member:
                        await _load(scratch, name, member, manifest.sha256[name])
    except (OSError, zipfile.BadZipFile, msgspec.MsgspecError, KeyError) as error:
        raise CannotReplay(f"the snapshot {path} can't be read: {error}") from error


def _require_ours(manifest: Manifest, shards: int) -> None:
    columns = {name: list(table.columns) for name, table in TABLES.items()}
    if (manifest.format, manifest.events, manifest.columns) != (FORMAT, VERSIONS_MAX, columns):
        raise CannotReplay("the snapshot was made by another version of Amana: replay from the first event")
    if manifest.shards != shards:
        raise CannotReplay(f"the snapshot was made with {manifest.shards} ledger shards, and there are {shards}")


async def _go_to(stream: Stream, place: Place) -> None:
    """Sets the stream to a size of the log that is there now, whose root must be that of the snapshot."""
    last = await stream.last()
    if last + 1 < place.size:
        raise CannotReplay(
            f"the snapshot was made of {place.size:,} events of {stream.name}, and the log has {last + 1:,}"
        )
    tree = await stream.source.tree_at(place.size) or await _without_beginning(stream, place)
    if tree is not None:
        stream.tree = tree
    else:
        await stream.expect_signed(last)
        async for _ in stream.pages(place.size - 1):
            pass
    if stream.tree.root().hex() != place.root:
        raise CannotReplay(
            f"the snapshot was made of another log: the root of {stream.name} at {place.size:,} is"
            f" {stream.tree.root().hex()}, and the snapshot's is {place.root}"
        )


async def _without_beginning(stream: Stream, place: Place) -> Tree | None:
    """The tree as the snapshot has it, where its source no longer has what it is of; None where it has. That source
    can't say whether the snapshot is of its log: the rows will tell. Raises `CannotReplay`."""
    oldest = await stream.source.oldest()
    if not oldest:
        return None
    begins = f"the {stream.source.place} of {stream.name} begins at position {oldest:,}"
    instead = "replay the audit log (--log audit, --from-audit, or --from-export with an export that reaches as far)"
    if place.size < oldest:
        raise CannotReplay(
            f"the snapshot was made of {place.size:,} events of {stream.name}, and {begins}: those from"
            f" {place.size:,} to before {oldest:,} are in the audit log alone. {instead.capitalize()}, or begin with a"
            f" snapshot made at {oldest:,} or later"
        )
    if not place.peaks:
        raise CannotReplay(
            f"{begins}, and the snapshot is of a version that did not write what goes on there: {instead}"
        )
    try:
        tree = (
            Tree(place.size, map(bytes.fromhex, place.peaks)) if place.size.bit_count() == len(place.peaks) else Tree()
        )
    except ValueError:
        tree = Tree()
    if tree.root().hex() != place.root:
        raise CannotReplay(f"the snapshot's subtrees of {stream.name} do not come to its root: it was altered")
    return tree


async def _load(scratch: Scratch, name: str, member: IO[bytes], expected: str) -> None:
    digest = hashlib.sha256()

    async def chunks() -> AsyncIterator[bytes]:
        while chunk := member.read(CHUNK_BYTES):
            digest.update(chunk)
            yield chunk
        if digest.hexdigest() != expected:
            raise CannotReplay(f"the snapshot's table {name} is not the one that it names: it was altered")

    await scratch.connection.copy_to_table(name, source=chunks(), format="binary")
    if TABLES[name].kept:
        scratch.spilled.add(name)
