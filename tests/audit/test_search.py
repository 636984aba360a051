"""Searching the log finds what a plain reading of every event finds, page by page, in either order."""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.audit.trail import START, STREAMS, Told, Trail, index_all, named

from amana.audit.app import LOOK_EVERY_S, index_step
from amana.audit.index_store import SQL, Index
from amana.audit.indexer import STEP_LEAVES_MAX, Indexer
from amana.audit.postings import (
    BLOCK_LEAVES,
    SEGMENT_LEAVES,
    block_of,
    build_postings,
    first_position,
    positions_in,
    segment_of,
    segment_of_block,
)
from amana.audit.questions import ids_asked, question, read_cursor, texts_asked, write_cursor
from amana.audit.rebuild import reindex
from amana.audit.search import search
from amana.audit.store import Store
from amana.audit.subjects import Kind, Subject, key_of, read_indexed
from amana.audit.walk import Question
from amana.domain.events import Aggregate, Event, event_bytes
from amana.infra.postgres import open_pool
from amana.infra.settings import Settings
from amana.wire.problems import Refused

SEED = 20261103
COUNTS = {"eligibility": SEGMENT_LEAVES + 60, "transactions": 2 * SEGMENT_LEAVES + 40}


@pytest.fixture
async def store(log_settings: Settings) -> AsyncIterator[Store]:
    pool = await open_pool(log_settings.audit_database_url, "audit", 3)
    yield Store(pool)
    await pool.close()


@pytest.fixture
async def index(log_settings: Settings) -> AsyncIterator[Index]:
    pool = await open_pool(log_settings.audit_database_url, "audit", 3, batches=True)
    yield Index(pool)
    await pool.close()


def asked(tenant: int = 1, streams: tuple[str, ...] = STREAMS, **wanted: Any) -> Question:
    """A question, from the parameters as a client names them."""
    order, since, until = wanted.pop("order", "oldest"), wanted.pop("since", None), wanted.pop("until", None)
    texts = texts_asked(*(wanted.pop(name, None) for name in ("types", "actor", "trace")))
    groups = [*ids_asked(wanted), *texts]
    return question(tenant, streams, groups, since, until, order, wanted.get("aggregate"))


async def found(index: Index, wanted: Question, limit: int) -> list[tuple[str, int]]:
    """All pages, as places; the cursor goes through its text."""
    places: list[tuple[str, int]] = []
    cursor = None
    for _ in range(1_000):
        page = await search(index, wanted, read_cursor(wanted, cursor), limit)
        assert len(page.events) <= limit
        places += [(event.stream, event.position) for event in page.events]
        cursor = write_cursor(wanted, page.marks)
        if cursor is None:
            return places
    raise AssertionError("the pages do not end")


def plainly(trail: Trail, wanted: Question) -> list[tuple[str, int]]:
    """What every event says, read one by one; streams merged by time, each in its own order."""
    fit = [told for told in trail.told if _is_asked_for(told, wanted)]
    heads = {stream: [told for told in fit if told.stream == stream] for stream in wanted.streams}
    if not wanted.newest_first:
        heads = {stream: told[::-1] for stream, told in heads.items()}  # the next one is the last of a list
    places = []
    while any(heads.values()):
        pick = max if wanted.newest_first else min
        stream = pick((told[-1].at, stream) for stream, told in heads.items() if told)[1]
        told = heads[stream].pop()
        places.append((told.stream, told.position))
    return places


def _is_asked_for(told: Told, wanted: Question) -> bool:
    event = told.event
    sides = [event["data"].get(side, {}).get("account") for side in ("debit", "credit")]
    of_kind = {
        Kind.TYPE: {event["type"]},
        Kind.ACTOR: {event["actor"]},
        Kind.TRACE: {event["trace"]},
        Kind.CUSTOMER: {event["data"].get("customer")},
        Kind.ACCOUNT: set(sides),
        Kind.DECISION: {event["data"].get("review")},
        Kind.TRANSFER: {event["data"].get("transfer")},
    }
    aggregate = Kind.DECISION if event["aggregate"]["type"] == "decision" else Kind.TRANSFER
    of_kind[aggregate].add(event["aggregate"]["id"])
    return (
        event["tenant"] == wanted.tenant
        and wanted.since <= told.at < wanted.until
        and wanted.aggregate in (None, event["aggregate"]["id"])
        and all(any(name in of_kind.get(kind, ()) for kind, name in group) for group in wanted.groups)
    )


