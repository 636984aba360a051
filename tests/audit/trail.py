"""A seeded trail of events in two streams, and the plain reading of a question that the search is held to."""

import random
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, NamedTuple
from uuid import UUID, uuid5

import msgspec

from amana.audit.flow import RECEIVE_MAX, receive
from amana.audit.index_store import Index
from amana.audit.indexer import Indexer
from amana.audit.store import Store
from amana.domain.events import Aggregate, Event, event_bytes

NAMES = UUID(int=23)
START = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
STREAMS = ("eligibility", "transactions")


def named(kind: str, number: int) -> UUID:
    return uuid5(NAMES, f"{kind} {number}")


class Told(NamedTuple):
    """An event, decoded, its place and its time."""

    stream: str
    position: int
    event: dict[str, Any]
    at: datetime


class Trail:
    """`counts` events of each stream: decisions and transfers of a few customers, accounts, keys and tenants.

    Times go up with the positions but for a jitter of some seconds, as commits do.
    """

    def __init__(self, seed: int, counts: dict[str, int]) -> None:
        draw = random.Random(seed)
        self.bodies: dict[str, list[bytes]] = {
            stream: [self._body(draw, stream, at) for at in range(count)] for stream, count in counts.items()
        }

    @cached_property
    def told(self) -> list[Told]:
        return [
            Told(stream, at, event := msgspec.json.decode(body), datetime.fromisoformat(event["occurred_at"]))
            for stream, bodies in self.bodies.items()
            for at, body in enumerate(bodies)
        ]

    async def receive(self, store: Store, stream: str, start: int = 0, stop: int | None = None) -> None:
        """Has the log receive a run of a stream."""
        events = list(enumerate(self.bodies[stream]))[start:stop]
        for first in range(0, len(events), RECEIVE_MAX):
            await receive(store, stream, events[first : first + RECEIVE_MAX])

    def _body(self, draw: random.Random, stream: str, at: int) -> bytes:
        make = _decision if stream == "eligibility" else _transfer
        type_, aggregate, data = make(draw, at)
        return event_bytes(
            Event(
                event_id=named(stream, at),
                tenant=1 if draw.random() < 0.9 else 2,
                type=type_,
                version=1,
                occurred_at=START + timedelta(seconds=at * 10 + draw.randrange(-30, 30)),
                aggregate=aggregate,
                actor=f"key{draw.randrange(3)}",
                trace=f"{draw.randrange(400):032x}" if draw.random() < 0.8 else "",
                data=data,
            )
        )


def _decision(draw: random.Random, at: int) -> tuple[str, Aggregate, dict[str, Any]]:
    customer = named("customer", min(draw.randrange(300), draw.randrange(300)))
    if draw.random() < 0.01:
        reviewed = named("decision", draw.randrange(at + 1))
        data = {"customer": str(customer), "review": str(named("review", at))}
        return "DecisionOverridden", Aggregate("decision", reviewed, 2), data
    decision = named("decision", at)
    return (
        "DecisionMade",
        Aggregate("decision", decision, 1),
        {"customer": str(customer), "offer_id": None, "amount": 7},
    )


def _transfer(draw: random.Random, at: int) -> tuple[str, Aggregate, dict[str, Any]]:
    transfer = named("transfer", at)
    sides = {
        side: {"account": str(named("account", 0 if draw.random() < 0.5 else draw.randrange(500)))}
        for side in ("debit", "credit")
    }
    return "TransferPosted", Aggregate("transfer", transfer, 1), {"transfer": str(transfer), "amount": at, **sides}


async def index_all(index: Index, *streams: str) -> int:
    """Indexes what there is; how many leaves."""
    indexed = 0
    for stream in streams or STREAMS:
        indexer = Indexer(stream, index)
        while done := await indexer.step():
            indexed += done
    return indexed
