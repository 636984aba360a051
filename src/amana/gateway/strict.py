"""Decodes a request body: strictly, whole, and with every fault named.

What is accepted is I-JSON (RFC 7493) of exactly the declared type. The standard library's parser sees what a typed
decoder never shows: repeated names, numbers without bound, NaN. Almost every good body can do without it, because one
count tells that no name is repeated (`_decode_plain`); whatever is left goes through it first.
"""

import json
from functools import lru_cache
from typing import Any, NoReturn, TypeVar, cast

import msgspec

from amana.domain.reasons import Reason
from amana.gateway.explain import Tree, explain, is_bounded, is_open, structural_errors
from amana.gateway.oddities import Odd, RepeatedNames, Suspicious
from amana.wire.problems import FieldError

T = TypeVar("T")

_CONTAINERS = frozenset({dict, list})
_any = msgspec.json.Decoder()

BODY_MAX_BYTES = 1 << 20
"""The longest body that is read, where a route has no bound of its own."""
INTEGER_DIGITS_MAX = 16
"""2^53 - 1 has 16 digits; with a sign, 17 characters."""


class BodyError(Exception):
    """The body is refused. `errors` lists what is wrong with it, at most 20 faults, never none."""

    def __init__(self, reason: Reason, errors: list[FieldError]) -> None:
        super().__init__(reason, errors)
        self.reason = reason
        self.errors = errors


def decode_strict(body: bytes, type_: type[T]) -> T:
    """`body` as a `type_`, or `BodyError`. Pure; no other exception leaves it."""
    plain = _plain(type_)  # type: ignore[arg-type] # mypy takes a class for no hashable value
    if plain is not None and (decoded := plain.decoded(body)) is not None:
        return cast("T", decoded)
    tree = _parse(body)
    if is_open(cast(Any, type_)) and (errors := structural_errors(tree)):
        raise BodyError(Reason.MALFORMED_JSON, errors)
    try:
        return cast(T, _decoder(cast(Any, type_)).decode(body))
    except (msgspec.DecodeError, RecursionError):
        errors = explain(tree, type_)
        too_long = any(error.code == "too_many_items" for error in errors)
        raise BodyError(Reason.BODY_TOO_LARGE if too_long else Reason.VALIDATION, errors) from None


class _Plain:
    """Decodes bodies about which nothing can be odd.

    Each member of an object has one colon of its own. So where a body has as many colons as it has members with
    different names, no name stands twice and no text has a colon; where it has as many as its type has members that
    must be there, those are they. A lone half of a surrogate pair and U+0000 need a backslash. Everything else is the
    typed decoder's to judge, where the type bounds depth and numbers.
    """

    __slots__ = ("_decode", "_least")

    def __init__(self, type_: Any) -> None:
        self._decode = _decoder(type_).decode
        self._least = _least_members(type_)

    def decoded(self, body: bytes) -> Any | None:
        """The value; None says nothing."""
        if b"\\" in body:
            return None
        try:
            value = self._decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        colons = body.count(b":")
        return value if colons == self._least or colons == _members(_any.decode(body)) else None


@lru_cache(maxsize=1_000)
def _plain(type_: Any) -> _Plain | None:
    return _Plain(type_) if is_bounded(type_) else None


def _least_members(type_: Any) -> int:
    """How many members of different names every good body of the type has at its top; -1 where it is no object."""
    described = msgspec.inspect.type_info(type_)
    if not isinstance(described, msgspec.inspect.StructType) or described.array_like:
        return -1
    return sum(field.required for field in described.fields) or -1


def _members(tree: Tree) -> int:
    if type(tree) is dict:
        return len(tree) + sum([_members(value) for value in tree.values() if type(value) in _CONTAINERS])
    return sum([_members(value) for value in tree if type(value) in _CONTAINERS]) if type(tree) is list else 0


def _parse(body: bytes) -> Tree:
    """The body as plain values, once nothing about its structure is odd."""
    try:
        text = body.decode("utf-8")
        tree = _QUICK.decode(text)
    except UnicodeDecodeError as error:
        _malformed("not_utf8", f"Byte {error.start} is not UTF-8.")
    except RecursionError:
        _malformed("too_deep", "Nested too deeply.")
    except json.JSONDecodeError as error:
        _malformed("not_json", f"{error.msg}, at line {error.lineno} column {error.colno}.")
    except Suspicious:
        _raise_structural(text)
    if "\\u" in text and (errors := structural_errors(tree)):
        raise BodyError(Reason.MALFORMED_JSON, errors)
    return cast(Tree, tree)


def _raise_structural(text: str) -> NoReturn:
    """Parses again, keeping what was odd in its place, and names each by pointer."""
    try:
        tree = _PATIENT.decode(text)
    except (json.JSONDecodeError, RecursionError):
        _malformed("not_json", "Not one well-formed JSON value.")
    errors = structural_errors(tree)
    numbers = {"integer_too_large", "not_a_number"}
    only_numbers = all(error.code in numbers for error in errors)
    raise BodyError(Reason.VALIDATION if only_numbers else Reason.MALFORMED_JSON, errors)


def _malformed(code: str, detail: str) -> NoReturn:
    raise BodyError(Reason.MALFORMED_JSON, [FieldError("", code, detail)]) from None


@lru_cache(maxsize=1_000)
def _decoder(type_: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(type_)


def _quick_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Suspicious
    return found


def _quick_integer(digits: str) -> int:
    if len(digits) > INTEGER_DIGITS_MAX + 1:
        raise Suspicious
    return int(digits)


def _quick_float(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise Suspicious
    return number


def _quick_constant(name: str) -> NoReturn:
    raise Suspicious


def _patient_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else RepeatedNames(pairs)


def _patient_integer(digits: str) -> int | Odd:
    return int(digits) if len(digits) <= INTEGER_DIGITS_MAX + 1 else Odd("integer_too_large")


def _patient_float(digits: str) -> float | Odd:
    number = float(digits)
    return Odd("not_a_number") if number in (float("inf"), float("-inf")) else number


_QUICK = json.JSONDecoder(
    object_pairs_hook=_quick_object,
    parse_int=_quick_integer,
    parse_float=_quick_float,
    parse_constant=_quick_constant,
)
_PATIENT = json.JSONDecoder(
    object_pairs_hook=_patient_object,
    parse_int=_patient_integer,
    parse_float=_patient_float,
    parse_constant=lambda _: Odd("not_a_number"),
)
