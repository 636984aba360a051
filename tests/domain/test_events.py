"""The canonical bytes of an event, with the `rfc8785` package as oracle."""

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from amana.domain.events import MAX_INTEGER, Aggregate, Event, MovementData, SideData, event_bytes, utc_text

EVENT_ID = UUID("01890000-0000-7000-8000-000000000001")
LOAN_ID = UUID("01890000-0000-7000-8000-000000000002")
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)

keys = st.text(st.characters(max_codepoint=127), max_size=12)
# Text that UTF-8 can carry: a lone surrogate is no text.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
scalars = st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=12
)
moments = st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))


def event(data: Any, occurred_at: datetime = NOON) -> Event:
    return Event(EVENT_ID, 1, "LoanBooked", 1, occurred_at, Aggregate("loan", LOAN_ID, 3), "key", "", data)


@given(st.dictionaries(keys, values, max_size=6), moments, texts, st.integers(0, MAX_INTEGER))
def test_the_bytes_are_those_of_rfc_8785(data: dict[str, Any], moment: datetime, actor: str, version: int) -> None:
    made = Event(EVENT_ID, 1, "LoanBooked", 1, moment, Aggregate("loan", LOAN_ID, version), actor, "", data)
    body = event_bytes(made)
    assert body == rfc8785.dumps(json.loads(body))
    assert json.loads(body)["data"] == data


ids = st.uuids()
amounts = st.integers(0, MAX_INTEGER)
codes = st.from_regex(r"[a-z][a-z0-9_]{0,39}", fullmatch=True)
sides = st.builds(SideData, ids, amounts, amounts, amounts, amounts, amounts)
OPTIONAL = ("command", "expires_at", "hold", "notes", "reason", "reverses")
movements = st.builds(
    MovementData,
    amount=amounts,
    code=codes,
    command=st.none() | ids,
    credit=sides,
    currency=st.sampled_from(["NGN", "USD"]),
    debit=sides,
    effective_on=st.dates(date(1970, 1, 1), date(2200, 1, 1)),
    expires_at=st.none() | moments.map(utc_text),
    final=st.booleans(),
    hold=st.none() | ids,
    notes=st.none() | st.binary(min_size=32, max_size=32).map(bytes.hex),
    reason=st.none() | codes,
    released=amounts,
    reverses=st.none() | ids,
    transfer=ids,
)


@given(movements)
def test_a_movements_fixed_shape_has_the_bytes_of_rfc_8785_and_of_plain_data(movement: MovementData) -> None:
    body = event_bytes(event(movement))
    data = json.loads(body)["data"]
    assert body == rfc8785.dumps(json.loads(body))
    assert body == event_bytes(event(data))
    assert data["debit"]["account"] == str(movement.debit.account)
    assert {name for name in OPTIONAL if name in data} == {name for name in OPTIONAL if getattr(movement, name)}
    assert ("released" in data, "final" in data) == (movement.released > 0, movement.final)


def test_the_envelope_is_written_in_the_order_of_its_keys() -> None:
    assert event_bytes(event({"b": 1, "a": None})) == (
        b'{"actor":"key","aggregate":{"id":"01890000-0000-7000-8000-000000000002","type":"loan","version":3},'
        b'"data":{"a":null,"b":1},"event_id":"01890000-0000-7000-8000-000000000001",'
        b'"occurred_at":"2026-03-02T12:00:00.000000Z","tenant":1,"trace":"","type":"LoanBooked","version":1}'
    )


@given(st.dictionaries(keys, values, min_size=2, max_size=6), st.randoms(use_true_random=False))
def test_the_order_in_which_the_data_was_put_together_does_not_matter(data: dict[str, Any], random: Any) -> None:
    shuffled = list(data.items())
    random.shuffle(shuffled)
    assert event_bytes(event(data)) == event_bytes(event(dict(shuffled)))


@given(moments, st.integers(-14 * 60, 14 * 60))
def test_one_instant_has_one_spelling(moment: datetime, offset_minutes: int) -> None:
    elsewhere = moment.astimezone(timezone(timedelta(minutes=offset_minutes)))
    assert utc_text(elsewhere) == utc_text(moment)
    assert datetime.fromisoformat(utc_text(moment)) == moment


@dataclass
class Opaque:
    """Not a JSON value."""


@pytest.mark.parametrize(
    "bad",
    [
        1.0,
        float("nan"),
        MAX_INTEGER + 1,
        -MAX_INTEGER - 1,
        2**64,
        b"bytes",
        NOON,
        LOAN_ID,
        {1, 2},
        Opaque(),
        {"naïve": 1},
        {1: "one"},
    ],
    ids=repr,
)
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_what_has_no_single_spelling_is_a_bug_at_any_depth(bad: object, depth: int) -> None:
    for _ in range(depth):
        bad = [{"inner": bad}]
    with pytest.raises(AssertionError):
        event_bytes(event({"value": bad}))


def test_the_largest_integers_are_allowed() -> None:
    assert f"[{MAX_INTEGER},{-MAX_INTEGER}]".encode() in event_bytes(event({"ends": [MAX_INTEGER, -MAX_INTEGER]}))
