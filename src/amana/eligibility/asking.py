"""How the persons of a batch stand: from the projection where that may be, else from the ledger, in bulk.

What the ledger is asked for is kept in the projection, where that lacks it. For that, whoever asks notes before how
often the rows were moved, and makes the rows that are not there: an event that comes meanwhile moves them, and then
nothing is kept of what was asked too early.
"""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from prometheus_client import Counter

from amana.domain.facts import CustomerStanding, Through
from amana.domain.money import Currency
from amana.domain.persons import standing_of_person
from amana.eligibility import projection_store
from amana.eligibility.projection import StandingKey
from amana.eligibility.projection_store import Noted, Told
from amana.eligibility.records import Check, Customer, Key
from amana.eligibility.standings import Ledger, Person
from amana.infra.http import UpstreamUnavailable
from amana.infra.postgres import Connection

STANDINGS = Counter("amana_eligibility_standings_total", "Persons whose standing was found, by way.", ("through",))


class Found(NamedTuple):
    """What the ledger said: of each check's person by its place in the batch, or why it did not answer; and of each
    number that was asked about as it stands now."""

    standings: dict[int, CustomerStanding]
    failures: dict[int, Exception]
    numbers: dict[StandingKey, CustomerStanding]


def projected(
    checks: Mapping[int, Check], customers: Mapping[Key, Customer], now: datetime
) -> dict[int, CustomerStanding]:
    """What may be answered from the projection: plain questions alone."""
    found: dict[int, CustomerStanding] = {}
    for at, check in checks.items():
        customer = customers[check.tenant, check.customer]
        if check.is_cacheable:
            numbers = customer.projection.standings(customer.person, check.currency, now)
            if numbers is not None:
                found[at] = standing_of_person(numbers)
    STANDINGS.labels(Through.PROJECTION).inc(len(found))
    return found


async def note_moves(
    connection: Connection, checks: Mapping[int, Check], customers: Mapping[Key, Customer]
) -> dict[StandingKey, Noted]:
    """What is to be noted of stale rows that the ledger is going to be asked about. Rows that are not there are made:
    with that, and only then, one round trip."""
    noted: dict[StandingKey, Noted] = {}
    lacking: dict[StandingKey, int] = {}
    for check in checks.values():
        customer = customers[check.tenant, check.customer]
        watermark = customer.projection.watermark
        if check.as_of is not None or watermark is None:
            continue
        for number in customer.person:
            key = StandingKey(check.tenant, number, check.currency)
            row = customer.projection.row(number, check.currency)
            if row is None:
                lacking[key] = watermark.given_up
            elif row.as_of is None:
                noted[key] = Noted(row.moves, watermark.given_up)
    made = await projection_store.claim(connection, lacking) if lacking else {}
    return noted | {key: Noted(moves, lacking[key]) for key, moves in made.items()}


async def ask(ledger: Ledger, checks: Mapping[int, Check], customers: Mapping[Key, Customer]) -> Found:
    """Asks the ledger about all of them: calls for each tenant and currency, at the same time."""
    groups: dict[tuple[int, Currency], list[int]] = {}
    for at, check in checks.items():
        groups.setdefault((check.tenant, check.currency), []).append(at)
    replies = await asyncio.gather(
        *(
            ledger.numbers(*group, [_person(checks[at], customers) for at in members])
            for group, members in groups.items()
        ),
        return_exceptions=True,
    )
    found = Found({}, {}, {})
    for ((tenant, currency), members), reply in zip(groups.items(), replies, strict=True):
        if isinstance(reply, UpstreamUnavailable):
            found.failures.update(dict.fromkeys(members, reply))
            continue
        if isinstance(reply, BaseException):
            raise reply
        for at, numbers in zip(members, reply, strict=True):
            found.standings[at] = standing_of_person(numbers)
            if checks[at].as_of is None:
                found.numbers.update({StandingKey(tenant, one.customer, currency): one for one in numbers})
    STANDINGS.labels(Through.LEDGER).inc(len(found.standings))
    return found


async def keep(connection: Connection, found: Found, noted: Mapping[StandingKey, Noted]) -> None:
    """Keeps in the projection what lasts of what was asked, where nothing moved since. One round trip, or none."""
    told = [Told(key, noted[key], one) for key, one in found.numbers.items() if key in noted and one.lasts]
    if told:
        await projection_store.fill(connection, told)


def _person(check: Check, customers: Mapping[Key, Customer]) -> Person:
    return Person(customers[check.tenant, check.customer].person, check.as_of)
