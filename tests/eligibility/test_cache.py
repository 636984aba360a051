"""The cache: it may answer a question, never lend, never outlive its age, and never stop anything when it is away."""

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import msgspec
import pytest
from tests.domain.policy_model import NOW, compiled, facts, shipped
from tests.eligibility.conftest import RECORD, Lender
from tests.eligibility.standings_server import StandingsServer

from amana.domain.decision import assess
from amana.eligibility.cache import AssessmentCache
from amana.eligibility.consumer import TOPIC, Invalidation, run
from amana.infra.cache import Cache
from amana.infra.kafka import Message, Producer, Record, ensure_topics
from amana.infra.settings import Settings

POLICY = compiled(shipped("nano"))
ASSESSMENT = assess(POLICY, facts(), NOW)
SECOND = timedelta(seconds=1)


@pytest.fixture
def cache(settings: Settings) -> AssessmentCache:
    return AssessmentCache(Cache(settings.redis_url, deadline_ms=1_000))


async def found(cache: AssessmentCache, customer: UUID, at: timedelta = SECOND, tenant: int = 900) -> object:
    return (await cache.find(tenant, customer, "nano", POLICY.hash, NOW + at))[0]


async def put(cache: AssessmentCache, customer: UUID) -> None:
    _, slot = await cache.find(900, customer, "nano", POLICY.hash, NOW)
    assert slot is not None
    await cache.put(slot, uuid4(), ASSESSMENT)


# Over HTTP


async def test_the_second_question_is_answered_from_the_cache(
    lender: Lender, good: str, ledger: StandingsServer
) -> None:
    first = await lender.check(good)
    ledger.calls.clear()
    second = await lender.check(good, 2_000_000)
    assert (first["source"], second["source"], ledger.calls) == ("fresh", "cache", [])
    assert second["decision_id"] == first["decision_id"]
    assert second["price"]["principal"] == 2_000_000
    assert second["as_of"] <= first["as_of"]
    assert 0 <= second["age_ms"] <= 5_000


async def test_a_request_to_borrow_is_never_answered_from_the_cache(
    lender: Lender, good: str, ledger: StandingsServer
) -> None:
    await lender.check(good)
    ledger.known[lender.tenant, UUID(good)] = {"loans_open": 1}
    assert (await lender.check(good))["source"] == "cache"
    answer = await lender.check(good, id=str(uuid4()))
    assert (answer["source"], answer["outcome"]) == ("fresh", "decline")


async def test_a_changed_record_is_seen_at_once(lender: Lender, good: str) -> None:
    await lender.check(good)
    await lender.send("PUT", f"/v1/customers/{good}", RECORD | {"blocked": True})
    answer = await lender.check(good)
    assert (answer["source"], answer["outcome"]) == ("fresh", "decline")


async def test_a_change_during_a_slow_computation_is_not_overwritten(
    lender: Lender, good: str, ledger: StandingsServer
) -> None:
    ledger.hold = asyncio.Event()
    slow = asyncio.create_task(lender.check(good))
    await asyncio.wait_for(ledger.asked.wait(), 5)
    await lender.send("PUT", f"/v1/customers/{good}", RECORD | {"blocked": True})
    ledger.hold.set()
    assert (await slow)["outcome"] == "approve"
    assert (await lender.check(good))["outcome"] == "decline"


# Over the real server


async def test_age_is_judged_when_it_is_read(cache: AssessmentCache) -> None:
    customer = uuid4()
    await put(cache, customer)
    assert await found(cache, customer) is not None
    assert await found(cache, customer, 5 * SECOND) is not None
    assert await found(cache, customer, 6 * SECOND) is None
    assert await found(cache, customer, -SECOND) is None


async def test_what_is_cached_of_a_tenant_a_product_and_a_policy_is_only_theirs(cache: AssessmentCache) -> None:
    customer = uuid4()
    await put(cache, customer)
    assert await found(cache, customer, tenant=901) is None
    assert (await cache.find(900, customer, "airtime", POLICY.hash, NOW))[0] is None
    assert (await cache.find(900, customer, "nano", "0" * 64, NOW))[0] is None


