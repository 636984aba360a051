"""The edge of a hot route: what `frame`, `guard` and `request` do for a good request, without the framework.

A lane knows only what a good request looks like. Whatever else comes (no key, or one that has to be looked up; another
media type; a bad body) it declines, and the framework answers. What it takes, it answers with the same bytes: status,
headers and their order, body. `tests/gateway/test_hotlane.py` holds both ways to one another.
"""

import asyncio
import re
import time
from contextvars import Context, copy_context
from functools import cached_property
from types import SimpleNamespace
from typing import Any, NamedTuple

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from amana.gateway.caller import TENANT_HEADER, Caller, Visit
from amana.gateway.errors import rendered
from amana.gateway.frame import STANDING, Ids, Sent, durations_of, enter, ids_of, sent_in, tell
from amana.gateway.guard import enter_timeout, timeout_in
from amana.gateway.keyring import KeyRing, claim_of
from amana.gateway.keys import Claim, StoredKey
from amana.gateway.quota import Quotas
from amana.gateway.quota_exceeded import QuotaExceeded
from amana.gateway.request import IDEMPOTENCY_HEADER
from amana.gateway.rules import Begun, hot_routes, rule_of
from amana.gateway.strict import decode_strict
from amana.infra import deadline
from amana.infra.collector import Overloaded
from amana.infra.deadline import DeadlineExceeded
from amana.infra.hotlane import BODY_MAX_BYTES, Answer, HotHead, Lane
from amana.infra.telemetry import is_logged
from amana.wire.problems import MEDIA_TYPE

_ACCEPTED = frozenset({b"", b"*/*", b"application/json"})
_JSON = frozenset({b"application/json", b"application/json; charset=utf-8", b"application/json;charset=utf-8"})
_UNUSUAL = frozenset(name.lower().encode() for name in (TENANT_HEADER, IDEMPOTENCY_HEADER))
_TIMEOUT = deadline.HEADER.lower().encode()
_PATH = re.compile(r"[a-z0-9/-]+")
_HOST = re.compile(rb"[0-9A-Za-z.:\[\]-]*")
_STANDING = STANDING.decode("ascii")
_encoder = msgspec.json.Encoder()


def lanes_of(app: Litestar, keys: KeyRing, quotas: Quotas) -> dict[bytes, Lane]:
    """The lanes of an application's hot routes, by path: those whose handler declares `opt={"hot": begin}`."""
    return {
        route.path.encode("ascii"): Lane(
            method=next(iter(handler.http_methods)).encode("ascii"),
            begin=HotRoute(app, route, handler, keys, quotas).begin,
            body_max_bytes=min(rule_of(handler).body_max_bytes, BODY_MAX_BYTES),
        )
        for route, handler in hot_routes(app)
    }


class HotRoute:
    """One hot route. It has a plain path, one method and a body, and takes no query parameters: else it is a bug."""

    def __init__(
        self, app: Litestar, route: HTTPRoute, handler: HTTPRouteHandler, keys: KeyRing, quotas: Quotas
    ) -> None:
        rule = rule_of(handler)
        assert rule.begin is not None, f"{route.path} is not hot"
        assert _PATH.fullmatch(route.path) and len(handler.http_methods) == 1, f"{route.path} can't be hot: its path"
        assert rule.body and not rule.body_optional, f"{route.path} can't be hot: it needs no body"
        assert rule.scopes and not rule.query, f"{route.path} can't be hot: it is open, or takes parameters"
        self.method = next(iter(handler.http_methods))
        self.path = route.path
        self.status = handler.status_code
        self._app = app
        self._keys = keys
        self._quotas = quotas
        self._scopes = rule.scopes
        self._body = rule.body
        self._begin = rule.begin
        self._at_once = rule.at_once
        self._timeout_max_s = rule.timeout_max_s
        self._durations = durations_of(self.method, self.path, self.status)

    @cached_property
    def _state(self) -> SimpleNamespace:
        """What the application put into its state when it started: the framework's own form of it takes a method in
        Python to look up anything."""
        return SimpleNamespace(**self._app.state.dict())

    def begin(self, head: HotHead, body: bytes) -> "Answer | HotVisit | None":
        """Answers the request, takes it, or declines having done nothing."""
        began_s = time.perf_counter()
        known = head.known or _known(head)
        stored = self._keys.known(known.claim) if known.claim else None
        if stored is None or self._scopes.isdisjoint(stored.scopes):
            return None
        exceeded = self._quotas.take(stored)
        data = None
        if exceeded is None:
            try:
                data = decode_strict(body, self._body)
                response = self._at_once and self._at_once(self._state, stored.tenant, data)
            except Exception:  # the framework meets it too
                self._quotas.give_back(stored)
                return None
            if response is not None:
                return self._answered(stored, known.sent, began_s, response)
        context = copy_context()  # of the request's own, as a task would have one
        visit = context.run(self._taken, context, stored, known, began_s, data, exceeded)
        if visit is None:
            self._quotas.give_back(stored)
        return visit

    def _answered(self, stored: StoredKey, sent: Sent, began_s: float, response: Any) -> Answer:
        """The answer of `at_once`. Nothing happens meanwhile that would need the trace to be the current one."""
        ids = ids_of(sent)
        body = _encoder.encode(response)
        seconds = time.perf_counter() - began_s
        if is_logged("debug"):
            visit = Visit(ids.request_id, ids.trace.trace_id, _caller(stored, ids))
            tell(self.method, self.path, visit, self.status, seconds, hot=True)
        else:
            self._durations.observe(seconds)
        return Answer(self.status, _head_lines(ids, body), body)

    def _taken(
        self,
        context: Context,
        stored: StoredKey,
        known: "_Known",
        began_s: float,
        data: Any,
        exceeded: QuotaExceeded | None,
    ) -> "HotVisit | None":
        visit, ids = enter(known.sent)
        if known.timeout:
            enter_timeout(known.timeout, self._timeout_max_s)
        visit.caller = caller = _caller(stored, ids)
        try:
            begun = _refused(exceeded) if exceeded else self._begin(self._state, caller, data)
        except (Overloaded, DeadlineExceeded) as error:  # shedding is for when there is much to do
            begun = _refused(error)
        except Exception:  # the framework meets it too
            return None
        return HotVisit(self, visit, ids, began_s, begun, context) if begun else None


