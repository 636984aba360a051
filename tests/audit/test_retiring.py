"""A consumer that is gone for good is retired by a person, with a reason that the log signs first; nobody else is."""

import asyncio

import msgspec
import pytest
from tests.audit.logs import STREAM
from tests.audit.test_pruning import EVENTS, World, main_template, refused, world
from tests.audit.test_retaining import NOW, sealing
from typer.testing import CliRunner, Result

from amana.audit.announcing import HeldBack, until_signed
from amana.audit.leaf import ACCESSES
from amana.cli import app
from amana.domain.event_types_audit import RetireReason
from amana.infra.postgres import Pool, open_pool
from amana.infra.settings import to_environ
from amana.operate.streams import retiring
from amana.operate.streams.retiring import Consumer, Retired, retire, stands

__all__ = ["main_template", "world"]

OLD = Consumer("notifications", "notifications", STREAM)
GONE = RetireReason.SERVICE_REMOVED


async def behind(world: World, service: str = "notifications", *, hours: int = 2) -> None:
    await world.main.execute(
        f"UPDATE {service}.consumer_progress SET below = 17, advanced_at = now() - make_interval(hours => $1)", hours
    )


async def retired(world: World, consumer: Consumer = OLD) -> Retired:
    async with sealing(world.log):
        return await retire(world.settings, consumer, GONE, "ada", NOW)


async def said(world: World) -> list[dict[str, object]]:
    rows = await world.log.owner.fetch("SELECT actor, bytes FROM audit.leaves WHERE stream = $1", ACCESSES)
    return [{"by": row["actor"]} | msgspec.json.decode(row["bytes"])["data"] for row in rows]


async def test_a_prune_names_who_holds_it_back_and_goes_on_once_that_is_retired(world: World) -> None:
    await behind(world)
    await world.main.execute(
        "INSERT INTO notifications.consumer_taken VALUES ('notifications', $1, 40), ('another', $1, 40)", STREAM
    )
    await refused(world, "retired with `amana events retire notifications --service notifications --stream transac")
    found = await stands(world.settings, OLD)
    assert (found.below, found.last, found.letters) == (17, EVENTS - 1, 0)
    assert await said(world) == [], "a look changes nothing"
    assert await retired(world) == found
    event = {"service": "notifications", "consumer": "notifications", "consumed": STREAM, "below": 17}
    assert await said(world) == [{"by": "operator:ada", **event, "last": EVENTS - 1, "reason": "service_removed"}]
    taken = await world.main.fetch("SELECT consumer FROM notifications.consumer_taken")
    assert [row["consumer"] for row in taken] == ["another"]
    assert (await world.prune()).events == EVENTS - 1
    with pytest.raises(HeldBack, match="notifications has no consumer notifications of transactions"):
        await retired(world)


async def test_what_a_retired_consumer_projected_is_forgotten_with_it(world: World) -> None:
    await behind(world, "eligibility")
    await world.main.execute(
        "INSERT INTO eligibility.ledger_standings (tenant, customer, currency, control, moves)"
        " VALUES (1, gen_random_uuid(), 'NGN', gen_random_uuid(), 1)"
    )
    await world.main.execute("INSERT INTO eligibility.ledger_watermark VALUES ($1, 16, now(), now(), 0)", STREAM)
    assert (await retired(world, Consumer("eligibility", "eligibility", STREAM))).below == 17
    for table in ("ledger_standings", "ledger_watermark", "consumer_progress"):
        assert await world.main.fetchval(f"SELECT count(*) FROM eligibility.{table}") == 0


async def test_nobody_is_retired_who_is_level_or_moved_within_the_hour_or_is_there(world: World) -> None:
    async def refuses(why: str) -> None:
        for asked in (stands(world.settings, OLD), retired(world)):
            with pytest.raises(HeldBack, match=why):
                await asked

    await refuses("has taken all of transactions: it holds nobody back")
    await behind(world, hours=0)
    await refuses("within the last hour")
    await behind(world)
    name = world.settings.owner_database_url.rpartition("/")[2]
    role = world.settings.notifications_database_url.rpartition("/")[0]
    pool = await open_pool(f"{role}/{name}", "notifications", 1)
    await refuses("the service notifications is connected to the database")
    await pool.close()
    assert await said(world) == []
    assert (await retired(world)).below == 17


async def test_one_that_moves_after_it_was_said_to_be_gone_stays(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await behind(world)

    async def moving(pool: Pool, position: int) -> None:
        await until_signed(pool, position)
        await world.main.execute("UPDATE notifications.consumer_progress SET below = 18")

    monkeypatch.setattr(retiring, "until_signed", moving)
    with pytest.raises(HeldBack, match="moved just now: it is not gone"):
        await retired(world)
    assert await world.main.fetchval("SELECT below FROM notifications.consumer_progress") == 18


async def test_at_the_keyboard_it_wants_who_and_why_and_says_what_was_missed(world: World) -> None:
    async def amana(*words: str) -> Result:
        line = ["events", "retire", "notifications", "--service", "notifications", "--stream", STREAM, *words]
        return await asyncio.to_thread(CliRunner().invoke, app, line, env=to_environ(world.settings))

    await behind(world)
    assert (await amana("--by", "ada")).exit_code == 2
    assert (await amana("--by", "ada", "--reason", "because")).exit_code == 2
    assert (await amana("--by", "Ada Obi", "--reason", GONE)).exit_code == 2
    result = await amana("--dry-run")
    missed = f"{EVENTS - 17:,} events of transactions from position 17 on were not taken"
    assert (result.exit_code, f"may be retired: {missed}" in result.output) == (0, True), result.output
    async with sealing(world.log):
        result = await amana("--by", "ada", "--reason", GONE)
    assert (result.exit_code, f"is retired: {missed}" in result.output) == (0, True), result.output
    result = await amana("--by", "ada", "--reason", GONE)
    assert (result.exit_code, "nothing was retired" in result.output) == (1, True), result.output


def test_the_codes_at_the_keyboard_are_those_of_the_event() -> None:
    from amana.operate.streams.retire_command import Reason

    assert {reason.value for reason in Reason} == {reason.value for reason in RetireReason}
