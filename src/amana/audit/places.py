"""Where checkpoints are kept so that a database administrator can't rewrite them: a file, and a write-once folder.

The file holds every note of a stream; each is durable there before it is stored or served, so no checkpoint was ever
shown that it does not have. The archive holds one a minute, in files of their own that are never written again: a mount
that refuses changes (an object store with a lock, a WORM volume) is enough for it.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from amana.audit.notes import notes_in, read_notes

TAIL_BYTES = 128 * 1024
"""More than the longest note, so that the newest one is found without reading the file."""
ARCHIVE_FOLDER_LEAVES = 10_000
"""Checkpoints of so many sizes share a folder of the archive, so that none gets crowded."""
_WHOLE_END = re.compile("^— [^\n]+\n\n".encode(), re.MULTILINE)


class CustodyError(Exception):
    """The key or a place can't be used, or holds what it should not; the message names the file."""


class CheckpointFile:
    """The notes of one stream, oldest first. Grows only."""

    def __init__(self, folder: Path, stream: str) -> None:
        self.path = folder / f"{stream}.log"
        self._end_is_whole = False
        self._seen: tuple[int, int] | None = None
        self._newest: str | None = None

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
        """The last whole note, or None. Raises `CustodyError`."""
        try:
            state = self.path.stat()
            if self._seen != (state.st_mtime_ns, state.st_size):
                with self.path.open("rb") as stream:
                    stream.seek(max(0, state.st_size - TAIL_BYTES))
                    blocks = list(notes_in(stream.read().decode(errors="replace").split("\n")[:-1]))
                self._newest = blocks[-1] if blocks else None
                self._seen = state.st_mtime_ns, state.st_size
        except FileNotFoundError:
            self._seen, self._newest = None, None
        except OSError as error:
            raise CustodyError(f"{self.path} can't be read: {error}") from error
        return self._newest

    def notes(self) -> Iterator[str]:
        """Every whole note, oldest first; a torn last one, never served, is left out."""
        return read_notes(self.path) if self.path.exists() else iter(())


class CosignedNotes:
    """The newest note of one stream that each witness cosigned, a file for each, named by the id of its key."""

    def __init__(self, folder: Path, stream: str) -> None:
        self.folder = folder / "cosigned" / stream

    def keep(self, key_id: bytes, note: str) -> None:
        """Replaces the note of a witness, durably. Raises `CustodyError`."""
        file = self.folder / key_id.hex()
        coming = file.with_suffix(".new")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with coming.open("wb") as stream:
                stream.write(note.encode())
                stream.flush()
                os.fsync(stream.fileno())
            coming.replace(file)
            sync_folder(self.folder)
        except OSError as error:
            raise CustodyError(f"{file} can't be written: {error}") from error

    def of(self, key_id: bytes) -> str | None:
        """The note of one witness. Raises `CustodyError`."""
        file = self.folder / key_id.hex()
        try:
            return next(iter(_whole(file)), None) if file.exists() else None
        except OSError as error:
            raise CustodyError(f"{file} can't be read: {error}") from error

    def notes(self) -> list[str]:
        """The notes of all witnesses. Raises `CustodyError`."""
        try:
            files = sorted(self.folder.iterdir()) if self.folder.is_dir() else []
            return [note for file in files if not file.suffix for note in _whole(file)]
        except OSError as error:
            raise CustodyError(f"{self.folder} can't be read: {error}") from error


class CheckpointArchive:
    """Some notes of one stream, each in a file named by its size. Nothing is ever changed or removed."""

    def __init__(self, folder: Path, stream: str) -> None:
        self.folder = folder / stream
        self._seen: tuple[Path, int, int] | None = None
        self._newest: str | None = None

    def add(self, size: int, note: str) -> None:
        """Writes a note, durably, unless it is there. Raises `OSError`, and `CustodyError` where another one is.

        A crash in the middle leaves a beginning, which stays (the folder may forbid to mend it) and is left out.
        """
        file = self.folder / f"{size // ARCHIVE_FOLDER_LEAVES:015d}" / f"{size:019d}"
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444)
        except FileExistsError as error:
            if not note.encode().startswith(file.read_bytes()):
                raise CustodyError(f"{file} holds another checkpoint of {size} leaves") from error
            return
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(note.encode())
            stream.flush()
            os.fsync(descriptor)
        sync_folder(file.parent)

    def newest(self) -> str | None:
        """The note of the largest size, or None. Raises `OSError`. Looks into folders again when they have changed."""
        if self._seen is None or self._seen != self._state(self._seen[0]):
            self._newest, self._seen = None, None
            for folder in reversed(_entries(self.folder)):
                state = self._state(folder)
                self._newest = next((note for file in reversed(_entries(folder)) for note in _whole(file)), None)
                if self._newest:
                    self._seen = state
                    break
        return self._newest

    def _state(self, newest: Path) -> tuple[Path, int, int]:
        """Changes when a folder is added, or a file to the newest of them."""
        return newest, self.folder.stat().st_mtime_ns, newest.stat().st_mtime_ns

    def notes(self) -> Iterator[str]:
        """Every note, smallest first. Raises `OSError`."""
        for folder in _entries(self.folder):
            for file in _entries(folder):
                yield from _whole(file)


def _entries(folder: Path) -> list[Path]:
    """What is named by a number in a folder, in order; nothing where there is no folder."""
    try:
        return sorted(entry for entry in folder.iterdir() if entry.name.isdecimal())
    except FileNotFoundError:
        return []


def _whole(file: Path) -> list[str]:
    return list(notes_in(file.read_text(encoding="utf-8", errors="replace").split("\n")))


def sync_folder(folder: Path) -> None:
    """Makes durable what was added to a folder, or renamed in it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
