"""Ids and the shard that they carry."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amana.domain.account import exposure_account_id, fee_account_id, principal_account_id, wallet_account_id
from amana.domain.ids import (
    BUCKETS,
    bucket_of,
    derived_id,
    first_bucket,
    first_of_many,
    shard_of,
    system_account_id,
    uuid7,
)

SHARD_COUNTS = (1, 3, 8)
ids = st.uuids()
shard_counts = st.integers(1, BUCKETS)


@pytest.mark.parametrize(
    ("last_digits", "of_1", "of_3", "of_8"),
    [
        ("000", 0, 0, 0),
        ("1ff", 0, 0, 0),
        ("200", 0, 0, 1),
        ("555", 0, 0, 2),
        ("556", 0, 1, 2),
        ("aaa", 0, 1, 5),
        ("aab", 0, 2, 5),
        ("fff", 0, 2, 7),
    ],
)
def test_the_last_twelve_bits_of_an_id_decide_its_shard(last_digits: str, of_1: int, of_3: int, of_8: int) -> None:
    id_ = UUID(f"01234567-89ab-7cde-8f01-234567890{last_digits}")
    assert tuple(shard_of(id_, shards) for shards in SHARD_COUNTS) == (of_1, of_3, of_8)


@given(ids, shard_counts)
def test_every_id_has_a_shard_whatever_their_number(id_: UUID, shards: int) -> None:
    assert 0 <= shard_of(id_, shards) < shards


@pytest.mark.parametrize("shards", SHARD_COUNTS)
def test_shards_share_the_buckets_evenly_and_in_order(shards: int) -> None:
    placed = [shard_of(UUID(int=bucket), shards) for bucket in range(BUCKETS)]
    sizes = [placed.count(shard) for shard in range(shards)]
    assert placed == sorted(placed)
    assert max(sizes) - min(sizes) <= 1
    assert [placed.index(shard) for shard in range(shards)] == [first_bucket(shard, shards) for shard in range(shards)]


@given(ids, st.text())
def test_a_part_of_a_thing_stays_in_the_bucket_of_the_thing(base: UUID, label: str) -> None:
    part = derived_id(base, label)
    assert bucket_of(part) == bucket_of(base)
    assert part == derived_id(base, label)
    assert (part.version, part.variant) == (8, "specified in RFC 4122")


@given(ids)
def test_the_parts_of_a_thing_differ(base: UUID) -> None:
    parts = [
        exposure_account_id(base, "NGN"),
        exposure_account_id(base, "USD"),
        wallet_account_id(base, "NGN"),
        principal_account_id(base),
        fee_account_id(base),
    ]
    assert len({base, *parts}) == 6


@pytest.mark.parametrize("shards", SHARD_COUNTS)
def test_a_tenants_system_account_exists_in_each_shard(shards: int) -> None:
    made = [system_account_id(7, "NGN", "funding", shard, shards) for shard in range(shards)]
    assert [shard_of(id_, shards) for id_ in made] == list(range(shards))
    assert len(set(made)) == shards


@given(st.integers(0, 2**31 - 1), st.integers(0, 2**31 - 1))
def test_two_tenants_share_no_system_account(one: int, other: int) -> None:
    same = system_account_id(one, "NGN", "funding", 0, 1) == system_account_id(other, "NGN", "funding", 0, 1)
    assert same == (one == other)


@given(st.integers(0, 2**48 - 1), st.integers(0, 2**74 - 1))
def test_a_uuid7_holds_its_time_its_version_and_all_its_random_bits(unix_ms: int, random_bits: int) -> None:
    made = uuid7(unix_ms, random_bits)
    assert made.int >> 80 == unix_ms
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    rand_a, rand_b = made.int >> 64 & 0xFFF, made.int & (1 << 62) - 1
    assert rand_a << 62 | rand_b == random_bits


@given(st.integers(0, 2**48 - 2), st.integers(0, 2**74 - 1), st.integers(0, 2**74 - 1))
def test_a_later_uuid7_is_the_greater_one(unix_ms: int, before: int, after: int) -> None:
    assert uuid7(unix_ms, before) < uuid7(unix_ms + 1, after)


@given(st.integers(0, 2**48 - 1), st.integers(0, 2**74 - 1), st.integers(0, BUCKETS - 1))
def test_a_uuid7_can_be_made_for_a_bucket(unix_ms: int, random_bits: int, bucket: int) -> None:
    made = uuid7(unix_ms, random_bits, bucket)
    assert bucket_of(made) == bucket
    assert made.int >> 12 == uuid7(unix_ms, random_bits).int >> 12


@given(st.integers(0, 2**48 - 1), st.integers(0, 2**74 - 1), st.integers(0, 1_000_000))
def test_ids_that_are_counted_up_keep_their_time_and_version(unix_ms: int, random_bits: int, count: int) -> None:
    made = UUID(int=first_of_many(unix_ms, random_bits) + count)
    assert made.int >> 80 == unix_ms
    assert (made.version, made.variant) == (7, "specified in RFC 4122")


def test_the_example_of_rfc_9562_comes_out() -> None:
    """RFC 9562, A.6: 2022-02-22T19:22:22Z, rand_a 0xCC3, rand_b 0x18C4DC0C0C07398F without its variant bits."""
    random_bits = 0xCC3 << 62 | 0x18C4DC0C0C07398F & (1 << 62) - 1
    assert uuid7(0x017F22E279B0, random_bits) == UUID("017F22E2-79B0-7CC3-98C4-DC0C0C07398F")
