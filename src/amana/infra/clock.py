"""Time and randomness, in one place, so that everything else can be given them."""

import os
import secrets
import time
from datetime import UTC, datetime

DRAWN_BYTES = 4_096

_drawn = bytearray()
os.register_at_fork(after_in_child=_drawn.clear)  # two processes must not draw the same


def now() -> datetime:
    """The current instant, in UTC."""
    return datetime.now(UTC)


def unix_ms() -> int:
    """Milliseconds since 1970, for the time part of ids."""
    return time.time_ns() // 1_000_000


def random_74_bits() -> int:
    """The random part of a UUIDv7."""
    return int.from_bytes(random_bytes(10), "big") >> 6


def random_bytes(count: int) -> bytes:
    """For ids, drawn from the operating system some at a time: a call for each took a twelfth of a service's time."""
    if len(_drawn) < count:
        _drawn.extend(os.urandom(DRAWN_BYTES))
    taken = bytes(_drawn[-count:])
    del _drawn[-count:]
    return taken


def random_salt() -> bytes:
    """16 bytes that nobody can guess."""
    return secrets.token_bytes(16)
