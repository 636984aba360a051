"""A ledger for these tests: a real HTTP server that answers `POST /v1/standings` from what a test tells it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, TypeAlias
from uuid import UUID

import msgspec

from amana.infra.http_server import serve
from amana.wire.loans import Standings, StandingsRequest, StandingView

Undo: TypeAlias = Callable[[str, dict[str, Any]], tuple[int, dict[str, Any]]]
"""(status, body) for the path and body of what a reversal asks."""


class StandingsServer:
    """`known` holds what differs from zeros, by (tenant, customer); `calls` the customers of each call, by tenant.

    `end` is what it says of its stream, of which it has no events. What a reversal asks is answered by `undo`, or with
    503 where no test set it; `undone` are those requests by path. With `down` set it answers 503, and `hold` (when set)
    is waited for before every answer; `asked` is set when a call arrives.
    """

    def __init__(self) -> None:
        self.known: dict[tuple[int, UUID], dict[str, Any]] = {}
        self.calls: list[tuple[int, StandingsRequest]] = []
        self.keys: set[str] = set()
        self.down = False
        self.end: dict[str, Any] = {}
        self.undo: Undo | None = None
        self.undone: list[tuple[str, dict[str, Any]]] = []
        self.hold: asyncio.Event | None = None
        self.asked = asyncio.Event()
        self.url = ""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """The ASGI application."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        body, more = b"", True
        while more:
            event = await receive()
            body, more = body + event.get("body", b""), event.get("more_body", False)
        if scope["path"].startswith("/v1/events"):
            page = {"stream": "transactions", "events": [], "last": -1} | self.end
            await _send(send, 503 if self.down else 200, msgspec.json.encode(page))
            return
        if scope["path"] != "/v1/standings":
            await _send(send, *self._undo(scope["path"], msgspec.json.decode(body)))
            return
        self.asked.set()
        if self.hold is not None:
            await self.hold.wait()
        self.keys.add(headers["authorization"])
        await _send(send, *self._answer(int(headers["amana-tenant"]), body))

    def _undo(self, path: str, request: dict[str, Any]) -> tuple[int, bytes]:
        self.undone.append((path, request))
        status, answer = (503, {}) if self.undo is None else self.undo(path, request)
        return status, msgspec.json.encode(answer)

    def _answer(self, tenant: int, body: bytes) -> tuple[int, bytes]:
        request = msgspec.json.decode(body, type=StandingsRequest)
        self.calls.append((tenant, request))
        if self.down:
            return 503, b"{}"
        now = datetime.now(UTC)
        views = [
            _view(item.customer, item.as_of or now, self.known.get((tenant, item.customer), {}))
            for item in request.items
        ]
        return 200, msgspec.json.encode(Standings(standings=views))


async def _send(send: Any, status: int, answer: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": answer})


@asynccontextmanager
async def running() -> AsyncIterator[StandingsServer]:
    """The server on a free port, stopped at the end."""
    server = StandingsServer()
    async with served(server) as url:
        server.url = url
        yield server


@asynccontextmanager
async def served(app: Any, port: int = 0) -> AsyncIterator[str]:
    """Serves any application, on a free port unless one is given; its base URL."""
    stop = asyncio.Event()
    started: asyncio.Queue[str] = asyncio.Queue()
    task = asyncio.create_task(serve(app, "127.0.0.1", port, on_started=started.put_nowait, stop=stop))
    try:
        yield await asyncio.wait_for(started.get(), 10)
    finally:
        stop.set()
        await task


def _view(customer: UUID, as_of: datetime, changes: dict[str, Any]) -> StandingView:
    zeros: dict[str, Any] = {
        "credit_limit": None,
        "exposure": 0,
        "loans_total": 0,
        "loans_open": 0,
        "loans_closed": 0,
        "worst_days_past_due": 0,
        "current_days_past_due": 0,
        "largest_principal_repaid": 0,
        "repaid_total": 0,
        "first_loan_on": None,
        "last_closed_on": None,
        "lasts": True,
    }
    return StandingView(customer=customer, as_of=as_of, **(zeros | changes))


async def _lifespan(receive: Any, send: Any) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
