"""A service's stream, as another process reads it over HTTP: `GET /v1/events` by position."""

from datetime import datetime
from typing import TypeVar

import msgspec

from amana.infra.consuming.runtime import Missing
from amana.infra.http import HttpClient, UpstreamUnavailable
from amana.infra.kafka import Message
from amana.infra.settings import Settings
from amana.wire.consuming import StreamEnd
from amana.wire.events import EventPage, SequencedEvent

TIMEOUT_MS = 10_000

Answer = TypeVar("Answer", EventPage, StreamEnd)


class _Aggregate(msgspec.Struct):
    id: str


class _Envelope(msgspec.Struct):
    aggregate: _Aggregate
    event_id: str
    occurred_at: datetime
    tenant: int
    type: str


_envelopes = msgspec.json.Decoder(_Envelope)


class EventsPruned(UpstreamUnavailable):
    """The service has pruned the events that were asked for; asking again gives nothing. The message says where the
    stream begins."""


def url_of(settings: Settings, stream: str) -> str:
    """Where the service of a stream answers."""
    urls = {"eligibility": settings.eligibility_url, "transactions": settings.transactions_url}
    return (urls | {"notifications": settings.notifications_url})[stream]


class Source:
    """The service that a stream comes from."""

    def __init__(self, stream: str, url: str, internal_key: str, client: HttpClient) -> None:
        self.stream = stream
        self._url = f"{url.rstrip('/')}/v1/events"
        self._end_url = f"{self._url}/end"
        self._headers = {"Authorization": f"Bearer {internal_key}"}
        self._client = client

    async def page(self, after: int, limit: int) -> EventPage:
        """At most `limit` events after position `after`. Raises `UpstreamUnavailable`; `EventsPruned` where the service
        has no longer got the first of them."""
        return await self._get(f"{self._url}?after={after}&limit={limit}", EventPage)

    async def end(self) -> StreamEnd:
        """How far the stream is. Raises `UpstreamUnavailable`."""
        return await self._get(self._end_url, StreamEnd)

    async def _get(self, url: str, type_: type[Answer]) -> Answer:
        reply = await self._client.request("GET", url, headers=self._headers, timeout_ms=TIMEOUT_MS)
        if reply.status == 410:
            raise EventsPruned(f"GET {url}: {_detail(reply.body)}", outcome_known=True)
        if reply.status != 200:
            raise UpstreamUnavailable(f"GET {url}: status {reply.status}", outcome_known=True)
        try:
            answer = msgspec.json.decode(reply.body, type=type_)
        except msgspec.MsgspecError as error:
            raise UpstreamUnavailable(f"GET {url}: {error}", outcome_known=True) from error
        if answer.stream != self.stream:
            raise UpstreamUnavailable(f"GET {url}: answers for stream {answer.stream}", outcome_known=True)
        return answer

    async def missing(self, after: int, limit: int) -> Missing:
        """The same as messages, as the relay would have sent them. Raises `UpstreamUnavailable`."""
        page = await self.page(after, limit)
        first_at = _happened_at(page.events[0]) if page.events else None
        return Missing([as_message(self.stream, event) for event in page.events], page.last, first_at)


class _Problem(msgspec.Struct):
    detail: str


def _detail(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=_Problem).detail
    except msgspec.MsgspecError:
        return "status 410"


def as_message(stream: str, event: SequencedEvent) -> Message:
    """An event fetched from its source. What can't be read has no key: it will be a dead letter of its own."""
    body = event.body.encode()
    headers = {"stream": stream.encode(), "position": b"%d" % event.position}
    try:
        envelope = _envelopes.decode(body)
    except msgspec.MsgspecError:
        return Message("", -1, -1, b"", body, headers)
    headers |= {"event_id": envelope.event_id.encode(), "type": envelope.type.encode()}
    headers["tenant"] = b"%d" % envelope.tenant
    return Message("", -1, -1, envelope.aggregate.id.encode(), body, headers)


def _happened_at(event: SequencedEvent) -> float | None:
    """Seconds since 1970; None where the event does not say."""
    try:
        return _envelopes.decode(event.body.encode()).occurred_at.timestamp()
    except msgspec.MsgspecError:
        return None
