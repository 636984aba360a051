"""Serves an ASGI application with uvicorn, uvloop and httptools, until SIGTERM or SIGINT.

Its connections are bounded (`http_connection`), and the hot routes of the application take a short way (`hotlane`). On
a signal the server says that it drains (see `is_draining`), after a pause stops accepting, answers what it has begun
and closes; `serve` then returns, so that the caller can close what it opened.
"""

import asyncio
import contextlib
import gc
import signal
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from inspect import isawaitable
from typing import Any

import uvicorn

from amana.infra.hotlane import HotProtocol
from amana.infra.metrics_port import metrics_shown
from amana.infra.settings import Settings

KEEP_ALIVE_S = 75
DRAIN_TIMEOUT_S = 20
DRAIN_PAUSE_S = 0.0
"""How long a draining server goes on accepting, so that balancers that ask `/readyz` can turn away first."""
BACKLOG = 2_048

COLLECT_AFTER = (50_000, 20, 50)
"""Objects made and not yet gone before the youngest are looked through; and every how many times the older ones are."""

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
    shared: bool = False,
) -> None:
    """Serves until a signal comes or `stop` is set; port 0 takes a free one. At a `shared` port other processes of the
    same user may listen too: the kernel deals new connections out among them.

    `on_started` gets the base URL, such as `http://127.0.0.1:7801`, once requests are accepted. From the signal on
    requests see `is_draining`; the listener closes `drain_pause_s` later, or at a second signal. An application with
    `lanes` (a mapping of paths to `lanes.Lane`) has them asked first. Raises `ServerFailed` when it could not start.
    """
    server = _Server(_config(app, host, port), on_started, drain_pause_s)
    watch = asyncio.create_task(_stop_on(stop, server)) if stop else None
    try:
        await server.serve([_shared_socket(host, port)] if shared else None)
    except (SystemExit, OSError) as error:
        raise ServerFailed(f"could not serve on {host}:{port}") from error
    finally:
        if watch:
            watch.cancel()
    if not server.started:
        raise ServerFailed(f"could not serve on {host}:{port}")


async def serve_as_set(app: Any, settings: Settings) -> None:
    """Serves until SIGTERM where the settings say, and shows the metrics of this process at a port of its own, if there
    is to be one."""
    host = settings.listen_host
    with contextlib.ExitStack() as beside:
        try:
            beside.enter_context(metrics_shown(host, settings.metrics_port))
        except OSError as error:
            raise ServerFailed(f"could not show metrics on {host}:{settings.metrics_port}: {error}") from error
        await serve(
            app,
            host,
            settings.listen_port,
            drain_pause_s=settings.drain_pause_ms / 1000,
            shared=bool(settings.listen_shared),
        )


def is_draining(scope: Mapping[str, Any]) -> bool:
    """Whether the server of this request (its ASGI scope) was told to stop."""
    return bool(scope.get("state", {}).get(_DRAINING, False))


def _shared_socket(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG, reuse_port=True)


def _config(app: Any, host: str, port: int) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=partial(HotProtocol, lanes=getattr(app, "lanes", {})),  # type: ignore[arg-type] # called, never subclassed
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
        _spare_the_collector()
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


def _spare_the_collector() -> None:
    """What is loaded now stays. A request leaves next to no cycles behind, but makes hundreds of objects: with Python's
    own threshold a busy service looked through them all several times for each batch (a fifth of its CPU)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
