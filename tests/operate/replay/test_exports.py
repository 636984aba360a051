"""A replay from an export: what is whole explains everything, and what is not is refused with the leaf named."""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from tests.audit.exports import signer, write_export
from tests.audit.logs import body
from tests.chaos.site import until
from tests.operate.replay.conftest import QUIET, Database, ReadingFrom, Replaying
from tests.operate.replay.test_under_way import traffic
from tests.operate.replay.town import Town

from amana.audit.offline import verify_export
from amana.audit.tiles import from_bundle, to_bundle
from amana.infra.settings import Settings, to_environ
from amana.operate.replay.exported import Exported, verified
from amana.operate.replay.log import Stream
from amana.operate.replay.options import CannotReplay, Log, Options
from amana.operate.replay.result import Replayed
from amana.operate.replay.run import replay
from amana.operate.stack import Stack

LEFT = "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'amana_replay_%'"
STREAM = "transactions"


@pytest.fixture
async def export(reading_from: ReadingFrom) -> dict[str, Any]:
    """The options that read an export of the site's log."""
    return await reading_from("export")


def bundle(folder: Path, number: int) -> Path:
    whole = folder / STREAM / "tile" / "entries" / f"{number:03d}"
    return whole if whole.exists() else next(whole.with_name(f"{whole.name}.p").iterdir())


def rewrite(folder: Path, number: int, change: Callable[[list[bytes]], list[bytes]]) -> None:
    file = bundle(folder, number)
    file.write_bytes(to_bundle(change(from_bundle(file.read_bytes()))))


async def test_an_auditor_rebuilds_everything_from_an_export_and_an_empty_database(
    site: Stack, export: dict[str, Any], database: Database, tmp_path: Path
) -> None:
    alone = Settings(ledger_shards=site.settings.ledger_shards)
    scratch = site.settings.owner_audit_database_url
    options = Options(**export, scratch_url=scratch, compare=False, export=tmp_path)
    result = await replay(alone, options, QUIET)
    assert (result.ok, result.compared, result.tables, result.live) == (True, False, {}, {})
    assert result.log == f"export {export['from_export']}"
    for table in ("transactions.accounts", "transactions.loans", "eligibility.decisions", "eligibility.reversals"):
        name = table.partition(".")[2]
        assert result.rebuilt[name] == await database.fetchval(f"SELECT count(*) FROM {table}")
        assert len((tmp_path / f"{name}.csv").read_text().splitlines()) > result.rebuilt[name]
    debits, credits = (sum(row[side] for row in result.totals) for side in ("debits", "credits"))
    assert debits == credits > 0


async def test_what_came_after_an_export_is_read_from_the_outboxes(
    replaying: Replaying, export: dict[str, Any], town: Town
) -> None:
    before = await replaying(**export)
    async with traffic(town) as answered:
        await until(lambda: len(answered) >= 10)
    after = await replaying(**export)
    assert (before.differences, after.differences) == ([], [])
    assert after.later[STREAM] >= before.later.get(STREAM, 0) + 10
    assert after.events == before.events + sum(after.later.values()) - sum(before.later.values())


async def pruned(database: Database, replaying: Callable[[], Any]) -> Replayed:
    """A replay while the sources have forgotten their oldest events."""
    await database.execute("CREATE TABLE public.outbox_before AS TABLE transactions.outbox")
    await database.execute("ALTER TABLE transactions.outbox DISABLE TRIGGER USER")
    await database.execute(
        "DELETE FROM transactions.outbox USING transactions.positions p WHERE p.seq = outbox.seq AND position < 200"
    )
    try:
        result: Replayed = await replaying()
        return result
    finally:
        gone = "SELECT FROM transactions.outbox o WHERE o.seq = b.seq"
        columns = await database.fetchval(
            "SELECT string_agg(column_name, ', ') FROM information_schema.columns "
            "WHERE (table_schema, table_name) = ('transactions', 'outbox')"
        )
        await database.execute(
            f"INSERT INTO transactions.outbox ({columns}) OVERRIDING SYSTEM VALUE "
            f"SELECT {columns} FROM public.outbox_before b WHERE NOT EXISTS ({gone})"
        )
        await database.execute("ALTER TABLE transactions.outbox ENABLE TRIGGER USER")
        await database.execute("DROP TABLE public.outbox_before")


@pytest.mark.parametrize("place", ["audit", "export", "service"])
async def test_the_log_is_enough_when_the_sources_have_forgotten_their_events(
    replaying: Replaying, reading_from: ReadingFrom, database: Database, place: str
) -> None:
    options = await reading_from(place)
    result = await pruned(database, lambda: replaying(**options))
    assert result.differences == []
    assert result.ok


async def test_without_the_log_what_was_forgotten_is_missed(replaying: Replaying, database: Database) -> None:
    with pytest.raises(CannotReplay, match="the outbox log of transactions has no event at position 0"):
        await pruned(database, lambda: replaying(log=Log.OUTBOX))


def altered(folder: Path) -> None:
    def change(bodies: list[bytes]) -> list[bytes]:
        return [*bodies[:9], bodies[9].replace(b'"version":1}', b'"version":2}'), *bodies[10:]]

    rewrite(folder, 0, change)


def cut(folder: Path) -> None:
    file = bundle(folder, 0)
    file.write_bytes(file.read_bytes()[:-20])


