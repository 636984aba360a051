"""A till behind the real edge, whose orders are answered in batches: a hot route, and what a test asks of it."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import msgspec
from litestar import get, post
from litestar.datastructures import State

from amana.domain.reasons import Reason
from amana.gateway.caller import Caller
from amana.gateway.edge import Application, build_app
from amana.gateway.keyring import KeyRing
from amana.gateway.quota import Quotas
from amana.gateway.rules import Begun
from amana.infra.collector import Collector, Overloaded
from amana.infra.http_server import serve
from amana.infra.postgres import DatabaseUnavailable
from amana.infra.trace import current_trace_id
from amana.wire.common import Amount, Request, Response
from amana.wire.problems import Refused

BODY_MAX_BYTES = 2_000
ID = "0190c7a2-1111-7000-8000-000000000001"
FAILURES: dict[str, Exception] = {
    "bug": AssertionError("select secret from api_keys"),
    "database": DatabaseUnavailable("connection refused"),
    "commit": DatabaseUnavailable("lost in commit", outcome_known=False),
    "overload": Overloaded(),
    "refusal": Refused(Reason.LIMIT_EXCEEDED, "Over the limit: €5.", {"limit": 5_000, "exposure": 4_900}),
    "timeout": Refused(Reason.REQUEST_TIMEOUT),
}


class Order(Request):
    id: UUID
    amount: Amount
    kind: str = "good"


class Sold(Response):
    id: UUID
    amount: int
    tenant: int
    trace: str
    text: str = ""


class Till:
    """Batches orders. `asked` counts the calls of `begin`, `handled` the orders that came the normal way."""

    def __init__(self) -> None:
        self.asked = 0
        self.handled = 0
        self.batches: list[list[int]] = []
        self.open = asyncio.Event()
        self.open.set()
        self._orders: Collector[Order, str] = Collector(
            self._sell, batch_max=100, batches_in_flight=1, queue_max=1_000, wait_max_s=60
        )

    def at_once(self, tenant: int, order: Order) -> Sold | bytes | None:
        if order.kind == "broken at once":
            raise AssertionError("a bug")
        if order.kind not in ("instant", "rendered"):
            return None
        self.asked += 1
        sold = Sold(id=order.id, amount=order.amount, tenant=tenant, trace="")
        if order.kind == "instant":
            return sold
        sold.text = "x" * order.amount
        return msgspec.json.encode(sold)

    def begin(self, caller: Caller, order: Order) -> Begun | None:
        self.asked += 1
        if order.kind == "declined":
            return None
        if order.kind == "full":
            raise Overloaded
        if order.kind == "broken":
            raise AssertionError("a bug")

        def respond(text: str) -> Any:
            if order.kind == "strange":
                return {"no JSON": object()}
            trace = current_trace_id()
            return Sold(id=order.id, amount=order.amount, tenant=caller.tenant, trace=trace, text=text)

        return Begun(self._orders.enqueue(order), respond)

    async def _sell(self, orders: list[Order]) -> list[str | Exception]:
        self.batches.append([order.amount for order in orders])
        await self.open.wait()
        return [FAILURES.get(order.kind, "x" * order.amount if order.kind == "long" else "") for order in orders]


def begin(state: Any, caller: Caller, data: Order) -> Begun | None:
    till: Till = state.till
    return till.begin(caller, data)


def at_once(state: Any, tenant: int, data: Order) -> Sold | bytes | None:
    till: Till = state.till
    return till.at_once(tenant, data)


@post("/v1/orders", opt={"scope": "transfers:write", "hot": begin, "at_once": at_once}, status_code=200)
async def order(data: Order, caller: Caller, state: State) -> Any:
    """Sells."""
    state.till.handled += 1
    sold = at_once(state, caller.tenant, data)
    if sold is not None:
        return msgspec.Raw(sold) if isinstance(sold, bytes) else sold
    begun = begin(state, caller, data)
    return await begun if begun else {"text": "declined"}


@get("/v1/whoami", opt={"scope": "transfers:write"})
async def whoami(caller: Caller) -> dict[str, Any]:
    return {"tenant": caller.tenant}


def build(keys: KeyRing, *, lanes: bool = True, quotas: Quotas | None = None) -> Application:
    app = build_app(service="till", routes=[order, whoami], keys=keys, quotas=quotas, body_max_bytes=BODY_MAX_BYTES)
    app.state.till = Till()
    if not lanes:
        app.lanes = {}
    return app


@asynccontextmanager
async def serving(app: Application) -> AsyncIterator[tuple[str, Till]]:
    """Serves `app` on a free port; the base URL and its till."""
    stop = asyncio.Event()
    started: asyncio.Queue[str] = asyncio.Queue()
    task = asyncio.create_task(serve(app, "127.0.0.1", 0, on_started=started.put_nowait, stop=stop))
    try:
        yield await asyncio.wait_for(started.get(), 10), app.state.till
    finally:
        app.state.till.open.set()
        stop.set()
        await asyncio.wait_for(task, 10)


def post_order(key: str, body: bytes, *headers: str, line: str = "POST /v1/orders HTTP/1.1") -> bytes:
    """A request with the usual headers, but for those in `headers`; one that is empty there is left out."""
    usual = {
        "Host": "localhost:7801",
        "Authorization": f"Bearer {key}",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
    }
    given = [header.split(": ", 1) for header in headers]
    named = {name for name, _ in given}
    lines = [f"{name}: {value}" for name, value in usual.items() if name not in named]
    lines += [f"{name}: {value}" for name, value in given if value]
    return "\r\n".join([line, *lines, "", ""]).encode("latin-1") + body


def an_order(amount: int = 1, kind: str = "good") -> bytes:
    return f'{{"id":"{ID}","amount":{amount},"kind":"{kind}"}}'.encode()


class Wire:
    """A connection of which a test sees every byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def answer(self) -> bytes:
        """The next answer, head and body; an interim one goes before it. Raises where the server closes before."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 10)
        if head.startswith(b"HTTP/1.1 100 "):
            return head + await self.answer()
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
        return head + await asyncio.wait_for(self.reader.readexactly(int(length[1]) if length else 0), 10)

    async def asked(self, request: bytes) -> bytes:
        self.writer.write(request)
        return await self.answer()

    async def closed(self, within_s: float = 5.0) -> bool:
        """Whether the server closes, saying nothing more."""
        try:
            return await asyncio.wait_for(self.reader.read(1), within_s) == b""
        except ConnectionError:
            return True
        except TimeoutError:
            return False


@asynccontextmanager
async def wire(url: str) -> AsyncIterator[Wire]:
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()
