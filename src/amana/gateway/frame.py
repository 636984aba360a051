"""The outermost layer: request id, trace, security headers, the duration metric and one access log line.

It wraps everything else, so that an unknown path or a broken handler is counted and answered like any other request.
The log names the route's template, never the path itself: paths carry ids. Services poll one another all day, and hot
routes answer thousands in a second; what succeeds of that is logged at debug. The hot lane (`hot`) uses the same parts.
"""

import os
import re
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import msgspec
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from amana.domain.reasons import Reason
from amana.gateway.caller import INTERNAL, Visit
from amana.gateway.rules import is_hot, is_open
from amana.infra import deadline
from amana.infra.clock import random_hex, random_hexes
from amana.infra.telemetry import REQUEST_DURATION, Series, is_logged, logger
from amana.infra.trace import Trace, enter_trace, next_span, parse_traceparent
from amana.wire.problems import MEDIA_TYPE, problem

DISCARD_MAX_BYTES = 8 << 20
"""An unread body up to this size is read and thrown away after an early refusal; a larger one costs the connection."""
UNMATCHED = "unmatched"
CLIENT_LEFT_STATUS = 499
LABELS_MAX = 1_000

Headers: TypeAlias = list[tuple[bytes, bytes]]

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._~:-]{1,128}")
_PARAMETER_TYPE = re.compile(r":[a-z]+\}")
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
_SECURITY: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"strict-transport-security", b"max-age=31536000; includeSubDomains"),
    (b"referrer-policy", b"no-referrer"),
]
_DEFAULTS: Headers = [
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
]
"""Unless the response says otherwise."""
STANDING = b"".join(name + b": " + value + b"\r\n" for name, value in _SECURITY + _DEFAULTS)
"""The lines that follow request id and trace, where a response brings neither of the defaults."""

MADE_AT_A_TIME = 100
_LINES = b"x-request-id: %b\r\ntraceparent: 00-%b-%b-01\r\n"
_made: list[bytes] = []
os.register_at_fork(after_in_child=_made.clear)  # two processes must not give out the same

_log = logger(__name__)


class Frame:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, clock_s: Callable[[], float] = time.perf_counter) -> None:
        self._app = app
        self._clock_s = clock_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request, whatever the application does."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        began_s = self._clock_s()
        received = dict(scope["headers"])
        visit, ids = enter(sent_in(received))
        scope["amana.visit"] = visit  # type: ignore[typeddict-unknown-key]
        reply = _Reply(send, visit, ids.trace, large=_announced_bytes(received) > DISCARD_MAX_BYTES)
        try:
            await self._app(scope, receive, reply)
        except Exception as error:
            _log.error("unhandled exception", request_id=visit.request_id, exc_info=error)
            if reply.status:
                raise
            await reply.internal()
        finally:
            route = _PARAMETER_TYPE.sub("}", scope.get("path_template", UNMATCHED))
            method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
            hot = is_hot(scope.get("route_handler"))
            tell(method, route, visit, reply.status, self._clock_s() - began_s, hot=hot)


class Sent(NamedTuple):
    """What a request says of itself: the span that it comes from and its id, where it names them."""

    parent: Trace | None
    request_id: str


NOTHING_SENT = Sent(None, "")
"""What most requests say of themselves."""


def sent_in(received: Mapping[bytes, bytes]) -> Sent:
    """Reads a request's headers."""
    traceparent = received.get(b"traceparent")
    request_id = received.get(b"x-request-id", b"")
    sent = Sent(
        None if traceparent is None else parse_traceparent(traceparent.decode("latin-1")),
        request_id.decode() if _REQUEST_ID.fullmatch(request_id) else "",
    )
    return NOTHING_SENT if sent == NOTHING_SENT else sent


class Ids(msgspec.Struct, frozen=True, gc=False):
    """Under what a request is told of: here, and to whoever follows it across services."""

    request_id: str
    trace: Trace


def enter(sent: Sent) -> tuple[Visit, Ids]:
    """Begins a visit: its request id and trace, as sent or new; the trace is the current one from now on, and there is
    no deadline. (A request that was pipelined begins in the context of the one before.)"""
    ids = ids_of(sent)
    enter_trace(ids.trace)
    if deadline.current() is not None:
        deadline.enter(None)
    return Visit(ids.request_id, ids.trace.trace_id), ids


def ids_of(sent: Sent) -> Ids:
    """As sent, or new."""
    if sent is NOTHING_SENT:
        drawn = random_hex(80)
        return Ids(drawn[48:], Trace(drawn[:32], drawn[32:48]))
    return Ids(sent.request_id or random_hex(32), next_span(sent.parent))


def lines_of(ids: Ids) -> bytes:
    """The headers that tell a client its ids."""
    return f"x-request-id: {ids.request_id}\r\ntraceparent: {ids.trace.header()}\r\n".encode("ascii")


def new_lines() -> bytes:
    """`lines_of` new ids. They are made many at a time: one by one they took a tenth of a hot answer's time."""
    if not _made:
        longs = iter(random_hexes(16, 2 * MADE_AT_A_TIME))
        _made.extend([_LINES % ids for ids in zip(longs, longs, random_hexes(8, MADE_AT_A_TIME), strict=True)])
    return _made.pop()


class _Reply:
    """The way back: adds the headers that every response has and notes its status."""

    def __init__(self, send: Send, visit: Visit, trace: Trace, large: bool) -> None:
        self._send = send
        self._visit = visit
        self._trace = trace
        self._large = large
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = self._completed(list(message["headers"]))
        await self._send(message)

    async def internal(self) -> None:
        """The answer when even the exception handlers failed."""
        body = msgspec.json.encode(problem(Reason.INTERNAL, request_id=self._visit.request_id))
        headers: Headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
        await self({"type": "http.response.start", "status": 500, "headers": headers})
        await self({"type": "http.response.body", "body": body, "more_body": False})

    def _completed(self, headers: Headers) -> Headers:
        given = {name.lower() for name, _ in headers}
        headers += [
            (b"x-request-id", self._visit.request_id.encode()),
            (b"traceparent", self._trace.header().encode()),
            *_SECURITY,
            *(default for default in _DEFAULTS if default[0] not in given),
        ]
        if self._large and self.status >= 400 and b"connection" not in given:
            headers.append((b"connection", b"close"))
        return headers


def _announced_bytes(received: Mapping[bytes, bytes]) -> int:
    """The body's length; one sent in chunks counts as endless."""
    if b"transfer-encoding" in received:
        return DISCARD_MAX_BYTES + 1
    return int(received.get(b"content-length", b"0"))


def tell(method: str, route: str, visit: Visit, status: int, seconds: float, *, hot: bool) -> None:
    """Counts an answered request and logs it."""
    status = CLIENT_LEFT_STATUS if visit.left else status
    durations_of(method, route, status).observe(seconds)
    if not hot and is_open(route):
        return
    caller = visit.caller
    quiet = status < 300 if hot else status < 400 and caller is not None and caller.may(INTERNAL)
    if quiet and not is_logged("debug"):
        return
    (_log.debug if quiet else _log.info)(
        "request",
        **{
            "http.request.method": method,
            "http.route": route,
            "http.response.status_code": status,
            "duration_us": round(seconds * 1_000_000),
            "request_id": visit.request_id,
            "tenant_id": caller.tenant if caller else None,
            "key_id": caller.key_id if caller else None,
        },
    )


@lru_cache(maxsize=LABELS_MAX)
def durations_of(method: str, route: str, status: int) -> Series:
    """What was observed of one route and status."""
    return REQUEST_DURATION.series(method, route, str(status))
