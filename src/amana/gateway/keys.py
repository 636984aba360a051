"""API keys: how they are spelled, hashed and compared. Pure.

`amana_<key_id>_<secret>`: the id is public and finds the row, the secret has 256 random bits and is stored only as its
SHA-256. A slow hash would add nothing: there is no dictionary of 256-bit secrets.
"""

import re
from base64 import b32encode
from hashlib import sha256
from hmac import compare_digest
from string import ascii_letters, digits
from typing import NamedTuple

import msgspec

KEY_ID_LENGTH = 12
SECRET_LENGTH = 43
ENTROPY_BYTES = 40
"""What `key_from` needs: 8 bytes for the id and 32 for the secret."""

QUOTA_RATE_MAX = 1_000_000
QUOTA_BURST_MAX = 10_000_000

_ALPHABET = digits + ascii_letters
_KEY = re.compile(rf"amana_([a-z2-7]{{{KEY_ID_LENGTH}}})_([0-9A-Za-z]{{{SECRET_LENGTH}}})")
_NOBODY = bytes(32)


class Key(NamedTuple):
    """A key as its owner holds it."""

    key_id: str
    secret: str

    def text(self) -> str:
        """The spelling that goes into `Authorization: Bearer`."""
        return f"amana_{self.key_id}_{self.secret}"


class Quota(msgspec.Struct, frozen=True):
    """How many requests a second a key, or all keys of a tenant, may make for long, and how many at once; both 0: as
    many as it likes."""

    rate: int
    burst: int


class StoredKey(msgspec.Struct, frozen=True):
    """A live key as the database holds it: no secret, only the hash of one. Without a quota the default holds;
    `tenant_quota` is what all keys of its tenant share, where there is one."""

    key_id: str
    tenant: int
    secret_hash: bytes
    scopes: frozenset[str]
    quota: Quota | None = None
    tenant_quota: Quota | None = None


def key_from(entropy: bytes) -> Key:
    """The key that 40 random bytes make."""
    assert len(entropy) == ENTROPY_BYTES, f"a key takes {ENTROPY_BYTES} bytes, not {len(entropy)}"
    key_id = b32encode(entropy[:8]).decode().lower()[:KEY_ID_LENGTH]
    return Key(key_id, _base62(int.from_bytes(entropy[8:], "big")))


def parse_key(text: str) -> Key | None:
    """The key in `text`, or None when it is not spelled like one."""
    match = _KEY.fullmatch(text)
    return Key(*match.groups()) if match else None


def hash_secret(secret: str) -> bytes:
    """What is stored of a secret: 32 bytes."""
    return sha256(secret.encode("ascii")).digest()


class Claim(NamedTuple):
    """A key as somebody presents it, its secret hashed: what is compared, and may be kept."""

    key_id: str
    secret_hash: bytes


def claim_in(text: str) -> Claim | None:
    """The claim in `text`, or None when it is not spelled like a key."""
    key = parse_key(text)
    return Claim(key.key_id, hash_secret(key.secret)) if key else None


def proves(claim: Claim, stored: StoredKey | None) -> bool:
    """Whether the claim is to the stored key. Takes the same time for an unknown key as for a wrong secret."""
    expected = stored.secret_hash if stored else _NOBODY
    return compare_digest(claim.secret_hash, expected) and stored is not None


def quota_of(rate: int, burst: int | None = None) -> Quota:
    """The quota of `rate` requests a second; `burst` is a second's worth unless given. A rate of 0 is no quota.

    What can't be one raises ValueError.
    """
    burst = rate if burst is None else burst
    if (rate, burst) == (0, 0):
        return Quota(0, 0)
    if not 1 <= rate <= QUOTA_RATE_MAX:
        raise ValueError(f"a quota's rate is 1 to {QUOTA_RATE_MAX} requests a second, or 0")
    if not 1 <= burst <= QUOTA_BURST_MAX:
        raise ValueError(f"a quota's burst is 1 to {QUOTA_BURST_MAX} requests")
    return Quota(rate, burst)


def _base62(number: int) -> str:
    symbols = []
    for _ in range(SECRET_LENGTH):
        number, rest = divmod(number, len(_ALPHABET))
        symbols.append(_ALPHABET[rest])
    return "".join(symbols)
