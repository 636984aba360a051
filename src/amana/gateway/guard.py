"""Who may pass, checked before a byte of the body is read: key, scope, tenant, quota, Accept, path and query.

A client's deadline holds from here on. The quota counts requests whose key may use the route: nobody pays for one that
only claims to be theirs.
"""

import re
import time
from collections.abc import Collection
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler

from amana.domain.reasons import Reason
from amana.gateway.caller import INTERNAL, TENANT_HEADER, Caller, visit_of
from amana.gateway.keyring import KeyRing
from amana.gateway.query import query_errors
from amana.gateway.quota import Quotas
from amana.gateway.rules import Rule, rule_of
from amana.infra import deadline
from amana.wire.problems import FieldError, Refused

_TIMEOUT = re.compile(r"[1-9][0-9]{0,8}")
_BAD_TIMEOUT = FieldError(deadline.HEADER, "invalid", "Milliseconds, as a decimal integer from 1 on; once.")
_TENANT = re.compile(r"0|[1-9][0-9]{0,8}")
_ANSWERS = {"*/*", "application/*", "application/json", "application/problem+json"}
_NO_QUALITY = re.compile(r"q=0(\.0*)?")

Connection = ASGIConnection[HTTPRouteHandler, Any, Any, Any]


class Guard:
    """Litestar calls it for every request that found its route."""

    def __init__(self, keys: KeyRing, quotas: Quotas) -> None:
        self._keys = keys
        self._quotas = quotas

    async def __call__(self, connection: Connection, _handler: BaseRouteHandler) -> None:
        """Lets the request pass and notes its caller, or raises `Refused` or `DatabaseUnavailable`."""
        rule = rule_of(connection.route_handler)
        if not rule.scopes:
            return
        timeouts = connection.headers.getall(deadline.HEADER, [])
        if timeouts:
            enter_timeout(timeouts[0], rule.timeout_max_s)
        await self._authenticate(connection, rule)
        if not accepts_json(connection.headers.get("accept", ""), rule.answers):
            raise Refused(Reason.NOT_ACCEPTABLE)
        if any(isinstance(value, str) and "\x00" in value for value in connection.path_params.values()):
            raise Refused(Reason.NOT_FOUND)  # no name holds a NUL, and PostgreSQL takes none
        if errors := query_errors(connection.scope["query_string"], rule.query):
            raise Refused(Reason.VALIDATION, errors=errors)
        if timeouts and (len(timeouts) != 1 or timeout_in(timeouts[0]) is None):
            raise Refused(Reason.VALIDATION, errors=[_BAD_TIMEOUT])

    async def _authenticate(self, connection: Connection, rule: Rule) -> None:
        sent = connection.headers.getall("authorization", [])
        stored = await self._keys.caller_for(sent[0]) if len(sent) == 1 else None
        if stored is None:
            raise Refused(Reason.UNAUTHENTICATED)
        named = connection.headers.getall(TENANT_HEADER, [])
        if named and INTERNAL not in stored.scopes:
            raise Refused(Reason.SCOPE_MISSING, f"Only a key with scope {INTERNAL} may send {TENANT_HEADER}.")
        if not rule.scopes & stored.scopes:
            raise Refused(Reason.SCOPE_MISSING, f"The route needs the scope {' or '.join(sorted(rule.scopes))}.")
        visit = visit_of(connection.scope)
        visit.caller = Caller(
            tenant=_named_tenant(named) if named else stored.tenant,
            key_id=stored.key_id,
            scopes=stored.scopes,
            trace=visit.trace_id,
            request_id=visit.request_id,
        )
        if exceeded := self._quotas.take(stored):
            raise exceeded


def enter_timeout(text: str, maximum_s: float) -> None:
    """Begins the deadline that `text` asks for; one that can't be read is refused later, once its sender is known."""
    timeout_s = timeout_in(text)
    if timeout_s is not None:
        deadline.enter(time.monotonic() + min(timeout_s, maximum_s))


def timeout_in(text: str) -> float | None:
    """The seconds that a `X-Request-Timeout` header spells in milliseconds, if it does."""
    return int(text) / 1000 if _TIMEOUT.fullmatch(text) else None


def provide_caller(request: Connection) -> Caller:
    """The dependency `caller`. A handler that asks for it on an open route is a bug."""
    caller = visit_of(request.scope).caller
    assert caller is not None, "an open route has no caller"
    return caller


def accepts_json(accept: str, beside: Collection[str] = ()) -> bool:
    """Whether an `Accept` header (empty when absent) allows JSON, or what there is `beside` it. RFC 9110, 12.5.1."""
    if not accept:
        return True
    for item in accept.split(","):
        media, *parameters = (part.strip().lower() for part in item.split(";"))
        if (media in _ANSWERS or media in beside) and not any(_NO_QUALITY.fullmatch(p) for p in parameters):
            return True
    return False


def _named_tenant(named: list[str]) -> int:
    if len(named) != 1 or not _TENANT.fullmatch(named[0]):
        error = FieldError(TENANT_HEADER, "invalid", "One tenant, as a decimal integer.")
        raise Refused(Reason.VALIDATION, errors=[error])
    return int(named[0])
