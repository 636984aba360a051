"""Who read what: every read of the audit log is an event of a stream of its own, durable before it is answered."""

import asyncio
from collections.abc import AsyncIterator
from functools import reduce
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest
from litestar.handlers import HTTPRouteHandler
from tests.audit.reading import Lab, Reader, lab, lenders
from tests.audit.test_service import until
from tests.audit.trail import Trail, named
from tests.declared import faults

from amana.audit import accesses
from amana.audit.accesses import AccessLog
from amana.audit.http import ROUTES
from amana.audit.leaf import ACCESSES
from amana.audit.store import Store, StoredLeaf
from amana.audit.tile_routes import TILE_ROUTES
from amana.audit.verify import run_verify
from amana.gateway.caller import Caller
from amana.infra.collector import Overloaded
from amana.infra.postgres import DatabaseUnavailable, open_pool
from amana.infra.settings import Settings

CALLER = Caller(tenant=1, key_id="reader", scopes=frozenset(), trace="a" * 32, request_id="r")
NOT_RECORDED = {"/v1/audit/streams", "/v1/audit/streams/{stream:str}/irregularities"}
"""Sizes of streams and what was wrong at which places, for who runs the platform: nobody's events."""


@pytest.fixture
async def store(log_settings: Settings) -> AsyncIterator[Store]:
    pool = await open_pool(log_settings.audit_database_url, "audit", 4)
    yield Store(pool)
    await pool.close()


@pytest.fixture
async def served(log_settings: Settings) -> AsyncIterator[Lab]:
    tenants = await lenders(log_settings)
    trail = Trail(5, {"eligibility": 40, "transactions": 40})
    bodies = {
        stream: [body.replace(b'"tenant":1', f'"tenant":{tenants[0]}'.encode()) for body in found]
        for stream, found in trail.bodies.items()
    }
    async with lab(log_settings, tenants, bodies) as made:
        yield made


async def recorded(store: Store) -> list[StoredLeaf]:
    async with store.rows() as rows:
        return await rows.leaves_from(ACCESSES, 0, 1_000, 1_000)


async def test_every_read_is_recorded_with_who_asked_what_and_how_much_was_shown(served: Lab, store: Store) -> None:
    reader, auditor = await served.reader(), await served.reader("audit:accesses")
    before = len(await recorded(store))
    customer = named("customer", 3)
    page = await reader.ok(f"events?customer={customer}&type=DecisionMade&order=newest")
    assert len(await recorded(store)) == before + 1, "recorded when it is answered, not later"
    event = (await reader.ok("events?limit=1"))["events"][0]["event_id"]
    await reader.ok(f"events/{event}")
    await reader.ok(f"events/{event}/proof")
    await served.until_indexed(auditor, ACCESSES, before + 4)
    seen = (await auditor.ok(f"accesses?actor={reader.key.split('_')[1]}"))["accesses"]
    routes = ["/v1/audit/events/{id}/proof", "/v1/audit/events/{id}", "/v1/audit/events", "/v1/audit/events"]
    assert [access["route"] for access in seen] == routes
    assert seen[0]["asked"] == {"event": event}
    assert seen[3]["asked"] == {"customer": str(customer), "type": "DecisionMade", "order": "newest"}
    assert [access["rows"] for access in seen] == [1, 1, 1, len(page["events"])]
    assert all(len(access["trace"]) == 32 for access in seen)
    assert faults((leaf.leaf.body for leaf in await recorded(store)), ACCESSES) == []
    of_customer = (await auditor.ok(f"accesses?customer={customer}"))["accesses"]
    assert [access["event_id"] for access in of_customer] == [seen[3]["event_id"]]


async def test_reads_are_sealed_and_proved_like_everything_else(served: Lab, store: Store) -> None:
    reader = await served.reader("audit:read", "audit:accesses")
    await reader.ok("events")
    sealed = len(await recorded(store))
    await served.until_sealed(reader, ACCESSES, sealed)
    await served.until_indexed(reader, ACCESSES, sealed)
    access = (await reader.ok("accesses?order=oldest"))["accesses"][0]
    assert access["sealed"]
    proof = await reader.ok(f"events/{access['event_id']}/proof")
    assert (proof["stream"], proof["position"]) == (ACCESSES, 0)
    assert (await run_verify(served.settings)).ok


async def test_a_key_of_the_log_does_not_see_who_reads_it_and_nobody_sees_another_lenders_reads(served: Lab) -> None:
    reader, auditor = await served.reader(), await served.reader("audit:accesses")
    stranger = await served.reader("audit:accesses", tenant=1)
    await reader.ok("events")
    await served.until_indexed(auditor, ACCESSES, 1)
    access = (await auditor.ok("accesses"))["accesses"][0]
    assert (await reader.get("accesses"))[0] == 403
    assert (await auditor.get("events"))[0] == 403
    for path in ("events/{}", "events/{}/proof", "events/{}/proof?tree_size=1000000"):
        assert (await reader.get(path.format(access["event_id"])))[0] == 404
    theirs = (await stranger.ok("accesses"))["accesses"]
    assert access["event_id"] not in {seen["event_id"] for seen in theirs}


