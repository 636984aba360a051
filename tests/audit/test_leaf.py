"""The short way to read a leaf says what the long way says, or nothing."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from amana.audit.leaf import Leaf, Malformed, _read_any, _read_plain, read_leaf
from amana.domain.events import MAX_INTEGER, Aggregate, Event, event_bytes

START = datetime(2026, 3, 1, 9, 0, 0, 1, tzinfo=UTC)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abcXYZ_", max_size=4), inner, max_size=3),
    max_leaves=8,
)
datas = st.dictionaries(st.sampled_from(["amount", "customer", "a", "z"]), values, max_size=4)


def body(data: Any, **more: Any) -> bytes:
    event = {
        "event_id": UUID(int=5),
        "tenant": 1,
        "type": "TransferPosted",
        "version": 1,
        "occurred_at": START,
        "aggregate": Aggregate("transfer", UUID(int=6), 1),
        "actor": "system:test",
        "trace": "",
        "data": data,
    }
    return event_bytes(Event(**{**event, **more}))


def long_way(given_bytes: bytes) -> Leaf | None:
    try:
        return _read_any(7, given_bytes)
    except Malformed:
        return None


PLAIN = body({"amount": 5, "customer": str(UUID(int=9))})


@given(data=datas, micros=st.integers(0, 3), text=st.text(max_size=4))
def test_an_event_is_read_the_same_either_way(data: dict[str, Any], micros: int, text: str) -> None:
    written = body(data, occurred_at=START + timedelta(microseconds=micros - 1), actor=text, trace=text)
    expected = long_way(written)
    assert _read_plain(7, written) in (None, expected)
    if expected:
        assert read_leaf(7, written) == expected


@given(at=st.integers(0, len(PLAIN) - 1), other=st.binary(max_size=3), width=st.integers(0, 3))
@example(PLAIN.index(b"000001Z"), b"000000Z", 7)
@example(PLAIN.index(b"000001Z"), b"000001+00:00", 7)
@example(PLAIN.index(b"000001Z"), b"000001+01:00", 7)
@example(PLAIN.index(b"000001Z"), b"000001z", 7)
@example(PLAIN.index(b"000001Z"), b"000001", 7)
@example(PLAIN.index(b"5,"), b"5.0", 1)
@example(PLAIN.index(b"5,"), b"-0", 1)
@example(PLAIN.index(b"5,"), b"9007199254740992", 1)
@example(PLAIN.index(b"5,"), b"18446744073709551616", 1)
@example(PLAIN.index(b"system"), b"\\u0000", 0)
@example(PLAIN.index(b"system"), b"\\u0041", 0)
@example(PLAIN.index(b"system"), "é".encode(), 0)
@example(PLAIN.index(b'"tenant":1'), b'"tenant":-1', 10)
@example(PLAIN.index(b'"tenant":1'), b'"tenant":1,"tenant":1', 10)
@example(PLAIN.index(b'"tenant":1'), b'"tenanu":0,"tenant":1', 10)
@example(0, b" ", 0)
def test_bytes_that_were_changed_are_never_taken_the_short_way_when_the_long_one_refuses(
    at: int, other: bytes, width: int
) -> None:
    changed = PLAIN[:at] + other + PLAIN[at + width :]
    assert _read_plain(7, changed) in (None, long_way(changed))


def test_a_plain_event_takes_the_short_way() -> None:
    short = _read_plain(7, PLAIN)
    assert short is not None and short == long_way(PLAIN)
    assert short.customer == UUID(int=9) and short.occurred_at == START


@pytest.mark.parametrize(
    "customer", ["", "me", str(UUID(int=9)).upper(), UUID(int=9).hex, f"{{{UUID(int=9)}}}", 5, None]
)
def test_a_customer_is_read_from_whatever_spelling_it_has(customer: object) -> None:
    read = read_leaf(7, body({"customer": customer}))
    assert read.customer == (UUID(int=9) if isinstance(customer, str) and len(customer) > 30 else None)


@pytest.mark.parametrize("data", [[], "text", 5, None, True])
def test_data_need_not_be_an_object(data: Any) -> None:
    assert read_leaf(7, body(data)).customer is None