def questions(draw: random.Random) -> list[Question]:
    """Every filter alone, then drawn combinations of them."""
    one: list[dict[str, Any]] = [
        {},
        {"customer": named("customer", 3)},
        {"customer": named("customer", 299)},
        {"customer": named("customer", 9_999)},
        {"account": named("account", 0)},
        {"account": named("account", 77)},
        {"decision": named("decision", 5)},
        {"decision": named("review", 1)},
        {"transfer": named("transfer", 2_050)},
        {"aggregate": named("transfer", 9)},
        {"aggregate": named("decision", 9)},
        {"aggregate": named("review", 1)},
        {"types": ["DecisionOverridden"]},
        {"types": ["DecisionOverridden", "TransferPosted"]},
        {"actor": "key1"},
        {"trace": f"{7:032x}"},
        {"since": START + timedelta(hours=2), "until": START + timedelta(hours=2, minutes=3)},
        {"since": START + timedelta(hours=5)},
        {"until": START},
        {"streams": ("transactions",)},
        {"tenant": 2},
        {"tenant": 3},
    ]
    made = [asked(**{**wanted, "order": order}) for wanted in one for order in ("oldest", "newest")]
    for _ in range(12):
        parts = draw.sample(one, 3)
        made.append(asked(**{**parts[0], **parts[1], **parts[2], "order": draw.choice(("oldest", "newest"))}))
    return made


async def test_a_search_finds_what_a_plain_reading_finds(store: Store, index: Index) -> None:
    trail = Trail(SEED, COUNTS)
    for stream in STREAMS:
        await trail.receive(store, stream)
    assert await index_all(index) == sum(COUNTS.values())
    draw = random.Random(SEED)
    for wanted in questions(draw):
        expected = plainly(trail, wanted)
        limit = draw.choice((50, 1_000)) if len(expected) < 500 else 1_000
        assert await found(index, wanted, limit) == expected, wanted


@pytest.mark.parametrize("order", ["oldest", "newest"])
async def test_a_page_goes_on_where_it_ended_whatever_arrives_meanwhile(store: Store, index: Index, order: str) -> None:
    trail = Trail(SEED, {"eligibility": 600, "transactions": 600})
    for stream in STREAMS:
        await trail.receive(store, stream, 0, 300)
    await index_all(index)
    wanted = asked(order=order)
    places, marks, arrived = [], None, 300
    for _ in range(100):
        page = await search(index, wanted, marks, 37)
        places += [(event.stream, event.position) for event in page.events]
        marks = page.marks
        if marks is None:
            break
        for stream in STREAMS:
            await trail.receive(store, stream, arrived, arrived + 20)
        arrived = min(600, arrived + 20)
        await index_all(index)
    assert len(places) == len(set(places))
    first = [place for place in plainly(trail, wanted) if place[1] < 300]
    assert [place for place in places if place[1] < 300] == first
    assert order == "oldest" or places == first


async def test_a_gap_stops_the_index_until_it_is_filled(store: Store, index: Index) -> None:
    trail = Trail(SEED, {"eligibility": 50})
    await trail.receive(store, "eligibility", 0, 20)
    await trail.receive(store, "eligibility", 21)
    assert await index_all(index, "eligibility") == 20
    await trail.receive(store, "eligibility", 20, 21)
    assert await index_all(index, "eligibility") == 30
    assert await found(index, asked(tenant=1), 100) == plainly(trail, asked(tenant=1))


async def test_an_index_that_is_behind_rests_as_long_as_it_took_the_process(store: Store, index: Index) -> None:
    trail = Trail(SEED, {"transactions": STEP_LEAVES_MAX + 1})
    await trail.receive(store, "transactions")
    indexer = Indexer("transactions", index)
    step = index_step(indexer, store)
    assert 0 < await step() == indexer.took_s, "a thousand leaves are decoded"
    assert await step() == LOOK_EVERY_S, "it has caught up"
    assert indexer.size == STEP_LEAVES_MAX + 1


