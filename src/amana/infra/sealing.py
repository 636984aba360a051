"""Authenticated encryption of small things: AES-256-GCM, bound to the place where the sealed bytes belong.

Sealed bytes are `version (1) | nonce (12) | ciphertext and tag`. The context is authenticated with them: bytes that
were moved to another place, or changed by a bit, are `SealBroken` and never garbage. Nonces are random; one key seals
far fewer than 2^32 things, which is where that would stop being sound.
"""

import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
NONCE_BYTES = 12
_VERSION = b"\x01"
_HEAD = len(_VERSION) + NONCE_BYTES


class SealBroken(Exception):
    """The bytes are not what was sealed under this key for this place. They were changed or moved: never a refusal."""


class SealingKey:
    """A key of 32 bytes that seals and opens. It shows itself nowhere."""

    __slots__ = ("_cipher",)

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes")
        self._cipher = AESGCM(key)

    def seal(self, content: bytes, context: bytes) -> bytes:
        """The sealed bytes, 29 longer than `content`."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return _VERSION + nonce + self._cipher.encrypt(nonce, content, _VERSION + context)

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """What was sealed for this context. Raises `SealBroken`."""
        if sealed[:1] != _VERSION:
            raise SealBroken("sealed bytes begin with their version")
        try:
            return self._cipher.decrypt(sealed[1:_HEAD], sealed[_HEAD:], _VERSION + context)
        except (InvalidTag, ValueError) as error:
            raise SealBroken("sealed bytes were changed, or belong to another place") from error


def new_key() -> bytes:
    """32 random bytes."""
    return secrets.token_bytes(KEY_BYTES)
