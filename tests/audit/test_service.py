"""The audit service as a client sees it: a real source over HTTP, the whole application, keys in the real database."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID, uuid4, uuid5

import aiohttp
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.audit.conftest import settings_of_log

from amana.audit import app as audit_app
from amana.audit.app import build
from amana.audit.checkpoint import Signer, open_note, parse_verifier_key
from amana.audit.consumer import PULL_EVERY_S, Puller, consume, take
from amana.audit.custody import Custody
from amana.audit.flow import receive
from amana.audit.irregularities import count, newest
from amana.audit.key_file import checkpoint_folder
from amana.audit.merkle import Tree, leaf_hash, perfect_root, verify_consistency, verify_inclusion
from amana.audit.places import CheckpointFile
from amana.audit.rotation import rotate_key
from amana.audit.store import Store
from amana.audit.tiles import from_bundle
from amana.audit.tree import root_at
from amana.audit.verify import run_verify
from amana.domain.events import Aggregate, Event, event_bytes
from amana.domain.reasons import Reason
from amana.gateway import provision
from amana.gateway.source import EventsPruned, Source
from amana.infra.http import HttpClient, UpstreamUnavailable
from amana.infra.http_server import serve
from amana.infra.kafka import Consumer, Producer, Record, ensure_topics
from amana.infra.postgres import open_pool
from amana.infra.settings import Settings
from amana.wire.events import EventPage, SequencedEvent
from amana.wire.problems import problem

NAMES = UUID(int=11)
START = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
LOOKS_MAX = 300
INTERNAL_KEY = "the key that the sources accept"


def event_id(stream: str, position: int) -> UUID:
    return uuid5(NAMES, f"{stream} {position}")


def customer(number: int) -> UUID:
    return uuid5(NAMES, f"customer {number}")


def aggregate(number: int) -> UUID:
    return uuid5(NAMES, f"aggregate {number}")


def body(stream: str, position: int, tenant: int) -> bytes:
    """Events of two kinds, three customers and five aggregates, one each minute."""
    return event_bytes(
        Event(
            event_id=event_id(stream, position),
            tenant=tenant,
            type="DecisionMade" if position % 2 else "OfferMade",
            version=1,
            occurred_at=START + timedelta(minutes=position),
            aggregate=Aggregate("decision", aggregate(position % 5), position),
            actor="system:test",
            trace="",
            data={"customer": str(customer(position % 3)), "amount": 100 * position},
        )
    )


class ListedSource:
    """A source of events on a real socket: `GET /v1/events`, as the services answer it."""

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self.bodies: list[bytes] = []
        self.asked: list[tuple[int, int]] = []
        self.oldest = 0
        self.url = ""

    async def __call__(self, scope: Any, _receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        query = parse_qs(scope["query_string"].decode())
        after, limit = int(query["after"][0]), int(query["limit"][0])
        self.asked.append((after, limit))
        known = dict(scope["headers"]).get(b"authorization") == f"Bearer {INTERNAL_KEY}".encode()
        events = [
            SequencedEvent(at, self.bodies[at].decode())
            for at in range(after + 1, min(after + 1 + limit, len(self.bodies)))
        ]
        page: Any = EventPage(self.stream, events, len(self.bodies) - 1)
        status = 200 if known else 401
        if after + 1 < self.oldest:
            status, page = 410, problem(Reason.EVENTS_PRUNED, f"before position {self.oldest} were pruned")
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": msgspec.json.encode(page)})


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[str]:
    """The application on a free port, stopped at the end."""
    stop, started = asyncio.Event(), asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(app, "127.0.0.1", 0, on_started=started.set_result, stop=stop))
    await asyncio.wait([task, started], return_when=asyncio.FIRST_COMPLETED)
    try:
        yield started.result()
    finally:
        stop.set()
        await task


@asynccontextmanager
async def source(stream: str) -> AsyncIterator[ListedSource]:
    made = ListedSource(stream)
    async with serving(made) as made.url:
        yield made


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    """Waits for something that the service does in the background."""
    for _ in range(LOOKS_MAX):
        if await true():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it never happened")


# --- from the broker


async def test_what_the_broker_brings_is_stored_once_and_nonsense_left_out(settings: Settings, store: Store) -> None:
    topic = f"amana.audit-test.{uuid4()}"
    await ensure_topics(settings.kafka_bootstrap, [topic])

    def record(position: int, value: bytes | None = None, stream: str = "eligibility") -> Record:
        headers: list[tuple[str, str | bytes | None]] = [("stream", stream), ("position", str(position))]
        return Record(str(position % 7).encode(), value or body("eligibility", position, 1), headers)

    records = [record(at) for at in (3, 1, 0, 1, 2)]
    records += [record(4, b"nonsense"), record(5, stream="elsewhere"), Record(b"", b"", []), record(-6)]
    records += [record(2, body("eligibility", 2, 9)), *(record(at) for at in range(1_500))]
    producer = Producer(settings.kafka_bootstrap)
    assert (await producer.send(topic, records, 20.0)).acknowledged == len(records)
    await producer.close()

    stop = asyncio.Event()
    task = asyncio.create_task(consume(store, Consumer(settings.kafka_bootstrap, topic, [topic]), stop))

    async def all_stored() -> bool:
        return await stored(store, "eligibility") == 1_500

    await until(all_stored)
    stop.set()
    await task
    async with store.rows() as rows:
        leaves = await rows.leaves_from("eligibility", 0, 2_000, 2_000)
    assert [leaf.leaf.body for leaf in leaves] == [body("eligibility", at, 1) for at in range(1_500)]


# --- pulling from a source


@pytest.fixture
async def store(log_settings: Settings) -> AsyncIterator[Store]:
    pool = await open_pool(log_settings.audit_database_url, "audit", 4)
    yield Store(pool)
    await pool.close()


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    async with HttpClient() as opened:
        yield opened


async def stored(store: Store, stream: str) -> int:
    async with store.rows() as rows:
        return await rows.first_missing(stream, 0)


async def test_a_log_that_starts_fetches_everything(store: Store, client: HttpClient) -> None:
    async with source("eligibility") as from_:
        from_.bodies = [body("eligibility", at, 1) for at in range(2_345)]
        puller = Puller(Source("eligibility", from_.url, INTERNAL_KEY, client), store)
        assert await puller.pull() == PULL_EVERY_S
        assert await stored(store, "eligibility") == 2_345
        assert from_.asked == [(-1, 1_000), (999, 1_000), (1_999, 1_000)]


async def test_a_gap_is_filled_once_it_has_stayed_open_and_not_before(store: Store, client: HttpClient) -> None:
    async with source("eligibility") as from_:
        from_.bodies = [body("eligibility", 0, 1)]
        puller = Puller(Source("eligibility", from_.url, INTERNAL_KEY, client), store)
        await puller.pull()
        from_.bodies = [body("eligibility", at, 1) for at in range(12)]
        await receive(store, "eligibility", [(at, from_.bodies[at]) for at in (1, 2, 9, 10)])  # 3 to 8 and 11 got lost
        await puller.pull()
        assert from_.asked[-1] == (2, 1)  # the broker was bringing things: only asks how far the source is
        await puller.pull()
        assert await stored(store, "eligibility") == 12
        async with store.rows() as rows:
            assert await rows.source_last("eligibility") == 11
        assert await count(store, "eligibility") == {
            "conflict": 0,
            "doubled": 0,
            "malformed": 0,
            "refetched": 1,
            "pruned": 0,
        }
        (kept,) = await newest(store, "eligibility", 10)
        assert (kept.kind, kept.position, kept.detail) == ("refetched", 4, "6 events from here on had not come")


async def test_a_gap_that_the_source_has_pruned_is_told_once_and_nothing_is_passed_over(
    store: Store, client: HttpClient
) -> None:
    async with source("eligibility") as from_:
        from_.bodies = [body("eligibility", at, 1) for at in range(12)]
        await receive(store, "eligibility", [(at, from_.bodies[at]) for at in (0, 1, 2, 10, 11)])
        from_.oldest = 5
        puller = Puller(Source("eligibility", from_.url, INTERNAL_KEY, client), store)
        for _ in range(3):
            with pytest.raises(EventsPruned, match="before position 5 were pruned"):
                await puller.pull()
        (kept,) = await newest(store, "eligibility", 10)
        assert (kept.kind, kept.position, kept.times) == ("pruned", 3, 1)
        assert await stored(store, "eligibility") == 3
        from_.oldest = 0  # a backup was restored there
        await puller.pull()
        assert await stored(store, "eligibility") == 12


async def test_without_a_broker_new_events_come_with_the_next_pull(store: Store, client: HttpClient) -> None:
    async with source("eligibility") as from_:
        puller = Puller(Source("eligibility", from_.url, INTERNAL_KEY, client), store)
        for size in (0, 1, 3, 7):
            from_.bodies = [body("eligibility", at, 1) for at in range(size)]
            await puller.pull()
            assert await stored(store, "eligibility") == size


async def test_a_source_that_refuses_or_is_another_one_is_unavailable(store: Store, client: HttpClient) -> None:
    async with source("transactions") as from_:
        for stream, key in (("transactions", "wrong key"), ("eligibility", INTERNAL_KEY)):
            with pytest.raises(UpstreamUnavailable):
                await Puller(Source(stream, from_.url, key, client), store).pull()
    with pytest.raises(UpstreamUnavailable):
        await Puller(Source("transactions", from_.url, INTERNAL_KEY, client), store).pull()


# --- the whole service


class Service:
    """The running service, its two sources, and a tenant's key."""

    def __init__(self, url: str, settings: Settings, client: HttpClient) -> None:
        self.url = url
        self.settings = settings
        self.client = client
        self.tenant = 0
        self.tenants: list[int] = []
        self.key = ""
        self.other_key = ""
        self.internal_key = ""

    async def get(self, path: str, key: str | None = None) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.key if key is None else key}"}
        reply = await self.client.request("GET", f"{self.url}/v1/audit/{path}", headers=headers, timeout_ms=5_000)
        return reply.status, msgspec.json.decode(reply.body)

    async def raw(self, path: str, key: str | None = None) -> tuple[int, Mapping[str, str], bytes]:
        headers = {"Authorization": f"Bearer {self.key if key is None else key}"}
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.url}/v1/audit/{path}", headers=headers) as it,
        ):
            return it.status, it.headers, await it.read()

    async def ok(self, path: str, key: str | None = None) -> Any:
        status, answer = await self.get(path, key)
        assert status == 200, answer
        return answer


