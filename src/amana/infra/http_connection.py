"""One HTTP connection: bounded heads, one request at a time, and a client that must read its answers.

uvicorn bounds neither the head of a request nor the time that it may take to arrive, and reads on while it answers. The
protocol here refuses such heads (414, 431, 408) and closes. While a whole request waits for its answer nothing further
is parsed: what arrives is kept, one read of it, and reading pauses. So answers can't cross, a client that left is
noticed as long as it sends nothing, and a connection holds no more than a part of `PARSE_MAX_BYTES` can hold requests.
"""

import asyncio
from asyncio.events import TimerHandle
from http import HTTPStatus

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

URI_MAX_BYTES = 8 << 10
HEAD_MAX_BYTES = 32 << 10
HEAD_TIMEOUT_S = 10.0
PARSE_MAX_BYTES = 16 << 10
"""Parsed at a time. The parser can't stop inside, so pipelined requests of one part are queued as uvicorn does."""
READ_TIMEOUT_S = 60.0
"""How long a client may read nothing of an answer that waits for it."""
CONNECTIONS_MAX = 4_096


class BoundedProtocol(HttpToolsProtocol):
    """One connection. A subclass may take a request another way: `_take_request`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        self._in_head = True
        self._unfinished_bytes = 0
        self._held = b""
        self._refused = False
        self._head_timer: TimerHandle | None = None
        self._read_timer: TimerHandle | None = None
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS_MAX:
            transport.abort()
        else:
            self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        if self._read_timer is not None:
            self._read_timer.cancel()
        self._held = b""
        self.pipeline.clear()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if self._busy():
            self._held += data
            self.flow.pause_reading()
        else:
            self._parse(data)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._unset_keepalive_if_required()
        self._in_head = True
        self._unfinished_bytes = 0
        self._disarm()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._disarm()
        self._unset_keepalive_if_required()
        if len(self.url) > URI_MAX_BYTES:
            self._refuse(HTTPStatus.REQUEST_URI_TOO_LONG)
        elif self._unfinished_bytes + PARSE_MAX_BYTES > HEAD_MAX_BYTES and self._head_bytes() > HEAD_MAX_BYTES:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        if not self._refused:
            self._take_request()

    def on_body(self, body: bytes) -> None:
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._refused:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            return
        if self._held:
            held, self._held = self._held, b""
            self._parse(held)
        else:
            self._parsed()

    def send_400_response(self, msg: str) -> None:
        self._refuse(HTTPStatus.BAD_REQUEST)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._expect_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._read_timer is not None:
            self._read_timer.cancel()

    def timeout_keep_alive_handler(self) -> None:
        if self.transport.get_write_buffer_size():
            self.transport.abort()  # it would be closed only once everything was read
        else:
            super().timeout_keep_alive_handler()

    def _take_request(self) -> None:
        """The head is whole and within its bounds: starts the request, or queues it behind the one before."""
        super().on_headers_complete()

    def _busy(self) -> bool:
        """Whether a whole request waits for its answer."""
        cycle = self.cycle
        return cycle is not None and not cycle.response_complete and not cycle.more_body

    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _parse(self, data: bytes) -> None:
        """Parses what arrived, up to a request that has to be answered first."""
        for start in range(0, len(data), PARSE_MAX_BYTES):
            if self._refused:
                return
            if self._busy():
                self._held = data[start:]
                self.flow.pause_reading()
                return
            self._parse_part(data[start : start + PARSE_MAX_BYTES])
        self._parsed()

    def _parse_part(self, part: bytes) -> None:
        # The parser keeps an unfinished line to itself, so what arrived is counted, from the part after its beginning.
        self._unfinished_bytes += len(part)
        try:
            self.parser.feed_data(part)
        except httptools.HttpParserError:
            self.logger.warning("Invalid HTTP request received.")
            self._refuse(HTTPStatus.BAD_REQUEST)
        except httptools.HttpParserUpgrade:
            self._unsupported_upgrade_warning()
        if self._in_head and self._unfinished_bytes > HEAD_MAX_BYTES:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def _parsed(self) -> None:
        """All that arrived is parsed. A head that is still unfinished gets its deadline, unless we keep it waiting."""
        if self._in_head and self._head_timer is None and not self._refused and not self._busy():
            self._arm()

    def _arm(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._refuse, HTTPStatus.REQUEST_TIMEOUT)

    def _disarm(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _expect_reading(self) -> None:
        unread = self.transport.get_write_buffer_size()
        self._read_timer = self.loop.call_later(READ_TIMEOUT_S, self._check_reading, unread)

    def _check_reading(self, unread_before: int) -> None:
        if self.transport.get_write_buffer_size() < unread_before:
            self._expect_reading()
        else:
            self.transport.abort()

    def _refuse(self, status: HTTPStatus) -> None:
        """Answers without the application, and closes. While another answer is being written it only closes."""
        self._disarm()
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(_plain_problem(status))
        self.transport.close()


def _plain_problem(status: HTTPStatus) -> bytes:
    """A problem without a type of its own (RFC 9457, 4.2.1): what HTTP itself already says."""
    body = f'{{"type":"about:blank","title":"{status.phrase}","status":{status.value}}}'
    return (
        f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/problem+json\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n{body}"
    ).encode("ascii")
