"""What a hot route gives the server: who takes its requests on the short way (`hotlane`), and with what they answer."""

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Any, NamedTuple, Protocol, TypeAlias

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

Headers: TypeAlias = list[tuple[bytes, bytes]]
"""The server's own are a new list whenever they change: each second, for they have the date."""


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


Begin: TypeAlias = Callable[[HotHead, bytes, Headers], bytes | Ride | None]
"""Gets a head, a whole body and the server's own headers: gives the whole answer at once (one that does not close, see
`front_of`), begins, or declines with None, having done nothing."""


class Lane(NamedTuple):
    """Takes the requests of one method and path."""

    method: bytes
    begin: Begin
    body_max_bytes: int


def front_of(status: int, given: Headers) -> bytes:
    """The lines with which an answer begins."""
    return STATUS_LINE[status] + b"".join([name + b": " + value + b"\r\n" for name, value in given])
