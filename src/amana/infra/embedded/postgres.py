"""An embedded PostgreSQL 18, durable: `fsync`, `synchronous_commit` and page checksums are on.

It listens on loopback TCP only, with a scram password made at `initdb`. Its folder holds `data/` (PGDATA), and
`password`, mode 0600. It runs as an ordinary user and, for root, as an unprivileged one (see `places`).
"""

import asyncio
import hashlib
import hmac
import os
import secrets
import shutil
import signal
import subprocess
from pathlib import Path

import asyncpg

from amana.infra.embedded import orphans, places
from amana.infra.embedded.ports import LOOPBACK
from amana.infra.embedded.process import Process, ServerError
from amana.infra.sql import load_queries

SUPERUSER = "postgres"
OWNER = "amana_owner"
START_TIMEOUT_S = 60.0
"""Long enough to replay 2 GB of WAL after a crash."""
STOP_TIMEOUT_S = 30.0
"""A fast shutdown writes one checkpoint."""
INITDB_TIMEOUT_S = 60
ORPHAN_TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 10

_CONFIGURATION = """\
# Written by Amana at every start; changes made here are lost.
listen_addresses = '{host}'
port = {port}
unix_socket_directories = ''
password_encryption = 'scram-sha-256'
# Iterations are for passwords that can be guessed. Ours are 192 random bits or follow from such, by HMAC.
scram_iterations = 1
max_connections = 100
shared_buffers = '256MB'
max_wal_size = '2GB'
wal_compression = on
fsync = {fsync}
synchronous_commit = on
full_page_writes = on
autovacuum = on
transaction_timeout = 0
timezone = 'UTC'
log_timezone = 'UTC'
log_min_messages = warning
log_line_prefix = '%m [%p] %q%u@%d '
"""
_INITDB = ["--auth=scram-sha-256", "--encoding=UTF8", "--data-checksums", f"--username={SUPERUSER}"]
# One collation on every system: names sort the same in every test and on every machine.
_LOCALE = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]


