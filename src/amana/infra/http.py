"""One pooled HTTP client per process, for calls between services and for the command line's tools.

aiohttp, because it costs a fraction of httpx's CPU for each request (docs/decisions/0002-aiohttp-between-services.md).
"""

import asyncio
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import NamedTuple, Self

import aiohttp

from amana.infra import deadline
from amana.infra.deadline import DeadlineExceeded
from amana.infra.trace import current_traceparent

CONNECTIONS_MAX = 128
CONNECT_TIMEOUT_S = 2.0
CONNECT_TRIES = 3
CONNECT_PAUSE_S = 0.05
KEEP_ALIVE_S = 30
"""Less than the server's 75 s, so that the side that sends is the side that gives a connection up."""
ANSWER_MAX_BYTES = 64 << 20
PIECE_BYTES = 64 << 10


class UpstreamUnavailable(Exception):
    """The other service can't be reached or did not answer in time. `outcome_known` is False when it may have acted."""

    def __init__(self, detail: str, *, outcome_known: bool) -> None:
        super().__init__(detail)
        self.outcome_known = outcome_known


class Reply(NamedTuple):
    """What came back, whatever its status. `headers` may be asked in any case, `body` is whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpClient:
    """Keep-alive connections, at most `connections_max`; further requests wait for one within their time-out.

    Opens on first use, in the running event loop. `async with HttpClient() as client`, or `await client.close()`.
    """

    def __init__(self, connections_max: int = CONNECTIONS_MAX) -> None:
        self._connections_max = connections_max
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def request(
        self,
        method: str,
        url: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_ms: int,
    ) -> Reply:
        """Sends one request and reads the whole answer; a body is sent as JSON. `timeout_ms` bounds all of it.

        A connection that can't be made is tried again, twice. A kept connection that turns out to be closed is replaced
        once for idempotent methods (GET, PUT, DELETE), by aiohttp itself, and never for POST. Redirects are not
        followed. Raises `UpstreamUnavailable`.

        The other side is told what is left until this request's deadline. At it `DeadlineExceeded` is raised, which
        says that nothing was done: what is asked of another service before a COMMIT has no effect of its own.
        """
        sent = {"traceparent": current_traceparent(), **_told(deadline.left_s()), **(headers or {})}
        if body is not None:
            sent = {"Content-Type": "application/json", **sent}
        try:
            async with asyncio.timeout(deadline.within(timeout_ms / 1000)):
                return await self._send(method, url, body, sent)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if deadline.is_over():
                raise DeadlineExceeded from error
            raise UpstreamUnavailable(f"{method} {url}: {_named(error)}", outcome_known=_untouched(error)) from error

    async def download(
        self, url: str, *, headers: Mapping[str, str] | None = None, timeout_ms: int, take: Callable[[bytes], object]
    ) -> Reply:
        """Gets what is too large to hold: pieces of a 200's body go to `take` as they come, and the reply has none.

        Any other answer is read whole. `timeout_ms` bounds the wait for each piece. Raises `UpstreamUnavailable`, also
        where the answer ends early; what was taken then is not all.
        """
        sent = {"traceparent": current_traceparent(), **(headers or {})}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=timeout_ms / 1000)
        try:
            async with self._opened().get(url, headers=sent, allow_redirects=False, timeout=timeout) as response:
                if response.status != 200:
                    return Reply(response.status, response.headers, await response.read())
                async for piece in response.content.iter_chunked(PIECE_BYTES):
                    take(piece)
                return Reply(response.status, response.headers, b"")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UpstreamUnavailable(f"GET {url}: {_named(error)}", outcome_known=_untouched(error)) from error

    async def close(self) -> None:
        """Closes every connection. Safe to call twice; a later request opens anew."""
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    async def _send(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]) -> Reply:
        for left in reversed(range(CONNECT_TRIES)):
            try:
                async with self._opened().request(
                    method, url, data=body, headers=headers, allow_redirects=False
                ) as response:
                    if (response.content_length or 0) > ANSWER_MAX_BYTES:
                        raise aiohttp.ClientPayloadError("the answer is too large")
                    return Reply(response.status, response.headers, await response.read())
            except aiohttp.ClientConnectorError:
                if not left:
                    raise
                await asyncio.sleep(CONNECT_PAUSE_S)
        raise AssertionError("unreachable: the last try returns or raises")

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._connections_max, keepalive_timeout=KEEP_ALIVE_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
                auto_decompress=False,
                skip_auto_headers=("User-Agent", "Accept-Encoding"),
            )
        return self._session


def _told(left_s: float | None) -> dict[str, str]:
    return {} if left_s is None else {deadline.HEADER: str(max(1, int(left_s * 1000)))}


def _untouched(error: Exception) -> bool:
    """Whether the request can't have reached the other side: no connection was ever made for it."""
    return isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)


def _named(error: Exception) -> str:
    return f"{type(error).__name__} {error}".strip()
