"""`amana events tail`: events as they get their positions, filtered, until somebody has seen enough."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple
from uuid import UUID

import msgspec

from amana.gateway.source import EventsPruned
from amana.infra.breaker import Backoff
from amana.infra.http import UpstreamUnavailable
from amana.operate.streams.client import Placed, Services

POLL_S = 0.5
PAGE = 500
NOW = "now"
START = "start"

Say = Callable[[str], None]


class Wanted(NamedTuple):
    """Which events; an empty tuple or None asks nothing, and all that are given must hold."""

    types: tuple[str, ...] = ()
    aggregate: UUID | None = None
    customer: UUID | None = None
    tenant: int | None = None

    def takes(self, event: Placed) -> bool:
        """Whether an event is one of them. What can't be read is shown to who asks for everything."""
        found = event.happened
        if found is None:
            return self == Wanted()
        return (
            (not self.types or found.type in self.types)
            and (self.aggregate is None or str(found.aggregate.get("id")) == str(self.aggregate))
            and (self.customer is None or str(found.data.get("customer")) == str(self.customer))
            and (self.tenant is None or found.tenant == self.tenant)
        )


def follow(
    streams: tuple[str, ...],
    start: str,
    wanted: Wanted,
    count: int | None,
    *,
    as_json: bool,
    say: Say,
    complain: Say,
) -> Callable[[Services], Awaitable[None]]:
    """Says `count` events, or goes on for ever. `start`: `now`, `start`, or a position in each of `streams`.

    A service that is away at first raises `UpstreamUnavailable`; one that goes away later is waited for. A position
    whose event was pruned raises `EventsPruned`.
    """

    async def work(services: Services) -> None:
        tails = [_Tail(stream, await _begin(services, stream, start, complain)) for stream in streams]
        left = count
        while left is None or left > 0:
            busy = False
            for tail in tails:
                for event in await tail.next(services, complain):
                    busy = True
                    if wanted.takes(event) and left != 0:
                        say(told(event, as_json=as_json))
                        left = None if left is None else left - 1
            if not busy:
                await asyncio.sleep(POLL_S)

    return work


class _Tail:
    """The end of one stream, as far as it was seen."""

    def __init__(self, stream: str, after: int) -> None:
        self._stream = stream
        self._after = after
        self._backoff = Backoff()

    async def next(self, services: Services, complain: Say) -> list[Placed]:
        """What came since; nothing, after a while, where the service is away."""
        try:
            page = await services.events(self._stream, self._after, PAGE)
        except EventsPruned:
            raise  # whoever waits waits in vain
        except UpstreamUnavailable as error:
            complain(f"{error}; waiting")
            await asyncio.sleep(self._backoff.next_s())
            return []
        self._backoff.reset()
        if page:
            self._after = page[-1].position
        return page


async def _begin(services: Services, stream: str, start: str, complain: Say) -> int:
    """The position after which to begin; `start` is where the stream begins now."""
    end = await services.end(stream)
    if start == NOW:
        return end.last
    if start == START and end.oldest:
        complain(f"{stream} begins at position {end.oldest}: what was before was pruned, and is in the audit log")
    after = (end.oldest if start == START else int(start)) - 1
    await services.events(stream, after, 1)
    return after


def told(event: Placed, *, as_json: bool) -> str:
    """One line for an event: for people, or its place and bytes as JSON."""
    if as_json:
        body = msgspec.Raw(event.body.encode()) if event.happened else event.body
        return msgspec.json.encode({"stream": event.stream, "position": event.position, "event": body}).decode()
    place = f"{event.stream:<12} {event.position:>9}"
    found = event.happened
    if found is None:
        return f"{place}  (not an event)  {event.body[:100]!r}"
    aggregate = f"{found.aggregate.get('type')} {found.aggregate.get('id')} v{found.aggregate.get('version')}"
    customer = f"  customer {found.data['customer']}" if "customer" in found.data else ""
    return f"{place}  {found.occurred_at:%Y-%m-%dT%H:%M:%S.%fZ}  {found.type:<21} {aggregate}{customer}"
