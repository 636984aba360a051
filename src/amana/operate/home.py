"""The data directory of a local stack: held by one process at a time, with its secrets and a record of what runs.

<data directory>/
  lock            flock, held while a stack runs
  running.json    process ids of the stack that runs; left behind by one that was killed
  secrets.json    what no server keeps for us: the cache's password, the internal API key (mode 0600)
  postgres        the database (a link elsewhere for root in an unreachable folder: see infra.embedded.places)
  valkey, broker  working folders
  audit/signing.key
  privacy/keys.json  what wraps customers' keys (mode 0600)
  logs/NAME.log   (folder 0700, files 0600)
"""

import errno
import fcntl
import os
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from amana.infra.embedded import orphans, places
from amana.infra.embedded.process import Process, ServerError
from amana.infra.key_file import ensure_key_file
from amana.infra.settings import Settings

FREE_MIN_MB = 300
"""PostgreSQL needs about 100 MB before the first row; a disk nearer to full than this is refused."""
ORPHAN_TIMEOUT_S = 30.0
STALE_AFTER_S = 60.0
SETTINGS_FILE = "settings.json"
TEMPORARY_PREFIX = "amana-stack-"


class Secrets(msgspec.Struct, frozen=True):
    """What a data directory keeps for itself."""

    cache_password: str
    internal_key: str


class Running(msgspec.Struct, frozen=True):
    """One process of a stack; `started` tells it from a later process with the same id."""

    name: str
    pid: int
    started: str


