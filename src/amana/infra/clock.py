"""Time and randomness, in one place, so that everything else can be given them."""

import secrets
import time
from datetime import UTC, datetime


def now() -> datetime:
    """The current instant, in UTC."""
    return datetime.now(UTC)


def unix_ms() -> int:
    """Milliseconds since 1970, for the time part of ids."""
    return time.time_ns() // 1_000_000


def random_74_bits() -> int:
    """The random part of a UUIDv7."""
    return secrets.randbits(74)


def random_salt() -> bytes:
    """16 bytes that nobody can guess."""
    return secrets.token_bytes(16)
