"""The key file: the keys that wrap every customer's key, by version, and the one that hides numbers that are looked up.

It is the only secret that no database has. A JSON file, mode 0600:

    {"current": 2, "keks": {"1": "<32 bytes in base64>", "2": "…"}, "lookup": "…"}

New keys are wrapped under `current`; older versions open what was wrapped before, until they are dropped.
"""

import base64
import binascii
import hmac
import os
from hashlib import sha256
from pathlib import Path

import msgspec

from amana.infra.sealing import KEY_BYTES, SealingKey, new_key

VERSIONS_MAX = 100
"""Keys that wrap, in one file: dropped ones leave it."""
MODE = 0o600


class KeyFileError(Exception):
    """The file is absent or can't be used; the message says why, and never what is in it."""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    current: int
    keks: dict[int, str]
    lookup: str


class KeyFile:
    """What a key file holds. `current` is the version that wraps new keys."""

    def __init__(self, current: int, keks: dict[int, bytes], lookup: bytes) -> None:
        if current not in keks:
            raise KeyFileError(f"the key file has no key of its current version {current}")
        if len(keks) > VERSIONS_MAX:
            raise KeyFileError(f"the key file has more than {VERSIONS_MAX} versions")
        if any(len(key) != KEY_BYTES for key in (lookup, *keks.values())):
            raise KeyFileError(f"a key in the key file has not {KEY_BYTES} bytes")
        self.current = current
        self._keks = keks
        self._lookup = lookup
        self._sealing = {version: SealingKey(key) for version, key in keks.items()}

    @property
    def versions(self) -> list[int]:
        """The versions that can open, oldest first."""
        return sorted(self._keks)

    def kek(self, version: int) -> SealingKey | None:
        """The key of this version; None where the file has none."""
        return self._sealing.get(version)

    def hidden(self, text: bytes) -> bytes:
        """What stands for `text` where it is looked up: HMAC-SHA256 under the file's own key, 32 bytes."""
        return hmac.digest(self._lookup, text, sha256)

    def rotated(self) -> "KeyFile":
        """The same with a new current version."""
        version = max(self._keks) + 1
        return KeyFile(version, self._keks | {version: new_key()}, self._lookup)

    def without(self, version: int) -> "KeyFile":
        """The same without an old version: what is still wrapped under it is lost for good."""
        return KeyFile(self.current, {at: key for at, key in self._keks.items() if at != version}, self._lookup)

    def write(self, path: Path) -> None:
        """Replaces the file: whole or not at all, and on the disk when this returns."""
        keks = {version: _text(key) for version, key in self._keks.items()}
        half = path.with_name(path.name + ".new")
        half.unlink(missing_ok=True)
        with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE), "wb") as file:
            file.write(msgspec.json.encode(_File(self.current, keks, _text(self._lookup))))
            file.flush()
            os.fsync(file.fileno())
        half.replace(path)


def ensure_key_file(path: Path) -> Path:
    """The file, made with keys of its own where it is absent; its folder too, closed to others."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    if not path.exists():
        KeyFile(1, {1: new_key()}, new_key()).write(path)
    return path


def read_key_file(path: Path) -> KeyFile:
    """The file. Raises `KeyFileError` where it is absent, can't be read or is no key file."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_File)
        keks = {version: base64.b64decode(text, validate=True) for version, text in found.keks.items()}
        return KeyFile(found.current, keks, base64.b64decode(found.lookup, validate=True))
    except OSError as error:
        raise KeyFileError(f"the key file {path} can't be read: {error.strerror}") from error
    except (msgspec.DecodeError, binascii.Error) as error:
        raise KeyFileError(f"{path} is no key file") from error


def _text(key: bytes) -> str:
    return base64.b64encode(key).decode()
