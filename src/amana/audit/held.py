"""Which leaves concern customers under a legal hold: what retention must keep.

A leaf concerns a customer where it names them, as the search would find it, or moves one of the accounts that they have
by their id alone. Other accounts of theirs are opened by an event that names them, and what follows that is kept with
it: only a beginning of a stream ever goes.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Set
from contextlib import asynccontextmanager
from typing import TypeAlias
from uuid import UUID

from amana.audit.announcing import HeldBack
from amana.audit.store import Rows
from amana.audit.subjects import Kind, Subject, read_indexed
from amana.domain.account import exposure_account_id, wallet_account_id
from amana.domain.money import Currency
from amana.infra.postgres import Pool, open_pool, reading
from amana.infra.settings import Settings
from amana.vault.legal_holds import held_after
from amana.vault.vault import Key

PAGE_CUSTOMERS = 1_000
PAGE_LEAVES = 2_560
FIRST: Key = (0, UUID(int=0))

Wanted: TypeAlias = Mapping[int, Set[Subject]]
"""What concerns held customers, by tenant."""


class Held:
    """Asks which customers are held, each time anew."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def subjects(self) -> Wanted:
        """What the leaves that concern held customers are found by. Raises `DatabaseUnavailable`."""
        found: dict[int, set[Subject]] = {}
        after = FIRST
        async with reading(self._pool) as connection:
            while page := await held_after(connection, after, PAGE_CUSTOMERS):
                for tenant, customer in page:
                    found.setdefault(tenant, set()).update(_of(customer))
                after = page[-1]
        return found


@asynccontextmanager
async def asked(settings: Settings) -> AsyncIterator[Held]:
    """Asks the vault, with its owner's rights. Raises `HeldBack` where the settings name none."""
    if not settings.owner_keys_database_url:
        raise HeldBack("AMANA_OWNER_KEYS_DATABASE_URL is not set: it can't be known whom a legal hold keeps")
    pool = await open_pool(settings.owner_keys_database_url, "vault", 1)
    try:
        yield Held(pool)
    finally:
        await pool.close()


async def first_leaf(rows: Rows, stream: str, start: int, stop: int, wanted: Wanted) -> int | None:
    """The first position from `start` to before `stop` of a leaf that concerns somebody held; None for none."""
    if not wanted:
        return None
    for first in range(start, stop, PAGE_LEAVES):
        bodies = await rows.bodies_in(stream, first, min(first + PAGE_LEAVES, stop))
        for position, body in enumerate(bodies, first):
            event = read_indexed(body)
            if not event.subjects.isdisjoint(wanted.get(event.tenant, ())):
                return position
    return None


def _of(customer: UUID) -> Iterable[Subject]:
    yield Subject(Kind.CUSTOMER, str(customer))
    for currency in Currency:
        yield Subject(Kind.ACCOUNT, str(wallet_account_id(customer, currency)))
        yield Subject(Kind.ACCOUNT, str(exposure_account_id(customer, currency)))
