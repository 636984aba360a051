"""`amana events lag`: how far each stream is, and how far behind it everybody stands, in events and seconds."""

import time
from collections.abc import Awaitable
from typing import Any, NamedTuple, TypeVar

from amana.gateway.source import EventsPruned
from amana.infra.http import UpstreamUnavailable
from amana.operate.streams.client import NOTIFICATIONS, STREAMS, Placed, Refused, Services

T = TypeVar("T")


class Lag(NamedTuple):
    """How far somebody is in a stream. `position` is the last one done with all before it; `events` what is missing;
    `seconds` the age of the first of it. `note` is what else there is to say."""

    who: str
    stream: str
    position: int
    events: int
    seconds: float
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return self._asdict() | {"seconds": round(self.seconds, 3)}


async def lags(services: Services) -> tuple[list[Lag], list[str]]:
    """Everybody's lag, and who could not be asked. Raises `UpstreamUnavailable` when a source can't."""
    ends = {stream: await services.end(stream) for stream in STREAMS}
    found: list[Lag] = []
    away: list[str] = []
    reads = await _asked(services.end(NOTIFICATIONS), NOTIFICATIONS, away)
    ends |= {NOTIFICATIONS: reads} if reads else {}
    for stream, end in ends.items():
        behind = end.last - end.published
        found.append(await _lag(services, "relay", stream, end.published, behind))
    audit = await _asked(services.audit(), "audit", away)
    for status in audit.streams if audit else ():
        if status.stream not in ends:
            continue
        behind = max(0, ends[status.stream].last - status.received)
        note = f"{max(0, status.received + 1 - status.sealed_size)} not sealed"
        found.append(await _lag(services, "audit", status.stream, status.received, behind, note))
    consumer = await _asked(services.consumer(), NOTIFICATIONS, away) if reads else None
    for place in consumer.streams if consumer else ():
        assert consumer is not None
        behind = max(0, ends[place.stream].last + 1 - place.below - place.ahead)
        note = ", ".join(f"{one.letters} {one.state} ({one.keys} keys)" for one in consumer.letters)
        found.append(await _lag(services, consumer.consumer, place.stream, place.below - 1, behind, note))
    return found, away


async def _lag(services: Services, who: str, stream: str, position: int, behind: int, note: str = "") -> Lag:
    seconds = 0.0
    if behind:
        first, note = await _first(services, stream, position, note)
        if first and first[0].happened:
            seconds = max(0.0, time.time() - first[0].happened.occurred_at.timestamp())
    return Lag(who, stream, position, behind, seconds, note)


async def _first(services: Services, stream: str, after: int, note: str) -> tuple[list[Placed], str]:
    """The first event that is missing, or the first that there is yet; and what is to be said."""
    try:
        return await services.events(stream, after, 1), note
    except EventsPruned:
        oldest = (await services.end(stream)).oldest
        lost = f"positions {after + 1} to {oldest - 1} were pruned"
        return await services.events(stream, oldest - 1, 1), f"{note}, {lost}" if note else lost


async def _asked(question: Awaitable[T], who: str, away: list[str]) -> T | None:
    try:
        return await question
    except (UpstreamUnavailable, Refused) as error:
        away.append(f"{who} can't be asked: {error}")
        return None


def table(found: list[Lag]) -> list[str]:
    """A line for each, under a heading."""
    head = f"{'who':<14} {'stream':<13} {'position':>10} {'behind':>8} {'seconds':>9}"
    rows = [
        f"{lag.who:<14} {lag.stream:<13} {lag.position:>10} {lag.events:>8} {lag.seconds:>9.1f}  {lag.note}".rstrip()
        for lag in found
    ]
    return [head, *rows]
