"""What audit keeps outside its database: the signing key, the keys before it, and every checkpoint.

    <folder of AMANA_AUDIT_KEY_FILE>/
      signing.key              whatever the setting names: the private key in use, PEM
      rotations.log            how each key was replaced by the next, signed by both
      checkpoints/<stream>.log every checkpoint
      checkpoints/cosigned/    the newest checkpoint of each stream that each witness cosigned

Nothing is signed that is not larger than the newest checkpoint in the file; that it extends what every place has is for
the sealer to see, who asks for `newest` before each signature. The archive and the broker's topic may be away for a
while: that shows in the metrics and in `GET /v1/audit/streams`, and sealing goes on.
"""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from amana.audit import meters
from amana.audit.checkpoint import Checkpoint, NoteError, Signer
from amana.audit.key_file import checkpoint_folder, load_key, locked, rotations_file
from amana.audit.keys import StreamKeys, stream_keys
from amana.audit.notes import claimed_size, read_notes
from amana.audit.places import CheckpointArchive, CheckpointFile, CosignedNotes, CustodyError
from amana.infra.settings import Settings
from amana.infra.telemetry import logger

TOPIC = "the broker's topic"
ARCHIVE_EVERY_S = 60.0

log = logger("amana.audit.custody")


class Kept(NamedTuple):
    """The newest checkpoint of a place, and its note."""

    place: str
    checkpoint: Checkpoint
    note: str


class _Held(NamedTuple):
    """A signing key, the state of its file, and the keys of the streams that go with it."""

    version: tuple[int, ...]
    private: Ed25519PrivateKey
    keys: dict[str, StreamKeys]


