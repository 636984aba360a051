"""Says everything that is wrong with a body at once, each fault by its RFC 6901 pointer.

Off the fast path: the typed decoder stops at the first fault, so after it failed the declared type is walked beside the
parsed values. The decoder's own words are kept for each leaf.
"""

import re
import types
import typing
from functools import lru_cache
from typing import Annotated, Any, TypeAlias, Union, get_args, get_origin

import msgspec

from amana.gateway.oddities import Odd, RepeatedNames
from amana.wire.problems import FieldError

Tree: TypeAlias = Any
"""A parsed JSON value."""

ERRORS_MAX = 20
NESTING_MAX = 32
_TEXT_MAX = 200

_DETAILS = {
    "duplicate_field": "The name comes more than once.",
    "integer_too_large": "The integer is beyond what JSON readers agree on.",
    "not_a_number": "Not a finite number.",
    "nul": "The character U+0000 is not accepted.",
    "lone_surrogate": "Half of a surrogate pair is not a character.",
    "too_deep": f"Nested more than {NESTING_MAX} deep.",
}
_PATH = re.compile(r" - at `(?:key in )?\$([^`]*)`$")
_BOUND = re.compile(r" [<>]=? |of length|multiple of|out of range")
_INSIDE = {"properties", "items", "prefixItems", "additionalProperties"}
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]")


def structural_errors(tree: Tree) -> list[FieldError]:
    """Faults that no type is needed for: repeated names, odd numbers, characters that can't be stored, depth."""
    errors: list[FieldError] = []
    left: list[tuple[Tree, str, int]] = [(tree, "", 0)]
    while left and len(errors) < ERRORS_MAX:
        value, pointer, depth = left.pop()
        if depth > NESTING_MAX:
            errors.append(_structural(pointer, "too_deep"))
            continue
        errors.extend(_structural(pointer, code) for code in _text_faults(value))
        if isinstance(value, Odd):
            errors.append(_structural(pointer, value.code))
        elif isinstance(value, dict):
            if isinstance(value, RepeatedNames):
                errors.extend(_structural(_at(pointer, name), "duplicate_field") for name in value.names)
            left.extend((item, _at(pointer, name), depth + 1) for name, item in reversed(value.items()))
            errors.extend(_structural(_at(pointer, name), code) for name in value for code in _text_faults(name))
        elif isinstance(value, list):
            left.extend((item, f"{pointer}/{n}", depth + 1) for n, item in reversed([*enumerate(value)]))
    return errors[:ERRORS_MAX]


def explain(tree: Tree, type_: Any) -> list[FieldError]:
    """Why `tree` is not a `type_`: at least one fault, at most 20, in the order of the type's fields."""
    errors: list[FieldError] = []
    _walk(tree, type_, "", errors)
    return errors[:ERRORS_MAX] or [FieldError("", "invalid", "The body does not have the declared shape.")]


@lru_cache(maxsize=1_000)
def is_open(type_: Any) -> bool:
    """Whether values of this type may nest without bound (an `Any` or a bare `dict` inside)."""
    schema = msgspec.json.schema(type_)
    return "{}" in msgspec.json.encode(schema).decode() or _has_bare_object(schema)


@lru_cache(maxsize=1_000)
def is_bounded(type_: Any) -> bool:
    """Whether values of this type have a bounded depth and only integers between bounds for numbers."""
    return not is_open(type_) and not _has_free_number(msgspec.json.schema(type_))


def _has_free_number(schema: Any) -> bool:
    if isinstance(schema, dict):
        kind = schema.get("type")
        free = kind == "number" or (kind == "integer" and not {"minimum", "maximum"} <= schema.keys())
        return free or any(_has_free_number(item) for item in schema.values())
    return isinstance(schema, list) and any(_has_free_number(item) for item in schema)


def _has_bare_object(schema: Any) -> bool:
    if isinstance(schema, dict):
        bare = schema.get("type") in ("object", "array") and not schema.keys() & _INSIDE
        return bare or any(_has_bare_object(item) for item in schema.values())
    return isinstance(schema, list) and any(_has_bare_object(item) for item in schema)


