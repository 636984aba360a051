"""Asks the ledger how persons stand: bulk calls for each tenant and currency, a person's numbers counted as one."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec

from amana.domain.facts import CustomerStanding
from amana.domain.money import Currency
from amana.domain.persons import standing_of_person
from amana.infra.http import HttpClient, UpstreamUnavailable
from amana.wire.loans import STANDINGS_MAX, StandingItem, StandingsRequest

TIMEOUT_MS = 2_000


class _Reply(msgspec.Struct, frozen=True):
    """The part of `Standings` that facts are made of."""

    standings: list[CustomerStanding]


class Person(NamedTuple):
    """The customers who are one person, the one who asks first; with `as_of`, as things stood at that instant."""

    customers: tuple[UUID, ...]
    as_of: datetime | None


class Ledger(NamedTuple):
    """The transactions service, as eligibility sees it. `key` is the internal API key."""

    http: HttpClient
    url: str
    key: str

    async def persons(self, tenant: int, currency: Currency, wanted: Sequence[Person]) -> list[CustomerStanding]:
        """A standing for each person, in order. Raises `UpstreamUnavailable`."""
        return [standing_of_person(numbers) for numbers in await self.numbers(tenant, currency, wanted)]

    async def numbers(self, tenant: int, currency: Currency, wanted: Sequence[Person]) -> list[list[CustomerStanding]]:
        """A standing for each number of each person, in order. Raises `UpstreamUnavailable`."""
        items = [StandingItem(customer=id_, as_of=person.as_of) for person in wanted for id_ in person.customers]
        calls = [items[at : at + STANDINGS_MAX] for at in range(0, len(items), STANDINGS_MAX)]
        answers = await asyncio.gather(*(self.standings(tenant, currency, call) for call in calls))
        found = iter([standing for answer in answers for standing in answer])
        return [[next(found) for _ in person.customers] for person in wanted]

    async def standings(
        self, tenant: int, currency: Currency, wanted: Sequence[StandingItem]
    ) -> list[CustomerStanding]:
        """A standing for each item, in order; a customer unknown there has zeros. Raises `UpstreamUnavailable`."""
        assert 0 < len(wanted) <= STANDINGS_MAX, f"{len(wanted)} standings in one call"
        reply = await self.http.request(
            "POST",
            f"{self.url}/v1/standings",
            body=msgspec.json.encode(StandingsRequest(currency=currency, items=list(wanted))),
            headers={"Authorization": f"Bearer {self.key}", "Amana-Tenant": str(tenant)},
            timeout_ms=TIMEOUT_MS,
        )
        if reply.status != 200:
            raise UpstreamUnavailable(f"standings answered {reply.status}", outcome_known=True)
        found = msgspec.json.decode(reply.body, type=_Reply).standings
        assert [item.customer for item in found] == [item.customer for item in wanted], "standings out of order"
        return found
