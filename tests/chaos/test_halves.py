"""A batch with a bad unit is run in halves; what was done in one half stays answered, whatever happens to the other."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from uuid import uuid4

import pytest
from tests.chaos.site import Lender, Site

from amana.domain.book import Answer, Asked, Book
from amana.domain.reasons import Reason
from amana.domain.transfer import Refused
from amana.infra.postgres import DatabaseUnavailable, open_pool
from amana.transactions.flow import Flow
from amana.transactions.store import Store
from amana.transactions.work import Refuse
from amana.vault.vault import Vault


@dataclass(frozen=True)
class Troubled(Refuse):
    """Brings its batch down by a bug; run alone, it meets a database that went away."""

    runs: list[int] = field(default_factory=list)

    def run(self, book: Book) -> list[Answer]:
        self.runs.append(1)
        if len(self.runs) == 1:
            raise ValueError("a bug")
        raise DatabaseUnavailable("gone")


@pytest.fixture
async def flow(site: Site) -> AsyncIterator[Flow]:
    """A flow in this process."""
    pool = await open_pool(site.stack.settings.transactions_database_url, "transactions", batches=True)
    vault = Vault.of_ledger(site.stack.settings)
    yield Flow(pool, Store(1), vault)
    await vault.close()
    await pool.close()


def asked(owner: Lender) -> Asked:
    return Asked(owner.tenant, uuid4(), "loan", {}, "test", "")


async def test_a_half_that_was_committed_is_not_taken_back_by_the_other(owner: Lender, flow: Flow) -> None:
    good = Refuse(asked(owner), Refused(Reason.OFFER_EXPIRED, {}))
    bad = Troubled(asked(owner), Refused(Reason.OFFER_EXPIRED, {}))
    done, failed = await asyncio.gather(flow.submit([good]), flow.submit([bad]), return_exceptions=True)
    assert isinstance(failed, DatabaseUnavailable)
    assert await flow.find_answer(good.asked) is not None, "it was committed"
    assert done == [Answer(Reason.OFFER_EXPIRED, {})], "so nobody may be told that nothing was done"
