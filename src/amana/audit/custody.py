"""What audit keeps on disk, where a database administrator can't rewrite it: the signing key and every checkpoint.

Beside the key file lies the folder `checkpoints` with one file per stream. Each note is appended, made durable and only
then stored and served, so no checkpoint was ever shown that this file does not have. A note is a block that an empty
line ends (a note itself has one inside, between text and signatures).
"""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

TAIL_BYTES = 128 * 1024
"""More than the longest note, so that the newest one is found without reading the file."""
_WHOLE_END = re.compile("^— [^\n]+\n\n".encode(), re.MULTILINE)


class CustodyError(Exception):
    """The key or a checkpoint file can't be used; the message names the file."""


def load_key(file: Path) -> Ed25519PrivateKey:
    """The signing key. Raises `CustodyError` when the file is absent or holds no Ed25519 key."""
    try:
        key = load_pem_private_key(file.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise CustodyError(f"no signing key in {file}: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise CustodyError(f"{file} holds a key that is not Ed25519")
    return key


def checkpoint_folder(key_file: Path) -> Path:
    """Where the checkpoints signed with `key_file` are kept."""
    return key_file.parent / "checkpoints"


class CheckpointFile:
    """The notes of one stream, oldest first. Grows only."""

    def __init__(self, folder: Path, stream: str) -> None:
        self.path = folder / f"{stream}.log"
        self._end_is_whole = False

    def append(self, note: str) -> None:
        """Adds a note and returns once it is durable. Raises `CustodyError`; the note then counts as never written."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            try:
                self._append(descriptor, f"{note}\n".encode())
            finally:
                os.close(descriptor)
        except OSError as error:
            raise CustodyError(f"{self.path} can't be written: {error}") from error

    def _append(self, descriptor: int, block: bytes) -> None:
        if not self._end_is_whole:
            _drop_torn_end(descriptor)
        self._end_is_whole = False
        if os.write(descriptor, block) != len(block):
            raise OSError("a checkpoint was written in part")
        os.fsync(descriptor)
        self._end_is_whole = True

    def newest(self) -> str | None:
        """The last whole note, or None."""
        if not self.path.exists():
            return None
        with self.path.open("rb") as stream:
            stream.seek(max(0, self.path.stat().st_size - TAIL_BYTES))
            blocks = list(_blocks(stream.read().decode(errors="replace").split("\n")[:-1]))
        return blocks[-1] if blocks else None

    def notes(self) -> Iterator[str]:
        """Every whole note, oldest first; a torn last one, never served, is left out."""
        return read_notes(self.path) if self.path.exists() else iter(())


def read_notes(file: Path) -> Iterator[str]:
    """The whole notes in a file of blocks that empty lines end. Raises `OSError` when it can't be read."""
    with file.open(encoding="utf-8", errors="replace", newline="\n") as stream:
        yield from _blocks(line.removesuffix("\n") for line in stream)


def _blocks(lines: Iterable[str]) -> Iterator[str]:
    """Notes from lines: text, an empty line, signatures, an empty line."""
    block: list[str] = []
    signed = False
    for line in lines:
        if line:
            block.append(line)
            signed = line.startswith("— ")
        elif signed:
            yield "\n".join(block) + "\n"
            block, signed = [], False
        elif block:
            block.append("")


def _drop_torn_end(descriptor: int) -> None:
    """Cuts off what a crash in the middle of `append` left: it was never shown to anybody."""
    size = os.fstat(descriptor).st_size
    start = max(0, size - TAIL_BYTES)
    whole = 0
    for block in _WHOLE_END.finditer(os.pread(descriptor, size - start, start)):
        whole = block.end()
    if whole == 0 and start > 0:
        raise OSError("a checkpoint file ends in something else than checkpoints")
    if start + whole != size:
        os.ftruncate(descriptor, start + whole)