@asynccontextmanager
async def opened_store(service: Service) -> AsyncIterator[Store]:
    pool = await open_pool(service.settings.audit_database_url, "audit", 2)
    yield Store(pool)
    await pool.close()


COUNTS = {"eligibility": 20, "transactions": 400}


@asynccontextmanager
async def running(log: Settings, client: HttpClient) -> AsyncIterator[Service]:
    """The service on a log, once all that its sources have is sealed and indexed."""
    owner = log.owner_database_url
    run = uuid5(NAMES, log.audit_database_url)
    tenants = [await provision.create_tenant(owner, f"audit-{run}-{name}", "Audit") for name in ("one", "other")]
    async with source("eligibility") as eligibility, source("transactions") as transactions:
        for from_ in (eligibility, transactions):
            from_.bodies = [body(from_.stream, at, tenants[at % 10 == 9]) for at in range(COUNTS[from_.stream])]
        settings = msgspec.structs.replace(
            log,
            eligibility_url=eligibility.url,
            transactions_url=transactions.url,
            internal_key=INTERNAL_KEY,
            kafka_bootstrap="",  # its topics belong to everybody; the consumer has a test with a topic of its own
            gateway_database_url=log.gateway_database_url or owner,
        )
        async with serving(build(settings)) as url:
            made = Service(url, settings, client)
            made.tenant, made.tenants = tenants[0], tenants
            made.internal_key = log.internal_key
            made.key = await provision.create_key(owner, tenants[0], ["audit:read"])
            made.other_key = await provision.create_key(owner, tenants[1], ["audit:read"])

            async def all_sealed() -> bool:
                streams = (await made.ok("streams", log.internal_key))["streams"]
                return all(
                    stream["sealed_size"] == stream["indexed_size"] == COUNTS.get(stream["stream"], 0)
                    for stream in streams
                )

            await until(all_sealed)
            yield made


