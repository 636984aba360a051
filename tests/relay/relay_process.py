"""A relay in a process of its own, for tests that pause or kill it: `relay_process.py DSN STREAM BOOTSTRAP LEASE_S`."""

import asyncio
import signal
import sys

from amana.infra.postgres import open_pool
from amana.infra.relay import CONNECTIONS, Relay


async def main(dsn: str, stream: str, bootstrap: str, lease_s: str) -> None:
    """Relays until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    pool = await open_pool(dsn, stream, connections=CONNECTIONS)
    await Relay(stream, pool, bootstrap, lease_s=float(lease_s), chunk=7).run(stop)
    await pool.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
