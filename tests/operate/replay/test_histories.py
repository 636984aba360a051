"""Random histories on the real service, raced through two processes' worth of flows, are rebuilt row by row."""

from random import Random

import pytest
from rich.console import Console
from tests.operate.replay.conftest import Replaying
from tests.operate.replay.town import Town
from tests.property.author import Author
from tests.property.world import World

from amana.operate.play import play
from amana.operate.replay.options import Log
from amana.operate.stack import Stack
from amana.tape.generate import generate_book

PREFIX = 0xB00D
HISTORIES, STEPS, RACING_MAX, BULK = 6, 40, 4, 150
BORROWERS = 15


async def test_whatever_the_ledger_was_asked_the_log_rebuilds_it(replaying: Replaying, site: Stack) -> None:
    world = await World.open(site.settings, site.settings.ledger_shards)
    try:
        for seed in range(HISTORIES):
            await live(world, Random(seed), long=seed == 0)
    finally:
        await world.close()
    result = await replaying(log=Log.OUTBOX)
    assert result.differences == []
    assert result.live["transfers"] > 300


async def live(world: World, random: Random, *, long: bool) -> None:
    """One tenant's history: some requests of every kind at a time, right ones and wrong ones."""
    author, tenant = Author(PREFIX), world.new_tenant()
    await world.race(tenant, [[[request] for request in author.opening()]], sweep=False)
    if long:
        await world.race(tenant, [[[request] for request in author.bulk(BULK)]], sweep=False)
    for _ in range(STEPS):
        units = [
            [author.write(random.choice) for _ in range(random.choice((1, 1, 2)))]
            for _ in range(random.randint(1, RACING_MAX))
        ]
        await world.race(tenant, units, sweep=random.randrange(8) == 0)


@pytest.mark.parametrize("rows_in_memory", [1_000_000, 20])
async def test_a_book_of_past_years_is_rebuilt_too(
    replaying: Replaying, site: Stack, town: Town, rows_in_memory: int
) -> None:
    book = generate_book(rows_in_memory, BORROWERS)
    played = await play(site, book, town.lender.key, Console(quiet=True), "book")
    assert not played.failed
    result = await replaying(rows_in_memory=rows_in_memory)
    assert result.differences == []
