"""The cache: it may answer a question, never lend, never outlive its age, and never stop anything when it is away."""

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import msgspec
import pytest
from tests.domain.policy_model import NOW, compiled, facts, shipped
from tests.eligibility.conftest import KEPT, RECORD, Lender
from tests.eligibility.ledger_copy import open_copy
from tests.eligibility.standings_server import StandingsServer

from amana.domain.decision import Verdict, assess, verdict_of
from amana.eligibility.cache import AssessmentCache
from amana.eligibility.consumer import TOPIC, Invalidation, make_runtime
from amana.eligibility.memory import Memory, Slot
from amana.eligibility.projection import STREAM
from amana.gateway.source import Source
from amana.infra.cache import Cache
from amana.infra.http import HttpClient
from amana.infra.kafka import Message, Producer, Record, ensure_topics
from amana.infra.settings import Settings

POLICY = compiled(shipped("nano"))
ASSESSMENT = assess(POLICY, facts(), NOW)
SECOND = timedelta(seconds=1)


VERDICT = verdict_of(ASSESSMENT, UUID(int=7))


def cached_on(url: str) -> AssessmentCache:
    return AssessmentCache(Cache(url, deadline_ms=1_000), Memory(100, 5.0, 1.0), 5_000)


@pytest.fixture
def cache(settings: Settings) -> AssessmentCache:
    return cached_on(settings.redis_url)


def slot(customer: UUID, *, tenant: int = 900, product: str = "nano", policy: str = POLICY.hash) -> Slot:
    return Slot(tenant, customer, product, policy)


async def found(cache: AssessmentCache, where: Slot, at: timedelta = SECOND) -> Verdict | None:
    """What the server has, whatever this process has."""
    kept, _ = await cache.find(where, NOW + at)
    return None if kept is None else kept.verdict


async def put(cache: AssessmentCache, where: Slot) -> None:
    _, seen = await cache.find(where, NOW)
    cache.put(where, seen, VERDICT, NOW)
    await cache.drain()


# Over HTTP


async def test_the_second_question_is_answered_from_the_cache(
    lender: Lender, good: str, ledger: StandingsServer
) -> None:
    first = await lender.check(good)
    ledger.calls.clear()
    second = await lender.check(good, 2_000_000)
    assert first["source"] == "fresh" and second["source"] in KEPT and ledger.calls == []
    assert second["decision_id"] == first["decision_id"]
    assert second["price"]["principal"] == 2_000_000
    assert second["as_of"] <= first["as_of"]
    assert 0 <= second["age_ms"] <= 5_000


async def test_a_request_to_borrow_is_never_answered_from_the_cache(
    lender: Lender, good: str, ledger: StandingsServer
) -> None:
    await lender.check(good)
    ledger.known[lender.tenant, UUID(good)] = {"loans_open": 1}
    assert (await lender.check(good))["source"] in KEPT
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
    ada = slot(uuid4())
    await put(cache, ada)
    assert await found(cache, ada) == VERDICT
    assert await found(cache, ada, 5 * SECOND) == VERDICT
    assert await found(cache, ada, 6 * SECOND) is None
    assert await found(cache, ada, -SECOND) is None


async def test_what_is_cached_of_a_tenant_a_product_and_a_policy_is_only_theirs(cache: AssessmentCache) -> None:
    ada = uuid4()
    await put(cache, slot(ada))
    others = (slot(ada, tenant=901), slot(ada, product="airtime"), slot(ada, policy="0" * 64), slot(uuid4()))
    assert [await found(cache, other) for other in others] == [None] * 4
    assert [cache.recall(other) for other in others] == [None] * 4


async def test_an_assessment_begun_before_a_change_is_kept_nowhere(cache: AssessmentCache) -> None:
    ada = slot(uuid4())
    for _ in range(2):
        _, seen = await cache.find(ada, NOW)
        await cache.forget(900, ada.customer)
        cache.put(ada, seen, VERDICT, NOW)
        await cache.drain()
        assert (cache.recall(ada), await found(cache, ada)) == (None, None)
    await put(cache, ada)
    assert cache.recall(ada) == await found(cache, ada) == VERDICT