def _walk(value: Tree, type_: Any, pointer: str, errors: list[FieldError]) -> None:
    if len(errors) >= ERRORS_MAX:
        return
    bare = _bare(type_, value)
    before = len(errors)
    if isinstance(bare, type) and issubclass(bare, msgspec.Struct) and isinstance(value, dict):
        _walk_struct(value, bare, pointer, errors)
    elif _is_listing(bare) and isinstance(value, list):
        for n, item in enumerate(value):
            if not _fits(item, get_args(bare)[0]):
                _walk(item, get_args(bare)[0], f"{pointer}/{n}", errors)
        if get_origin(bare) is list:  # a tuple is part of a document: too long is out of its range
            _check_length(value, type_, pointer, errors)
    elif get_origin(bare) is dict and isinstance(value, dict):
        for name, item in value.items():
            _walk(item, get_args(bare)[1], _at(pointer, name), errors)
    if len(errors) == before:
        _check_leaf(value, type_, pointer, errors)


def _walk_struct(value: dict[str, Tree], type_: type[msgspec.Struct], pointer: str, errors: list[FieldError]) -> None:
    config = type_.__struct_config__
    known = {field.encode_name: field for field in msgspec.structs.fields(type_)}
    for name, field in known.items():
        if name in value:
            _walk(value[name], field.type, _at(pointer, name), errors)
        elif field.required:
            errors.append(FieldError(_at(pointer, name), "missing", "The field is required."))
    if config.forbid_unknown_fields:
        unknown = [name for name in value if name not in known and name != config.tag_field]
        errors.extend(
            FieldError(_at(pointer, name), "unknown_field", "No such field.") for name in unknown[:ERRORS_MAX]
        )


def _is_listing(bare: Any) -> bool:
    """Whether it is `list[X]` or `tuple[X, ...]`."""
    return get_origin(bare) is list or (get_origin(bare) is tuple and get_args(bare)[1:] == (...,))


def _fits(value: Tree, type_: Any) -> bool:
    """A quick look, so that one bad item among thousands does not make every good one be walked."""
    try:
        msgspec.convert(value, type_, strict=True)
    except (msgspec.ValidationError, RecursionError):
        return False
    return True


def _check_length(value: list[Tree], type_: Any, pointer: str, errors: list[FieldError]) -> None:
    for meta in getattr(type_, "__metadata__", ()):
        maximum = getattr(meta, "max_length", None)
        if maximum is not None and len(value) > maximum:
            errors.append(FieldError(pointer, "too_many_items", f"At most {maximum} items, not {len(value)}."))


def _check_leaf(value: Tree, type_: Any, pointer: str, errors: list[FieldError]) -> None:
    try:
        msgspec.convert(value, type_, strict=True)
    except (msgspec.ValidationError, RecursionError) as error:
        message = str(error)
        found = _PATH.search(message)
        steps = _STEP.findall(found[1]) if found else []
        below = "".join(f"/{name or number}" for name, number in steps)
        said = _PATH.sub("", message)
        errors.append(FieldError(_short(pointer + below), _code(said), _short(f"{said}.")))


def _code(message: str) -> str:
    """A stable code for the decoder's words; a test holds this to the version of msgspec in use."""
    if ", got " in message:
        return "wrong_type"
    if "unknown field" in message:
        return "unknown_field"
    if "missing required field" in message:
        return "missing"
    return "out_of_range" if _BOUND.search(message) else "invalid"


def _bare(type_: Any, value: Tree) -> Any:
    """The type without its annotations and, for a value that is there, without its `| None`."""
    while get_origin(type_) is Annotated:
        type_ = get_args(type_)[0]
    if get_origin(type_) in (Union, types.UnionType) and value is not None:
        members = [m for m in get_args(type_) if m not in (types.NoneType, msgspec.UnsetType)]
        if len(members) == 1:
            return _bare(members[0], value)
    return typing.cast(Any, type_)


def _text_faults(value: Tree) -> list[str]:
    if not isinstance(value, str):
        return []
    faults = ["nul"] if "\x00" in value else []
    if any("\ud800" <= character <= "\udfff" for character in value):
        faults.append("lone_surrogate")
    return faults


def _structural(pointer: str, code: str) -> FieldError:
    return FieldError(_short(pointer), code, _DETAILS[code])


def _at(pointer: str, name: str) -> str:
    escaped = name.replace("~", "~0").replace("/", "~1").encode("utf-8", "replace").decode().replace("\x00", "\ufffd")
    return _short(f"{pointer}/{escaped}")


def _short(text: str) -> str:
    return text if len(text) <= _TEXT_MAX else f"{text[:_TEXT_MAX]}…"
