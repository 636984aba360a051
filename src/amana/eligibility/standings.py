"""Asks the ledger how customers stand: one bulk call for each tenant and currency."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from amana.domain.facts import CustomerStanding
from amana.domain.money import Currency
from amana.infra.http import HttpClient, UpstreamUnavailable
from amana.wire.loans import STANDINGS_MAX, StandingItem, StandingsRequest

TIMEOUT_MS = 2_000


class _Reply(msgspec.Struct, frozen=True):
    """The part of `Standings` that facts are made of."""

    standings: list[CustomerStanding]


class Ledger(NamedTuple):
    """The transactions service, as eligibility sees it. `key` is the internal API key."""

    http: HttpClient
    url: str
    key: str

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
