"""Redriving: in order, once, up to what fails again; and giving up."""

from uuid import UUID

from tests.consuming.things import World, at_once, message

from amana.infra.consuming.letters import Letters, Redriven, Refusal
from amana.infra.consuming.records import Order

A, B = UUID(int=1), UUID(int=2)


async def broken(world: World) -> Letters:
    """Key A died at 0 and has 2 and 4 behind it; key B died at 1 and has 3 behind it."""
    world.breaks = {0, 1}
    taker = world.taker()
    await taker.take([message(position, B if position % 2 else A) for position in range(5)])
    assert await world.effects() == []
    return Letters(taker)


async def number(world: World, position: int) -> int:
    return int((await world.letter_at(position))["letter"])


async def states(world: World) -> list[str]:
    return [state for _, state, _ in await world.letters()]


async def test_a_redriven_letter_lets_those_behind_it_through_in_order(world: World) -> None:
    letters = await broken(world)
    world.breaks = {1}
    first = await number(world, 0)
    assert await letters.redrive(first) == Redriven(3, [])
    assert await world.effects() == [0, 2, 4]
    assert await letters.redrive(first) == Refusal("settled")
    assert await letters.redrive_key(str(A).encode()) == Redriven(0, [])
    await world.taker().take([message(5, A), message(6, B)])
    assert await world.effects() == [0, 2, 4, 5]
    assert await states(world) == ["done", "dead", "done", "parked", "done", "parked"]


async def test_what_fails_again_stays_dead_with_what_is_behind_it(world: World) -> None:
    letters = await broken(world)
    world.breaks = {2}
    outcome = await letters.redrive(await number(world, 0))
    assert isinstance(outcome, Redriven)
    assert (outcome.done, [one.reason for one in outcome.failed]) == (1, ["handler_failed"])
    assert await world.effects() == [0]
    assert await states(world) == ["done", "dead", "dead", "parked", "parked"]
    world.breaks = set()
    assert await letters.redrive(await number(world, 2)) == Redriven(2, [])
    assert await world.effects() == [0, 2, 4]


async def test_nothing_overtakes_the_first_of_its_key(world: World) -> None:
    letters = await broken(world)
    world.breaks = set()
    assert await letters.redrive(await number(world, 4)) == Refusal("behind", await number(world, 0))
    assert await letters.discard(await number(world, 4)) == Refusal("behind", await number(world, 0))
    assert await letters.redrive(999_999) == Refusal("not_found")
    assert await world.effects() == []


async def test_everything_is_redriven_once_though_two_ask(world: World) -> None:
    letters = await broken(world)
    world.breaks = set()
    await at_once(*(letters.redrive_all() for _ in range(4)), world.taker().take([message(5, A), message(6, B)]))
    again = await letters.redrive_all()
    assert (again.done, again.failed) == (0, [])
    effects = await world.effects()
    assert sorted(effects) == list(range(7))
    for key in (0, 1):
        of_key = [at for at in effects if at < 5 and at % 2 == key]
        assert of_key == sorted(of_key)


async def test_redriving_all_goes_on_past_a_key_that_fails(world: World) -> None:
    letters = await broken(world)
    world.breaks = {0}
    outcome = await letters.redrive_all()
    assert (outcome.done, len(outcome.failed), outcome.more) == (2, 1, False)
    assert await world.effects() == [1, 3]


async def test_a_letter_given_up_lets_those_behind_it_through(world: World) -> None:
    taker = world.taker()
    await taker.take([message(0, A, value=b"nonsense"), message(1, A)])
    letters = Letters(taker)
    first = await number(world, 0)
    failed = await letters.redrive(first)
    assert isinstance(failed, Redriven) and failed.failed[0].reason == "not_an_event"
    assert await letters.discard(first) == Redriven(1, [])
    assert await letters.discard(first) == Refusal("settled")
    assert await states(world) == ["discarded", "done"]
    assert await world.effects() == [1]


async def test_what_waited_for_a_gap_is_released_once_nothing_is_missing_below_it(world: World) -> None:
    taker, whole = world.taker(), Order.WHOLE
    letters = Letters(taker)
    await taker.take([message(0, A, 1, whole), message(3, A, 4, whole), message(4, A, 5, whole)])
    assert await letters.release() == 0
    await taker.take([message(1, A, 2, whole)])
    assert await letters.release() == 0
    await taker.take([message(2, B)])
    assert await letters.release() == 2
    assert await world.effects() == [0, 1, 2, 3, 4]
    await taker.take([message(5, A, 6, whole)])
    assert (await world.effects())[-1] == 5


async def test_a_letter_that_waits_does_not_pass_a_dead_one(world: World) -> None:
    taker, whole = world.taker(), Order.WHOLE
    letters = Letters(taker)
    await taker.take([message(0, A, 1, whole), message(2, A, 3, whole)])
    world.breaks = {1}
    await taker.take([message(1, A, 2, whole)])
    assert await letters.release() == 0
    world.breaks = set()
    assert await letters.redrive_key(str(A).encode()) == Redriven(2, [])
    assert await world.effects() == [0, 1, 2]
