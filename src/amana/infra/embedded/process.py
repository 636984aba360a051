"""One child process: started on a leash, its output in a log file, waited for and stopped within bounds."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from amana.infra.mendable import Mendable

LEASH = Path(__file__).with_name("leash.py")
POLL_S = 0.02
KILL_WAIT_S = 5.0
"""How long a process may take to be gone after SIGKILL: only a hung disk takes longer."""
LOG_BYTES_MAX = 16 * 1024 * 1024
"""A longer log is put aside as `NAME.log.old` at the next start."""
TAIL_LINES = 12
TAIL_BYTES = 16 * 1024


class ServerError(Mendable):
    """A server or service can't be started, reached or stopped. The message says what is wrong and what to do."""


class Account(NamedTuple):
    """The system user that a process runs as."""

    uid: int
    gid: int


class Process:
    """A child in a session of its own, so that Ctrl-C in the terminal reaches only us and we stop it in order.

    It may be started again after it ended. Start it from the thread that lives as long as the program does: Linux
    counts the death of the starting thread as the death of the parent.
    """

    def __init__(
        self,
        name: str,
        command: list[str],
        log: Path,
        *,
        environ: Mapping[str, str] | None = None,
        account: Account | None = None,
        folder: Path | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        stop_timeout_s: float = 10.0,
    ) -> None:
        self.name = name
        self.command = command
        self.log = log
        self.stop_signal = stop_signal
        self.stop_timeout_s = stop_timeout_s
        self._environ = dict(environ if environ is not None else {"PATH": os.defpath, "LC_ALL": "C"})
        self._account = account or Account(-1, -1)
        self._folder = folder
        self._child: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    def start(self) -> None:
        """Start it. Raises `OSError` when the log can't be written or the machine is out of processes."""
        self.log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES_MAX:
            self.log.replace(self.log.with_name(self.log.name + ".old"))
        leash = [sys.executable, "-I", "-S", str(LEASH), str(os.getpid()), str(int(self.stop_signal))]
        with self.log.open("ab") as output:
            os.fchmod(output.fileno(), 0o600)
            self._log_start = output.tell()
            self._child = subprocess.Popen(
                [*leash, str(self._account.uid), str(self._account.gid), *self.command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._folder,
                env=self._environ,
                start_new_session=True,
            )

    @property
    def pid(self) -> int | None:
        """The process id, while it runs."""
        return self._child.pid if self._child and self._child.poll() is None else None

    @property
    def exit_code(self) -> int | None:
        """How it ended, negative for a signal; None while it runs or was never started."""
        return self._child.poll() if self._child else None

    async def wait_ready(self, probe: Callable[[], Awaitable[bool]], timeout_s: float) -> None:
        """Until `probe()` is true. `ServerError` with the end of the log when it dies or the time is over."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self.exit_code is not None:
                raise ServerError(f"{self.name} ended while starting ({self.how_it_ended()}). {self.log_end()}")
            if await probe():
                return
            await asyncio.sleep(POLL_S)
        raise ServerError(f"{self.name} is not ready after {timeout_s:g} s. {self.log_end()}")

    async def stop(self) -> None:
        """Ask it to stop, wait, then kill. Does nothing when it is not running."""
        if self._child is None or self._child.poll() is not None:
            return
        self._child.send_signal(self.stop_signal)
        if not await self._gone(self.stop_timeout_s):
            self._child.kill()
            if not await self._gone(KILL_WAIT_S):
                raise ServerError(f"{self.name} (process {self._child.pid}) can't be killed; is its disk hung?")

    async def _gone(self, timeout_s: float) -> bool:
        assert self._child is not None
        deadline = time.monotonic() + timeout_s
        while self._child.poll() is None:
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(POLL_S)
        return True

    def how_it_ended(self) -> str:
        """`exit code 1` or `signal SIGKILL`."""
        code = self.exit_code
        if code is not None and code < 0:
            return f"signal {signal.Signals(-code).name}"
        return f"exit code {code}"

    def log_end(self) -> str:
        """The last lines that it wrote since it was started, introduced by the file's name."""
        with self.log.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(self._log_start, size - TAIL_BYTES))
            lines = log.read().decode("utf-8", "replace").splitlines()[-TAIL_LINES:]
        if not lines:
            return f"Its log {self.log} is empty."
        return "\n".join([f"The end of its log {self.log}:", *(f"  {line}" for line in lines)])