class Custody:
    """Signs and keeps the checkpoints of all streams. Its calls block: run them in a thread."""

    def __init__(
        self, key_file: Path, origin: str, archive: Path | None = None, archive_every_s: float = ARCHIVE_EVERY_S
    ) -> None:
        self.key_file = key_file
        self.origin = origin
        self._archive = archive
        self._archive_every_s = archive_every_s
        self._archived_s: dict[str, float] = {}
        self._files: dict[str, CheckpointFile] = {}
        self._archives: dict[str, CheckpointArchive] = {}
        self._witnessed: dict[str, Kept] = {}
        self._forks: dict[str, str] = {}
        self._away: set[str] = set()
        self._held: _Held | None = None

    @classmethod
    def of(cls, settings: Settings) -> "Custody":
        """As the settings say; the key is read at the first use."""
        archive = Path(settings.audit_archive_dir) if settings.audit_archive_dir else None
        return cls(Path(settings.audit_key_file), settings.audit_origin, archive)

    def keys(self, stream: str) -> StreamKeys:
        """The keys of a stream, as they are now. Raises `CustodyError`."""
        held = self._load()
        if stream not in held.keys:
            public = held.private.public_key().public_bytes_raw()
            rotations = self.rotations()
            try:
                keys = stream_keys(self.origin, stream, [public], rotations)
            except NoteError as error:
                raise CustodyError(f"{rotations_file(self.key_file)}: {error}") from error
            if keys.current.public != public or (rotations and len(keys.keys) == 1):
                detail = "is not the key that the last rotation brought; should one have broken off, rotate again"
                raise CustodyError(f"{self.key_file} {detail}")
            held.keys[stream] = keys
        return held.keys[stream]

    def rotations(self) -> list[str]:
        """The notes of the rotations so far, oldest first. Raises `CustodyError`."""
        file = rotations_file(self.key_file)
        try:
            return list(read_notes(file)) if file.exists() else []
        except OSError as error:
            raise CustodyError(f"{file} can't be read: {error}") from error

    def newest(self, stream: str) -> list[Kept]:
        """The newest checkpoint of each place that has one: the file, the archive, the broker's topic.

        Raises `CustodyError` for one that none of the keys signed, for two of one size that differ, and when the file
        can't be read.
        """
        if stream in self._forks:
            raise CustodyError(self._forks[stream])
        found = [("the checkpoint file", self._file(stream).newest()), ("the archive", self._newest_archived(stream))]
        kept = [Kept(place, self.open(stream, note), note) for place, note in found if note]
        witnessed = self._witnessed.get(stream)
        return [*kept, witnessed] if witnessed else kept

    def newest_note(self, stream: str) -> str | None:
        """The newest note in the file. Raises `CustodyError`."""
        return self._file(stream).newest()

    def beyond(self, stream: str, size: int) -> list[tuple[Checkpoint, str]]:
        """The checkpoints over `size` in any place, each size once, in order. Raises `CustodyError`."""
        kept = {each.checkpoint.size: (each.checkpoint, each.note) for each in self.newest(stream)}
        beyond = (note for note in self._file(stream).notes() if claimed_size(note) > size)
        in_file = ((self.open(stream, note), note) for note in beyond)
        kept.update((checkpoint.size, (checkpoint, note)) for checkpoint, note in in_file)
        return [kept[at] for at in sorted(kept) if at > size]

    def open(self, stream: str, note: str) -> Checkpoint:
        """The checkpoint in a note of ours. Raises `CustodyError`."""
        try:
            return self.keys(stream).open(note)
        except NoteError as error:
            raise CustodyError(f"a checkpoint of {stream} is not signed by a key of ours: {error}") from error

    def sign(self, stream: str, size: int, root: bytes) -> str:
        """Signs a checkpoint, which is in the file when this returns. Raises `CustodyError`; nothing is signed then."""
        with locked(self.key_file):
            name = self.keys(stream).name
            file = self._file(stream)
            newest = file.newest()
            if newest and (signed := self.open(stream, newest)).size >= size:
                raise CustodyError(f"{stream} was signed at {signed.size} leaves; {size} do not extend it")
            note = Signer(name, self._load().private).sign(size, root)
            file.append(note)
        return note

    def catch_up(self, stream: str, checkpoint: Checkpoint, note: str) -> None:
        """Adds to the file a note that was kept elsewhere, unless it has a later one. Raises `CustodyError`."""
        with locked(self.key_file):
            newest = self._file(stream).newest()
            if not newest or self.open(stream, newest).size < checkpoint.size:
                log.warning("checkpoint_file_behind", stream=stream, size=checkpoint.size)
                self._file(stream).append(note)

    def archive(self, stream: str, size: int, note: str) -> None:
        """Adds a note to the archive, if there is one and its time has come. Raises `CustodyError`."""
        due_s = self._archived_s.get(stream, -self._archive_every_s) + self._archive_every_s
        if self._archive is None or time.monotonic() < due_s:
            return
        try:
            self._archive_of(stream, self._archive).add(size, note)
        except OSError as error:
            self._is_away(stream, error)
        else:
            self._archived_s[stream] = time.monotonic()
            self._is_back(stream)

    def witness(self, stream: str, note: str) -> None:
        """Takes note of a checkpoint that the broker's topic holds. One that is not ours proves nothing."""
        try:
            checkpoint = self.open(stream, note)
        except CustodyError as error:
            log.warning("foreign_checkpoint", stream=stream, detail=str(error))
            return
        known = self._witnessed.get(stream)
        if known is None or checkpoint.size > known.checkpoint.size:
            self._witnessed[stream] = Kept(TOPIC, checkpoint, note)
        elif checkpoint.size == known.checkpoint.size and checkpoint.root != known.checkpoint.root:
            self._forks[stream] = f"{TOPIC} has two checkpoints of {stream} at {checkpoint.size} leaves"

    def cosigned(self, stream: str) -> list[str]:
        """The newest note of a stream that each witness cosigned. Raises `CustodyError`."""
        return self._cosigned(stream).notes()

    def cosigned_by(self, stream: str, key_id: bytes) -> str | None:
        """The same of one witness. Raises `CustodyError`."""
        return self._cosigned(stream).of(key_id)

    def keep_cosigned(self, stream: str, key_id: bytes, note: str) -> None:
        """Keeps a note that a witness cosigned in place of its last one. Raises `CustodyError`."""
        self._cosigned(stream).keep(key_id, note)

    def kept_in_places(self, stream: str) -> list[Iterable[str]]:
        """Every note of the file and of the archive, each in order of size. Reading them may raise `OSError`."""
        archived = [self._archive_of(stream, self._archive).notes()] if self._archive else []
        return [self._file(stream).notes(), *archived]

    def _newest_archived(self, stream: str) -> str | None:
        if self._archive is None:
            return None
        try:
            return self._archive_of(stream, self._archive).newest()
        except OSError as error:
            self._is_away(stream, error)
            return None

    def _is_away(self, stream: str, error: OSError) -> None:
        if stream not in self._away:
            log.error("archive_away", stream=stream, detail=str(error))
        self._away.add(stream)
        meters.PLACE_AWAY.labels(stream, "archive").set(1)

    def _is_back(self, stream: str) -> None:
        self._away.discard(stream)
        meters.PLACE_AWAY.labels(stream, "archive").set(0)

    def _file(self, stream: str) -> CheckpointFile:
        return self._files.setdefault(stream, CheckpointFile(checkpoint_folder(self.key_file), stream))

    def _cosigned(self, stream: str) -> CosignedNotes:
        return CosignedNotes(checkpoint_folder(self.key_file), stream)

    def _archive_of(self, stream: str, folder: Path) -> CheckpointArchive:
        return self._archives.setdefault(stream, CheckpointArchive(folder, stream))

    def _load(self) -> _Held:
        """The key as it is now: read again when it was replaced."""
        try:
            state = self.key_file.stat()
        except OSError as error:
            raise CustodyError(f"no signing key in {self.key_file}: {error}") from error
        version, held = (state.st_ino, state.st_mtime_ns, state.st_size), self._held
        if held is None or held.version != version:
            held = self._held = _Held(version, load_key(self.key_file), {})
        return held
