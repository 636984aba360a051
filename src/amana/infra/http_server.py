"""Serves an ASGI application with uvicorn, uvloop and httptools, until SIGTERM or SIGINT.

uvicorn bounds neither the head of a request nor the time that it may take to arrive; the protocol subclass here does:
414, 431 and 408, then the connection is closed. On a signal the server says that it drains (see `is_draining`), after
a pause stops accepting, answers what it has begun and closes; `serve` then returns, so that the caller can close what
it opened.
"""

import asyncio
import contextlib
import signal
import threading
from asyncio.events import TimerHandle
from collections.abc import Awaitable, Callable, Iterator, Mapping
from http import HTTPStatus
from inspect import isawaitable
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

URI_MAX_BYTES = 8 << 10
HEAD_MAX_BYTES = 32 << 10
HEAD_TIMEOUT_S = 10.0
KEEP_ALIVE_S = 75
DRAIN_TIMEOUT_S = 20
DRAIN_PAUSE_S = 0.0
"""How long a draining server goes on accepting, so that balancers that ask `/readyz` can turn away first."""
CONNECTIONS_MAX = 4_096
BACKLOG = 2_048

_DRAINING = "amana.draining"


class ServerFailed(Exception):
    """The server could not start: the port is taken, or the application refused to. The log says why."""


async def serve(
    app: Any,
    host: str,
    port: int,
    *,
    on_started: Callable[[str], Awaitable[None] | None] | None = None,
    stop: asyncio.Event | None = None,
    drain_pause_s: float = DRAIN_PAUSE_S,
) -> None:
    """Serves until a signal comes or `stop` is set; port 0 takes a free one.

    `on_started` gets the base URL, such as `http://127.0.0.1:7801`, once requests are accepted. From the signal on
    requests see `is_draining`; the listener closes `drain_pause_s` later, or at a second signal. Raises `ServerFailed`
    when it could not start.
    """
    server = _Server(_config(app, host, port), on_started, drain_pause_s)
    watch = asyncio.create_task(_stop_on(stop, server)) if stop else None
    try:
        await server.serve()
    except SystemExit as error:
        raise ServerFailed(f"could not serve on {host}:{port}") from error
    finally:
        if watch:
            watch.cancel()
    if not server.started:
        raise ServerFailed(f"could not serve on {host}:{port}")


def is_draining(scope: Mapping[str, Any]) -> bool:
    """Whether the server of this request (its ASGI scope) was told to stop."""
    return bool(scope.get("state", {}).get(_DRAINING, False))


def _config(app: Any, host: str, port: int) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=BoundedProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=DRAIN_TIMEOUT_S,
    )


async def _stop_on(stop: asyncio.Event, server: "_Server") -> None:
    await stop.wait()
    server.drain(signal.SIGTERM)


class _Server(uvicorn.Server):
    """uvicorn's server, except that a signal ends `serve` instead of the process."""

    def __init__(
        self, config: uvicorn.Config, on_started: Callable[[str], Awaitable[None] | None] | None, drain_pause_s: float
    ) -> None:
        super().__init__(config)
        self._on_started = on_started
        self._drain_pause_s = drain_pause_s
        self._draining = False

    def drain(self, number: int) -> None:
        """Says to requests that the end is near and begins the pause; called again, ends it."""
        first, self._draining = not self._draining, True
        if self.started:
            self.lifespan.state[_DRAINING] = True  # uvicorn copies it into the scope of every request
        if first and self.started and self._drain_pause_s:
            asyncio.get_running_loop().call_later(self._drain_pause_s, self._end_pause)
        else:
            self.handle_exit(number, None)

    def _end_pause(self) -> None:
        self.should_exit = True

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets=sockets)
        if self._on_started is None or not self.started:
            return
        port = self.servers[0].sockets[0].getsockname()[1]
        told = self._on_started(f"http://{self.config.host}:{port}")
        if isawaitable(told):
            await told

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        signals = (signal.SIGTERM, signal.SIGINT)
        for number in signals:
            loop.add_signal_handler(number, self.drain, number)
        try:
            yield
        finally:
            for number in signals:
                loop.remove_signal_handler(number)


class BoundedProtocol(HttpToolsProtocol):
    """One connection, whose requests must have a head of bounded size that arrives in bounded time."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._head_bytes = 0
        self._unfinished_bytes = 0
        self._refused = False
        self._timer: TimerHandle | None = None
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS_MAX:
            transport.abort()
        else:
            self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        super().data_received(data)
        if self._timer is None:
            return
        # The parser keeps an unfinished line to itself, so what arrived is counted too.
        self._unfinished_bytes += len(data)
        if self._unfinished_bytes > HEAD_MAX_BYTES:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_bytes = 0
        self._unfinished_bytes = 0
        self._disarm()
        self._arm()

    def on_url(self, url: bytes) -> None:
        self._head_bytes += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value) + 4
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._disarm()
        if len(self.url) > URI_MAX_BYTES:
            self._refuse(HTTPStatus.REQUEST_URI_TOO_LONG)
        elif self._head_bytes > HEAD_MAX_BYTES:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        if not self._refused:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._refused:
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(HTTPStatus.BAD_REQUEST)

    def _arm(self) -> None:
        self._timer = self.loop.call_later(HEAD_TIMEOUT_S, self._refuse, HTTPStatus.REQUEST_TIMEOUT)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

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
