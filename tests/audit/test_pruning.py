"""The outbox of a service lets go of old events that the log provably has; nothing else goes, whatever is behind."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from uuid import uuid4

import asyncpg
import msgspec
import pytest
from tests.audit.logs import START, STREAM, Log, body
from tests.audit.test_held import Holds
from tests.audit.test_retaining import NOW, drop, indexed, sealing
from tests.audit.test_service import until
from typer.testing import CliRunner, Result

from amana.audit.announcing import HeldBack
from amana.audit.leaf import ACCESSES
from amana.cli import app
from amana.infra.databases import drop_database, ensure_database, with_database
from amana.infra.migrate import migrate
from amana.infra.outbox import EventPage, Pruned, read_events
from amana.infra.postgres import open_pool
from amana.infra.settings import Settings, to_environ
from amana.operate.streams import pruning
from amana.operate.streams.pruning import Part, plan, prune

EVENTS = 600
NOTHING = [Part(stream, 0, 0, 0) for stream in ("eligibility", "notifications")]


@pytest.fixture(scope="module")
async def main_template(settings: Settings) -> AsyncIterator[str]:
    """A main database that only migrations have touched, for tests to copy."""
    name = f"amana_prune_template_{os.getpid()}"
    moved = msgspec.structs.replace(settings, owner_database_url=with_database(settings.owner_database_url, name))
    await ensure_database(moved.owner_database_url)
    await migrate(moved)
    yield name
    await drop_database(moved.owner_database_url)


class World:
    """The ledger's outbox in a main database of its own, and the log in another."""

    def __init__(self, log: Log, main: asyncpg.Connection) -> None:
        self.log, self.main, self.settings = log, main, log.settings

    async def write(self, start: int, stop: int) -> None:
        """Events at these positions, published."""
        rows = [(position, uuid4(), body(position)) for position in range(start, stop)]
        await self.main.execute(
            "WITH given AS (SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::bytea[]) AS g (position, id, body)),"
            " written AS (INSERT INTO transactions.outbox (tenant, event_id, aggregate_id, type, body)"
            "   SELECT 1, id, id, 'TransferPosted', body FROM given ORDER BY position RETURNING seq, event_id)"
            " INSERT INTO transactions.positions SELECT position, seq FROM given JOIN written ON event_id = id",
            *([row[at] for row in rows] for at in range(3)),
        )
        await self.main.execute("UPDATE transactions.stream SET last_position = $1, published = $1", stop - 1)

    async def consumed(self, service: str, below: int) -> None:
        await self.main.execute(
            f"INSERT INTO {service}.consumer_progress (consumer, stream, below) VALUES ($1, $2, $3)",
            service,
            STREAM,
            below,
        )

    async def prune(self, before: datetime = NOW) -> Part:
        """What went of the ledger's stream."""
        async with sealing(self.log):
            return next(part for part in await prune(self.settings, before, "ada", NOW) if part.stream == STREAM)

    async def positions(self) -> list[int]:
        rows = await self.main.fetch(
            "SELECT position FROM transactions.positions JOIN transactions.outbox USING (seq) ORDER BY position"
        )
        return [row["position"] for row in rows]

    async def untouched(self) -> bool:
        """Everything is there, and nothing was said of a prune."""
        said = await self.log.owner.fetchval("SELECT count(*) FROM audit.leaves WHERE stream = $1", ACCESSES)
        noted = await self.main.fetchval("SELECT count(*) FROM transactions.outbox_prunes")
        return await self.positions() == list(range(EVENTS)) and said == noted == 0


@pytest.fixture
async def world(log: Log, main_template: str) -> AsyncIterator[World]:
    """Six hundred events of 2026, sealed and taken by all, but for the last."""
    name = f"amana_prune_{uuid4().hex}"
    owner = with_database(log.settings.owner_database_url, name)
    admin = await asyncpg.connect(with_database(owner, "postgres"))
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE {main_template}")
    await admin.close()
    service = with_database(log.settings.transactions_database_url, name)
    log.settings = msgspec.structs.replace(log.settings, owner_database_url=owner, transactions_database_url=service)
    main = await asyncpg.connect(owner)
    made = World(log, main)
    await made.write(0, EVENTS)
    await log.sealed(1, 256, 300, EVENTS)
    for consumer in ("eligibility", "notifications"):
        await made.consumed(consumer, EVENTS)
    yield made
    await main.close()
    await drop_database(owner)