async def test_each_leaf_is_indexed_once_whoever_does_it(store: Store, index: Index, log_settings: Settings) -> None:
    trail = Trail(SEED, {"transactions": 3 * STEP_LEAVES_MAX})
    await trail.receive(store, "transactions")

    async def work() -> int:
        done, indexer = 0, Indexer("transactions", index)
        while indexer.size < 3 * STEP_LEAVES_MAX:
            done += await indexer.step()
        return done

    assert sum(await asyncio.gather(work(), work(), work())) == 3 * STEP_LEAVES_MAX
    expected = build_postings("transactions", 0, trail.bodies["transactions"]).postings
    assert await rows_of(log_settings) == [tuple(posting) for posting in expected]


async def test_a_step_that_is_killed_before_its_commit_is_done_again_whole(
    store: Store, index: Index, log_settings: Settings
) -> None:
    trail = Trail(SEED, {"transactions": 200})
    await trail.receive(store, "transactions")
    built = build_postings("transactions", 0, trail.bodies["transactions"])
    with pytest.raises(RuntimeError):
        async with index.transaction() as rows:
            await rows.open_indexing("transactions")
            await rows.make_postings(built.segments[0].number)
            await rows.add_postings(built.postings)
            await rows.note_indexed("transactions", 200)
            raise RuntimeError("killed")
    assert await rows_of(log_settings) == []
    assert await index_all(index, "transactions") == 200
    assert await rows_of(log_settings) == [tuple(posting) for posting in built.postings]


async def test_reindexing_gives_the_same_index(store: Store, index: Index, log_settings: Settings) -> None:
    trail = Trail(SEED, {"eligibility": 900, "transactions": 700})
    for stream in STREAMS:
        for start in range(0, 900, 250):  # in small steps, so that rows grow
            await trail.receive(store, stream, start, start + 250)
            await index_all(index, stream)
    before = await rows_of(log_settings)
    assert await reindex(log_settings, lambda _: None) == {
        "eligibility": 900,
        "transactions": 700,
        "notifications": 0,
        "accesses": 0,
    }
    assert await rows_of(log_settings) == before


async def test_a_wrong_row_of_the_index_invents_nothing(store: Store, index: Index, log_settings: Settings) -> None:
    """The key of another's customer points at this tenant's events, and at places where nothing is."""
    trail = Trail(SEED, {"eligibility": 100})
    await trail.receive(store, "eligibility")
    await index_all(index, "eligibility")
    key = key_of(2, Subject(Kind.CUSTOMER, str(UUID(int=5))))
    await owner_runs(
        log_settings,
        "INSERT INTO audit.postings VALUES ($1, $2, $3)",
        key,
        segment_of("eligibility", 0),
        b"".join(at.to_bytes(2) for at in range(150)),
    )
    assert await found(index, asked(tenant=2, customer=UUID(int=5)), 100) == []


@pytest.mark.parametrize("name", [name for name, sql in SQL.items() if "leaves" in sql or "FROM postings" in sql])
async def test_no_plan_reads_a_table_from_end_to_end(store: Store, log_settings: Settings, name: str) -> None:
    """With sequential scans priced out, a plan has one only where no index serves it, whatever the tables' sizes."""
    connection = await asyncpg.connect(log_settings.audit_database_url, server_settings={"search_path": "audit"})
    try:
        for setting in ("enable_seqscan", "enable_bitmapscan"):
            await connection.execute(f"SET {setting} = off")
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        nulls = ", ".join("NULL" for _ in (await connection.prepare(SQL[name])).get_parameters())
        await connection.execute(f"PREPARE statement AS {SQL[name]}")
        plan = "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN EXECUTE statement ({nulls})"))
    finally:
        await connection.close()
    assert "Seq Scan" not in plan, plan
    assert "Index" in plan or "no partition" in plan or "One-Time Filter: false" in plan, plan


async def test_what_is_no_next_of_the_same_question_is_refused(index: Index) -> None:
    wanted = asked(customer=UUID(int=1))
    cursor = write_cursor(wanted, {"eligibility": 3, "transactions": 4})
    assert cursor is not None
    assert read_cursor(wanted, cursor) == {"eligibility": 3, "transactions": 4}
    others = [asked(customer=UUID(int=2)), asked(tenant=2, customer=UUID(int=1)), asked(types=["DecisionMade"])]
    others += [asked(customer=UUID(int=1), order="newest"), asked(streams=("eligibility",), customer=UUID(int=1))]
    huge = write_cursor(wanted, {"eligibility": 2**63, "transactions": 4})
    negative = write_cursor(wanted, {"eligibility": -1, "transactions": 4})
    refused: list[tuple[Question, str | None]] = [(other, cursor) for other in others]
    refused += [(wanted, text) for text in (huge, negative, "", "AAAA", cursor[:-2], cursor + "A", "ä", "!" * 200)]
    for other, text in refused:
        with pytest.raises(Refused):
            read_cursor(other, text)


