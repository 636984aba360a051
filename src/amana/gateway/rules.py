"""What each route asks of a request, worked out once when the application is built."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

OPEN_PATHS = ("/livez", "/readyz", "/metrics", "/schema")
"""The paths, with what lies below them, that need no key."""

_RULE = "amana.rule"


class QueryParameter(msgspec.Struct, frozen=True):
    """One declared query parameter: its type as written, with msgspec's bounds."""

    type: Any
    required: bool
    repeats: bool


class Rule(msgspec.Struct, frozen=True):
    """`scopes` is empty for an open route; any one of them is enough. `query` is by name; `body` is the declared type,
    None where the route takes none."""

    scopes: frozenset[str]
    query: dict[str, QueryParameter]
    body: Any
    body_optional: bool
    body_max_bytes: int


def rule_of(handler: HTTPRouteHandler) -> Rule:
    """The rule that `attach_rules` gave this handler."""
    rule: Rule = handler.opt[_RULE]
    return rule


def attach_rules(app: Litestar, body_max_bytes: int, body_max_by_path: Mapping[str, int]) -> None:
    """Gives every handler its rule. A route without a scope, or a bound for a path that is not there, is a bug."""
    paths = set()
    for route, handler in _handlers(app):
        paths.add(route.path)
        bound = body_max_by_path.get(route.path, body_max_bytes)
        handler.opt[_RULE] = _rule(route, handler, bound)
    missing = sorted(set(body_max_by_path) - paths)
    assert not missing, f"no route has the path {missing[0]}"


def is_open(path: str) -> bool:
    """Whether a path needs no key."""
    return any(path == known or path.startswith(f"{known}/") for known in OPEN_PATHS)


def _handlers(app: Litestar) -> Iterator[tuple[HTTPRoute, HTTPRouteHandler]]:
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            yield from ((route, handler) for handler in route.route_handlers)


def _rule(route: HTTPRoute, handler: HTTPRouteHandler, body_max_bytes: int) -> Rule:
    method = next(iter(handler.http_methods))
    scope = handler.opt.get("scope", ())
    scopes = frozenset((scope,) if isinstance(scope, str) else scope)
    assert scopes or is_open(route.path) or method == "OPTIONS", f"{method} {route.path} declares no scope"
    model = route.route_handler_map[method][1]
    field = handler.parsed_data_field
    return Rule(
        scopes=scopes,
        query={
            parameter.field_alias: QueryParameter(
                type=handler.parsed_fn_signature.parameters[parameter.field_name].raw,
                required=bool(parameter.is_required),
                repeats=parameter.field_alias in model.sequence_query_parameter_names,
            )
            for parameter in model.expected_query_params
        },
        body=field.raw if field else None,
        body_optional=bool(field and field.is_optional),
        body_max_bytes=body_max_bytes,
    )
