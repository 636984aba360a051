"""What a batch becomes: effects once, in the order of each key, whatever comes twice, late, broken or at once."""

import random
from collections.abc import Sequence
from uuid import UUID, uuid4

import pytest
from asyncpg.exceptions import CheckViolationError
from tests.consuming.things import CONSUMER, Thing, World, at_once, message, read_thing

from amana.infra.consuming.planning import Known, State, plan
from amana.infra.consuming.records import VALUE_BYTES_MAX, Order, read
from amana.infra.consuming.taking import ATTEMPTS_MAX, Full, Taker
from amana.infra.kafka import Message
from amana.infra.postgres import Connection

A, B, C = (UUID(int=number) for number in (1, 2, 3))


async def test_each_place_has_its_effect_once_however_often_it_comes(world: World) -> None:
    batch = [message(position, uuid4()) for position in range(40)]
    await world.taker().take(batch)
    await world.taker().take([*batch[10:], message(40, A)])
    assert await world.effects() == list(range(41))
    assert await world.below() == 41
    assert await world.pool.fetchval("SELECT count(*) FROM consumer_taken") == 0


async def test_what_goes_on_where_the_last_batch_ended_is_noted_by_no_row(world: World) -> None:
    await world.pool.execute("ALTER TABLE consumer_taken ADD CONSTRAINT nothing_ahead CHECK (position < 0)")
    for first in range(0, 60, 20):
        await world.taker().take([message(position, A) for position in range(first, first + 20)])
    assert (await world.below(), await world.effects()) == (60, list(range(60)))
    with pytest.raises(CheckViolationError):
        await world.taker().take([message(61, A)])


@pytest.mark.parametrize("seed", range(5))
async def test_whatever_order_batches_come_in_and_come_again_each_place_has_its_effect_once(
    world: World, seed: int
) -> None:
    draw = random.Random(seed)
    batches = []
    for first in range(0, 200, 10):
        end = first + 10 + draw.randrange(15)
        batch = [message(position, UUID(int=position % 7)) for position in range(max(0, first - 5), min(200, end))]
        batches += [draw.sample(batch, len(batch))] * draw.randrange(1, 3)
    draw.shuffle(batches)
    for batch in batches:
        await world.taker().take(batch)
    assert sorted(await world.effects()) == list(range(200))
    assert await world.below() == 200
    assert await world.pool.fetchval("SELECT count(*) FROM consumer_taken") == 0


async def test_partitions_may_run_ahead_of_one_another(world: World) -> None:
    ahead = [message(position, A) for position in range(0, 30, 2)]
    behind = [message(position, B) for position in range(1, 30, 2)]
    await world.taker().take(ahead)
    assert await world.below() == 1
    await world.taker().take(ahead + behind)
    assert await world.below() == 30
    assert sorted(await world.effects()) == list(range(30))


async def test_two_processes_with_the_same_messages_make_one_effect_each(world: World) -> None:
    shuffle = random.Random(7).sample
    batches = [
        [message(position, UUID(int=position % 5)) for position in range(first, first + 50)] for first in (0, 50)
    ]
    takes = [world.taker().take(batch) for batch in shuffle(batches * 3, 6)]
    await at_once(*takes)
    assert sorted(await world.effects()) == list(range(100))
    assert await world.below() == 100


async def test_a_handler_bug_costs_one_message_and_holds_up_its_key_alone(world: World) -> None:
    world.breaks = {5}
    await world.taker().take([message(position, A if position % 2 else B) for position in range(10)])
    assert await world.effects() == [0, 1, 2, 3, 4, 6, 8]
    assert await world.letters() == [
        (5, "dead", "handler_failed"),
        (7, "parked", "behind_a_dead_letter"),
        (9, "parked", "behind_a_dead_letter"),
    ]
    assert await world.below() == 10
    dead = await world.letter_at(5)
    assert (dead["attempts"], dead["error"]) == (ATTEMPTS_MAX, "RuntimeError: position 5 breaks it")
    await world.taker().take([message(10, A), message(11, B)])
    assert (await world.letters())[-1] == (10, "parked", "behind_a_dead_letter")
    assert (await world.effects())[-1] == 11


async def test_a_dead_letter_keeps_what_came_and_where_it_came_from(world: World) -> None:
    bad = message(3, A, value=b'{"thing": "\xff')
    await world.taker().take([bad, bad])
    kept = await world.letter_at(3)
    assert (kept["reason"], kept["value"], kept["key"]) == ("not_an_event", bad.value, bad.key)
    assert (kept["topic"], kept["partition"], kept["offset"]) == (bad.topic, bad.partition, bad.offset)
    assert kept["attempts"] == 1


