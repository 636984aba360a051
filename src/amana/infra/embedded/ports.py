"""Loopback ports: find free ones, and say plainly when one is taken."""

import asyncio
import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from amana.infra.embedded.process import ServerError

LOOPBACK = "127.0.0.1"
FREE_FROM, FREE_UNTIL = 20_000, 30_000
"""Below what operating systems give to outgoing connections, so that only another such search can be faster."""
TRIES_MAX = 500
PROBE_TIMEOUT_S = 2.0
ANSWER_BYTES_MAX = 4096
LISTENING = "0A"
"""TCP_LISTEN, as Linux's table has it."""


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
    return True


@contextmanager
def held_free(count: int) -> Iterator[list[int]]:
    """`count` different free loopback ports, which no other such search finds before the block ends, while servers may
    listen at them. `ServerError` after a bounded number of tries.

    A server may take seconds until it listens: that long another program's could come before it, and be taken for it.
    """
    with ExitStack() as held:
        found: set[int] = set()
        for _ in range(TRIES_MAX):
            if len(found) == count:
                yield sorted(found)
                return
            port = random.SystemRandom().randrange(FREE_FROM, FREE_UNTIL)
            holder = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            try:
                holder.bind((LOOPBACK, port))  # refused where anybody holds it
            except OSError:
                continue
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # from now on servers, which say so too, may
            found.add(port)
    raise ServerError(f"no {count} free ports between {FREE_FROM} and {FREE_UNTIL} on {LOOPBACK}")


def find_free(count: int) -> list[int]:
    """`count` different loopback ports that are free now. `ServerError` after a bounded number of tries."""
    with held_free(count) as found:
        return found


def require_free(port: int, name: str) -> None:
    """`ServerError` naming the port, who wanted it and what to do, when it is taken."""
    if not is_free(port):
        raise ServerError(
            f"port {port}, wanted for {name}, is taken by another program: stop that program "
            f"(`ss -ltnp 'sport = :{port}'` shows it) or choose other ports with --port-base"
        )


async def exchange(port: int, request: bytes) -> bytes:
    """What a loopback server answers first to `request`; empty when it does not answer in time. For probes only."""
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
            try:
                writer.write(request)
                return await reader.read(ANSWER_BYTES_MAX)
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return b""


def listeners(port: int) -> int:
    """How many sockets listen on this IPv4 port now: with SO_REUSEPORT, one a process. Linux's table."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[3] == LISTENING and int(row[1].rpartition(":")[2], 16) == port for row in rows)


async def listens(port: int) -> bool:
    """Whether something accepts connections on this loopback port."""
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            _, writer = await asyncio.open_connection(LOOPBACK, port)
            writer.close()
    except (OSError, TimeoutError):
        return False
    return True
