"""Checks a query string against the parameters that a route declares. Pure.

The framework drops msgspec's bounds from a parameter's type, ignores names that it does not know and takes the last of
two; here each of these is a fault that is named.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, get_args
from urllib.parse import parse_qsl

import msgspec

from amana.gateway.rules import QueryParameter
from amana.wire.problems import FieldError

QUERY_PARAMETERS_MAX = 50
_NAME_MAX = 100


def query_errors(query: bytes, declared: Mapping[str, QueryParameter]) -> list[FieldError]:
    """Everything that is wrong with the query string; its parameters are named as `?name`."""
    if not query and not declared:
        return []
    try:
        pairs = parse_qsl(
            query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=QUERY_PARAMETERS_MAX
        )
    except ValueError:
        return [FieldError("?", "malformed", "The query is not well-formed UTF-8, or has too many parameters.")]
    given: dict[str, list[str]] = {}
    for name, value in pairs:
        given.setdefault(name, []).append(value)
    unknown = [name[:_NAME_MAX] for name in given if name not in declared]
    errors = [FieldError(f"?{name}", "unknown_parameter", "No such parameter.") for name in unknown]
    for name, parameter in declared.items():
        errors += _value_errors(f"?{name}", given.get(name, []), parameter)
    return errors


def _value_errors(pointer: str, values: list[str], parameter: QueryParameter) -> list[FieldError]:
    if not values:
        return [FieldError(pointer, "missing", "The parameter is required.")] if parameter.required else []
    if len(values) > 1 and not parameter.repeats:
        return [FieldError(pointer, "duplicate_parameter", "The parameter comes more than once.")]
    if any("\x00" in value for value in values):
        return [FieldError(pointer, "nul", "The character U+0000 is not accepted.")]
    try:
        # Not strict, for numbers: a query is all text. But then a number would be an instant.
        strict = _holds_instant(parameter.type)
        msgspec.convert(values if parameter.repeats else values[0], parameter.type, strict=strict)
    except msgspec.ValidationError as error:
        return [FieldError(pointer, "invalid", f"{error}.")]
    return []


def _holds_instant(type_: Any) -> bool:
    return type_ is datetime or any(_holds_instant(part) for part in get_args(type_))
