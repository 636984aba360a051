"""Random histories: whatever comes when, a row that is not stale is what the ledger would say up to the watermark.

Exposures count the changes of a customer. Events are taken late, again and in any order; questions to the ledger begin,
are asked and are kept with anything in between; so are looks at the stream's end.
"""

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from tests.eligibility.conftest import Lender
from tests.eligibility.ledger_copy import LedgerCopy, as_message, hold_event, loan_event, open_copy
from tests.eligibility.standings_server import StandingsServer

from amana.domain.money import Currency
from amana.eligibility import asking, customer_store, projection_store
from amana.eligibility.asking import Found
from amana.eligibility.consumer import NAME
from amana.eligibility.projection import StandingKey
from amana.eligibility.projection_store import Noted
from amana.eligibility.records import Check, Customer, Key
from amana.infra.http import HttpClient
from amana.infra.postgres import reading
from amana.infra.settings import Settings

CUSTOMERS = 3
STEPS = 60


class Question:
    """A question to the ledger under way, of some customers."""

    def __init__(
        self, checks: dict[int, Check], customers: dict[Key, Customer], noted: dict[StandingKey, Noted]
    ) -> None:
        self.checks, self.customers, self.noted = checks, customers, noted
        self.found: Found | None = None


class History:
    """A ledger of three customers, the stream of its events, and everything that is under way."""

    def __init__(self, seed: int, copy: LedgerCopy, tenant: int, ids: list[UUID], ledger: StandingsServer) -> None:
        self.random = random.Random(seed)
        self.copy, self.tenant, self.ids, self.ledger = copy, tenant, ids, ledger
        self.truth = dict.fromkeys(ids, 0)
        self.proven = dict.fromkeys(ids, 0)
        self.stream: list[Any] = []
        self.questions: list[Question] = []
        self.ends: list[tuple[int, Any, dict[UUID, int]]] = []

    async def change(self) -> None:
        """The ledger moves: a loan's event or a hold's, and what it says from then on."""
        customer = self.random.choice(self.ids)
        self.truth[customer] += 1
        self.ledger.known[self.tenant, customer] = {"exposure": self.truth[customer]}
        event = self.random.choice((loan_event, hold_event))(self.tenant, customer)
        self.stream.append(as_message(len(self.stream), event))

    async def take(self) -> None:
        """Some process takes some events, old ones too, in any order."""
        if self.stream:
            await self.copy.process().take(self.random.choices(self.stream, k=self.random.randint(1, 4)))

    async def begin(self) -> None:
        """Somebody finds that the ledger is to be asked."""
        asked = self.random.sample(self.ids, self.random.randint(1, len(self.ids)))
        checks = {at: self._check(id_) for at, id_ in enumerate(asked)}
        async with reading(self.copy.flow.pool) as connection:
            customers = await customer_store.find_customers(connection, [(self.tenant, id_) for id_ in asked])
            noted = await asking.note_moves(connection, checks, customers)
        self.questions.append(Question(checks, customers, noted))

    async def ask(self) -> None:
        """The ledger answers one of them."""
        for question in self.random.sample(self.questions, len(self.questions)):
            if question.found is None:
                question.found = await asking.ask(self.copy.flow.ledger, question.checks, question.customers)
                return

    async def keep(self) -> None:
        """An answer is kept."""
        for question in self.random.sample(self.questions, len(self.questions)):
            if question.found is not None:
                self.questions.remove(question)
                async with reading(self.copy.flow.pool) as connection:
                    await asking.keep(connection, question.found, question.noted)
                return

    async def look(self) -> None:
        """The stream's end is asked for."""
        now = await self.copy.owner.fetchval("SELECT clock_timestamp()")
        self.ends.append((len(self.stream) - 1, now, dict(self.truth)))

    async def advance(self) -> None:
        """One of those looks moves the watermark, if all up to it was taken."""
        if self.ends:
            last, at, truth = self.random.choice(self.ends)
            async with reading(self.copy.flow.pool) as connection:
                moved = await projection_store.advance(connection, NAME, last, at, at)
            if moved is not None:
                self.proven = {id_: max(self.proven[id_], truth[id_]) for id_ in self.ids}

    async def hold_true(self) -> None:
        """No row that is not stale says less than was proven, or what never was."""
        statement = "SELECT customer, exposure FROM ledger_standings WHERE as_of IS NOT NULL AND customer = ANY ($1)"
        for row in await self.copy.owner.fetch(statement, self.ids):
            assert self.proven[row["customer"]] <= row["exposure"] <= self.truth[row["customer"]]

    def _check(self, customer: UUID) -> Check:
        return Check(
            tenant=self.tenant,
            actor="tests",
            trace="",
            id=uuid4(),
            customer=customer,
            product="nano",
            amount=1_000_000,
            currency=Currency.NGN,
        )


@pytest.fixture
async def copy(service_settings: Settings, http: HttpClient, service_url: str) -> AsyncIterator[LedgerCopy]:
    async with open_copy(service_settings, http) as opened:
        yield opened


@pytest.mark.parametrize("seed", range(6))
async def test_a_row_is_never_older_than_the_watermark_and_at_last_all_are_the_ledgers(
    copy: LedgerCopy, lender: Lender, ledger: StandingsServer, seed: int
) -> None:
    ids = [UUID(await lender.customer()) for _ in range(CUSTOMERS)]
    history = History(seed, copy, lender.tenant, ids, ledger)
    steps: list[Callable[[], Awaitable[None]]] = [
        history.change,
        history.take,
        history.take,
        history.begin,
        history.ask,
        history.keep,
        history.look,
        history.advance,
    ]
    for _ in range(STEPS):
        await history.random.choice(steps)()
        await history.hold_true()
    while any(question.found is None for question in history.questions):
        await history.ask()
    await copy.process().take(history.stream)
    while history.questions:
        await history.keep()
    await history.look()
    history.ends = history.ends[-1:]
    await history.advance()
    assert history.proven == history.truth
    await history.hold_true()
    for id_ in ids:  # and the next question makes it whole again
        assert (await copy.check(lender.tenant, str(id_))).assessment.exposure == history.truth[id_]
        assert (await copy.row(str(id_)))["exposure"] == history.truth[id_]


async def test_a_row_that_a_crash_took_away_is_not_taken_for_the_one_that_was_made_after_it(
    copy: LedgerCopy, lender: Lender, ledger: StandingsServer
) -> None:
    """Nobody waits until a row is on the disk. What follows it is there only with it, but what is under way goes on."""
    customer = UUID(await lender.customer())
    history = History(0, copy, lender.tenant, [customer], ledger)
    await history.begin()
    await history.ask()
    await copy.owner.execute("DELETE FROM ledger_standings")
    await history.change()
    await copy.process().take(history.stream)  # finds no row that it could mark
    (early,) = history.questions
    history.questions = []
    await history.begin()
    history.questions = [early]
    await history.keep()
    assert (await copy.row(str(customer)))["as_of"] is None
