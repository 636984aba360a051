"""The file of the signing key, and what stands beside it."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from amana.audit.places import CustodyError

ROTATIONS = "rotations"
LOCK_WAIT_S = 5.0
LOCK_POLL_S = 0.02


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


def rotations_file(key_file: Path) -> Path:
    """Where the rotations that led to `key_file` are kept."""
    return key_file.parent / f"{ROTATIONS}.log"


@contextmanager
def locked(key_file: Path) -> Iterator[None]:
    """Nobody else signs or replaces the key while the block runs. Raises `CustodyError`."""
    try:
        descriptor = os.open(key_file.parent / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise CustodyError(f"{key_file.parent} can't be locked: {error}") from error
    try:
        until_s = time.monotonic() + LOCK_WAIT_S
        while not _try_lock(descriptor):
            if time.monotonic() > until_s:
                raise CustodyError(f"{key_file.parent} stays locked by another process")
            time.sleep(LOCK_POLL_S)
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