async def test_what_is_old_goes_after_a_signed_event_said_so_and_the_last_one_stays(world: World) -> None:
    planned = await plan(world.settings, NOW)
    assert planned == [NOTHING[0], Part(STREAM, 0, 599, 599), NOTHING[1]]
    assert await world.untouched(), "a dry run changes nothing"
    assert await world.prune() == Part(STREAM, 0, 599, 599)
    assert await world.positions() == [599]
    (leaf,) = await world.log.owner.fetch("SELECT position, actor, bytes FROM audit.leaves WHERE stream = $1", ACCESSES)
    said = msgspec.json.decode(leaf["bytes"])
    assert (leaf["actor"], said["type"]) == ("operator:ada", "OutboxPruned")
    assert said["data"] == {
        "below": {STREAM: 599},
        "happened_before": "2032-01-01T00:00:00.000000Z",
        "sealed": {STREAM: 600},
    }
    (noted,) = await world.main.fetch("SELECT below, announced, checkpoint FROM transactions.outbox_prunes")
    assert (noted["below"], noted["announced"]) == (599, leaf["position"])
    assert noted["checkpoint"].startswith(f"amana.test/audit/{STREAM}\n600\n")
    assert (await world.log.verify()).ok
    assert await world.prune() == Part(STREAM, 599, 599, 0), "a second time there is nothing to do"
    assert await world.main.fetchval("SELECT count(*) FROM transactions.outbox_prunes") == 1


async def test_only_what_happened_before_goes_and_a_later_prune_goes_on_from_there(world: World) -> None:
    assert await world.prune(START + timedelta(seconds=250)) == Part(STREAM, 0, 250, 250)
    assert await world.positions() == list(range(250, EVENTS))
    await world.write(EVENTS, 900)
    await world.log.receive(*range(EVENTS, 900))
    assert await world.log.new_sealer().seal() == 300
    await world.main.execute("UPDATE notifications.consumer_progress SET below = 900")
    await world.main.execute("UPDATE eligibility.consumer_progress SET below = 900")
    assert await world.prune(START + timedelta(seconds=700)) == Part(STREAM, 250, 700, 450)
    assert await world.positions() == list(range(700, 900))


async def refused(world: World, why: str, settings: Settings | None = None) -> None:
    """Both ways: asked for, and only looked at."""
    for asked in (plan(settings or world.settings, NOW), prune(settings or world.settings, NOW, "ada", NOW)):
        with pytest.raises(HeldBack, match=why):
            await asked


async def test_nothing_goes_while_audit_lacks_an_event_of_it(world: World) -> None:
    await world.write(EVENTS, EVENTS + 10)
    await refused(world, "audit is behind: it has no event of transactions at position 600")
    assert await world.main.fetchval("SELECT count(*) FROM transactions.outbox") == EVENTS + 10


async def test_nothing_goes_that_no_checkpoint_covers(world: World) -> None:
    await world.write(EVENTS, EVENTS + 10)
    await world.log.receive(*range(EVENTS, EVENTS + 10))
    await refused(world, "audit has no checkpoint of transactions that covers position 608")
    assert await world.main.fetchval("SELECT count(*) FROM transactions.outbox") == EVENTS + 10


async def test_nothing_goes_while_the_relay_has_not_published_it(world: World) -> None:
    await world.main.execute("UPDATE transactions.stream SET published = 400")
    await refused(world, "the relay is behind: it has published transactions up to position 400")
    assert await world.untouched()


@pytest.mark.parametrize("service", ["eligibility", "notifications"])
async def test_nothing_goes_while_a_consumer_has_not_taken_it(world: World, service: str) -> None:
    await world.main.execute(f"UPDATE {service}.consumer_progress SET below = 17")
    await refused(
        world, f"the consumer {service} of {service} is behind: it has taken transactions up to before .* 17,"
    )
    assert await world.untouched()


