"""Seals bytes for one customer and place, and opens them: sealed for one place they open in no other."""

from uuid import UUID

from amana.infra.sealing import SealingKey
from amana.vault.vault import Key


def seal(key: SealingKey, where: Key, place: str, content: bytes) -> bytes:
    """The content, sealed for this customer and place."""
    return key.seal(content, _context(where, place))


def unseal(key: SealingKey, where: Key, place: str, sealed: bytes) -> bytes:
    """What was sealed for this customer and place. Raises `SealBroken`."""
    return key.open(sealed, _context(where, place))


def place_of(table: str, id_: UUID) -> str:
    """The place of what is kept under an id."""
    return f"{table}/{id_}"


def _context(where: Key, place: str) -> bytes:
    return f"amana/{where[0]}/{where[1]}/{place}".encode()