async def test_an_assessment_begun_before_a_change_is_not_kept(cache: AssessmentCache) -> None:
    customer = uuid4()
    for _ in range(2):
        _, slot = await cache.find(900, customer, "nano", POLICY.hash, NOW)
        assert slot is not None
        await cache.forget(900, customer)
        await cache.put(slot, uuid4(), ASSESSMENT)
        assert await found(cache, customer) is None
    await put(cache, customer)
    assert await found(cache, customer) is not None


async def test_a_server_that_is_away_is_a_miss_and_is_left_alone_for_a_moment() -> None:
    away = Cache("redis://127.0.0.1:1/0", rest_ms=200)
    assert await away.get_fields("key", ["field"]) is None
    assert await away.get_fields("key", ["field"]) is None
    assert away.failures == 1
    await asyncio.sleep(0.25)
    assert await away.get_fields("key", ["field"]) is None
    assert away.failures == 2
    await away.close()


async def test_without_a_server_nothing_is_ever_cached() -> None:
    cache = AssessmentCache(Cache(""))
    assert await cache.find(900, uuid4(), "nano", POLICY.hash, NOW) == (None, None)
    await cache.forget(900, uuid4())


async def test_a_server_that_hangs_costs_one_deadline() -> None:
    async def hang(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(2)
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    slow = Cache(f"redis://127.0.0.1:{port}/0", deadline_ms=50)
    began = asyncio.get_running_loop().time()
    assert await slow.get_fields("key", ["field"]) is None
    assert asyncio.get_running_loop().time() - began < 1
    await slow.close()
    server.close()


# Events of the ledger


def message(customer: UUID | None, position: int, partition: int = 0) -> Message:
    data = {} if customer is None else {"customer": str(customer), "principal": 5}
    return Message(
        topic="amana.transactions.events",
        partition=partition,
        offset=position,
        key=b"",
        value=msgspec.json.encode({"tenant": 900, "type": "LoanBooked", "data": data}),
        headers={"stream": b"transactions", "position": str(position).encode()},
    )


async def test_an_event_of_the_ledger_drops_its_customer_once(cache: AssessmentCache) -> None:
    customer, other = uuid4(), uuid4()
    await put(cache, customer)
    await put(cache, other)
    invalidation = Invalidation(cache)
    assert await invalidation.handle([message(customer, 7), message(None, 9)]) == {(900, customer)}
    assert await found(cache, customer) is None
    assert await found(cache, other) is not None
    assert await invalidation.handle([message(customer, 7), message(customer, 9)]) == set()
    assert await invalidation.handle([message(customer, 8, partition=1)]) == {(900, customer)}


async def test_an_event_that_can_not_be_read_stops_nothing(cache: AssessmentCache) -> None:
    customer = uuid4()
    broken = message(customer, 3)._replace(value=b"{}", headers={})
    assert await Invalidation(cache).handle([broken, message(customer, 4)]) == {(900, customer)}


async def test_the_consumer_hears_the_ledger_through_the_broker(cache: AssessmentCache, settings: Settings) -> None:
    customer = uuid4()
    await put(cache, customer)
    await ensure_topics(settings.kafka_bootstrap, [TOPIC])
    stop = asyncio.Event()
    consuming = asyncio.create_task(run(settings.kafka_bootstrap, cache, stop))
    producer = Producer(settings.kafka_bootstrap)
    event = message(customer, 1_000_000)
    headers: list[tuple[str, str | bytes | None]] = list(event.headers.items())
    assert (await producer.send(TOPIC, [Record(b"loan", event.value, headers)], 5.0)).acknowledged == 1
    try:
        for _ in range(200):
            if await found(cache, customer) is None:
                break
            await asyncio.sleep(0.05)
        assert await found(cache, customer) is None
    finally:
        stop.set()
        await consuming
        await producer.close()