async def test_nothing_goes_while_a_legal_hold_stands(world: World) -> None:
    held = msgspec.structs.replace(world.settings, legal_hold="suit FHC/L/CS/12/2031")
    await refused(world, "suit FHC/L/CS/12/2031", held)
    assert await world.untouched()


async def test_nothing_goes_of_which_the_log_has_other_bytes(world: World) -> None:
    other = body(123, amount=9)
    await world.main.execute("ALTER TABLE transactions.outbox DISABLE TRIGGER USER")
    await world.main.execute(
        "UPDATE transactions.outbox SET body = $1 FROM transactions.positions p"
        " WHERE p.seq = outbox.seq AND position = 123",
        other,
    )
    await world.main.execute("ALTER TABLE transactions.outbox ENABLE TRIGGER USER")
    await refused(world, "audit has another event of transactions at position 123")
    await world.log.tamper(f"UPDATE audit.leaves SET bytes = '\\x{other.hex()}' WHERE position = 123")
    await refused(world, "do not come to the root that was signed at 600 leaves")
    assert await world.untouched()


async def test_a_checkpoint_that_our_key_did_not_sign_proves_nothing(world: World) -> None:
    await world.log.tamper("UPDATE audit.checkpoints SET note = replace(note, 'a', 'b') WHERE size = 600")
    await refused(world, "the checkpoint of transactions at 600")
    assert await world.untouched()


async def test_nothing_goes_before_a_checkpoint_signs_that_it_will(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("amana.audit.announcing.SIGNED_WITHIN_S", 0.05)
    with pytest.raises(HeldBack, match="no checkpoint signs"):
        await prune(world.settings, NOW, "ada", NOW)
    assert await world.positions() == list(range(EVENTS))
    assert await world.prune() == Part(STREAM, 0, 599, 599)


async def test_events_whose_bodies_the_log_was_to_drop_go_too(world: World) -> None:
    await indexed(world.log)
    assert (await drop(world.log)).lowest == 512
    assert await world.prune() == Part(STREAM, 0, 599, 599)


async def test_the_last_copy_of_what_the_log_dropped_stays_while_a_customer_is_held(world: World) -> None:
    await indexed(world.log)
    await drop(world.log)
    holds = Holds(world.settings)
    hold = await holds.place(uuid4())
    await refused(world, "the outbox of transactions is the last to have the events from position 0 to before 512")
    assert await world.positions() == list(range(EVENTS))
    await holds.release(hold)
    await holds.vault.close()
    assert await world.prune() == Part(STREAM, 0, 599, 599)


CHILD = """
import asyncio, os, sys
from datetime import datetime
from amana.infra.settings import load_settings
from amana.operate.streams import pruning
pruning.CHUNK_EVENTS, pruning.CHUNK_PAUSE_S = 50, 0.3
at = datetime.fromisoformat(sys.argv[1])
asyncio.run(pruning.prune(load_settings(os.environ), at, "ada", at))
"""


async def test_killed_in_the_middle_it_hides_what_was_to_go_and_is_gone_on_with(world: World) -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("AMANA_")}
    async with sealing(world.log):
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CHILD, NOW.isoformat(), env=environ | to_environ(world.settings)
        )

        async def begun() -> bool:
            return (await world.positions())[0] > 0

        await until(begun)
        child.send_signal(signal.SIGKILL)
        await child.wait()
    left = await world.positions()
    assert 0 < left[0] < 599 and left[0] % 50 == 0 and left == list(range(left[0], EVENTS))
    pool = await open_pool(world.settings.transactions_database_url, "transactions", 1)
    for after in (-1, left[0], 597):
        assert await read_events(pool, after, 10) == Pruned(STREAM, 599)
    page = await read_events(pool, 598, 10)
    assert isinstance(page, EventPage) and [position for position, _ in page.events] == [599]
    await pool.close()
    assert await world.prune() == Part(STREAM, left[0], 599, 599 - left[0])
    assert await world.positions() == [599]
    assert await world.main.fetchval("SELECT count(*) FROM transactions.outbox_prunes") == 1, "said once"