async def test_no_route_that_shows_the_log_goes_unrecorded(served: Lab, store: Store) -> None:
    reader = await served.reader("audit:read", "audit:accesses")
    platform = Reader(served.client, served.url, 0, served.settings.internal_key)
    shown = (await reader.ok("events?stream=eligibility&limit=1"))["events"][0]
    event, customer = shown["event_id"], msgspec.json.decode(shown["body"])["data"]["customer"]
    queries = {
        "/v1/audit/checkpoints/latest": "?stream=eligibility",
        "/v1/audit/checkpoints/consistency": "?stream=eligibility&old_size=1",
    }
    values = {
        "{event_id:uuid}": event,
        "{customer:uuid}": customer,
        "{month:str}": "2026-03",
        "{stream:str}": "eligibility",
        "{level:str}": "0",
        "{place:path}": "000.p/40",
    }
    paths = {path for route in (*ROUTES, *TILE_ROUTES) if isinstance(route, HTTPRouteHandler) for path in route.paths}
    for path in sorted(paths - NOT_RECORDED):
        before = len(await recorded(store))
        asked = reduce(lambda text, name: text.replace(name, values[name]), values, path.removeprefix("/v1/audit/"))
        by = platform if "/entries/" in path else reader
        assert (await by.reply(asked + queries.get(path, ""))).status == 200, path

        async def one_more(before: int = before) -> bool:
            return len(await recorded(store)) == before + 1

        await until(one_more)


async def test_the_places_of_reads_have_no_gap_whoever_writes_them(store: Store) -> None:
    logs = [AccessLog(store) for _ in range(3)]
    reads = [
        log.record(CALLER, "/r", {"n": at, "customer": UUID(int=at)}, at, at_once=True)
        for at in range(40)
        for log in logs
    ]
    await asyncio.gather(*reads)
    leaves = await recorded(store)
    assert [leaf.leaf.position for leaf in leaves] == list(range(120))
    assert len({leaf.leaf.event_id for leaf in leaves}) == 120


async def test_what_waits_when_the_service_stops_is_written(store: Store) -> None:
    log = AccessLog(store)
    for at in range(1_200):
        await log.record(CALLER, "/r", {}, at, at_once=False)
    assert await recorded(store) == []
    await log.close()
    async with store.rows() as rows:
        assert await rows.highest_position(ACCESSES) == 1_199


async def test_a_reader_who_leaves_in_the_middle_is_recorded_once(store: Store) -> None:
    log = AccessLog(store)
    for cut in range(12):
        task = asyncio.create_task(log.record(CALLER, "/r", {}, cut, at_once=True))
        await asyncio.sleep(0.0005 * cut)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await log.close()
    leaves = await recorded(store)
    assert sorted(msgspec.json.decode(leaf.leaf.body)["data"]["rows"] for leaf in leaves) == list(range(12))


async def test_nothing_is_shown_that_cannot_be_recorded(
    store: Store, log_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient = await open_pool(log_settings.audit_database_url, "audit", 1, statement_timeout_ms=300)
    log = AccessLog(Store(impatient))
    owner = await asyncpg.connect(log_settings.owner_audit_database_url)
    monkeypatch.setattr(accesses, "WAITING_MAX", 2)
    try:
        await owner.execute("BEGIN; LOCK audit.leaves IN EXCLUSIVE MODE")
        with pytest.raises(DatabaseUnavailable):
            await log.record(CALLER, "/r", {}, 1, at_once=True)
        await log.record(CALLER, "/r", {}, 2, at_once=False)
        with pytest.raises(Overloaded):
            await log.record(CALLER, "/r", {}, 3, at_once=False)
    finally:
        await owner.execute("ROLLBACK")
        await owner.close()
    await log.close()
    await impatient.close()
    assert [msgspec.json.decode(leaf.leaf.body)["data"]["rows"] for leaf in await recorded(store)] == [1, 2]


async def test_texts_that_a_client_chose_stay_texts(store: Store) -> None:
    log = AccessLog(store)
    odd = {"actor": '"}],ünï', "type": ["A", "B"], "customer": uuid4(), "none": None, "rows": "9"}
    await log.record(CALLER, "/r", odd, None, at_once=True)
    data = msgspec.json.decode((await recorded(store))[0].leaf.body)["data"]
    assert data["asked"] == {"actor": '"}],ünï', "type": "A B", "rows": "9"}
    assert (data["customer"], data["rows"]) == (str(odd["customer"]), None)
