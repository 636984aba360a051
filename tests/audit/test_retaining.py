"""Bodies whose retention is over go after a signed event said so; the log verifies, and nothing else goes."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid5

import asyncpg
import msgspec
import pytest
from tests.audit.logs import NAMES, START, STREAM, Log, body
from tests.audit.reading import Reader, lab, lenders
from tests.audit.test_service import until
from tests.audit.trail import Trail, index_all
from typer.testing import CliRunner, Result

from amana.audit import retaining
from amana.audit.custody import Custody
from amana.audit.export import run_export
from amana.audit.findings import Kind, VerifyReport
from amana.audit.flow import receive
from amana.audit.held import HeldBack
from amana.audit.index_store import Index
from amana.audit.leaf import ACCESSES
from amana.audit.merkle import verify_consistency
from amana.audit.offline import verify_export
from amana.audit.retaining import Bodies, drop_bodies, plan_bodies
from amana.audit.sealer import Sealer
from amana.audit.tree import root_at
from amana.cli import app
from amana.domain.events import Aggregate, Event, event_bytes
from amana.infra.postgres import DatabaseUnavailable, open_pool
from amana.infra.settings import to_environ
from amana.operate.replay.log import Stream
from amana.operate.replay.options import CannotReplay
from amana.operate.replay.sources import AuditDatabase

NOW = datetime(2032, 1, 1, tzinfo=UTC)
SIZES = (1, 256, 300, 600)
SEAL_EVERY_S = 0.02


async def indexed(log: Log) -> None:
    pool = await open_pool(log.settings.audit_database_url, "audit", 1, batches=True)
    await index_all(Index(pool), STREAM)
    await pool.close()


@asynccontextmanager
async def sealing(log: Log) -> AsyncIterator[None]:
    """The service seals what is said in the log itself, as it does."""
    sealer = Sealer(ACCESSES, log.store, Custody.of(log.settings))

    async def seal() -> None:
        while True:
            await sealer.seal()
            await asyncio.sleep(SEAL_EVERY_S)

    task = asyncio.create_task(seal())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def drop(log: Log, now: datetime = NOW, by: str = "ada") -> Bodies:
    """What is left of the stream."""
    async with sealing(log):
        return next(each for each in await drop_bodies(log.settings, now, by) if each.stream == STREAM)


@pytest.fixture
async def old(log: Log) -> Log:
    """Six hundred sealed leaves of 2026, and two behind them that are not sealed."""
    await log.sealed(*SIZES)
    await log.receive(600, 601)
    await indexed(log)
    return log


async def lowest(log: Log) -> int:
    return int(await log.owner.fetchval("SELECT min(position) FROM audit.leaves WHERE stream = $1", STREAM))


def told_of(report: VerifyReport) -> str:
    return next(line for line in report.told().splitlines() if line.startswith(f"{STREAM}: bodies"))


async def test_whole_bundles_below_a_checkpoint_go_and_the_log_verifies_and_says_so(old: Log) -> None:
    before = await old.verify()
    plan = next(each for each in await plan_bodies(old.settings, NOW) if each.stream == STREAM)
    assert plan == Bodies(STREAM, 0, 512)
    assert await drop(old) == Bodies(STREAM, 512, 512)
    assert await lowest(old) == 512
    after = await old.verify()
    assert after.ok
    roots = {stream.stream: stream.root for stream in before.streams}
    assert {stream.stream: stream.root for stream in after.streams} == roots | {ACCESSES: after.streams[-1].root}, (
        "of what was there nothing has another hash"
    )
    assert told_of(after) == (
        f"{STREAM}: bodies below 512 were dropped by retention on 2032-01-01 by operator:ada, hashes verify"
    )
    assert await drop(old) == Bodies(STREAM, 512, 512), "a second time there is nothing to do"
    assert await old.owner.fetchval("SELECT count(*) FROM audit.drops") == 1


async def test_what_is_within_its_retention_stays(old: Log) -> None:
    assert await drop(old, START + timedelta(days=5 * 365)) == Bodies(STREAM, 0, 0)
    assert await old.owner.fetchval("SELECT count(*) FROM audit.drops") == 0
    longer = msgspec.structs.replace(old.settings, retention_days=7 * 366)
    assert all(each.below == 0 for each in await plan_bodies(longer, NOW))


async def test_the_last_leaf_stays_however_old(log: Log) -> None:
    await log.sealed(256, 512)
    await indexed(log)
    assert await drop(log) == Bodies(STREAM, 256, 256)
    assert (await log.verify()).ok


async def test_what_is_not_indexed_or_not_sealed_stays(log: Log) -> None:
    await log.sealed(300)
    await log.receive(*range(300, 700))
    assert await drop(log) == Bodies(STREAM, 0, 0)
    await indexed(log)
    assert await drop(log) == Bodies(STREAM, 256, 256)


def about_loan(position: int, type_: str, loan: str) -> bytes:
    id_ = uuid5(NAMES, loan)
    at = START + timedelta(seconds=position)
    aggregate = Aggregate("loan", id_, position + 1)
    return event_bytes(
        Event(uuid5(NAMES, f"loan {position}"), 1, type_, 1, at, aggregate, "key", "", {"loan": str(id_)})
    )


async def bound_with(log: Log, *steps: tuple[int, str, str]) -> int:
    """How far bodies go where these happened to loans at positions of the first 600."""
    bodies = {at: body(at) for at in range(600)} | {at: about_loan(at, type_, loan) for at, type_, loan in steps}
    await receive(log.store, STREAM, sorted(bodies.items()))
    await log.new_sealer().seal()
    await indexed(log)
    return (await drop(log)).below


async def test_the_records_of_a_loan_stay_until_it_is_over_for_as_long_as_they_are_kept(log: Log) -> None:
    closed = ((10, "LoanBooked", "a"), (40, "RepaymentReceived", "a"), (41, "LoanClosed", "a"))
    assert await bound_with(log, *closed, (290, "LoanBooked", "b"), (500, "LoanClosed", "a")) == 256


async def test_a_loan_that_owes_again_is_not_over(log: Log) -> None:
    again = ((10, "LoanBooked", "a"), (20, "LoanClosed", "a"), (30, "RepaymentReversed", "a"))
    assert await bound_with(log, *again, (300, "LoanBooked", "b"), (310, "LoanReversed", "b")) == 0


async def test_while_a_legal_hold_stands_nothing_goes(old: Log) -> None:
    held = msgspec.structs.replace(old.settings, legal_hold="suit FHC/L/CS/12/2031")
    with pytest.raises(HeldBack, match="suit FHC/L/CS/12/2031"):
        await drop_bodies(held, NOW, "ada")
    assert await lowest(old) == 0


async def test_nothing_goes_before_a_checkpoint_signs_that_it_will(old: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retaining, "SEALED_WITHIN_S", 0.05)
    for _ in range(2):
        with pytest.raises(HeldBack, match="no checkpoint signs"):
            await drop_bodies(old.settings, NOW, "ada")
    assert await lowest(old) == 0
    assert (await old.verify()).ok
    assert await drop(old) == Bodies(STREAM, 512, 512)
    assert await old.owner.fetchval("SELECT count(*) FROM audit.drops") == 1, "said once"


async def test_killed_in_the_middle_it_is_gone_on_with(old: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retaining, "BATCH_LEAVES", 256)
    other = await asyncpg.connect(old.settings.owner_audit_database_url)
    await other.execute("BEGIN")
    await other.execute("SELECT FROM audit.leaves WHERE stream = $1 AND position = 300 FOR UPDATE", STREAM)
    dropping = asyncio.create_task(drop(old))
    stuck = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"

    async def waits_for_the_row() -> bool:
        return await old.owner.fetchval(stuck) is not None

    await until(waits_for_the_row)
    assert await lowest(old) == 256
    await old.owner.fetchval(f"SELECT pg_terminate_backend(pid) FROM ({stuck}) AS waiting")
    with pytest.raises(DatabaseUnavailable):
        await dropping
    await other.close()
    report = await old.verify()
    assert report.ok and "bodies below 256 " in told_of(report)
    assert await drop(old) == Bodies(STREAM, 512, 512)
    assert (await old.verify()).ok


async def test_the_owner_can_take_away_nothing_else(old: Log) -> None:
    remove = f"DELETE FROM audit.leaves WHERE stream = '{STREAM}' AND position"
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="only grows"):
        await old.owner.execute(f"{remove} = 0")
    await drop(old)
    for which in ("= 512", "> 598", "BETWEEN 0 AND 512"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="only grows"):
            await old.owner.execute(f"{remove} {which}")
    for statement in ("UPDATE audit.drops SET below = 0", "DELETE FROM audit.drops", "TRUNCATE audit.leaves"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="only grows"):
            await old.owner.execute(statement)


FORGED = "UPDATE audit.leaves SET bytes = replace(encode(bytes, 'escape'), '5000', '4000')::bytea WHERE position = {}"
GONE = f"DELETE FROM audit.leaves WHERE stream = '{STREAM}' AND position = {{}}"
HASH = "UPDATE audit.checkpoints SET leaf_hashes = set_byte(leaf_hashes, 99 * 32, 255 - get_byte(leaf_hashes, 99 * 32))"


@pytest.mark.parametrize(
    ("done", "found"),
    [
        ((FORGED.format(512),), (512, Kind.ALTERED)),
        ((GONE.format(512),), (512, Kind.MISSING)),
        ((f"{HASH} WHERE size = 256",), (1, Kind.ALTERED)),
        ((f"INSERT INTO audit.drops VALUES ('{STREAM}', 768, 1)", GONE.format(512)), (512, Kind.MISSING)),
        (("DELETE FROM audit.drops",), (0, Kind.MISSING)),
        ((f"DELETE FROM audit.leaves WHERE stream = '{ACCESSES}'",), (0, Kind.MISSING)),
    ],
    ids=["altered", "gone", "a hash", "more said to be dropped", "nothing said", "the event gone"],
)
async def test_what_a_superuser_does_beside_what_was_dropped_is_found(
    old: Log, done: Sequence[str], found: tuple[int, Kind]
) -> None:
    await drop(old)
    await old.tamper("ALTER TABLE audit.drops DISABLE TRIGGER USER", *done)
    assert await old.first_bad() == found


async def offline(log: Log, folder: Path) -> VerifyReport:
    return await verify_export(folder, [str(log.signer.key)], [log.kept.path])


async def test_an_export_with_a_dropped_range_is_verified_offline(old: Log, tmp_path: Path) -> None:
    await drop(old)
    export = tmp_path / "export"
    await run_export(old.settings, export)
    bundles = export / STREAM / "tile" / "entries"
    assert not (bundles / "000").exists() and not (bundles / "001").exists()
    report = await offline(old, export)
    assert report.ok and "bodies below 512 were dropped by retention" in told_of(report)
    hashes = export / STREAM / "tile" / "0" / "001"
    whole = hashes.read_bytes()
    hashes.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    bad = (await offline(old, export)).first_bad
    assert bad and bad.stream == STREAM and bad.position <= 511
    hashes.write_bytes(whole)
    said = export / STREAM / "dropped"
    for lie in (b"", b"7", b"99999999999999999", b"-1", b"x"):
        said.write_bytes(lie)
        bad = (await offline(old, export)).first_bad
        assert bad and (bad.position, bad.kind) == (0, Kind.MISSING), lie
    said.unlink()
    bad = (await offline(old, export)).first_bad
    assert bad and (bad.position, bad.kind) == (0, Kind.MISSING)


async def test_an_export_from_before_keeps_what_it_has_and_is_added_to(old: Log, tmp_path: Path) -> None:
    export = tmp_path / "export"
    await run_export(old.settings, export)
    await drop(old)
    await old.new_sealer().seal()
    await run_export(old.settings, export)
    assert (export / STREAM / "tile" / "entries" / "000").exists()
    assert (await offline(old, export)).ok
    (export / STREAM / "tile" / "entries" / "001").unlink()
    assert (await offline(old, export)).ok, "what was dropped may be absent"


async def test_a_replay_says_from_where_it_can_begin(old: Log) -> None:
    await drop(old)
    pages = Stream(AuditDatabase(STREAM, old.owner)).pages(600)
    with pytest.raises(CannotReplay, match=r"below position 512 were dropped by retention.*--from-snapshot"):
        await anext(pages)


async def test_what_comes_again_after_it_was_dropped_is_not_stored_again(old: Log) -> None:
    await drop(old)
    received = await old.receive(0, 511, 512, 602)
    assert (received.stored, received.duplicates, received.conflicts) == (1, 3, ())
    assert await lowest(old) == 512


async def command(log: Log, *words: str, **more: str) -> Result:
    """`amana audit` with these words."""
    environ = to_environ(log.settings) | more
    async with sealing(log):
        return await asyncio.to_thread(CliRunner().invoke, app, ["audit", *words], env=environ)


async def test_nothing_is_dropped_that_was_not_asked_for_by_somebody(old: Log) -> None:
    looked = await command(old, "retention")
    assert looked.exit_code == 0
    assert f"{STREAM:<13} bodies from 0 on are there; 0 of them, below 0, may be dropped" in looked.output
    for by in ((), ("--by", ""), ("--by", "ada and friends"), ("--by", "a" * 65), ("--by", "ada\n")):
        refused = await command(old, "retention", "--drop-bodies", *by)
        assert refused.exit_code == 2 and "--by" in refused.output
    held = await command(old, "retention", "--drop-bodies", "--by", "ada", AMANA_LEGAL_HOLD="a suit")
    assert held.exit_code == 2 and "a legal hold stands: a suit" in held.output
    done = await command(old, "retention", "--drop-bodies", "--by", "ada", "--json")
    assert done.exit_code == 0
    bodies = msgspec.json.decode(done.stdout.splitlines()[-1])["bodies"]
    assert {"stream": STREAM, "lowest": 0, "below": 0} in bodies
    assert await lowest(old) == 0


async def test_the_service_proves_and_finds_what_is_left_and_says_what_was_dropped(log: Log) -> None:
    tenants = await lenders(log.settings)
    trail = Trail(5, {"eligibility": 700, STREAM: 40})
    bodies = {
        stream: [each.replace(b'"tenant":1', f'"tenant":{tenants[0]}'.encode()) for each in found]
        for stream, found in trail.bodies.items()
    }
    async with lab(log.settings, tenants, bodies) as served:
        reader = await served.reader()
        first = (await reader.ok("events?stream=eligibility&limit=1"))["events"][0]
        left = await drop_bodies(served.settings, NOW, "ada")
        assert Bodies("eligibility", 512, 512) in left
        kept = await reader.ok("events?stream=eligibility&limit=1")
        assert kept["events"][0]["position"] >= 512
        assert next(each["floor"] for each in kept["searched"] if each["stream"] == "eligibility") == 512
        assert (await reader.get(f"events/{first['event_id']}"))[0] == 404
        assert (await reader.ok(f"events/{kept['events'][0]['event_id']}/proof"))["hashes"]
        proof = await reader.ok("checkpoints/consistency?stream=eligibility&old_size=100")
        assert await grew(log, proof["hashes"], 100, proof["new_size"])
        platform = Reader(served.client, served.url, 0, served.settings.internal_key)
        status, answer = await platform.get("log/eligibility/tile/entries/001")
        assert (status, answer["code"]) == (410, "dropped_by_retention")
        tile = await reader.reply("log/eligibility/tile/0/001")
        assert (tile.status, len(tile.body)) == (200, 256 * 32)


async def grew(log: Log, proof: Sequence[str], old: int, new: int) -> bool:
    """Whether the proof leads from the root over the first leaves, made from what was recorded, to the later one."""
    async with log.store.rows() as rows:
        roots = [await root_at(rows, "eligibility", size) for size in (old, new)]
    return verify_consistency(old, roots[0], new, roots[1], [bytes.fromhex(each) for each in proof])