@pytest.fixture(scope="module")
async def service(
    settings: Settings, template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Service]:
    """For tests that only read."""
    folder = tmp_path_factory.mktemp("service")
    async with settings_of_log(settings, template, folder) as log, HttpClient() as http, running(log, http) as made:
        yield made


@pytest.fixture
async def own_service(log_settings: Settings, client: HttpClient) -> AsyncIterator[Service]:
    """For a test that changes what is in the log, or beside it."""
    async with running(log_settings, client) as made:
        yield made


async def test_events_are_sealed_and_anyone_with_the_key_can_check_a_proof(service: Service) -> None:
    keys = {key["stream"]: key["verifier_key"] for key in (await service.ok("key"))["keys"]}
    for stream, position in (("transactions", 123), ("eligibility", 7)):
        event = await service.ok(f"events/{event_id(stream, position)}")
        proof = await service.ok(f"events/{event_id(stream, position)}/proof")
        assert (proof["stream"], proof["position"], proof["tree_size"]) == (stream, position, COUNTS[stream])
        assert proof["verifier_key"] == keys[stream]
        hashed = leaf_hash(event["body"].encode())
        assert hashed.hex() == proof["leaf_hash"]
        signed = open_note(proof["checkpoint"], parse_verifier_key(keys[stream]))
        hashes = [bytes.fromhex(part) for part in proof["hashes"]]
        assert verify_inclusion(hashed, position, signed.size, hashes, signed.root)
    assert (await run_verify(service.settings)).ok


