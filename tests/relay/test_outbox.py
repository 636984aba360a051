"""Appending events and reading the sequenced ones back by position."""

import asyncio
from uuid import uuid4

import msgspec
import pytest
from tests.relay.source import Source, event

from amana.infra import outbox
from amana.infra.lease import Lease
from amana.infra.outbox import (
    EVENTS_PAGE_BYTES_MAX,
    EVENTS_PAGE_MAX,
    FEW_MAX,
    OutboxRow,
    append,
    read_end,
    read_events,
)
from amana.infra.sequencer import Sequencer
from amana.wire.events import EventPage, SequencedEvent


async def sequence_all(source: Source) -> None:
    await step_through(await leading(source))


async def leading(source: Source, chunk: int = 2_000) -> Sequencer:
    lease = Lease(source.pool, source.stream)
    assert await lease.hold()
    return Sequencer(source.pool, lease, chunk)


async def step_through(sequencer: Sequencer) -> None:
    while await sequencer.step():
        pass


async def page_of(source: Source, after: int, limit: int) -> outbox.EventPage:
    page = await read_events(source.pool, after, limit)
    assert isinstance(page, outbox.EventPage)
    return page


@pytest.mark.parametrize("number", [1, FEW_MAX, FEW_MAX + 1, EVENTS_PAGE_MAX])
async def test_rows_are_numbered_in_the_order_given(source: Source, number: int) -> None:
    rows = [event(uuid4(), version) for version in range(number)]
    rows[0] = rows[0]._replace(type='Said"\\{},', body=bytes(range(256)))
    async with source.pool.acquire() as connection:
        await append(connection, rows)
        await append(connection, [])
    stored = await source.pool.fetch("SELECT tenant, event_id, aggregate_id, type, body FROM outbox ORDER BY seq")
    assert [OutboxRow(*row) for row in stored] == rows


async def test_an_event_is_not_read_before_it_has_a_position(source: Source) -> None:
    await source.write(3)
    assert await page_of(source, -1, 10) == (source.stream, [], -1)
    await sequence_all(source)
    page = await page_of(source, -1, 10)
    assert [position for position, _ in page.events] == [0, 1, 2]
    assert page.last == 2


async def test_pages_follow_each_other_by_position(source: Source) -> None:
    thing = await source.write(25)
    await sequence_all(source)
    bodies: list[bytes] = []
    after, page = -1, await page_of(source, -1, 10)
    while page.events:
        assert page.last == 24
        bodies += [body for _, body in page.events]
        after = page.events[-1][0]
        page = await page_of(source, after, 10)
    assert after == 24
    assert bodies == [f"{thing} {version}".encode() for version in range(1, 26)]


async def test_a_page_is_bounded_in_bytes_but_never_empty_before_the_end(source: Source) -> None:
    large = b"x" * (EVENTS_PAGE_BYTES_MAX // 2)
    rows = [event(uuid4(), 1)._replace(body=body) for body in (large * 3, large, large, large)]
    async with source.pool.acquire() as connection:
        await append(connection, rows)
    await sequence_all(source)
    sizes = [len((await page_of(source, after, 100)).events) for after in (-1, 0, 2, 3)]
    assert sizes == [1, 2, 1, 0]


async def test_the_end_of_a_stream_says_up_to_when_everything_that_was_committed_has_a_position(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = await read_end(source.pool)
    assert (end.stream, end.last, end.settled_at) == (source.stream, -1, end.now)
    sequencer = await leading(source)
    slow = await source.connect()
    await slow.execute("BEGIN")
    await append(slow, [event(uuid4(), 1)])
    await asyncio.sleep(0.01)  # so that the next event's id says another millisecond
    await source.write(2)
    made_at = min(row["event_id"] for row in await source.pool.fetch("SELECT event_id FROM outbox")).int >> 80
    end = await read_end(source.pool)
    assert end.last == -1 and end.settled_at is not None
    assert round(end.settled_at.timestamp() * 1_000) == made_at
    await step_through(sequencer)
    end = await read_end(source.pool)
    assert (end.last, end.settled_at) == (1, end.now)  # what is not committed yet is not late
    await slow.execute("COMMIT")
    await slow.close()
    late = await read_end(source.pool)
    assert late.last == 1 and late.settled_at is not None and late.settled_at < end.now
    monkeypatch.setattr(outbox, "WAITING_MAX", 1)
    assert (await read_end(source.pool)).settled_at is None
    monkeypatch.undo()
    await step_through(sequencer)
    end = await read_end(source.pool)
    assert (end.last, end.settled_at) == (2, end.now)


async def test_while_a_large_difference_is_sequenced_nobody_says_how_far_the_stream_is_settled(source: Source) -> None:
    await source.write(5)
    sequencer = await leading(source, chunk=2)
    assert await sequencer.step() == 2
    assert (await read_end(source.pool)).settled_at is None
    await step_through(sequencer)
    end = await read_end(source.pool)
    assert (end.last, end.settled_at) == (4, end.now)


async def test_an_event_whose_id_tells_no_time_settles_nothing_while_it_waits(source: Source) -> None:
    async with source.pool.acquire() as connection:
        await append(connection, [event(uuid4(), 1)._replace(event_id=uuid4())])
    assert (await read_end(source.pool)).settled_at is None


async def test_a_limit_beyond_the_bound_is_a_bug(source: Source) -> None:
    with pytest.raises(AssertionError):
        await page_of(source, -1, EVENTS_PAGE_MAX + 1)


def test_the_reply_gives_back_the_exact_bytes() -> None:
    body = '{"data":{"note":"₦ \\" \\\\ \u2028"},"version":1}'.encode()
    page = EventPage("transactions", [SequencedEvent(7, body.decode())], 9)
    again = msgspec.json.decode(msgspec.json.encode(page), type=EventPage)
    assert again.events[0].body.encode() == body
    assert again.last == 9
