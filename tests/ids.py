"""Ids as a lender's program chooses them: the last 12 bits say in which ledger shard a thing lives.

A command's id must fall in the shard of what it moves, so it is made beside that. With one shard every id fits.
"""

from uuid import UUID, uuid4

from amana.domain.ids import BUCKET_MASK, BUCKETS, bucket_of


def in_bucket(bucket: int) -> UUID:
    """A new id in a bucket, 0 to 4095."""
    return UUID(int=uuid4().int & ~BUCKET_MASK | bucket)


def near(place: UUID | str) -> UUID:
    """A new id in the shard of another thing."""
    return in_bucket(bucket_of(UUID(str(place))))


def far(place: UUID | str) -> UUID:
    """A new id in another shard, where there are several."""
    return in_bucket(bucket_of(UUID(str(place))) ^ BUCKETS >> 1)
