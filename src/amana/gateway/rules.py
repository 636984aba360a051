"""What each route asks of a request, worked out once when the application is built."""

import asyncio
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from amana.gateway.caller import Caller

OPEN_PATHS = ("/livez", "/readyz", "/metrics", "/schema")
"""The paths, with what lies below them, that need no key."""


class Begun(NamedTuple):
    """A request of a hot route that is being worked on: awaited, it gives the response.

    `respond` makes the response of the future's result, or raises. Cancelling the future takes the request out of a
    batch that has not begun and never stops one that has: it is a place in a queue, not the task that does the work.
    """

    future: asyncio.Future[Any]
    respond: Callable[[Any], Any]

    def __await__(self) -> Generator[Any, None, Any]:
        return self.respond((yield from self.future))


Begin: TypeAlias = Callable[[Any, Caller, Any], Begun | None]
"""Takes a request of a hot route: `begin(state, caller, data)`, with the application's state and the decoded body.

With None it leaves the answer to the ordinary handler; then, and when it raises, it has done nothing.
"""

AtOnce: TypeAlias = Callable[[Any, int, Any], Any | None]
"""Answers a request of a hot route that needs nothing but what is in memory: `at_once(state, tenant, data)` gives the
response, as bytes where it is encoded already, or None for `begin` to take it. It writes nothing, also not to `data`,
and nobody asks it for a trace or an actor."""

TIMEOUT_MAX_S = 15.0
"""Unless the handler declares its own `timeout_max_s`: a place in a queue, then a transaction and its last attempt."""

_RULE = "amana.rule"


class QueryParameter(msgspec.Struct, frozen=True):
    """One declared query parameter: its type as written, with msgspec's bounds."""

    type: Any
    required: bool
    repeats: bool


class Rule(msgspec.Struct, frozen=True):
    """`scopes` is empty for an open route; any one of them is enough. `query` is by name; `body` is the declared type,
    None where the route takes none. `begin` is there for a hot route only. `answers` are the media types that the route
    has beside JSON. `timeout_max_s` bounds how long a client can say that it waits."""

    scopes: frozenset[str]
    query: dict[str, QueryParameter]
    body: Any
    body_optional: bool
    body_max_bytes: int
    begin: Begin | None
    answers: frozenset[str]
    at_once: AtOnce | None
    timeout_max_s: float


def rule_of(handler: HTTPRouteHandler) -> Rule:
    """The rule that `attach_rules` gave this handler."""
    rule: Rule = handler.opt[_RULE]
    return rule


def is_hot(handler: Any) -> bool:
    """Whether a request's handler, None where no route was found, is of a hot route."""
    rule: Rule | None = handler.opt.get(_RULE) if handler else None
    return rule is not None and rule.begin is not None


def hot_routes(app: Litestar) -> Iterator[tuple[HTTPRoute, HTTPRouteHandler]]:
    """The routes whose handler declares `opt={"hot": begin}`, once `attach_rules` has run."""
    return ((route, handler) for route, handler in _handlers(app) if is_hot(handler))


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
        begin=handler.opt.get("hot"),
        answers=frozenset(handler.opt.get("answers", ())),
        at_once=handler.opt.get("at_once"),
        timeout_max_s=handler.opt.get("timeout_max_s", TIMEOUT_MAX_S),
    )