def test_places_in_a_segment_come_back_as_positions() -> None:
    trail = Trail(SEED, {"transactions": 10})
    start = 5 * SEGMENT_LEAVES - 4
    built = build_postings("transactions", start, trail.bodies["transactions"])
    positions: dict[int, list[int]] = {}
    for posting in built.postings:
        positions.setdefault(posting.key, []).extend(positions_in(posting.segment, posting.places))
    for at, body in enumerate(trail.bodies["transactions"], start):
        event = read_indexed(body)
        assert all(at in positions[key_of(event.tenant, Subject(*subject))] for subject in event.subjects)
    assert {first_position(span.number) for span in built.segments} == {4 * SEGMENT_LEAVES, 5 * SEGMENT_LEAVES}


@given(st.sets(st.integers(0, SEGMENT_LEAVES - 1)), st.sets(st.integers(0, SEGMENT_LEAVES // BLOCK_LEAVES - 1)))
def test_places_of_some_blocks_are_those_of_all_that_lie_in_them(offsets: set[int], parts: set[int]) -> None:
    segment = segment_of("transactions", 7 * SEGMENT_LEAVES)
    places = b"".join(offset.to_bytes(2) for offset in sorted(offsets))
    blocks = {block_of("transactions", 7 * SEGMENT_LEAVES + part * BLOCK_LEAVES) for part in parts}
    everywhere = positions_in(segment, places)
    assert positions_in(segment, places, blocks) == [
        position for position in everywhere if block_of("transactions", position) in blocks
    ]
    assert {segment_of_block(block) for block in blocks} <= {segment}


def test_what_an_event_says_in_an_odd_shape_is_left_out() -> None:
    """A customer that is a number, a list in a list, a side without account: none is an id, none stops the index."""
    body = (
        b'{"actor":"a","aggregate":{"id":"x","type":"shop","version":1},"data":{"customer":5,"credit":7,"debit":{},'
        b'"loan":null,"transfers":["t",["u"],{"v":1}]},"event_id":"00000000-0000-0000-0000-000000000001",'
        b'"occurred_at":"2026-03-01T09:00:00.000000Z","tenant":1,"trace":"","type":"T","version":1}'
    )
    assert read_indexed(body).subjects == {
        Subject(Kind.TENANT, ""),
        Subject(Kind.TYPE, "T"),
        Subject(Kind.ACTOR, "a"),
        Subject(Kind.OTHER, "x"),
        Subject(Kind.TRANSFER, "t"),
    }


async def rows_of(settings: Settings) -> list[tuple[Any, ...]]:
    """The whole index, in the order of its key."""
    connection = await asyncpg.connect(settings.owner_audit_database_url)
    try:
        rows = await connection.fetch("SELECT key, segment, places FROM audit.postings ORDER BY key, segment")
        return [tuple(row) for row in rows]
    finally:
        await connection.close()


async def owner_runs(settings: Settings, statement: str, *values: object) -> None:
    connection = await asyncpg.connect(settings.owner_audit_database_url)
    try:
        await connection.execute(statement, *values)
    finally:
        await connection.close()


def test_what_follows_from_a_reversal_is_found_by_the_reversal_and_by_the_offer() -> None:
    offer, reversal = named("offer", 1), named("reversal", 1)
    data = {"customer": str(named("customer", 1)), "offer": str(offer), "reversal": str(reversal)}
    told = Event(
        named("withdrawn", 1),
        1,
        "OfferWithdrawn",
        1,
        START,
        Aggregate("offer", offer, 1),
        "system:eligibility",
        "",
        data,
    )
    decisions = {name for kind, name in read_indexed(event_bytes(told)).subjects if kind == Kind.DECISION}
    assert decisions == {str(offer), str(reversal)}
