"""The services as `amana events` asks them, with the platform's own key: each call is one request."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlencode

import msgspec

from amana.gateway.caller import TENANT_HEADER
from amana.gateway.source import Source, url_of
from amana.infra.http import HttpClient, UpstreamUnavailable
from amana.infra.settings import Settings
from amana.wire.audit import StreamStatuses
from amana.wire.consuming import ConsumerStatus, LetterPage, RedriveResult, StreamEnd
from amana.wire.events import SequencedEvent

TIMEOUT_MS = 30_000
STREAMS = ("eligibility", "transactions")
"""What happens to borrowers and their money."""
NOTIFICATIONS = "notifications"
"""Who read what borrowers are told: a stream of a service that not every stack runs."""
ANY_TENANT = "0"
"""What is asked here concerns every lender; an internal key names some tenant."""

T = TypeVar("T")


class Refused(Exception):
    """A service said no. The message says why."""


class Happened(msgspec.Struct):
    """An event as it is shown: what is common to all."""

    event_id: str
    tenant: int
    type: str
    occurred_at: datetime
    aggregate: dict[str, Any]
    actor: str
    data: dict[str, Any]


class Placed(NamedTuple):
    """An event in its stream. `happened` is None where its bytes can't be read."""

    stream: str
    position: int
    body: str
    happened: Happened | None


_happened = msgspec.json.Decoder(Happened)


class Services:
    """What a stack's services say of their events."""

    def __init__(self, http: HttpClient, settings: Settings) -> None:
        self._http = http
        self._settings = settings
        self._urls = {stream: url_of(settings, stream) for stream in (*STREAMS, NOTIFICATIONS)}
        self._sources = {stream: Source(stream, url, settings.internal_key, http) for stream, url in self._urls.items()}

    async def end(self, stream: str) -> StreamEnd:
        """How far a stream is."""
        return await self._ask("GET", self._urls[stream], "/v1/events/end", None, StreamEnd)

    async def events(self, stream: str, after: int, limit: int) -> list[Placed]:
        """Events after a position."""
        page = await self._sources[stream].page(after, limit)
        return [placed(stream, event) for event in page.events]

    async def consumer(self) -> ConsumerStatus:
        """How far notifications are."""
        return await self._ask("GET", self._settings.notifications_url, "/v1/consumers", None, ConsumerStatus)

    async def audit(self) -> StreamStatuses:
        """How far audit is."""
        return await self._ask("GET", self._settings.audit_url, "/v1/audit/streams", None, StreamStatuses)

    async def letters(self, after: int, limit: int, wanted: Mapping[str, str]) -> LetterPage:
        """A page of letters; `wanted` are `state` and `key`."""
        query = urlencode({"after": after, "limit": limit, **wanted})
        return await self._ask("GET", self._settings.notifications_url, f"/v1/dead-letters?{query}", None, LetterPage)

    async def redrive(self, asked: dict[str, Any]) -> RedriveResult:
        """Redrives or discards."""
        return await self._ask(
            "POST", self._settings.notifications_url, "/v1/dead-letters:redrive", asked, RedriveResult
        )

    async def _ask(self, method: str, url: str, path: str, body: dict[str, Any] | None, type_: type[T]) -> T:
        headers = {"Authorization": f"Bearer {self._settings.internal_key}", TENANT_HEADER: ANY_TENANT}
        whole = url.rstrip("/") + path
        raw = None if body is None else msgspec.json.encode(body)
        reply = await self._http.request(method, whole, body=raw, headers=headers, timeout_ms=TIMEOUT_MS)
        if reply.status in (400, 404, 409):
            problem = msgspec.json.decode(reply.body)
            faults = [f"{fault['pointer']}  {fault['detail']}" for fault in problem["errors"]]
            raise Refused("\n".join([f"{problem['detail']} ({problem['code']})", *faults]))
        if reply.status != 200:
            raise UpstreamUnavailable(f"{method} {whole}: status {reply.status}", outcome_known=True)
        try:
            return msgspec.json.decode(reply.body, type=type_)
        except msgspec.MsgspecError as error:
            raise UpstreamUnavailable(f"{method} {whole}: is it Amana? {error}", outcome_known=True) from error


async def asking(settings: Settings, work: Callable[[Services], Awaitable[T]]) -> T:
    """Runs `work` with the services of the settings. Raises `Refused` and `UpstreamUnavailable`."""
    async with HttpClient() as http:
        return await work(Services(http, settings))


def placed(stream: str, event: SequencedEvent) -> Placed:
    """An event with what is common to all, where it can be read."""
    try:
        happened = _happened.decode(event.body.encode())
    except msgspec.MsgspecError:
        happened = None
    return Placed(stream, event.position, event.body, happened)