class _Known(NamedTuple):
    """What follows from a head. Without a `claim` it does not ride; `timeout` is well spelled, or empty."""

    claim: Claim | None
    sent: Sent
    timeout: str


def _known(head: HotHead) -> _Known:
    timeout = head.headers.get(_TIMEOUT, b"").decode("latin-1")
    plain = _is_plain(head.headers) and (timeout_in(timeout) is not None or _TIMEOUT not in head.headers)
    claim = claim_of(head.headers.get(b"authorization", b"").decode("latin-1")) if plain else None
    head.known = known = _Known(claim, sent_in(head.headers), timeout)
    return known


def _caller(stored: StoredKey, ids: Ids) -> Caller:
    return Caller(
        tenant=stored.tenant,
        key_id=stored.key_id,
        scopes=stored.scopes,
        trace=ids.trace.trace_id,
        request_id=ids.request_id,
    )


def _head_lines(ids: Ids, body: bytes, given: str = "content-type: application/json\r\n") -> bytes:
    """The headers of an answer: those given, the length, and what every response has."""
    request_id, (trace_id, span_id, flags) = ids
    return (
        f"{given}content-length: {len(body)}\r\nx-request-id: {request_id}\r\n"
        f"traceparent: 00-{trace_id}-{span_id}-{flags}\r\n{_STANDING}"
    ).encode("latin-1")


class HotVisit:
    """One request of a hot route that is being answered."""

    __slots__ = ("_began_s", "_ids", "_respond", "_route", "_visit", "context", "future")

    def __init__(self, route: HotRoute, visit: Visit, ids: Ids, began_s: float, begun: Begun, context: Context) -> None:
        self.future = begun.future
        self.context = context
        self._respond = begun.respond
        self._route = route
        self._visit = visit
        self._ids = ids
        self._began_s = began_s

    def answer(self) -> Answer:
        """The response, or the problem that the future raised."""
        try:
            body = _encoder.encode(self._respond(self.future.result()))
        except (Exception, asyncio.CancelledError) as error:
            answer = self._problem(error)
        else:
            answer = Answer(self._route.status, _head_lines(self._ids, body), body)
        self._tell(answer.status)
        return answer

    def left(self) -> None:
        """The client left before the work was begun."""
        self._visit.left = True
        self._tell(0)

    def _problem(self, error: BaseException) -> Answer:
        status, given, body = rendered(error, self._route.path, self._visit.request_id)
        lines = "".join(f"{name}: {value}\r\n" for name, value in {**given, "content-type": MEDIA_TYPE}.items())
        return Answer(status, _head_lines(self._ids, body, lines), body, close="connection" in given)

    def _tell(self, status: int) -> None:
        seconds = time.perf_counter() - self._began_s
        tell(self._route.method, self._route.path, self._visit, status, seconds, hot=True)


def _refused(error: Exception) -> Begun:
    """Work that was refused before it was begun."""
    refused = asyncio.get_running_loop().create_future()
    refused.set_exception(error)
    return Begun(refused, lambda result: result)


def _is_plain(headers: dict[bytes, bytes]) -> bool:
    """Whether no header asks for more than the common good request does."""
    return (
        headers.get(b"content-type") in _JSON
        and headers.get(b"accept", b"") in _ACCEPTED
        and _UNUSUAL.isdisjoint(headers)
        and _HOST.fullmatch(headers.get(b"host", b"")) is not None
    )