@pytest.mark.parametrize("message", [b"", b"900", b"900:x", b"x:" + b"0" * 32, b"\xff:1", b"900:" + b"0" * 40])
async def test_a_message_that_can_not_be_read_forgets_everybody_and_stops_nothing(message: bytes) -> None:
    cache, ada = cached_on(""), slot(uuid4())
    _, seen = await cache.find(ada, NOW)
    cache.put(ada, seen, VERDICT, NOW)
    cache.heard(message)
    assert cache.recall(ada) is None


async def test_a_write_that_comes_late_brings_nothing_back(settings: Settings) -> None:
    ada, one, other = slot(uuid4()), cached_on(settings.redis_url), cached_on(settings.redis_url)
    _, seen = await one.find(ada, NOW)
    await other.forget(900, ada.customer)
    one.put(ada, seen, VERDICT, NOW)  # it has not heard of it
    await one.drain()
    assert await found(other, ada) is None


async def test_many_who_look_at_once_cost_one_round_trip(
    cache: AssessmentCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    slots = [slot(uuid4()) for _ in range(40)]
    for one in slots[:20]:
        await put(cache, one)
    asked: list[int] = []
    get_many = Cache.get_many

    async def counting(self: Cache, keys: list[str]) -> list[bytes | None] | None:
        asked.append(len(keys))
        return await get_many(self, keys)

    monkeypatch.setattr(Cache, "get_many", counting)
    verdicts = await asyncio.gather(*(found(cache, one) for one in slots))
    assert (verdicts, asked) == ([VERDICT] * 20 + [None] * 20, [80])


async def test_many_who_are_kept_at_once_cost_one_round_trip_and_one_too_many_is_left_out(
    cache: AssessmentCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    slots = [slot(uuid4()) for _ in range(6)]
    seen = [(await cache.find(one, NOW))[1] for one in slots]
    written: list[int] = []
    put_many = Cache.put_many

    async def counting(self: Cache, values: list[tuple[str, bytes]], ttl_ms: int) -> bool:
        written.append(len(values))
        return await put_many(self, values, ttl_ms)

    monkeypatch.setattr(Cache, "put_many", counting)
    monkeypatch.setattr("amana.eligibility.cache.QUEUE_MAX", 5)
    monkeypatch.setattr("amana.eligibility.cache.LOOKUPS_MAX", 3)
    for one, before in zip(slots, seen, strict=True):
        cache.put(one, before, VERDICT, NOW)
    assert [cache.recall(one) for one in slots] == [VERDICT] * 6
    await cache.drain()
    assert written == [3, 2]
    assert [await found(cache, one) for one in slots] == [VERDICT] * 5 + [None]
    cache.put(slots[5], seen[5], VERDICT, NOW)  # there is room again
    await cache.drain()
    assert await found(cache, slots[5]) == VERDICT


async def test_a_server_that_is_away_is_a_miss_and_is_left_alone_for_a_moment() -> None:
    away = Cache("redis://127.0.0.1:1/0", rest_ms=200)
    assert await away.get_many(["key"]) is None
    assert await away.get_many(["key"]) is None
    assert away.failures == 1
    await asyncio.sleep(0.25)
    assert await away.get_many(["key"]) is None
    assert away.failures == 2
    await away.close()


async def test_without_a_server_each_process_has_its_own_for_a_moment() -> None:
    cache, ada = cached_on(""), slot(uuid4())
    verdict, seen = await cache.find(ada, NOW)
    cache.put(ada, seen, VERDICT, NOW)
    assert (verdict, seen.generation, await found(cache, ada)) == (None, None, None)
    assert cache.recall(ada) == VERDICT
    await cache.forget(900, ada.customer)
    assert cache.recall(ada) is None


async def test_a_value_of_another_shape_or_of_nobody_is_a_miss(cache: AssessmentCache, settings: Settings) -> None:
    for value in (b"", b"\xff\xfe", b"\x93\xa1x\xc4\x00\x90", b"{}"):
        ada = slot(uuid4())
        key = f"amana:eligibility:900:{ada.customer.hex}:nano:{POLICY.hash[:32]}"
        assert await Cache(settings.redis_url).put_many([(key, value)], 5_000)
        assert await found(cache, ada) is None


async def test_a_server_that_hangs_costs_one_deadline() -> None:
    async def hang(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(2)
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    slow = Cache(f"redis://127.0.0.1:{port}/0", deadline_ms=50)
    began = asyncio.get_running_loop().time()
    assert await slow.get_many(["key"]) is None
    assert asyncio.get_running_loop().time() - began < 1
    await slow.close()
    server.close()


# Events of the ledger


LOAN = {"id": UUID(int=5), "type": "loan", "version": 1}


def message(customer: UUID | None, position: int, partition: int = 0) -> Message:
    data = {} if customer is None else {"customer": str(customer), "principal": 5}
    return Message(
        topic="amana.transactions.events",
        partition=partition,
        offset=position,
        key=b"",
        value=msgspec.json.encode({"tenant": 900, "type": "LoanBooked", "aggregate": LOAN, "data": data}),
        headers={"stream": b"transactions", "position": str(position).encode()},
    )


async def test_an_event_of_the_ledger_drops_its_customer_once(cache: AssessmentCache) -> None:
    customer, other = uuid4(), uuid4()
    await put(cache, slot(customer))
    await put(cache, slot(other))
    invalidation = Invalidation(cache)
    assert await invalidation.handle([message(customer, 7), message(None, 9)]) == {(900, customer)}
    assert await found(cache, slot(customer)) is None
    assert await found(cache, slot(other)) is not None
    assert await invalidation.handle([message(customer, 7), message(customer, 9)]) == set()
    assert await invalidation.handle([message(customer, 8, partition=1)]) == {(900, customer)}


async def test_an_event_that_can_not_be_read_stops_nothing(cache: AssessmentCache) -> None:
    customer = uuid4()
    broken = message(customer, 3)._replace(value=b"{}", headers={})
    assert await Invalidation(cache).handle([broken, message(customer, 4)]) == {(900, customer)}


async def test_the_consumer_hears_the_ledger_through_the_broker(
    cache: AssessmentCache, settings: Settings, service_settings: Settings, http: HttpClient, ledger: StandingsServer
) -> None:
    customer = uuid4()
    await put(cache, slot(customer))
    await ensure_topics(settings.kafka_bootstrap, [TOPIC])
    ledger.end = {"last": 999_999}
    stop = asyncio.Event()
    async with open_copy(service_settings, http, begun=False) as copy:
        source = Source(STREAM, ledger.url, settings.internal_key, http)
        runtime = make_runtime(settings.kafka_bootstrap, copy.flow.pool, cache, source)
        consuming = asyncio.create_task(runtime.run(stop))
        await heard(cache, settings, customer, stop, consuming)


async def heard(
    cache: AssessmentCache, settings: Settings, customer: UUID, stop: asyncio.Event, consuming: "asyncio.Task[None]"
) -> None:
    producer = Producer(settings.kafka_bootstrap)
    event = message(customer, 1_000_000)
    headers: list[tuple[str, str | bytes | None]] = list(event.headers.items())
    assert (await producer.send(TOPIC, [Record(b"loan", event.value, headers)], 5.0)).acknowledged == 1
    try:
        for _ in range(200):
            if await found(cache, slot(customer)) is None:
                break
            await asyncio.sleep(0.05)
        assert await found(cache, slot(customer)) is None
    finally:
        stop.set()
        await consuming
        await producer.close()
