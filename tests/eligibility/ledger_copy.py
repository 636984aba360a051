"""The service's projection of the ledger, fed by hand: events come, and the watermark moves, when a test says so."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec

from amana.domain.account import exposure_account_id
from amana.domain.decision import Assessment
from amana.domain.facts import Facts
from amana.domain.money import Currency
from amana.eligibility import projection_store
from amana.eligibility.answers import Answer
from amana.eligibility.cache import AssessmentCache
from amana.eligibility.consumer import NAME, TOPIC, Applying, Invalidation, others
from amana.eligibility.flow import Flow
from amana.eligibility.memory import Memory
from amana.eligibility.policies import Policies
from amana.eligibility.projection import STREAM
from amana.eligibility.records import Check
from amana.eligibility.standings import Ledger
from amana.infra.cache import Cache
from amana.infra.http import HttpClient
from amana.infra.kafka import Message
from amana.infra.postgres import open_pool, reading
from amana.infra.settings import Settings
from amana.vault.vault import Vault

TABLES = ("ledger_standings", "ledger_watermark", "consumer_progress", "consumer_taken", "consumer_letters")


def loan_event(tenant: int, customer: UUID) -> dict[str, Any]:
    """An event that names a customer."""
    return {"tenant": tenant, "data": {"customer": customer, "loan": uuid4()}}


def hold_event(tenant: int, customer: UUID) -> dict[str, Any]:
    """An event that moves a customer's exposure account, and names nobody."""
    control = exposure_account_id(customer, Currency.NGN)
    return {"tenant": tenant, "data": {"debit": {"account": control}, "credit": {"account": uuid4()}}}


def facts(answer: Answer) -> Facts:
    """The facts of an answer that was computed for its question."""
    assert isinstance(answer.assessment, Assessment), "not from a cache"
    return answer.assessment.facts


def as_message(position: int, event: dict[str, Any], key: bytes | None = None) -> Message:
    """An event at its place, as the relay sends it."""
    aggregate = {"id": uuid4(), "type": "loan", "version": 1}
    value = msgspec.json.encode({"type": "Something", "aggregate": aggregate} | event)
    headers = {"stream": STREAM.encode(), "position": b"%d" % position}
    return Message(TOPIC, position % 4, position, key or str(aggregate["id"]).encode(), value, headers)


class LedgerCopy:
    """`flow` asks as a process without any cache; `asked` counts what it asks of the tests' ledger."""

    def __init__(self, flow: Flow, owner: "asyncpg.Connection[asyncpg.Record]", cache: AssessmentCache) -> None:
        self.flow = flow
        self.owner = owner
        self.position = 0
        self._cache = cache
        self.taker = self.process()

    def process(self) -> Applying:
        """The consumer in another process."""
        return Applying(self.flow.pool, Invalidation(self._cache, partial(others, self.flow.pool)))

    async def check(self, tenant: int, customer: str, **more: Any) -> Answer:
        """The answer to a check."""
        asked: dict[str, Any] = {"id": None, "product": "nano", "amount": 1_000_000, "currency": Currency.NGN} | more
        answer = await self.flow.check(Check(tenant=tenant, actor="tests", trace="", customer=UUID(customer), **asked))
        assert isinstance(answer, Answer), answer
        return answer

    async def happens(self, *events: dict[str, Any]) -> list[Message]:
        """The consumer takes new events."""
        messages = [as_message(self.position + at, event) for at, event in enumerate(events)]
        self.position += len(events)
        await self.taker.take(messages)
        return messages

    async def level(self, behind: timedelta = timedelta(0)) -> bool:
        """The ledger said, `behind` ago, that its stream ends with the newest event. Whether all of it was taken."""
        now = datetime.now(UTC) - behind
        async with reading(self.flow.pool) as connection:
            return await projection_store.advance(connection, NAME, self.position - 1, now, now) is not None

    async def passes(self, seconds: float) -> None:
        """Time goes by, in which the watermark does not move."""
        await self.owner.execute(
            "UPDATE ledger_watermark SET proven_at = proven_at - make_interval(secs => $1)", seconds
        )

    async def row(self, customer: str) -> Any:
        """A customer's row."""
        return await self.owner.fetchrow("SELECT * FROM ledger_standings WHERE customer = $1", UUID(customer))


@asynccontextmanager
async def open_copy(
    settings: Settings, http: HttpClient, *, begun: bool = True, level: bool = True
) -> AsyncIterator[LedgerCopy]:
    """The projection of the service's database, its stream begun, and level with the ledger; empty again at the end."""
    owner = await asyncpg.connect(settings.owner_database_url, server_settings={"search_path": "eligibility"})
    pool = await open_pool(settings.eligibility_database_url, "eligibility", 4)
    vault = Vault.of(settings)
    ledger = Ledger(http, settings.transactions_url, settings.internal_key)
    forgetting = AssessmentCache(Cache(settings.redis_url), Memory(1, 0.0, 0.0), 5_000)
    flow = Flow(pool, ledger, AssessmentCache(Cache(""), Memory(1, 0.0, 0.0), 5_000), Policies(pool), vault)
    copy = LedgerCopy(flow, owner, forgetting)
    try:
        if begun:
            await copy.taker.begin(STREAM, 0)
        if begun and level:
            assert await copy.level()
        yield copy
    finally:
        await owner.execute(f"TRUNCATE {', '.join(TABLES)}")
        await asyncio.gather(vault.close(), pool.close(), owner.close())