async def test_no_page_has_a_gap_while_events_go(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "CHUNK_EVENTS", 20)
    monkeypatch.setattr(pruning, "CHUNK_PAUSE_S", 0.001)
    pool = await open_pool(world.settings.transactions_database_url, "transactions", 1)
    seen = {EventPage: 0, Pruned: 0}
    pruned = asyncio.create_task(world.prune())
    while not pruned.done():
        page = await read_events(pool, 99, 300)
        seen[type(page)] += 1
        if isinstance(page, EventPage):
            assert [position for position, _ in page.events] == list(range(100, 400))
    assert (await pruned).events == 599
    assert seen[EventPage] and seen[Pruned]
    await pool.close()


async def test_what_was_not_announced_is_kept_from_the_owner_too(world: World) -> None:
    await world.prune(START + timedelta(seconds=250))
    await world.write(EVENTS, EVENTS + 1)
    await world.main.execute(
        "INSERT INTO transactions.outbox (tenant, event_id, aggregate_id, type, body)"
        " VALUES (1, gen_random_uuid(), gen_random_uuid(), 'TransferPosted', '')"
    )
    for statement in (
        "DELETE FROM transactions.outbox WHERE seq = (SELECT max(seq) FROM transactions.outbox)",
        "DELETE FROM transactions.outbox WHERE seq = (SELECT seq FROM transactions.positions WHERE position = 250)",
        "DELETE FROM transactions.outbox",
        "DELETE FROM transactions.positions WHERE position = 250",
        "UPDATE transactions.outbox_prunes SET below = 600",
        "DELETE FROM transactions.outbox_prunes",
        "UPDATE transactions.positions SET position = position - 1000",
        "TRUNCATE transactions.outbox",
    ):
        with pytest.raises(asyncpg.RestrictViolationError):
            await world.main.execute(statement)
    service = await asyncpg.connect(world.settings.transactions_database_url)
    for statement in ("DELETE FROM transactions.outbox", "INSERT INTO transactions.outbox_prunes VALUES (999, 1, '')"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await service.execute(statement)
    await service.close()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--by", "ada"], "--older-than"),
        (["--older-than", "30d"], "--by says in the log who prunes"),
        (["--older-than", "30", "--by", "ada"], "an age such as"),
        (["--older-than", "59m", "--by", "ada"], "an age such as"),
        (["--older-than", "0d", "--by", "ada"], "an age such as"),
        (["--older-than", "-1d", "--by", "ada"], "an age such as"),
        (["--older-than", "٣d", "--by", "ada"], "an age such as"),
        (["--older-than", "999999d", "--by", "ada"], "an age such as"),
        (["--older-than", "30d", "--by", "Ada Obi"], "64 at most"),
        (["--older-than", "30d", "--by", "a" * 65], "64 at most"),
    ],
)
def test_what_is_typed_wrong_is_said_and_nothing_is_asked(words: list[str], complaint: str) -> None:
    result: Result = CliRunner().invoke(app, ["events", "prune", *words], env={"COLUMNS": "200"})
    assert (result.exit_code, complaint in result.output) == (2, True), result.output


async def test_at_the_keyboard_it_says_what_may_go_what_went_and_why_not(world: World) -> None:
    async def amana(*words: str, **more: str) -> tuple[int, str]:
        result = await asyncio.to_thread(
            CliRunner().invoke, app, ["events", "prune", *words], env=to_environ(world.settings) | more
        )
        return result.exit_code, result.output

    code, said = await amana("--older-than", "1h", "--dry-run")
    assert (code, "transactions: 599 events may go, the oldest would be at position 599" in said) == (0, True), said
    assert await world.untouched()
    code, said = await amana("--older-than", "1h", "--by", "ada", AMANA_LEGAL_HOLD="a suit")
    assert (code, "nothing was pruned: a legal hold stands: a suit" in said) == (1, True), said
    async with sealing(world.log):
        code, said = await amana("--older-than", "1h", "--by", "ada")
    assert (code, "transactions: 599 events went, the oldest is at position 599" in said) == (0, True), said
    assert "eligibility: nothing to prune" in said
