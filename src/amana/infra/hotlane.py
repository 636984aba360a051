"""The short way of a hot route: decoded, queued and answered inside the connection, without an ASGI cycle.

An exact method and path with a small announced body and nothing unusual in its head rides: the body is collected here
and given to the route's lane, which either answers with a future or declines. What does not ride, and what is declined,
goes the normal way with the very same bytes; so every error, and every rare header, is answered by the framework, and
a lane only has to know what a good request looks like.

A riding request stands where uvicorn keeps an ASGI cycle, so that uvicorn's own code queues, counts and drains around
it: one request is in flight for a connection, whichever way it goes. A client that leaves cancels its future, which
takes it out of a batch that has not begun. Infra knows no business: lanes are injected.

A connection remembers the head of the last request that rode. Bytes that begin with the same head and are just as long
are the same request with another body: they need no parser, and what the lane worked out of the head is still there.
Their answers leave the timer of the resting connection alone; when it goes off it looks when the last one was given.
"""

import asyncio
import logging
from asyncio.events import TimerHandle
from collections.abc import Mapping
from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.server import ServerState

from amana.infra.http_connection import BoundedProtocol
from amana.infra.lanes import Answer, Begin, HotHead, Lane, Ride, front_of

BODY_MAX_BYTES = 64 << 10
"""No larger body rides. A long list is worth an ASGI cycle."""
BODY_WAIT_S = 1.0
"""A body that takes longer goes on the normal way, which knows its sender and has the deadline."""

_log = logging.getLogger("uvicorn.error")  # as uvicorn's own connections
_UNUSUAL = frozenset({b"transfer-encoding", b"expect", b"upgrade", b"content-encoding"})


class _HotCycle:
    """A request on its way through the lane, with what uvicorn asks of a cycle."""

    __slots__ = (
        "disconnected",
        "first",
        "head",
        "keep_alive",
        "lane",
        "more_body",
        "parts",
        "path",
        "response_complete",
        "scope",
    )
    message_event = asyncio.Event()  # uvicorn sets it; nobody waits

    def __init__(self, lane: Lane, path: bytes, head: HotHead, scope: Any, first: bool) -> None:
        self.lane = lane
        self.path = path
        self.head = head
        self.scope = scope
        self.first = first
        self.parts: list[bytes] = []
        self.more_body = True
        self.keep_alive = True
        self.disconnected = False
        self.response_complete = False


class _Remembered:
    """The head of a request that rode, and what the next one like it needs of its connection: an object of few places,
    where an attribute is found in a tenth of the time.

    One request is under way at a time, so that all have one `cycle`. `answered_s` is when the last was answered.
    """

    __slots__ = (
        "answered_s",
        "begin",
        "cycle",
        "flow",
        "head",
        "head_bytes",
        "server",
        "size",
        "text",
        "time",
        "write",
    )

    def __init__(self, protocol: "HotProtocol", text: bytes, size: int, cycle: _HotCycle) -> None:
        self.text = text
        self.head_bytes = len(text)
        self.size = size
        self.cycle = cycle
        self.head = cycle.head
        self.begin = cycle.lane.begin
        self.server = protocol.server_state
        self.flow = protocol.flow
        self.write = protocol.transport.write
        self.time = protocol.loop.time
        self.answered_s = 0.0