class Postgres:
    """`start()`, `owner_url(database)`, `stop()`, `destroy()`. `folder` may be a link elsewhere: see `places`.

    Where it need not be `durable` no disk is waited for: what was written outlives any process, and not the machine.
    """

    def __init__(self, folder: Path, port: int, log: Path, *, durable: bool = True) -> None:
        self.wanted = folder
        self.port = port
        self._log = log
        self._durable = durable
        self.process: Process | None = None
        """The postmaster; None before `start()`."""
        self.recovered = ""
        """What was found of a killed run, in words; empty after a clean one."""

    async def start(self) -> None:
        """Make the database if absent, recover from a killed run, start, wait until it accepts connections.

        `ServerError` with the end of the log when it can't.
        """
        preparing = asyncio.ensure_future(asyncio.to_thread(self._prepare))
        try:
            await asyncio.shield(preparing)
        finally:
            await asyncio.wait([preparing])  # a thread can't be cancelled: see it end before our folder is touched
        self.process = Process(
            "PostgreSQL",
            [str(self._programs / "postgres"), "-D", str(self.data)],
            self._log,
            account=self._account,
            folder=self.data,
            stop_signal=signal.SIGINT,  # "fast": sessions are ended, everything is written
            stop_timeout_s=STOP_TIMEOUT_S,
        )
        await self.restart()
        await self._ensure_owner()

    async def restart(self) -> None:
        """Start the postmaster (again, after it ended), and wait until it accepts connections."""
        assert self.process, "start() comes first"
        await self._recover()
        self.process.start()
        await self.process.wait_ready(self._accepts, START_TIMEOUT_S)

    async def stop(self) -> None:
        """A fast shutdown; the data stays."""
        if self.process:
            await self.process.stop()

    def destroy(self) -> None:
        """Remove the data, wherever it is. Only after `stop()`."""
        places.remove(self.wanted)

    def owner_url(self, database: str) -> str:
        """The DSN of the role that may create databases and roles, but is no superuser, as in a real deployment."""
        return self._url(OWNER, self._owner_password(), database)

    def _url(self, role: str, password: str, database: str) -> str:
        return f"postgresql://{role}:{password}@{LOOPBACK}:{self.port}/{database}?sslmode=disable"

    def _superuser_password(self) -> str:
        return (self.folder / "password").read_text().strip()

    def _owner_password(self) -> str:
        return hmac.digest(self._superuser_password().encode(), OWNER.encode(), hashlib.sha256).hex()

    def _prepare(self) -> None:
        """Everything before the first process: the folder, the user, the programs, a new database, its settings."""
        self.folder = places.folder_for(self.wanted)
        self.data = self.folder / "data"
        self._account = places.account_for(self.data)
        self._programs = places.programs_for(self._account)
        if not self.data.exists():
            self._initdb()
        fsync = "on" if self._durable else "off"
        self._write(self.data / "postgresql.conf", _CONFIGURATION.format(host=LOOPBACK, port=self.port, fsync=fsync))

    def _initdb(self) -> None:
        """Beside the final place, then one rename: a killed `initdb` leaves nothing that looks like a database."""
        half = self.folder / "data.new"
        shutil.rmtree(half, ignore_errors=True)
        password = self.folder / "password"
        password.unlink(missing_ok=True)
        password.touch(mode=0o600)
        password.write_text(secrets.token_hex(24) + "\n")
        self._give(half, directory=True)
        passed = self.folder / "password.initdb"
        self._write(passed, password.read_text())
        try:
            sync = [] if self._durable else ["--no-sync"]
            self._run("initdb", "-D", str(half), f"--pwfile={passed}", *_INITDB, *_LOCALE, *sync)
        finally:
            passed.unlink()
        half.rename(self.data)

    async def _recover(self) -> None:
        """Deal with a `postmaster.pid` of an earlier run: stop what still runs on this data, forget what does not."""
        pid_file = self.data / "postmaster.pid"
        if not pid_file.exists():
            return
        lines = pid_file.read_text().splitlines()
        pid = int(lines[0]) if lines and lines[0].isdecimal() else 0
        command = orphans.command_of(pid) if pid else []
        if str(self.data) in command:
            self.recovered = f"PostgreSQL (process {pid}) of an earlier run was still running and was stopped"
            os.kill(pid, signal.SIGINT)  # what `pg_ctl -m fast stop` does, without its race against a normal end
        else:
            self.recovered = "PostgreSQL was killed in an earlier run; it recovered from its log"
            if command:  # the number now belongs to an innocent process, which PostgreSQL would mistake for itself
                pid_file.unlink()
        # Its children notice the death of the postmaster themselves; starting beside them would be refused.
        if not await orphans.until_gone(orphans.working_in(self.data), ORPHAN_TIMEOUT_S):
            raise ServerError(f"a killed PostgreSQL still uses {self.data}: end its processes, then start again")

    async def _accepts(self) -> bool:
        """PostgreSQL itself says so in the eighth line of its pid file."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        ready = len(lines) >= 8 and lines[7].strip() == "ready"
        return ready and self.process is not None and lines[0] == str(self.process.pid)

    async def _ensure_owner(self) -> None:
        connection = await asyncpg.connect(
            self._url(SUPERUSER, self._superuser_password(), "postgres"), timeout=CONNECT_TIMEOUT_S
        )
        try:
            queries = load_queries("amana.infra.embedded", "postgres.sql")
            statement = await connection.fetchval(queries["owner_statement"], OWNER, self._owner_password())
            if statement is not None:
                await connection.execute(statement)
        finally:
            await connection.close()

    def _run(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs to its end, as its user. `ServerError` with its last line on failure."""
        uid, gid = self._account or (None, None)
        result = subprocess.run(
            [self._programs / program, *arguments],
            user=uid,
            group=gid,
            extra_groups=None if uid is None else [],
            cwd=self.folder,
            env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C in the terminal is ours to handle
            text=True,
            timeout=INITDB_TIMEOUT_S,
            check=False,
        )
        if result.returncode != 0:
            said = [line for line in result.stderr.splitlines() if "error" in line or "FATAL" in line]
            last = (said or result.stderr.splitlines() or ["no message"])[-1]
            raise ServerError(f"{program} failed in {self.folder}: {last}")

    def _write(self, path: Path, text: str) -> None:
        """A file that only PostgreSQL's user may read."""
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_text(text)
        self._give(path)

    def _give(self, path: Path, *, directory: bool = False) -> None:
        if directory:
            path.mkdir(mode=0o700)
        if self._account:
            os.chown(path, *self._account)
