"""The published JSON Schema and the decoder agree on what a policy document is."""

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.domain.policy_model import SHIPPED
from tests.domain.test_policy import FAULTS, NO_POLICIES, TOO_MANY, Change, document

from amana.domain.policy import Policy
from amana.domain.policy_schema import policy_schema
from amana.gateway.strict import BodyError, decode_strict

SCHEMA = json.loads(policy_schema())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def both_take(plain: Any) -> tuple[bool, bool]:
    """Whether the schema takes a document, and whether the decoder does. They differ on `5.0` alone."""
    try:
        decode_strict(json.dumps(plain).encode(), Policy)
    except BodyError:
        return VALIDATOR.is_valid(plain), False
    return VALIDATOR.is_valid(plain), True


def test_it_is_a_schema_of_its_dialect_and_is_named_by_no_host() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$id"].startswith("urn:")


@pytest.mark.parametrize("name", SHIPPED)
def test_both_take_the_shipped_policies(name: str) -> None:
    assert both_take(document(name)) == (True, True)


@pytest.mark.parametrize("change", NO_POLICIES)
def test_both_refuse_a_document_of_another_shape(change: Change) -> None:
    changed = document()
    change(changed)
    whole = isinstance(product := changed["caps"]["product"], float) and product.is_integer()
    assert both_take(changed) == (whole, False)


@pytest.mark.parametrize("change", [row[1] for row in TOO_MANY], ids=[row[0] for row in TOO_MANY])
def test_both_refuse_what_is_too_long(change: Change) -> None:
    changed = document()
    change(changed)
    assert both_take(changed) == (False, False)


@pytest.mark.parametrize("change", [row[1] for row in FAULTS], ids=[row[0] for row in FAULTS])
def test_both_take_what_only_checking_finds(change: Change) -> None:
    changed = document()
    change(changed)
    assert both_take(changed) == (True, True)


def places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Where something stands in a document: every member and item, however deep."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path + step for name, item in inside for step in [(name,), *(((name, *p)) for p in places(item))]]


ODD = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text("ab_ \n9", max_size=3) | st.just(0.5)
PLACES = places(document())


@given(st.sampled_from(PLACES), ODD | st.lists(ODD, max_size=2) | st.dictionaries(st.just("from"), ODD))
def test_both_say_the_same_of_anything_anywhere_in_a_document(path: tuple[str | int, ...], odd: Any) -> None:
    changed: Any = document()
    parent = changed
    for step in path[:-1]:
        parent = parent[step]
    parent[path[-1]] = odd
    by_schema, by_decoder = both_take(changed)
    assert by_schema == by_decoder
