"""The edge of a hot route: what `frame`, `guard` and `request` do for a good request, without the framework.

A lane knows only what a good request looks like. Whatever else comes (no key, or one that has to be looked up; another
media type; a bad body) it declines, and the framework answers. What it takes, it answers with the same bytes: status,
headers and their order, body. `tests/gateway/test_hotlane.py` holds both ways to one another.
"""

import asyncio
import re
import time
from typing import Any, NamedTuple

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from amana.gateway.caller import Caller, Visit
from amana.gateway.errors import rendered
from amana.gateway.frame import STANDING, Sent, enter, sent_in, tell
from amana.gateway.guard import TENANT_HEADER
from amana.gateway.keyring import KeyRing, claim_of
from amana.gateway.keys import Claim
from amana.gateway.quota import Quotas
from amana.gateway.request import IDEMPOTENCY_HEADER
from amana.gateway.rules import Begun, Done, hot_routes, rule_of
from amana.gateway.strict import BodyError, decode_strict
from amana.infra.collector import Overloaded
from amana.infra.hotlane import BODY_MAX_BYTES, Answer, HotHead, Lane
from amana.infra.telemetry import Trace
from amana.wire.problems import MEDIA_TYPE

_ACCEPTED = frozenset({b"", b"*/*", b"application/json"})
_JSON = frozenset({b"application/json", b"application/json; charset=utf-8", b"application/json;charset=utf-8"})
_UNUSUAL = frozenset(name.lower().encode() for name in (TENANT_HEADER, IDEMPOTENCY_HEADER))
_PATH = re.compile(r"[a-z0-9/-]+")
_HOST = re.compile(rb"[0-9A-Za-z.:\[\]-]*")
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
        self._state = app.state
        self._keys = keys
        self._quotas = quotas
        self._scopes = rule.scopes
        self._body = rule.body
        self._begin = rule.begin

    def begin(self, head: HotHead, body: bytes) -> "Answer | HotVisit | None":
        """Answers the request, takes it, or declines having done nothing."""
        began_s = time.perf_counter()
        known = head.known or _known(head)
        stored = self._keys.known(known.claim) if known.claim else None
        if stored is None or self._scopes.isdisjoint(stored.scopes):
            return None
        exceeded = self._quotas.take(stored)
        try:
            data = None if exceeded else decode_strict(body, self._body)
        except BodyError:
            self._quotas.give_back(stored)
            return None
        visit, trace = enter(known.sent)
        visit.caller = caller = Caller(
            tenant=stored.tenant,
            key_id=stored.key_id,
            scopes=stored.scopes,
            trace=visit.trace_id,
            request_id=visit.request_id,
        )
        begun = _refused(exceeded) if exceeded else self._begun(caller, data)
        if begun is None:
            self._quotas.give_back(stored)
            return None
        if isinstance(begun, Done):
            return _answered(self, visit, trace, began_s, begun.response)
        return HotVisit(self, visit, trace, began_s, begun)

    def _begun(self, caller: Caller, data: Any) -> Begun | Done | None:
        """Shedding is answered here, because it is for when there is much to do; the rest the framework meets too."""
        try:
            return self._begin(self._state, caller, data)
        except Overloaded as error:
            return _refused(error)
        except Exception:
            return None


class _Known(NamedTuple):
    """What follows from a head. Without a `claim` it does not ride."""

    claim: Claim | None
    sent: Sent


def _known(head: HotHead) -> _Known:
    plain = _is_plain(head.headers)
    claim = claim_of(head.headers.get(b"authorization", b"").decode("latin-1")) if plain else None
    head.known = known = _Known(claim, sent_in(head.headers))
    return known


def _answered(route: HotRoute, visit: Visit, trace: Trace, began_s: float, response: Any) -> Answer:
    body = _encoder.encode(response)
    tell(route.method, route.path, visit, route.status, time.perf_counter() - began_s, hot=True)
    return Answer(route.status, _head_lines(visit, trace, body), body)


def _head_lines(visit: Visit, trace: Trace, body: bytes) -> bytes:
    """The headers of a good answer: type, length, and what every response has."""
    return b"content-type: application/json\r\n" + _lines(visit, trace, body)


def _lines(visit: Visit, trace: Trace, body: bytes) -> bytes:
    told = f"x-request-id: {visit.request_id}\r\ntraceparent: {trace.header()}\r\n".encode("ascii")
    return b"content-length: %d\r\n" % len(body) + told + STANDING


class HotVisit:
    """One request of a hot route that is being answered."""

    __slots__ = ("_began_s", "_respond", "_route", "_trace", "_visit", "future")

    def __init__(self, route: HotRoute, visit: Visit, trace: Trace, began_s: float, begun: Begun) -> None:
        self.future = begun.future
        self._respond = begun.respond
        self._route = route
        self._visit = visit
        self._trace = trace
        self._began_s = began_s

    def answer(self) -> Answer:
        """The response, or the problem that the future raised."""
        try:
            body = _encoder.encode(self._respond(self.future.result()))
        except (Exception, asyncio.CancelledError) as error:
            answer = self._problem(error)
        else:
            answer = Answer(self._route.status, _head_lines(self._visit, self._trace, body), body)
        self._tell(answer.status)
        return answer

    def left(self) -> None:
        """The client left before the work was begun."""
        self._visit.left = True
        self._tell(0)

    def _problem(self, error: BaseException) -> Answer:
        status, given, body = rendered(error, self._route.path, self._visit.request_id)
        lines = [f"{name}: {value}\r\n" for name, value in {**given, "content-type": MEDIA_TYPE}.items()]
        told = "".join(lines).encode("latin-1") + _lines(self._visit, self._trace, body)
        return Answer(status, told, body, close="connection" in given)

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