class Home:
    """An open data directory. `close()` gives it back."""

    def __init__(self, path: Path, *, temporary: bool) -> None:
        with _explained(path):
            if not path.exists():
                path.mkdir(parents=True)
                path.chmod(0o711)  # PostgreSQL's user must be able to pass through when we are root
            _refuse_full_disk(path)
            self.path = path.resolve()
            self.temporary = temporary
            _close_to_others(self.path / "logs")
            self._lock = (self.path / "lock").open("a+")
        self._take_lock()

    @classmethod
    def temporary_one(cls) -> "Home":
        """A new folder that is removed again by `close()`. Folders of killed runs are removed on the way."""
        _sweep()
        path = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX))
        path.chmod(0o711)
        return cls(path, temporary=True)

    def _take_lock(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.seek(0)
            holder = self._lock.read().strip() or "unknown"
            self._lock.close()
            raise ServerError(
                f"another stack runs on {self.path} (process {holder}): stop it or choose another --data-dir"
            ) from error
        self._lock.truncate(0)
        self._lock.write(f"{os.getpid()}\n")
        self._lock.flush()

    def log(self, name: str) -> Path:
        """Where the process called `name` writes."""
        return self.path / "logs" / f"{name}.log"

    def secrets(self, new_internal_key: str) -> Secrets:
        """This directory's secrets, made the first time."""
        file = self.path / "secrets.json"
        with _explained(self.path):
            if not file.exists():
                made = Secrets(cache_password=secrets.token_hex(24), internal_key=new_internal_key)
                _write_whole(file, msgspec.json.encode(made))
            return msgspec.json.decode(file.read_bytes(), type=Secrets)

    def audit_key(self) -> Path:
        """The audit log's Ed25519 signing key, PEM (PKCS #8), mode 0600, made the first time."""
        file = self.path / "audit" / "signing.key"
        with _explained(self.path):
            file.parent.mkdir(mode=0o700, exist_ok=True)
            if not file.exists():
                key = Ed25519PrivateKey.generate()
                _write_whole(file, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return file

    def privacy_keys(self) -> Path:
        """The file of the keys that wrap customers' keys, mode 0600, made the first time."""
        with _explained(self.path):
            return ensure_key_file(self.path / "privacy" / "keys.json")

    def once(self, name: str) -> bool:
        """Whether `done(name)` was not called yet on this directory."""
        return not (self.path / name).exists()

    def done(self, name: str) -> None:
        """Remember that `name` needs no doing again."""
        (self.path / name).touch()

    def record(self, processes: Iterable[Process]) -> None:
        """Write down what runs now, so that the next run can recognise what a SIGKILL left behind."""
        running = [Running(p.name, p.pid, orphans.started_at(p.pid)) for p in processes if p.pid is not None]
        _write_whole(self.path / "running.json", msgspec.json.encode(running))

    def publish(self, settings: Settings) -> None:
        """Let `running_settings` find this stack until it is stopped."""
        _write_whole(self.path / SETTINGS_FILE, msgspec.json.encode(settings))

    async def end_leftovers(self) -> bool:
        """Stop what a killed run left behind; whether there was such a run. PostgreSQL is left to its own recovery."""
        file = self.path / "running.json"
        if not file.exists():
            return False
        alive = [one for one in _read_running(file) if one.started and orphans.started_at(one.pid) == one.started]
        for one in alive:
            os.kill(one.pid, signal.SIGINT if one.name == "PostgreSQL" else signal.SIGTERM)
        if not await orphans.until_gone([one.pid for one in alive], ORPHAN_TIMEOUT_S):
            names = ", ".join(f"{one.name} (process {one.pid})" for one in alive if orphans.started_at(one.pid))
            raise ServerError(f"of a killed run on {self.path} still run and do not stop: {names}; end them first")
        file.unlink()
        return True

    def forget_running(self) -> None:
        """Everything was stopped in order."""
        for name in (SETTINGS_FILE, "running.json"):
            (self.path / name).unlink(missing_ok=True)

    def close(self) -> None:
        """Give the directory back; a temporary one is removed."""
        if self.temporary:
            shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()


def running_settings(data_dir: Path) -> Settings | None:
    """The settings of the stack that runs on `data_dir` now; None when none does.

    `ServerError` when the folder is closed to us.
    """
    file = data_dir / SETTINGS_FILE
    with _explained(data_dir):
        if not file.exists() or not _is_held(data_dir / "lock"):
            return None
        return msgspec.json.decode(file.read_bytes(), type=Settings)


def _is_held(lock: Path) -> bool:
    with lock.open() as attempt:
        try:
            fcntl.flock(attempt, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _close_to_others(folder: Path) -> None:
    """Made if absent, mode 0700: logs carry key ids and error texts of the database."""
    folder.mkdir(exist_ok=True)
    folder.chmod(0o700)


def _read_running(file: Path) -> list[Running]:
    try:
        return msgspec.json.decode(file.read_bytes(), type=list[Running])
    except msgspec.DecodeError:
        return []  # the machine went down while it was written: nothing of that run can be alive


def _write_whole(file: Path, content: bytes) -> None:
    """All or nothing, mode 0600."""
    half = file.with_name(file.name + ".new")
    half.unlink(missing_ok=True)
    half.touch(mode=0o600)
    half.write_bytes(content)
    half.replace(file)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Trouble with the folder, in a sentence that says what to do."""
    try:
        yield
    except OSError as error:
        raise ServerError(explain(error, path)) from error


def explain(error: OSError, path: Path) -> str:
    """What an operating system's error about the data directory means for the person at the keyboard."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return f"the disk of {path} is full: free some space or choose another --data-dir"
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST}:
        return f"{path} is not a folder that you may write in ({error.strerror}): choose another --data-dir"
    return f"{path} can't be used: {error.strerror or error}"


def _refuse_full_disk(path: Path) -> None:
    free_mb = shutil.disk_usage(path).free // 1_000_000
    if free_mb < FREE_MIN_MB:
        raise ServerError(
            f"the disk of {path} is nearly full ({free_mb} MB free, {FREE_MIN_MB} MB needed): "
            "free some space or choose another --data-dir"
        )


def _sweep() -> None:
    """Remove temporary directories of ours whose owner was killed."""
    for path in Path(tempfile.gettempdir()).glob(f"{TEMPORARY_PREFIX}*"):
        try:
            found = (path / "lock").lstat()
            if found.st_uid != os.geteuid() or time.time() - found.st_mtime < STALE_AFTER_S:
                continue
            with (path / "lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                places.remove(path / "postgres")
                shutil.rmtree(path, ignore_errors=True)
        except OSError:
            continue