async def test_with_the_broker_away_events_come_over_http_and_are_sealed(
    log_settings: Settings, client: HttpClient, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with source("eligibility") as eligibility, source("transactions") as transactions:
        for from_ in (eligibility, transactions):
            from_.bodies = [body(from_.stream, at, 1) for at in range(COUNTS[from_.stream])]
        urls = {"eligibility_url": eligibility.url, "transactions_url": transactions.url}
        settings = msgspec.structs.replace(
            log_settings, internal_key=INTERNAL_KEY, kafka_bootstrap="127.0.0.1:1", **urls
        )
        monkeypatch.setattr(audit_app, "LOOK_EVERY_S", 3_600.0)  # what comes wakes who seals it
        async with serving(build(settings)) as url:

            async def all_sealed() -> bool:
                async with store.rows() as rows:
                    sealed = {stream: await rows.newest_checkpoint(stream) for stream in COUNTS}
                return all(newest and newest.size == sizes[stream] for stream, newest in sealed.items())

            sizes = dict(COUNTS)
            await until(all_sealed)
            eligibility.bodies.append(body("eligibility", sizes["eligibility"], 1))
            sizes["eligibility"] += 1
            await until(all_sealed)
            reply = await client.request("GET", f"{url}/metrics", timeout_ms=5_000)
            assert 'amana_audit_place_away{place="topic",stream="transactions"} 1.0' in reply.body.decode()


async def test_the_newest_checkpoint_is_consistent_with_every_older_one(service: Service) -> None:
    newest = await service.ok("checkpoints/latest?stream=transactions")
    signed = open_note(newest["note"], parse_verifier_key(newest["verifier_key"]))
    assert (newest["size"], newest["root"]) == (signed.size, signed.root.hex())
    proof = await service.ok("checkpoints/consistency?stream=transactions&old_size=400")
    assert proof["hashes"] == []
    proof = await service.ok("checkpoints/consistency?stream=transactions&old_size=0")
    hashes = [bytes.fromhex(part) for part in proof["hashes"]]
    assert verify_consistency(400, signed.root, proof["new_size"], signed.root, hashes)


async def test_proofs_are_given_between_any_two_sizes(service: Service) -> None:
    async with opened_store(service) as store, store.rows() as rows:
        roots = {size: await root_at(rows, "transactions", size) for size in (7, 256, 300, 400)}
    for old, new in ((7, 300), (256, 300), (300, 300), (7, 400)):
        path = f"checkpoints/consistency?stream=transactions&old_size={old}&new_size={new}"
        proof = await service.ok(path)
        assert (proof["old_size"], proof["new_size"]) == (old, new)
        hashes = [bytes.fromhex(part) for part in proof["hashes"]]
        assert verify_consistency(old, roots[old], new, roots[new], hashes)
    proof = await service.ok(f"events/{event_id('transactions', 8)}/proof?tree_size=300")
    hashes = [bytes.fromhex(part) for part in proof["hashes"]]
    assert verify_inclusion(bytes.fromhex(proof["leaf_hash"]), 8, 300, hashes, roots[300])


async def test_the_log_is_served_as_tiles_that_never_change(service: Service) -> None:
    status, headers, note = await service.raw("log/transactions/checkpoint")
    keys = {key["stream"]: key["verifier_key"] for key in (await service.ok("key"))["keys"]}
    signed = open_note(note.decode(), parse_verifier_key(keys["transactions"]))
    assert (status, signed.size, headers["content-type"]) == (200, 400, "text/plain; charset=utf-8")
    bodies = [body("transactions", at, service.tenants[at % 10 == 9]) for at in range(400)]
    hashes = [leaf_hash(each) for each in bodies]
    tiles = {
        "tile/0/000": b"".join(hashes[:256]),
        "tile/0/001.p/144": b"".join(hashes[256:]),
        "tile/0/001.p/1": hashes[256],
        "tile/0/000.p/255": b"".join(hashes[:255]),
        "tile/1/000.p/1": perfect_root(hashes[:256]),
    }
    for path, content in tiles.items():
        status, headers, found = await service.raw(f"log/transactions/{path}")
        assert (status, found) == (200, content)
        assert headers["content-type"] == "application/octet-stream"
        assert headers["cache-control"] == "private, max-age=31536000, immutable"
    _, headers, bundle = await service.raw("log/transactions/tile/entries/001.p/144", service.internal_key)
    assert from_bundle(bundle) == bodies[256:]
    assert "immutable" in headers["cache-control"]
    tree = Tree()
    tree.append(hashes)
    assert tree.root() == signed.root


async def test_what_is_no_tile_of_the_log_or_no_size_of_it_is_a_problem(service: Service) -> None:
    consistency, proof = "checkpoints/consistency?stream=eligibility", f"events/{event_id('transactions', 8)}/proof"
    problems = {
        "log/transactions/tile/entries/000": 403,  # the events of every tenant
        "log/other/checkpoint": 400,
        "log/transactions/tile/0/001": 404,
        "log/transactions/tile/0/001.p/145": 404,
        "log/transactions/tile/1/000.p/2": 404,
        "log/transactions/tile/1/000": 404,
        "log/transactions/tile/2/000.p/1": 404,
        "log/transactions/tile/63/000.p/1": 404,
        "log/transactions/tile/0/x999/x999/x999/x999/x999/999": 404,
        "log/transactions/tile/0/0": 404,
        "log/transactions/tile/0/000.p/0": 404,
        "log/transactions/tile/-1/000": 404,
        "log/transactions/tile/0/..%2f000": 404,
        "log/transactions/tile/0": 404,
        "log/transactions/tile/0/000?x=1": 400,
        f"{consistency}&old_size=5&new_size=21": 400,
        f"{consistency}&old_size=6&new_size=5": 400,
        f"{consistency}&old_size=1&new_size=x": 400,
        f"{consistency}&old_size=1&new_size=99999999999999999999": 400,
        consistency: 400,
        f"{proof}?tree_size=8": 400,
        f"{proof}?tree_size=401": 400,
        f"{proof}?tree_size=-1": 400,
    }
    found = {path: await service.get(path) for path in problems}
    assert {path: status for path, (status, _) in found.items()} == problems
    for path, name in (("&old_size=5&new_size=21", "?new_size"), ("&old_size=6&new_size=5", "?old_size")):
        assert found[f"{consistency}{path}"][1]["errors"][0]["pointer"] == name
    assert found[f"{proof}?tree_size=401"][1]["errors"][0]["pointer"] == "?tree_size"


async def test_each_stream_tells_how_whole_it_is_and_what_was_wrong(own_service: Service) -> None:
    key = own_service.internal_key
    async with opened_store(own_service) as store:
        forged, twice = body("eligibility", 3, 77), body("eligibility", 5, own_service.tenant)
        await take(store, "eligibility", [(3, forged), (4, b"nonsense"), (22, twice), (3, forged)])
        await take(store, "eligibility", [(3, forged)])

    (status,) = [each for each in (await own_service.ok("streams", key))["streams"] if each["stream"] == "eligibility"]
    assert (status["first_missing"], status["missing"], status["received"], status["sealed_size"]) == (20, 2, 22, 20)
    assert status["refusing"] is None
    assert status["irregularities"] == {"conflict": 1, "doubled": 1, "malformed": 1, "refetched": 0, "pruned": 0}
    listed = (await own_service.ok("streams/eligibility/irregularities", key))["irregularities"]
    told = {each["kind"]: (each["position"], each["detail"], each["times"]) for each in listed}
    assert told["conflict"] == (3, "came again with other bytes", 2)
    assert told["doubled"] == (22, "the same event is at eligibility/5 too", 1)
    assert told["malformed"][0] == 4
    assert (await own_service.get("streams/eligibility/irregularities"))[0] == 403


async def test_a_sealer_that_refuses_says_why(own_service: Service) -> None:
    key = own_service.internal_key
    stranger = Signer("amana.test/audit/eligibility", Ed25519PrivateKey.generate())
    folder = checkpoint_folder(Path(own_service.settings.audit_key_file))
    CheckpointFile(folder, "eligibility").append(stranger.sign(21, bytes(32)))

    async def refuses() -> bool:
        streams = {each["stream"]: each["refusing"] for each in (await own_service.ok("streams", key))["streams"]}
        return streams["transactions"] is None and "not signed by a key of ours" in (streams["eligibility"] or "")

    await until(refuses)
    _, _, metrics = await own_service.raw("../../metrics")
    assert 'amana_audit_refusing{stream="eligibility"} 1.0' in metrics.decode()


async def test_a_key_that_is_replaced_is_told_with_the_one_before_it(own_service: Service) -> None:
    before = {key["stream"]: key["verifier_key"] for key in (await own_service.ok("key"))["keys"]}
    custody = Custody.of(own_service.settings)
    rotate_key(custody, datetime(2026, 3, 1, tzinfo=UTC))
    (reads_signed,) = custody.keys("accesses").until.values()
    signed_until = {**COUNTS, "notifications": 0, "accesses": reads_signed}
    answer = await own_service.ok("key")
    assert {key["stream"] for key in answer["keys"]} == signed_until.keys()
    for key in answer["keys"]:
        stream = key["stream"]
        assert key["verifier_key"] != before[stream]
        assert key["replaced"] == [{"verifier_key": before[stream], "signed_until": signed_until[stream]}]
    assert len(answer["rotations"]) == 1
    newest = await own_service.ok("checkpoints/latest?stream=transactions")  # signed before
    assert newest["verifier_key"] == before["transactions"]


async def test_a_tenant_sees_its_own_events_and_nothing_of_another(service: Service) -> None:
    mine, theirs = event_id("transactions", 8), event_id("transactions", 9)
    assert (await service.get(f"events/{mine}"))[0] == 200
    assert (await service.get(f"events/{theirs}", service.other_key))[0] == 200
    unknown = event_id("transactions", 9_999)
    for path in ("events/{}", "events/{}/proof"):
        (status, foreign), (_, absent) = [await service.get(path.format(id_)) for id_ in (theirs, unknown)]
        assert (status, foreign["code"], foreign["detail"]) == (404, absent["code"], absent["detail"])
    listed = (await service.ok("events?limit=1000"))["events"]
    assert len(listed) == 420 - 42
    assert {msgspec.json.decode(event["body"])["tenant"] for event in listed} == {service.tenant}


@pytest.mark.parametrize("limit", [7, 1_000])
@pytest.mark.parametrize(
    "given",
    [
        {},
        {"customer": str(customer(1))},
        {"aggregate": str(aggregate(3))},
        {"type": "OfferMade"},
        {"customer": str(customer(1)), "type": "OfferMade"},
        {"aggregate": str(aggregate(3)), "type": "DecisionMade", "customer": str(customer(0))},
        {"customer": str(customer(77))},
    ],
)
async def test_pages_together_are_what_was_asked_for_in_order_of_time(
    service: Service, given: dict[str, str], limit: int
) -> None:
    expected = []
    for stream in COUNTS:
        for at in range(COUNTS[stream]):
            event = msgspec.json.decode(body(stream, at, service.tenant))
            has = {"customer": event["data"]["customer"], "aggregate": event["aggregate"]["id"], "type": event["type"]}
            if at % 10 != 9 and given.items() <= has.items():
                expected.append((event["occurred_at"], stream, at))
    found, after = [], ""
    query = "".join(f"&{name}={value}" for name, value in given.items())
    for _ in range(len(expected) // limit + 2):
        page = await service.ok(f"events?limit={limit}{query}{after}")
        found += [
            (msgspec.json.decode(event["body"])["occurred_at"], event["stream"], event["position"])
            for event in page["events"]
        ]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert found == sorted(expected)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("events?after=nonsense", 400),
        ("events?after=-99999999999999999.x.1", 400),
        ("events?limit=0", 400),
        ("events?limit=1001", 400),
        ("events?customer=me", 400),
        ("events?type=%00", 400),
        ("events?unknown=1", 400),
        ("events?from=yesterday", 400),
        ("events?from=2026-03-01T09:00:00", 400),
        ("events?from=2026-03-02T00:00:00Z&to=2026-03-01T00:00:00Z", 400),
        ("events?from=0001-01-01T00:00:00Z", 400),
        ("events?order=sideways", 400),
        ("events?stream=accesses", 400),
        ("events?trace=ABC", 400),
        ("events?actor=", 400),
        ("events?customer=1&customer=2", 400),
        ("events?" + "&".join(["type=DecisionMade"] * 21), 400),
        ("accesses", 403),
        ("events/not-a-uuid", 404),
        ("checkpoints/latest?stream=other", 400),
        ("checkpoints/latest", 400),
        ("checkpoints/consistency?stream=eligibility&old_size=21", 400),
        ("checkpoints/consistency?stream=eligibility&old_size=-1", 400),
        ("streams", 403),
    ],
)
async def test_a_bad_request_is_a_problem_and_never_a_500(service: Service, path: str, status: int) -> None:
    found, problem = await service.get(path)
    assert (found, problem["status"]) == (status, status), problem


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("customer=me", "?customer"),
        ("from=soon", "?from"),
        ("from=2026-03-02T00:00:00Z&to=2026-03-02T00:00:00Z", "?to"),
        ("type=DecisionMade&type=%20", "?type"),
        ("limit=ten", "?limit"),
        ("after=AAAA", "?after"),
        ("colour=red", "?colour"),
    ],
)
async def test_a_bad_parameter_is_named(service: Service, query: str, named: str) -> None:
    status, problem = await service.get(f"events?{query}")
    assert (status, [error["pointer"] for error in problem["errors"]]) == (400, [named])


async def test_events_come_with_their_places_newest_first_and_of_a_time(service: Service) -> None:
    since, until = START + timedelta(minutes=10), START + timedelta(minutes=14)
    times = f"from={since:%Y-%m-%dT%H:%M:%SZ}&to={until:%Y-%m-%dT%H:%M:%SZ}"
    page = await service.ok(f"events?type=DecisionMade&type=OfferMade&order=newest&{times}")
    places = [(event["stream"], event["position"], event["sealed"]) for event in page["events"]]
    expected = [(stream, at, True) for at in (13, 12, 11, 10) for stream in ("transactions", "eligibility")]
    assert places == expected
    assert {found["stream"]: (found["size"], found["received"]) for found in page["searched"]} == {
        stream: (count, count) for stream, count in COUNTS.items()
    }


async def test_the_metrics_tell_how_far_behind_each_stream_is(service: Service) -> None:
    reply = await service.client.request("GET", f"{service.url}/metrics", timeout_ms=5_000)
    text = reply.body.decode()
    assert 'amana_audit_unsealed_leaves{stream="transactions"} 0.0' in text
    assert 'amana_audit_refusing{stream="transactions"} 0.0' in text
    assert 'amana_audit_checkpoint_age_seconds{stream="eligibility"}' in text
