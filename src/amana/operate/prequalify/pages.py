"""Customers with their facts, page by page, in the order of their ids.

The facts are made by the functions that a check uses, from the same reads: the record with who else is the same person,
then the ledger's standing of that person. No page is older than its `as_of`. The pages are no snapshot: a customer is
decided on what holds when the page is read, as a check would be, and one who is recorded behind the run is not in it.

Memory is bounded by `PAGES_IN_FLIGHT` pages, whatever the number of customers.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from amana.domain.facts import Facts, facts_of
from amana.domain.money import Currency
from amana.domain.privacy import Processing
from amana.eligibility import customer_store
from amana.eligibility.sealed import open_births
from amana.eligibility.standings import Ledger, Person
from amana.infra import clock
from amana.infra.http import UpstreamUnavailable
from amana.infra.postgres import DatabaseUnavailable, Pool, reading
from amana.infra.sql import load_queries
from amana.vault.vault import Vault

SQL = load_queries("amana.operate.prequalify", "prequalify.sql")
PAGE = 2_000
PAGES_IN_FLIGHT = 2
PAUSES_S = (0.5, 1.0, 2.0)
"""A page that can't be had is asked for again after each of these."""
CUSTOMERS_MAX = 2**31
"""Where no limit is given."""
LAST = UUID(int=2**128 - 1)


class Page(NamedTuple):
    """`decidable` customers with their `facts`, place by place, as of an instant; `ambiguous` ones are too many numbers
    to be one person, so that a check about them is refused."""

    as_of: datetime
    decidable: list[UUID]
    facts: list[Facts]
    ambiguous: list[UUID]


class Reader:
    """Reads the customers of one lender. `page` is how many are read at once."""

    def __init__(
        self, pool: Pool, vault: Vault, ledger: Ledger, tenant: int, currency: Currency, page: int = PAGE
    ) -> None:
        self._pool = pool
        self._vault = vault
        self._ledger = ledger
        self._tenant = tenant
        self._currency = currency
        self._page = page

    async def count(self, limit: int | None) -> int:
        """How many customers there are now, at most `limit`."""
        async with reading(self._pool) as connection:
            found: int = await connection.fetchval(SQL["count_customers"], self._tenant, limit or CUSTOMERS_MAX)
        return found

    async def pages(self, limit: int | None) -> AsyncGenerator[Page, None]:
        """The pages of at most `limit` customers. Raises `UpstreamUnavailable` or `DatabaseUnavailable`."""
        flying: deque[asyncio.Task[Page]] = deque()
        try:
            start: UUID | None = UUID(int=0)
            left = limit or CUSTOMERS_MAX
            while start is not None:
                ids = await self._ids(start, min(self._page, left))
                left -= len(ids)
                start = UUID(int=ids[-1].int + 1) if left and len(ids) == self._page and ids[-1] != LAST else None
                flying.append(asyncio.create_task(self._patiently(ids)))
                if len(flying) == PAGES_IN_FLIGHT:
                    yield await flying.popleft()
            while flying:
                yield await flying.popleft()
        finally:
            for task in flying:
                task.cancel()
            await asyncio.gather(*flying, return_exceptions=True)

    async def _ids(self, start: UUID, limit: int) -> list[UUID]:
        async with reading(self._pool) as connection:
            rows = await connection.fetch(SQL["page_customers"], self._tenant, start, limit)
        return [row["customer"] for row in rows]

    async def _patiently(self, ids: Sequence[UUID]) -> Page:
        for pause_s in PAUSES_S:
            try:
                return await self._read(ids)
            except (UpstreamUnavailable, DatabaseUnavailable):
                await asyncio.sleep(pause_s)
        return await self._read(ids)

    async def _read(self, ids: Sequence[UUID]) -> Page:
        now = clock.now()
        async with reading(self._pool) as connection:
            found = await customer_store.find_customers(connection, [(self._tenant, id_) for id_ in ids])
        opened = await open_births(self._vault, found)
        for failure in opened.failed.values():
            raise failure
        known = [opened.customers[self._tenant, id_] for id_ in ids]
        customers = [one for one in known if one.processing is Processing.OPEN]
        clear = [one for one in customers if not one.too_widely_linked]
        persons = [Person((one.customer, *one.linked), None) for one in clear]
        standings = await self._ledger.persons(self._tenant, self._currency, persons)
        facts = [
            facts_of(one.record, one.recorded_at, one.facts_version, standing, now, one.said)
            for one, standing in zip(clear, standings, strict=True)
        ]
        ambiguous = [one.customer for one in customers if one.too_widely_linked]
        return Page(now, [one.customer for one in clear], facts, ambiguous)