DEEDS: dict[str, tuple[Callable[[Path], None], str]] = {
    "altered": (altered, "transactions, leaf 9, altered: the bytes are not those that were sealed"),
    "missing": (
        lambda folder: rewrite(folder, 0, lambda bodies: [*bodies[:7], *bodies[8:]]),
        "transactions, leaf 7, missing",
    ),
    "reordered": (
        lambda folder: rewrite(folder, 0, lambda bodies: [bodies[1], bodies[0], *bodies[2:]]),
        "transactions, leaf 0, reordered: the leaf that was sealed here is at 1",
    ),
    "a bundle that is gone": (lambda folder: bundle(folder, 0).unlink(), "transactions, leaf 0, missing"),
    "a file that was cut off": (cut, "transactions, leaf 255, malformed: its bundle ends in the middle of an entry"),
    "a stream that is gone": (
        lambda folder: shutil.rmtree(folder / "eligibility"),
        "holds no whole stream eligibility: export again to go on with it",
    ),
    "half written": (
        lambda folder: (folder / STREAM / "checkpoints").unlink(),
        "holds no whole stream transactions: export again to go on with it",
    ),
    "another log in its place": (
        lambda folder: (write_export(folder, [body(at) for at in range(300)], [300]), None)[1],
        "transactions, leaf 0, checkpoint",
    ),
}


@pytest.mark.parametrize("deed", DEEDS)
async def test_an_export_that_is_not_whole_is_refused_with_what_is_wrong(
    replaying: Replaying, export: dict[str, Any], database: Database, deed: str
) -> None:
    do, said = DEEDS[deed]
    do(export["from_export"])
    for compare in (True, False):
        with pytest.raises(CannotReplay, match=said):
            await replaying(**export, compare=compare)
    assert await database.fetch(LEFT) == []


async def test_an_export_of_which_somebody_saw_more_was_cut_off(
    replaying: Replaying, reading_from: ReadingFrom, town: Town, tmp_path: Path
) -> None:
    before = await reading_from("export")
    shutil.copytree(before["from_export"], tmp_path / "older")
    await town.move(amount=3)
    after = await reading_from("export")
    seen = after["from_export"] / STREAM / "checkpoint"
    with pytest.raises(CannotReplay, match=r"transactions, leaf \d+, truncated: the log ends here"):
        await replaying(**before | {"from_export": tmp_path / "older", "checkpoints": (seen,)})
    assert (await replaying(**after, checkpoints=(seen,))).ok


async def test_another_key_opens_nothing(replaying: Replaying, export: dict[str, Any], site: Stack) -> None:
    strange = str(signer().key).replace("amana.test/audit", site.settings.audit_origin)
    with pytest.raises(CannotReplay, match="the key"):
        await replaying(**export | {"keys": (strange,)})
    with pytest.raises(CannotReplay, match=r"does not verify: .*not signed by"):
        await replaying(**export | {"keys": (str(signer().key),)})


async def test_an_export_of_another_platform_is_not_compared_with_this_one(
    replaying: Replaying, database: Database, tmp_path: Path
) -> None:
    longer = await database.fetchval("SELECT last_position FROM transactions.stream") + 100
    for size, said in ((200, "of another log: its event of transactions at position 199"), (longer, "has given")):
        folder = tmp_path / str(size)
        write_export(folder, [body(at) for at in range(size)], [size])
        (folder / "eligibility" / "checkpoints").write_text("")
        options = {"from_export": folder, "keys": (str(signer().key),), "only": ("loans",)}
        with pytest.raises(CannotReplay, match=said):
            await replaying(**options)


async def test_what_was_changed_after_it_was_verified_is_seen_while_it_is_folded(export: dict[str, Any]) -> None:
    folder = export["from_export"]
    (source,) = await verified(folder, [STREAM], export["keys"], (), None)
    assert isinstance(source, Exported)
    altered(folder)
    stream = Stream(source)
    last = await stream.last()
    await stream.expect_signed(last)
    async for _ in stream.pages(last):
        pass
    assert "signed" in stream.differs


async def test_leaves_that_no_checkpoint_vouches_for_are_passed_over(export: dict[str, Any], tmp_path: Path) -> None:
    """As of an export that was added to and broke off: its bundles are there, their checkpoints are not."""
    folder = tmp_path / "broken"
    notes = write_export(folder, [body(at) for at in range(600)], [300, 600])
    (folder / STREAM / "checkpoints").write_text(f"{notes[0]}\n", encoding="utf-8")
    keys = (str(signer().key),)
    found = (await verify_export(folder, keys)).streams
    assert {each.stream: (each.leaves, each.sealed) for each in found}[STREAM] == (600, 300)
    (source,) = await verified(folder, [STREAM], keys, (), None)
    stream = Stream(source)
    assert await stream.last() == 299
    await stream.expect_signed(299)
    async for _ in stream.pages(299):
        pass
    assert (stream.tree.size, stream.differs) == (300, "")


async def test_a_replay_that_was_killed_is_run_again(
    site: Stack, export: dict[str, Any], database: asyncpg.Connection
) -> None:
    amana = Path(sys.executable).with_name("amana")
    words = ["replay", "--from-export", export["from_export"], "--rows-in-memory", "1000"]
    words += [word for key in export["keys"] for word in ("--key", key)]
    environ = os.environ | to_environ(site.settings)
    nothing = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(amana, *words, env=environ, stdout=nothing, stderr=nothing)
    while not (left := await database.fetch(LEFT)) and process.returncode is None:  # noqa: ASYNC110  another process makes it
        await asyncio.sleep(0.01)
    assert left, "it ended before it could be killed"
    os.kill(process.pid, signal.SIGKILL)
    await process.wait()
    again = await asyncio.create_subprocess_exec(amana, *words, env=environ, stdout=nothing, stderr=nothing)
    assert await again.wait() == 0
    found = [row["nspname"] for row in await database.fetch(LEFT)]
    assert found == [row["nspname"] for row in left], "the second one cleans up after itself"
    for schema in found:
        await database.execute(f"DROP SCHEMA {schema} CASCADE")
