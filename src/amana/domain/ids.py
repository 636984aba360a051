"""Identifiers and the ledger shard that they carry.

Ids are UUIDs. The last 12 bits are a bucket; with N shards `shard = bucket * N // 4096`, so routing needs no look-up.
Nothing here reads a clock or a random source: both come in as arguments.
"""

from hashlib import sha256
from uuid import UUID, SafeUUID

BUCKETS = 4096
BUCKET_MASK = BUCKETS - 1
TENANT_PLATFORM = 0
"""The platform itself, for events and keys that belong to no lender."""


def bucket_of(id_: UUID) -> int:
    """The bucket (0 to 4095) in an id's last 12 bits."""
    return id_.int & BUCKET_MASK


def shard_of(id_: UUID, shards: int) -> int:
    """The ledger shard (0 to `shards` - 1) in which an id lives."""
    return 0 if shards == 1 else bucket_of(id_) * shards // BUCKETS


def first_bucket(shard: int, shards: int) -> int:
    """The lowest bucket that falls in `shard`."""
    return -(-shard * BUCKETS // shards)


def uuid7(unix_ms: int, random_bits: int, bucket: int | None = None) -> UUID:
    """A UUIDv7 (RFC 9562, 5.7) from a time in milliseconds and 74 random bits; `bucket` replaces its last 12 bits."""
    return _of(uuid7_number(unix_ms, random_bits, bucket))


def uuid7_number(unix_ms: int, random_bits: int, bucket: int | None = None) -> int:
    """The 128 bits of `uuid7`."""
    rand_a = (random_bits >> 62) & 0xFFF
    rand_b = random_bits & ((1 << 62) - 1)
    if bucket is not None:
        rand_b = (rand_b & ~BUCKET_MASK) | bucket
    return (unix_ms & ((1 << 48) - 1)) << 80 | 0x7 << 76 | rand_a << 64 | 0b10 << 62 | rand_b


def first_of_many(unix_ms: int, random_bits: int) -> int:
    """The 128 bits of a UUIDv7 after which many more follow by counting (RFC 9562, 6.2): a bit is left free for it."""
    return uuid7_number(unix_ms, random_bits & ~(1 << 61))


def derived_id(base: UUID, label: str) -> UUID:
    """The id of a part of `base` (an account of a loan, a leg of a booking): always the same, in the same bucket.

    A UUIDv8 (RFC 9562, 5.8) from SHA-256, so that a retry names the same parts without a look-up.
    """
    digest = int.from_bytes(sha256(base.bytes + label.encode()).digest()[:16], "big")
    return _as_v8(digest, bucket_of(base))


def system_account_id(tenant: int, currency: str, code: str, shard: int, shards: int) -> UUID:
    """The id of a tenant's system sub-account in one shard (funding, fee income, ...): known without a look-up."""
    digest = int.from_bytes(sha256(f"{tenant}/{currency}/{code}/{shard}".encode()).digest()[:16], "big")
    return _as_v8(digest, first_bucket(shard, shards))


def _as_v8(number: int, bucket: int) -> UUID:
    number = number & ~(0xF << 76) | 0x8 << 76
    number = number & ~(0b11 << 62) | 0b10 << 62
    return _of((number & ~BUCKET_MASK) | bucket)


def _of(number: int) -> UUID:
    """The id of 128 bits. `UUID(int=...)` takes four times as long, to look at what is given in five other ways."""
    made = UUID.__new__(UUID)
    object.__setattr__(made, "int", number)
    object.__setattr__(made, "is_safe", SafeUUID.unknown)
    return made
