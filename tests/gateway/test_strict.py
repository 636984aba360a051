"""The strict decoder as a function: it agrees with the typed decoder on what is good and never fails in another way."""

import json
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from amana.domain.reasons import Reason
from amana.gateway.strict import BodyError, decode_strict
from amana.wire.common import Amount, AmountOrZero, Instant, Request


class Colour(StrEnum):
    RED = "red"


class Leg(Request):
    account: UUID
    amount: Amount


class Order(Request):
    id: UUID
    legs: Annotated[list[Leg], Meta(min_length=1, max_length=4)]
    at: Instant | None = None
    on: date | None = None
    fee: AmountOrZero = 0
    colour: Colour = Colour.RED
    tags: dict[str, int] = msgspec.field(default_factory=dict)
    name: Annotated[str, Meta(max_length=5, pattern="^[a-z]*$")] = ""
    spots: Annotated[tuple[AmountOrZero, ...], Meta(max_length=3)] = ()
    pair: tuple[int, str] = (0, "")


LEGS = st.builds(Leg, account=st.uuids(), amount=st.integers(1, 2**53 - 1))
ORDERS = st.builds(
    Order,
    id=st.uuids(),
    legs=st.lists(LEGS, min_size=1, max_size=4),
    at=st.none() | st.datetimes(timezones=st.just(UTC)),
    on=st.none() | st.dates(),
    fee=st.integers(0, 2**53 - 1),
    tags=st.dictionaries(st.text(st.characters(exclude_characters="\x00", codec="utf-8")), st.integers(-9, 9)),
    name=st.text("abc", max_size=5),
)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(ORDERS, st.sampled_from([None, 2]), st.booleans())
def test_what_is_good_is_decoded_however_it_is_spelled(order: Order, indent: int | None, ascii_only: bool) -> None:
    plain = json.loads(msgspec.json.encode(order))
    assert decode_strict(json.dumps(plain, indent=indent, ensure_ascii=ascii_only).encode(), Order) == order


@given(st.binary(max_size=200))
def test_no_bytes_make_it_fail_in_another_way(body: bytes) -> None:
    with pytest.raises(BodyError) as caught:
        decode_strict(body, Order)
    assert caught.value.errors


@given(ORDERS, st.sampled_from(["id", "legs", "at", "on", "fee", "colour", "tags", "name", "new"]), JSON_VALUES)
def test_any_value_in_any_field_is_decoded_or_named(order: Order, field: str, value: Any) -> None:
    tree = json.loads(msgspec.json.encode(order)) | {field: value}
    body = json.dumps(tree).encode()
    try:
        decoded = decode_strict(body, Order)
    except BodyError as error:
        assert all(fault.pointer.startswith(f"/{field}") for fault in error.errors)
        assert msgspec.json.encode(error.errors)
    else:
        assert decoded == msgspec.json.decode(body, type=Order)


@given(JSON_VALUES)
def test_any_json_is_taken_or_refused_as_an_open_document(value: Any) -> None:
    try:
        decode_strict(json.dumps({"a": value}).encode(), dict[str, Any])
    except BodyError as error:
        codes = {"nul", "lone_surrogate", "integer_too_large", "not_a_number"}
        assert {fault.code for fault in error.errors} <= codes


# The decoder's own words are turned into codes: these lines hold that to the version of msgspec in use.
CODES = r"""
"at": "2026-01-01T00:00:00"          | /at invalid
"at": "2026-01-01T00:00:00Z"         |
"at": 5                              | /at wrong_type
"on": "2026-13-01"                   | /on invalid
"fee": -1                            | /fee out_of_range
"colour": "blue"                     | /colour invalid
"colour": 1                          | /colour wrong_type
"tags": {"a": "b", "c": 1.5}         | /tags/a wrong_type, /tags/c wrong_type
"tags": []                           | /tags wrong_type
"name": "abcdef"                     | /name out_of_range
"name": "A"                          | /name invalid
"legs": []                           | /legs out_of_range
"legs": [{}, 1]                      | /legs/0/account missing, /legs/0/amount missing, /legs/1 wrong_type
"legs": [{"account": null, "b": 1}]  | /legs/0/account wrong_type, /legs/0/amount missing, /legs/0/b unknown_field
"spots": [1, -1, "a"]                | /spots/1 out_of_range, /spots/2 wrong_type
"spots": [1, 1, 1, 1]                | /spots out_of_range
"pair": [0, 1]                       | /pair/1 wrong_type
"fee": 1, "fee": 1                   | /fee duplicate_field
"tags": {"a": 1, "a": 1}             | /tags/a duplicate_field
"tags": {"a": 1e999}                 | /tags/a not_a_number
"""


@pytest.mark.parametrize("line", CODES.strip().splitlines())
def test_each_fault_has_its_code(line: str) -> None:
    fields, faults = (part.strip() for part in line.split(" |"))
    leg = '{"account": "0190c7a2-1111-7000-8000-000000000001", "amount": 1}'
    legs = "" if '"legs"' in fields else f', "legs": [{leg}]'
    body = f'{{"id": "0190c7a2-1111-7000-8000-000000000001", {fields}{legs}}}'
    told = []
    try:
        decode_strict(body.encode(), Order)
    except BodyError as error:
        told = [f"{fault.pointer} {fault.code}" for fault in error.errors]
    assert ", ".join(told) == faults


def test_one_bad_item_among_thousands_is_named_and_a_long_list_is_too_large() -> None:
    class Orders(Request):
        legs: Annotated[list[Leg], Meta(max_length=5_000)]

    leg: dict[str, Any] = {"account": "0190c7a2-1111-7000-8000-000000000001", "amount": 1}
    with pytest.raises(BodyError) as bad:
        decode_strict(json.dumps({"legs": [leg] * 4_999 + [leg | {"amount": "1"}]}).encode(), Orders)
    assert [error.pointer for error in bad.value.errors] == ["/legs/4999/amount"]
    with pytest.raises(BodyError) as long:
        decode_strict(json.dumps({"legs": [leg] * 5_001}).encode(), Orders)
    assert long.value.reason is Reason.BODY_TOO_LARGE


@pytest.mark.parametrize("body", [b"[" * 1_000_000, b'{"a":' * 200_000, b'{"id":' + b"[" * 500 + b"]" * 500 + b"}"])
def test_depth_never_overflows_the_stack(body: bytes) -> None:
    with pytest.raises(BodyError):
        decode_strict(body, Order)
    with pytest.raises(BodyError):
        decode_strict(body, dict[str, Any])


def test_an_integer_of_a_million_digits_is_refused_at_once() -> None:
    with pytest.raises(BodyError) as caught:
        decode_strict(b'{"id":"x","fee":' + b"9" * 1_000_000 + b"}", Order)
    assert [error.code for error in caught.value.errors] == ["integer_too_large"]


def test_instants_keep_their_meaning() -> None:
    class Moment(Request):
        at: Instant

    assert decode_strict(b'{"at":"2026-01-01T01:00:00+01:00"}', Moment).at == datetime(2026, 1, 1, tzinfo=UTC)