class HotProtocol(BoundedProtocol):
    """One connection, whose hot requests take the lane of their path."""

    def __init__(self, *args: Any, lanes: Mapping[bytes, Lane], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lanes = lanes
        self._collecting: _HotCycle | None = None
        self._ride: Ride | None = None
        self._riding: _HotCycle | None = None
        self._body_timer: TimerHandle | None = None
        self._unread = False
        self._remembered: _Remembered | None = None
        self._request: bytes = b""
        """What arrived just now, where a request begins with it."""
        self._known: _Remembered | None = None
        """What is remembered, while the connection rests: a request would begin with the next byte."""

    def data_received(self, data: bytes) -> None:
        known = self._known
        if known is not None and len(data) == known.size and data.startswith(known.text):
            begun = _asked(known.begin, known.head, data[known.head_bytes :], known.server)
            if type(begun) is bytes:
                known.write(begun)
                if not known.flow.write_paused:
                    known.answered_s = known.time()
                    known.server.total_requests += 1
                    return
            if begun is not None:
                self._go_on(known, begun)
                return
        self._known = None
        self._request = data if self._rests() else b""
        super().data_received(data)
        self._request = b""
        self._known = self._remembered if self._rests() else None

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._known = self._remembered if self._rests() else None

    def timeout_keep_alive_handler(self) -> None:
        if self.transport.is_closing():
            return
        answering = not self.cycle.response_complete
        answered_s = self._remembered.answered_s if self._remembered else 0.0
        rested_s = 0.0 if answering else self.loop.time() - answered_s
        if rested_s < self.timeout_keep_alive:  # requests whose head is known leave the timer alone
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive - rested_s, self.timeout_keep_alive_handler
            )
        else:
            super().timeout_keep_alive_handler()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_collecting()
        super().connection_lost(exc)
        if self._ride is not None:
            self._ride.future.cancel()

    def on_body(self, body: bytes) -> None:
        if self._collecting is not None:
            self._collecting.parts.append(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        cycle = self._collecting
        if cycle is None:
            super().on_message_complete()
            return
        self._stop_collecting()
        cycle.more_body = False
        if cycle.first and not self._refused:
            self._start_asgi_task(cycle, self.app)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread:
            self._unread = False
            self.on_response_complete()

    def _busy(self) -> bool:
        return self._unread or super()._busy()

    def _parsed(self) -> None:
        super()._parsed()
        cycle = self._collecting
        if cycle is not None and cycle.first and self._body_timer is None:
            self._body_timer = self.loop.call_later(BODY_WAIT_S, self._hand_over, cycle)

    def _take_request(self) -> None:
        lane = self._lanes.get(self.url)
        if lane is None or lane.method != self.parser.get_method():
            super()._take_request()
            return
        headers = dict(self.headers)
        if not self._may_ride(lane, headers):
            super()._take_request()
            return
        first = self.cycle is None or self.cycle.response_complete
        self._collecting = cycle = _HotCycle(lane, self.url, HotHead(headers), self.scope, first)
        self.cycle = cycle  # type: ignore[assignment] # it has what uvicorn asks of one
        if not first:
            self.pipeline.appendleft((cycle, self.app))  # type: ignore[arg-type] # as above

    def _may_ride(self, lane: Lane, headers: dict[bytes, bytes]) -> bool:
        if len(headers) != len(self.headers) or not _UNUSUAL.isdisjoint(headers):
            return False
        if not self.parser.should_keep_alive():
            return False
        # Without the header HTTP/1.0 would not keep alive, and closing is the normal way's.
        if b"connection" in headers and (
            headers[b"connection"].lower() != b"keep-alive" or self.parser.get_http_version() != "1.1"
        ):
            return False
        return 0 < int(headers.get(b"content-length", b"0")) <= lane.body_max_bytes

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        if not isinstance(cycle, _HotCycle):
            super()._start_asgi_task(cycle, app)
        elif cycle.more_body:
            self._hand_over(cycle)
        else:
            self._begin(cycle)

    def _begin(self, cycle: _HotCycle) -> None:
        body = b"".join(cycle.parts)
        begun = _asked(cycle.lane.begin, cycle.head, body, self.server_state)
        if begun is None:
            self._hand_over(cycle)
            return
        self._remember(cycle, len(body))
        if isinstance(begun, bytes):
            cycle.response_complete = True
            self._write(cycle, _closing(begun) if not cycle.keep_alive else begun, not cycle.keep_alive)
        else:
            self._take(cycle, begun)

    def _take(self, cycle: _HotCycle, ride: Ride) -> None:
        self._ride, self._riding = ride, cycle
        ride.future.add_done_callback(self._end, context=ride.context)

    def _remember(self, cycle: _HotCycle, body_bytes: int) -> None:
        """Where what arrived is this request and nothing else, the next one may be the same but for its body."""
        head_bytes = len(self._request) - body_bytes
        if head_bytes == self._request.find(b"\r\n\r\n") + 4:
            again = _HotCycle(cycle.lane, cycle.path, cycle.head, None, first=True)
            again.more_body = False
            self._remembered = _Remembered(self, self._request[:head_bytes], len(self._request), again)

    def _rests(self) -> bool:
        """Whether nothing is begun on this connection."""
        cycle = self.cycle
        return (
            cycle is not None
            and cycle.response_complete
            and not cycle.more_body  # what comes may be the rest of a request that was answered early
            and not (self._in_head or self._unread or self._refused or self._held or self.pipeline)
            and not self.transport.is_closing()
        )

    def _go_on(self, known: _Remembered, begun: bytes | Ride) -> None:
        """A request whose head is known is written, but not taken by the client; or it rides."""
        self._known = None
        if isinstance(begun, bytes):
            self._wait_for_reader()
            return
        known.cycle.response_complete = False
        self.cycle = known.cycle  # type: ignore[assignment] # as in `_take_request`
        self._take(known.cycle, begun)

    def _end(self, _: asyncio.Future[Any]) -> None:
        """Writes the answer. Where nobody is left to read it, it is dropped."""
        ride, cycle = self._ride, self._riding
        assert ride is not None and cycle is not None, "a ride that ends was taken"
        self._ride = self._riding = None
        gone = self.transport.is_closing()
        if gone and ride.future.cancelled():
            ride.left()
            return
        try:
            answer = ride.answer()
        except Exception:
            self.logger.exception("a hot lane failed")
            self.transport.close()
            return
        if gone:
            return
        cycle.response_complete = True
        closing = answer.close or not cycle.keep_alive
        self._write(cycle, self._whole(answer, closing), closing)

    def _write(self, cycle: _HotCycle, whole: bytes, closing: bool) -> None:
        """Writes an answer, and goes on to what waits behind it."""
        known = self._remembered
        self.transport.write(whole)
        if closing:
            self.transport.close()
        if self.flow.write_paused:
            self._wait_for_reader()
        elif known is None or known.cycle is not cycle or self._held or closing:
            self.on_response_complete()
        else:  # nothing waits behind it, and the timer was left alone
            self._known = known
            known.answered_s = self.loop.time()
            self.server_state.total_requests += 1

    def _wait_for_reader(self) -> None:
        self._unread = True
        self.flow.pause_reading()

    def _whole(self, answer: Answer, closing: bool) -> bytes:
        status, headers, body, closes = answer
        close = b"connection: close\r\n" if closing and not closes else b""
        return b"".join((front_of(status, self.server_state.default_headers), headers, close, b"\r\n", body))

    def _stop_collecting(self) -> None:
        self._collecting = None
        if self._body_timer is not None:
            self._body_timer.cancel()
            self._body_timer = None

    def _hand_over(self, cycle: _HotCycle) -> None:
        """Sends a request on the normal way, with as much of its body as is there."""
        if self._collecting is cycle:
            self._stop_collecting()
        path = self.root_path + cycle.path.decode("ascii")
        method = cycle.lane.method.decode("ascii")
        cycle.scope |= {"method": method, "path": path, "raw_path": path.encode("ascii"), "query_string": b""}
        normal = RequestResponseCycle(
            scope=cycle.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=cycle.keep_alive,
            on_response=self.on_response_complete,
        )
        normal.body += b"".join(cycle.parts)
        normal.more_body = cycle.more_body
        normal.message_event.set()
        if self.cycle is cycle:  # type: ignore[comparison-overlap] # `_take_request` put it there
            self.cycle = normal
        self._start_asgi_task(normal, self.app)


def _asked(begin: Begin, head: HotHead, body: bytes, server: ServerState) -> bytes | Ride | None:
    try:
        return begin(head, body, server.default_headers)
    except Exception:
        _log.exception("a hot lane failed")
        return None


def _closing(whole: bytes) -> bytes:
    """An answer with the line that says that the connection closes."""
    return whole.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n", 1)
