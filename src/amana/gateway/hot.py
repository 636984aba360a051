"""The edge of a hot route: what `frame`, `guard` and `request` do for a good request, without the framework.

A lane knows only what a good request looks like. Whatever else comes (no key, or one that has to be looked up; another
media type; a bad body) it declines, and the framework answers. What it takes, it answers with the same bytes: status,
headers and their order, body. `tests/gateway/test_hotlane.py` holds both ways to one another.
"""

import asyncio
import re
from contextvars import Context, copy_context
from typing import Any

import msgspec
from litestar import Litestar
from litestar.datastructures import State
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from amana.gateway.bodies import Bodies
from amana.gateway.caller import Caller, Visit
from amana.gateway.errors import rendered
from amana.gateway.frame import (
    NOTHING_SENT,
    STANDING,
    Ids,
    durations_of,
    enter,
    ids_of,
    lines_of,
    new_lines,
    tell,
)
from amana.gateway.guard import enter_timeout
from amana.gateway.hot_head import Known, known_of
from amana.gateway.keyring import KeyRing
from amana.gateway.keys import StoredKey
from amana.gateway.quota import Quotas
from amana.gateway.quota_exceeded import QuotaExceeded
from amana.gateway.rules import Begun, hot_routes, rule_of
from amana.gateway.strict import decode_strict
from amana.infra.collector import Overloaded
from amana.infra.deadline import DeadlineExceeded
from amana.infra.hotlane import BODY_MAX_BYTES
from amana.infra.lanes import Answer, Headers, HotHead, Lane, front_of
from amana.infra.telemetry import is_logged
from amana.wire.problems import MEDIA_TYPE

_PATH = re.compile(r"[a-z0-9/-]+")
_STANDING_WHOLE = STANDING + b"\r\n"
_JSON_HEAD = b"content-type: application/json\r\ncontent-length: %d\r\n"
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
        self._clock_s = keys.clock_s
        self._quotas = quotas
        self._scopes = rule.scopes
        self._body = rule.body
        self._begin = rule.begin
        self._at_once = rule.at_once
        self._timeout_max_s = rule.timeout_max_s
        self._bodies = Bodies()
        self._state: _State | None = None
        self._given: Headers = []
        self._fronts: dict[int, bytes] = {}
        self._durations = durations_of(self.method, self.path, self.status)

    def begin(self, head: HotHead, body: bytes, given: Headers) -> "bytes | HotVisit | None":
        """Answers the request, takes it, or declines having done nothing."""
        began_s = self._clock_s()
        known = head.known or known_of(head)
        if began_s >= known.until_s and not self._proved(known):
            return None
        stored = known.stored
        exceeded = self._quotas.take(stored)
        data = None
        if exceeded is None:
            try:
                data = found = self._bodies.get(body)
                if found is None:
                    data = decode_strict(body, self._body)
                response = self._at_once and self._at_once(self._state or self._opened(), stored.tenant, data)
            except Exception:  # the framework meets it too
                self._quotas.give_back(stored)
                return None
            if response is not None:
                if found is None:
                    self._bodies.keep(body, data)
                return self._answered(known, began_s, given, response)
        context = copy_context()  # of the request's own, as a task would have one
        visit = context.run(self._taken, context, stored, known, began_s, data, exceeded)
        if visit is None:
            self._quotas.give_back(stored)
        return visit

    def _opened(self) -> "_State":
        self._state = _State(self._app.state)
        return self._state

    def _proved(self, known: Known) -> bool:
        """Whether the head has a live key with one of the route's scopes, as far as that can be told here."""
        found = self._keys.known(known.claim) if known.claim else None
        if found is None or self._scopes.isdisjoint(found.stored.scopes):
            return False
        known.stored, known.until_s = found
        known.is_told = known.sent is not NOTHING_SENT or is_logged("debug")
        return True

    def _answered(self, known: Known, began_s: float, given: Headers, response: Any) -> bytes:
        """The answer of `at_once`. Nothing happens meanwhile that would need the trace to be the current one."""
        body = response if type(response) is bytes else _encoder.encode(response)
        if given is not self._given:
            self._given, self._fronts = given, {}
        front = self._fronts.get(len(body)) or self._front(len(body))
        if known.is_told:
            ids = ids_of(known.sent)
            lines = lines_of(ids)
            visit = Visit(ids.request_id, ids.trace.trace_id, _caller(known.stored, ids))
            self.tell(visit, self.status, began_s)
        else:
            lines = new_lines()
            self._durations.observe(self._clock_s() - began_s)
        return b"".join((front, lines, _STANDING_WHOLE, body))

    def _front(self, size: int) -> bytes:
        """The first lines of an answer of that length, the same for a second."""
        front = self._fronts[size] = front_of(self.status, self._given) + _JSON_HEAD % size
        return front

    def tell(self, visit: Visit, status: int, began_s: float) -> None:
        """Counts an answered request and logs it."""
        tell(self.method, self.path, visit, status, self._clock_s() - began_s, hot=True)

    def _taken(
        self,
        context: Context,
        stored: StoredKey,
        known: Known,
        began_s: float,
        data: Any,
        exceeded: QuotaExceeded | None,
    ) -> "HotVisit | None":
        visit, ids = enter(known.sent)
        if known.timeout:
            enter_timeout(known.timeout, self._timeout_max_s)
        visit.caller = caller = _caller(stored, ids)
        try:
            begun = _refused(exceeded) if exceeded else self._begin(self._state or self._opened(), caller, data)
        except (Overloaded, DeadlineExceeded) as error:  # shedding is for when there is much to do
            begun = _refused(error)
        except Exception:  # the framework meets it too
            return None
        return HotVisit(self, visit, ids, began_s, begun, context) if begun else None


class _State:
    """What the application put into its state when it started: the framework's own form of it takes a method in Python
    to look up anything."""

    def __init__(self, state: State) -> None:
        for name, value in state.items():
            setattr(self, name, value)


def _caller(stored: StoredKey, ids: Ids) -> Caller:
    return Caller(
        tenant=stored.tenant,
        key_id=stored.key_id,
        scopes=stored.scopes,
        trace=ids.trace.trace_id,
        request_id=ids.request_id,
    )


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
            answer = Answer(self._route.status, b"".join((_JSON_HEAD % len(body), lines_of(self._ids), STANDING)), body)
        self._tell(answer.status)
        return answer

    def left(self) -> None:
        """The client left before the work was begun."""
        self._visit.left = True
        self._tell(0)

    def _problem(self, error: BaseException) -> Answer:
        status, given, body = rendered(error, self._route.path, self._visit.request_id)
        headers = {**given, "content-type": MEDIA_TYPE, "content-length": len(body)}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode("latin-1")
        return Answer(status, b"".join((lines, lines_of(self._ids), STANDING)), body, close="connection" in given)

    def _tell(self, status: int) -> None:
        self._route.tell(self._visit, status, self._began_s)


def _refused(error: Exception) -> Begun:
    """Work that was refused before it was begun."""
    refused = asyncio.get_running_loop().create_future()
    refused.set_exception(error)
    return Begun(refused, lambda result: result)
