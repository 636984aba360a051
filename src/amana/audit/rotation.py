"""Replaces the signing key by a new one, while the service runs or not: it takes up the new key at its next signature.

Under the lock that every signature takes: the new key is made durable beside the old one, then the rotation, signed by
both, is added to `rotations.log`, then the new key takes the old one's place. After a crash in between the next attempt
goes on where the last one stopped.
"""

import os
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from amana.audit.checkpoint import NoteError, VerifierKey
from amana.audit.custody import Custody
from amana.audit.key_file import ROTATIONS, load_key, locked, rotations_file
from amana.audit.keys import open_rotation, sign_rotation
from amana.audit.leaf import LOGS
from amana.audit.places import CheckpointFile, CustodyError, sync_folder
from amana.domain.events import utc_text


def rotate_key(custody: Custody, at: datetime) -> list[VerifierKey]:
    """Takes a new key into use. Returns its verifier keys, one a stream. Raises `CustodyError`."""
    with locked(custody.key_file):
        try:
            _rotate(custody, at)
        except OSError as error:
            raise CustodyError(f"the key can't be replaced: {error}") from error
        return [custody.keys(stream).current for stream in LOGS]


def _rotate(custody: Custody, at: datetime) -> None:
    file = custody.key_file
    coming = file.with_name(f"{file.name}.next")
    if not _is_under_way(custody, coming):
        kept = {stream: custody.newest(stream) for stream in LOGS}
        sizes = {stream: max((each.checkpoint.size for each in kept[stream]), default=0) for stream in LOGS}
        old, new = load_key(file), Ed25519PrivateKey.generate()
        coming.unlink(missing_ok=True)
        _write_new(coming, new.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        note = sign_rotation(custody.origin, old, new, sizes, utc_text(at))
        CheckpointFile(file.parent, ROTATIONS).append(note)
    coming.replace(file)
    sync_folder(file.parent)


def _is_under_way(custody: Custody, coming: Path) -> bool:
    """Whether the last rotation brought the key that still waits in `coming`."""
    rotations = custody.rotations()
    if not rotations or not coming.exists():
        return False
    try:
        last = open_rotation(rotations[-1], custody.origin)
    except NoteError as error:
        raise CustodyError(f"{rotations_file(custody.key_file)}: {error}") from error
    return last.new == load_key(coming).public_key().public_bytes_raw()


def _write_new(file: Path, content: bytes) -> None:
    """A new file, durable, that only its owner may read."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(descriptor)
    sync_folder(file.parent)