@pytest.mark.parametrize(
    ("headers", "value", "reason"),
    [
        ({}, b"{}", "foreign"),
        ({"stream": b"things"}, b"{}", "foreign"),
        ({"stream": b"things", "position": b"-1"}, b"{}", "foreign"),
        ({"stream": b"things", "position": b"9" * 19}, b"{}", "foreign"),
        ({"stream": b"things", "position": "٣".encode()}, b"{}", "foreign"),
        ({"stream": b"\xff\xfe", "position": b"1"}, b"{}", "foreign"),
        ({"stream": b"elsewhere", "position": b"1"}, b"{}", "foreign"),
        ({"stream": b"things", "position": b"0"}, b"[" * 100_000, "not_an_event"),
        ({"stream": b"things", "position": b"0"}, b"\x00", "not_an_event"),
        ({"stream": b"things", "position": b"0"}, b"x" * (VALUE_BYTES_MAX + 1), "too_large"),
    ],
)
async def test_what_can_not_be_read_stops_nothing(
    world: World, headers: dict[str, bytes], value: bytes, reason: str
) -> None:
    poison = Message("topic", 0, 77, b"somebody", value, headers)
    await world.taker().take([poison, message(1, A)])
    await world.taker().take([poison, message(2, A)])
    assert [(state, why) for _, state, why in await world.letters()] == [("dead", reason)]
    assert await world.effects() == [1, 2]


@pytest.mark.parametrize("version", [2**53, -1, 2**80])
async def test_numbers_that_no_column_holds_are_letters_too(world: World, version: int) -> None:
    await world.taker().take([message(0, A, version, Order.NEWER), message(1, B)])
    assert (await world.letters(), await world.effects()) == ([(0, "dead", "out_of_range")], [1])


async def test_a_key_as_long_as_a_book_orders_nothing_and_is_kept(world: World) -> None:
    long = message(0, A)._replace(key=b"k" * 5_000)
    await world.taker().take([long, message(1, A)])
    assert (await world.letters(), await world.effects()) == ([(0, "dead", "too_large")], [1])
    assert b"original_key" in (await world.letter_at(0))["headers"]


async def test_a_value_that_the_handler_can_not_store_is_no_outage(world: World) -> None:
    async def unstorable(connection: Connection, events: Sequence[tuple[int, Thing]]) -> None:
        numbers = [2**70 if position == 1 else 0 for position, _ in events]
        await connection.execute("SELECT unnest($1::integer[])", numbers)

    taker = Taker(CONSUMER, world.pool, read_thing, unstorable)
    await taker.take([message(0, A), message(1, B), message(2, C)])
    assert await world.letters() == [(1, "dead", "handler_failed")]


async def test_an_event_of_a_blocked_key_that_concerns_nobody_is_not_parked(world: World) -> None:
    await world.taker().take([message(0, A, value=b"nonsense"), message(1, A, value=b""), message(2, A)])
    assert [(at, state) for at, state, _ in await world.letters()] == [(0, "dead"), (2, "parked")]


async def test_an_older_version_is_ignored(world: World) -> None:
    newer = Order.NEWER
    await world.taker().take([message(0, A, 3, newer), message(1, A, 2, newer), message(2, B, 2, newer)])
    await world.taker().take([message(3, A, 3, newer), message(4, A, 9, newer), message(5, B, 1)])
    assert await world.effects() == [0, 2, 4, 5]
    assert await world.below() == 6


async def test_a_version_after_a_gap_waits_and_the_missing_one_passes_it(world: World) -> None:
    taker, whole = world.taker(), Order.WHOLE
    await taker.take(
        [message(0, A, 1, whole), message(2, A, 3, whole), message(3, A, 4, whole), message(4, B, 1, whole)]
    )
    assert await world.effects() == [0, 4]
    assert [(at, state) for at, state, _ in await world.letters()] == [(2, "waiting"), (3, "waiting")]
    await taker.take([message(1, A, 2, whole)])
    assert await world.effects() == [0, 4, 1]
    assert await world.below() == 5


async def test_a_gap_in_a_key_that_nothing_can_fill_any_more_is_none(world: World) -> None:
    await world.taker().take([message(0, A, 7, Order.WHOLE), message(1, B), message(2, A, 12, Order.WHOLE)])
    assert await world.effects() == [0, 1, 2]


async def test_at_the_bound_of_letters_it_holds_and_loses_nothing(world: World) -> None:
    taker = world.taker(letters_of_key_max=3)
    await taker.take([message(0, A, value=b"nonsense"), message(1, A), message(2, A)])
    with pytest.raises(Full):
        await taker.take([message(3, A), message(4, B)])
    assert await world.effects() == []
    assert await world.below() == 3
    await world.taker(letters_of_key_max=4).take([message(3, A), message(4, B)])
    assert await world.effects() == [4]
    with pytest.raises(Full):
        await world.taker(letters_max=4).take([message(5, C, value=b"nonsense")])


async def test_a_long_run_ahead_is_forgotten_whole_once_the_gap_is_filled(world: World) -> None:
    taker = world.taker()
    await taker.take([message(position, uuid4(), value=b"") for position in range(1, 10_500)])
    assert await world.below() == 0
    await taker.take([message(0, A)])
    assert await world.below() == 10_500
    assert await world.pool.fetchval("SELECT count(*) FROM consumer_taken") == 0


def test_planning_parks_behind_a_letter_of_the_same_batch() -> None:
    reads = [
        read(read_thing, message(at, key, value=value)) for at, key, value in ((0, A, b"?"), (1, A, None), (2, B, None))
    ]
    made = plan(reads, Known({"things": 0}))
    assert [letter.state for letter in made.letters] == [State.DEAD, State.PARKED]
    assert len(made.facts) == 1
