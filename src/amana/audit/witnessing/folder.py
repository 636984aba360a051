"""What a witness keeps: its key, the logs that it knows, and the newest checkpoint that it cosigned of each.

    FOLDER/name          the name of the witness in its cosignatures
    FOLDER/witness.key   its Ed25519 private key, PEM, mode 0600
    FOLDER/logs          verifier keys of the logs that it cosigns, one a line; several of one origin are trusted alike
    FOLDER/state/<hash>  the text of the newest checkpoint cosigned of an origin, named by the origin's SHA-256

The state is what makes a witness worth anything: one that lost it would cosign another history. So it is made with the
key, in one folder, and a folder without it is refused. One process works on a folder at a time.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from amana.audit.checkpoint import KEY_NAME, Checkpoint, NoteError, VerifierKey, parse_checkpoint, parse_verifier_key
from amana.audit.cosignature import WitnessKey
from amana.audit.key_file import load_key
from amana.audit.places import CustodyError, sync_folder

NAME, KEY, LOGS, STATE = "name", "witness.key", "logs", "state"
LOGS_MAX = 10_000


def make_folder(folder: Path, name: str) -> WitnessKey:
    """Makes a new witness: its key and an empty state. Raises `CustodyError`, also where there is one."""
    if not KEY_NAME.fullmatch(name):
        raise CustodyError(f"not a name for a witness: {name!r} (no spaces, no '+'; best a URL without its scheme)")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise CustodyError(
                f"{folder} is not empty: a witness keeps its key and state for as long as it has its name"
            )
        private = Ed25519PrivateKey.generate()
        pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / STATE).mkdir()
        _write(folder / KEY, pem, 0o600)
        _write(folder / LOGS, b"", 0o644)
        _write(folder / NAME, f"{name}\n".encode(), 0o644)
        sync_folder(folder)
    except OSError as error:
        raise CustodyError(f"{folder} can't be written: {error}") from error
    return WitnessKey(name, private.public_key().public_bytes_raw())


class WitnessFolder:
    """The folder of a witness, as read once. Raises `CustodyError` where it is not whole."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.private = load_key(folder / KEY)
        self.name = _text(folder / NAME).strip()
        if not KEY_NAME.fullmatch(self.name):
            raise CustodyError(f"{folder / NAME} holds no name of a witness")
        if not (folder / STATE).is_dir():
            raise CustodyError(f"{folder / STATE} is gone: a witness without its state must not go on under its name")
        self.key = WitnessKey(self.name, self.private.public_key().public_bytes_raw())
        self.logs = _logs(folder / LOGS)

    def newest(self, origin: str) -> Checkpoint | None:
        """The newest checkpoint cosigned of a log. Raises `CustodyError` for one that can't be read."""
        file = self._file(origin)
        try:
            found = parse_checkpoint(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, NoteError, UnicodeDecodeError) as error:
            raise CustodyError(f"{file} can't be read: {error}") from error
        if found.origin != origin:
            raise CustodyError(f"{file} is about another log")
        return found

    def keep(self, checkpoint: Checkpoint) -> None:
        """Makes this the newest checkpoint of its log; durable when it returns. Raises `CustodyError`."""
        file = self._file(checkpoint.origin)
        coming = file.with_suffix(".new")
        try:
            _write(coming, checkpoint.text().encode(), 0o644)
            coming.replace(file)
            sync_folder(file.parent)
        except OSError as error:
            raise CustodyError(f"{file} can't be written: {error}") from error

    @contextmanager
    def held(self) -> Iterator[None]:
        """No other process works on the folder while the block runs. Raises `CustodyError`."""
        try:
            descriptor = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise CustodyError(f"{self.folder} can't be locked: {error}") from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise CustodyError(f"another witness works on {self.folder}") from error
            yield
        finally:
            os.close(descriptor)

    def _file(self, origin: str) -> Path:
        return self.folder / STATE / sha256(origin.encode()).hexdigest()


def _logs(file: Path) -> dict[str, list[VerifierKey]]:
    """The keys of each origin."""
    lines = [line.strip() for line in _text(file).splitlines()]
    wanted = [line for line in lines if line and not line.startswith("#")]
    if len(wanted) > LOGS_MAX:
        raise CustodyError(f"{file} has more than {LOGS_MAX} keys")
    found: dict[str, list[VerifierKey]] = {}
    for line in wanted:
        try:
            key = parse_verifier_key(line)
        except NoteError as error:
            raise CustodyError(f"{file}: {line!r}: {error}") from error
        found.setdefault(key.name, []).append(key)
    return found


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CustodyError(f"{file} can't be read: {error}") from error


def _write(file: Path, content: bytes, mode: int) -> None:
    """Writes a file, durably but for its name."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(descriptor)
