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
from asyncio.events import TimerHandle
from collections.abc import Callable, Mapping
from contextvars import Context
from typing import Any, NamedTuple, Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from amana.infra.http_connection import BoundedProtocol

BODY_MAX_BYTES = 64 << 10
"""No larger body rides. A long list is worth an ASGI cycle."""
BODY_WAIT_S = 1.0
"""A body that takes longer goes on the normal way, which knows its sender and has the deadline."""

_UNUSUAL = frozenset({b"transfer-encoding", b"expect", b"upgrade", b"content-encoding"})


class HotHead:
    """`headers` by lower-case name, none of them sent twice. `known` is the lane's, for what follows from them: a head
    that is sent again on a connection is the same object again."""

    __slots__ = ("headers", "known")

    def __init__(self, headers: dict[bytes, bytes]) -> None:
        self.headers = headers
        self.known: Any = None


class Answer(NamedTuple):
    """`headers` are whole lines, each with its CRLF, without `date`; `close` says that one of them closes."""

    status: int
    headers: bytes
    body: bytes
    close: bool = False


class Ride(Protocol):
    """A request that a lane has taken. It hears of its end once: `answer`, or `left`."""

    future: asyncio.Future[Any]
    """Cancelled when the client leaves; then the work is left out, unless it has begun: never the work itself."""
    context: Context
    """The request's own, as a task would have one; its end is told in it."""

    def answer(self) -> Answer:
        """What `future`, which is done, comes to. To raise is a bug, and closes the connection."""

    def left(self) -> None:
        """The client left, and the future was cancelled."""


class Lane(NamedTuple):
    """Takes the requests of one method and path. `begin` gets a head, a whole body, and the lines with which an answer
    of `status` begins: it gives the whole answer at once (one that does not close), begins, or declines with None,
    having done nothing."""

    method: bytes
    begin: Callable[[HotHead, bytes, bytes], bytes | Ride | None]
    status: int
    body_max_bytes: int


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
    """The head of a request that rode, `text`; `size` is that of the whole request. One such request is under way at a
    time, so that all have one `cycle`."""

    __slots__ = ("cycle", "head_bytes", "size", "text")

    def __init__(self, text: bytes, size: int, cycle: _HotCycle) -> None:
        self.text = text
        self.head_bytes = len(text)
        self.size = size
        self.cycle = cycle


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
        self._idle = False
        """The last that arrived was answered at once, and nothing was begun since."""
        self._fronts: dict[int, bytes] = {}
        self._fronts_of: object = None
        """Status lines with the server's own headers, and the list of headers that they are of: a new one each second,
        for it has the date."""
        self._answered_s = 0.0

    def data_received(self, data: bytes) -> None:
        if self._idle or self._rests():
            known = self._remembered
            if known is not None and len(data) == known.size and data.startswith(known.text) and self._again(known, data):
                return
            self._idle = False
            self._request = data
        super().data_received(data)
        self._request = b""

    def timeout_keep_alive_handler(self) -> None:
        if self.transport.is_closing():
            return
        answering = not self.cycle.response_complete
        rested_s = 0.0 if answering else self.loop.time() - self._answered_s
        if rested_s < self.timeout_keep_alive:  # requests whose head is known leave the timer alone
            self._rest(self.timeout_keep_alive - rested_s)
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
        begun = self._asked(cycle.lane, cycle.head, body)
        if begun is None:
            self._hand_over(cycle)
            return
        self._remember(cycle, len(body))
        if isinstance(begun, bytes):
            cycle.response_complete = True
            self._write(_closing(begun) if not cycle.keep_alive else begun, not cycle.keep_alive)
        else:
            self._take(cycle, begun)

    def _take(self, cycle: _HotCycle, ride: Ride) -> None:
        self._ride, self._riding = ride, cycle
        ride.future.add_done_callback(self._end, context=ride.context)

    def _asked(self, lane: Lane, head: HotHead, body: bytes) -> bytes | Ride | None:
        try:
            return lane.begin(head, body, self._front(lane.status))
        except Exception:
            self.logger.exception("a hot lane failed")
            return None

    def _remember(self, cycle: _HotCycle, body_bytes: int) -> None:
        """Where what arrived is this request and nothing else, the next one may be the same but for its body."""
        head_bytes = len(self._request) - body_bytes
        if head_bytes == self._request.find(b"\r\n\r\n") + 4:
            again = _HotCycle(cycle.lane, cycle.path, cycle.head, None, first=True)
            again.more_body = False
            self._remembered = _Remembered(self._request[:head_bytes], len(self._request), again)

    def _rests(self) -> bool:
        """Whether nothing is begun on this connection: a request would begin with the next byte."""
        cycle = self.cycle
        return (
            cycle is not None
            and cycle.response_complete
            and not (self._in_head or self._unread or self._refused or self._held or self.pipeline)
            and not self.transport.is_closing()
        )

    def _again(self, known: _Remembered, data: bytes) -> bool:
        """Takes a request whose head is known; False where the lane declines it."""
        cycle = known.cycle
        begun = self._asked(cycle.lane, cycle.head, data[known.head_bytes :])
        if begun is None:
            return False
        if type(begun) is bytes:
            self.transport.write(begun)
            self._answered()
            self._idle = not self._unread
        else:
            self._idle = False
            cycle.response_complete = False
            self.cycle = cycle  # type: ignore[assignment] # as in `_take_request`
            self._take(cycle, begun)
        return True

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
        self._write(self._whole(answer, closing), closing)

    def _write(self, whole: bytes, closing: bool) -> None:
        """Writes an answer, and goes on to what waits behind it."""
        self.transport.write(whole)
        if closing:
            self.transport.close()
        if self.timeout_keep_alive_task is not None and not (self._held or self.pipeline or closing):
            self._answered()
        elif self.flow.write_paused:
            self._wait_for_reader()
        else:
            self.on_response_complete()

    def _answered(self) -> None:
        """The answer is written, and nothing waits behind it."""
        if self.flow.write_paused:
            self._wait_for_reader()
        else:
            self._answered_s = self.loop.time()
            self.server_state.total_requests += 1

    def _wait_for_reader(self) -> None:
        self._unread = True
        self.flow.pause_reading()

    def _rest(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def _front(self, status: int) -> bytes:
        """The status line and the server's own headers."""
        given = self.server_state.default_headers
        if given is not self._fronts_of:
            self._fronts, self._fronts_of = {}, given
        front = self._fronts.get(status)
        if front is None:
            lines = [name + b": " + value + b"\r\n" for name, value in given]
            front = self._fronts[status] = STATUS_LINE[status] + b"".join(lines)
        return front

    def _whole(self, answer: Answer, closing: bool) -> bytes:
        status, headers, body, closes = answer
        close = b"connection: close\r\n" if closing and not closes else b""
        return b"".join((self._front(status), headers, close, b"\r\n", body))

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


def _closing(whole: bytes) -> bytes:
    """An answer with the line that says that the connection closes."""
    return whole.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n", 1)
