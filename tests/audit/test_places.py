"""The places that keep checkpoints: nothing is signed that does not extend what each of them has."""

from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.audit.conftest import new_key_file
from tests.audit.logs import STREAM, Log, body

from amana.audit.checkpoint import Signer
from amana.audit.custody import Custody
from amana.audit.findings import Kind
from amana.audit.flow import receive
from amana.audit.key_file import load_key, locked, rotations_file
from amana.audit.places import CheckpointArchive, CustodyError
from amana.audit.rotation import rotate_key
from amana.audit.sealer import LogBroken, Sealer
from amana.audit.topic import CheckpointTopic
from amana.infra.kafka import Producer, Record
from amana.infra.kafka_tail import ensure_kept_topic

SIGNER = Signer("amana.test/audit/transactions", Ed25519PrivateKey.from_private_bytes(bytes(32)))
NOW = datetime(2026, 3, 1, tzinfo=UTC)


# --- the archive


def test_an_archive_has_each_note_once_and_gives_the_newest(tmp_path: Path) -> None:
    archive = CheckpointArchive(tmp_path, STREAM)
    assert archive.newest() is None
    notes = {size: SIGNER.sign(size, bytes(32)) for size in (9, 9_999, 10_000, 123_456)}
    for size, note in notes.items():
        archive.add(size, note)
        archive.add(size, note)
        assert archive.newest() == note
    assert list(CheckpointArchive(tmp_path, STREAM).notes()) == list(notes.values())
    archive.add(77, SIGNER.sign(77, bytes(32)))
    assert archive.newest() == notes[123_456]


def test_an_archive_is_never_rewritten(tmp_path: Path) -> None:
    archive = CheckpointArchive(tmp_path, STREAM)
    archive.add(5, SIGNER.sign(5, bytes(32)))
    with pytest.raises(CustodyError, match="another checkpoint of 5 leaves"):
        archive.add(5, SIGNER.sign(5, b"1" * 32))
    assert list(archive.notes()) == [SIGNER.sign(5, bytes(32))]


def test_a_note_that_a_crash_cut_short_in_the_archive_is_left_out(tmp_path: Path) -> None:
    archive = CheckpointArchive(tmp_path, STREAM)
    notes = [SIGNER.sign(size, bytes(32)) for size in (5, 6)]
    for size, note in zip((5, 6), notes, strict=True):
        archive.add(size, note)
    file = next(tmp_path.rglob("*6"))
    for cut in range(len(notes[1].encode()) - 1):
        file.chmod(0o644)
        file.write_bytes(notes[1].encode()[:cut])
        again = CheckpointArchive(tmp_path, STREAM)
        again.add(6, notes[1])
        assert again.newest() == notes[0]


# --- before each signature


def with_archive(log: Log, folder: Path, every_s: float = 0.0) -> Custody:
    return Custody(Path(log.settings.audit_key_file), log.settings.audit_origin, folder, every_s)


async def test_checkpoints_go_to_the_archive_once_in_a_while(log: Log, tmp_path: Path) -> None:
    sealer = Sealer(STREAM, log.store, with_archive(log, tmp_path / "archive", 60))
    for size in (1, 2, 3):
        await log.receive(size - 1)
        await sealer.seal()
    notes = list(CheckpointArchive(tmp_path / "archive", STREAM).notes())
    assert notes == list(log.kept.notes())[:1]


async def test_a_log_and_file_that_were_set_back_together_are_betrayed_by_the_archive(log: Log, tmp_path: Path) -> None:
    """As after a restore of the whole machine from a backup, and other events since."""
    custody = with_archive(log, tmp_path / "archive")
    sealer = Sealer(STREAM, log.store, custody)
    for size in (3, 5):
        await log.receive(*range(size))
        await sealer.seal()
    await log.tamper("DELETE FROM audit.leaves WHERE position >= 3; DELETE FROM audit.checkpoints WHERE size > 3")
    log.kept.path.write_text(f"{next(iter(log.kept.notes()))}\n", encoding="utf-8")
    restarted = Sealer(STREAM, log.store, with_archive(log, tmp_path / "archive"))
    with pytest.raises(LogBroken, match="was signed at 5 leaves and has only 3"):
        await restarted.seal()
    await receive(log.store, STREAM, [(at, body(at, amount=1)) for at in range(3, 7)])
    with pytest.raises(LogBroken, match="not those signed at 5"):
        await restarted.seal()


async def test_a_log_that_was_set_back_goes_on_once_its_source_has_brought_everything_again(
    log: Log, tmp_path: Path
) -> None:
    custody = with_archive(log, tmp_path / "archive")
    await log.receive(*range(5))
    await Sealer(STREAM, log.store, custody).seal()
    await log.tamper("TRUNCATE audit.leaves, audit.nodes, audit.checkpoints")
    log.kept.path.unlink()
    sealer = Sealer(STREAM, log.store, with_archive(log, tmp_path / "archive"))
    with pytest.raises(LogBroken):
        await sealer.seal()
    await log.receive(*range(8))
    assert await sealer.seal() == 3
    assert sealer.size == 8
    assert (await log.verify()).ok
    assert len(list(log.kept.notes())) == 2


async def test_a_running_sealer_notices_a_newer_checkpoint_that_is_not_its_own(log: Log, tmp_path: Path) -> None:
    sealer = Sealer(STREAM, log.store, with_archive(log, tmp_path / "archive", 3_600))
    await log.receive(0, 1)
    await sealer.seal()
    CheckpointArchive(tmp_path / "archive", STREAM).add(3, log.signer.sign(3, bytes(32)))
    await log.receive(2, 3)
    with pytest.raises(LogBroken, match="not those signed at 3"):
        await sealer.seal()


async def test_a_forged_checkpoint_in_any_place_stops_the_sealer(log: Log, tmp_path: Path) -> None:
    await log.receive(0, 1)
    CheckpointArchive(tmp_path / "archive", STREAM).add(1, SIGNER.sign(1, bytes(32)))
    with pytest.raises(CustodyError, match="not signed by"):
        await Sealer(STREAM, log.store, with_archive(log, tmp_path / "archive")).seal()
    log.kept.append(SIGNER.sign(1, bytes(32)))
    with pytest.raises(CustodyError, match="not signed by"):
        await log.new_sealer().seal()
    assert await log.owner.fetchval("SELECT count(*) FROM audit.checkpoints") == 0


async def test_an_archive_that_is_away_holds_nothing_up(log: Log, tmp_path: Path) -> None:
    (tmp_path / "archive").write_text("no folder")
    await log.receive(0, 1)
    assert await Sealer(STREAM, log.store, with_archive(log, tmp_path / "archive")).seal() == 2
    assert (await log.verify()).ok


async def test_custody_itself_signs_nothing_that_is_not_larger(log: Log) -> None:
    await log.sealed(3)
    custody = Custody.of(log.settings)
    for size in (2, 3):
        with pytest.raises(CustodyError, match=f"signed at 3 leaves; {size} do not extend it"):
            custody.sign(STREAM, size, bytes(32))
    assert len(list(log.kept.notes())) == 1


# --- the broker's topic


async def looked(seen: CheckpointTopic) -> None:
    """Until everything that the topic has was looked at."""
    for _ in range(60):
        await seen.watch()
        if seen._looked.is_set():
            return
    raise AssertionError("the topic was never read to its end")


async def test_the_topic_tells_the_next_start_what_was_signed(log: Log) -> None:
    bootstrap, topic = log.settings.kafka_bootstrap, f"amana.audit-test.{uuid4()}"
    await log.sealed(2, 4)
    one = CheckpointTopic(bootstrap, STREAM, Custody.of(log.settings), topic)
    await one.publish()
    await one.publish()
    await one.close()
    await log.tamper("TRUNCATE audit.leaves, audit.nodes, audit.checkpoints")
    log.kept.path.unlink()
    await receive(log.store, STREAM, [(at, body(at, amount=1)) for at in range(6)])
    custody = Custody.of(log.settings)
    other = CheckpointTopic(bootstrap, STREAM, custody, topic)
    await looked(other)
    await other.close()
    assert [(kept.place, kept.checkpoint.size) for kept in custody.newest(STREAM)] == [("the broker's topic", 4)]
    with pytest.raises(LogBroken, match="not those signed at 4"):
        await Sealer(STREAM, log.store, custody).seal()


async def test_what_others_write_to_the_topic_proves_nothing_and_two_of_ours_that_differ_stop_the_sealer(
    log: Log,
) -> None:
    bootstrap, topic = log.settings.kafka_bootstrap, f"amana.audit-test.{uuid4()}"
    await ensure_kept_topic(bootstrap, topic)
    producer = Producer(bootstrap)
    foreign = [b"", b"\xff", SIGNER.sign(9, bytes(32)).encode()]
    await producer.send(topic, [Record(b"", value, []) for value in foreign], 20.0)
    custody = Custody.of(log.settings)
    seen = CheckpointTopic(bootstrap, STREAM, custody, topic)
    await looked(seen)
    assert custody.newest(STREAM) == []
    ours = [log.signer.sign(1, root).encode() for root in (bytes(32), b"1" * 32)]
    await producer.send(topic, [Record(b"", value, []) for value in ours], 20.0)
    await producer.close()
    for _ in range(30):
        await seen.watch()
        if custody._forks:
            break
    await seen.close()
    with pytest.raises(CustodyError, match="two checkpoints of transactions at 1 leaves"):
        custody.newest(STREAM)


async def test_without_a_broker_there_is_only_a_meter_that_says_so(log: Log) -> None:
    await log.sealed(1)
    seen = CheckpointTopic("127.0.0.1:1", STREAM, Custody.of(log.settings), "absent")
    assert await seen.publish() > 0
    assert await seen.watch() > 0
    await seen.first_look()
    await seen.close()


# --- a key that is replaced


def only_its_owner_may_read(file: Path) -> bool:
    return file.stat().st_mode & 0o777 == 0o600


def rotate_and_break_off(log: Log) -> None:
    """As if killed before the last step."""
    file = Path(log.settings.audit_key_file)
    old = file.read_bytes()
    rotate_key(Custody.of(log.settings), NOW)
    file.with_name(f"{file.name}.next").write_bytes(file.read_bytes())
    file.write_bytes(old)


async def test_a_replaced_key_leaves_old_checkpoints_good_and_a_running_sealer_takes_up_the_new_one(log: Log) -> None:
    sealer = log.new_sealer()
    await log.receive(0, 1)
    await sealer.seal()
    old = Custody.of(log.settings).keys(STREAM).current
    new = rotate_key(Custody.of(log.settings), NOW)
    await log.receive(2)
    await sealer.seal()
    await log.receive(3)
    await log.new_sealer().seal()
    keys = Custody.of(log.settings).keys(STREAM)
    assert keys.keys == (old, next(key for key in new if key.name == old.name))
    assert [keys.key_of(note) for note in log.kept.notes()] == [old, keys.current, keys.current]
    assert (await log.verify()).ok
    assert only_its_owner_may_read(Path(log.settings.audit_key_file))


async def test_the_replaced_key_signs_nothing_more(log: Log) -> None:
    old = load_key(Path(log.settings.audit_key_file))
    await log.sealed(2)
    rotate_key(Custody.of(log.settings), NOW)
    await log.receive(2)
    stolen = Signer(log.signer.key.name, old).sign(3, bytes(32))
    log.kept.append(stolen)
    with pytest.raises(CustodyError, match="was replaced at 2 leaves"):
        await log.new_sealer().seal()
    bad = (await log.verify()).first_bad
    assert bad and bad.kind == Kind.CHECKPOINT and "was replaced" in bad.detail


async def test_a_rotation_that_broke_off_is_ended_by_the_next(log: Log) -> None:
    await log.sealed(1)
    rotate_and_break_off(log)
    await log.receive(1)
    with pytest.raises(CustodyError, match="rotate again"):
        await log.new_sealer().seal()
    rotate_key(Custody.of(log.settings), NOW)
    assert len(Custody.of(log.settings).rotations()) == 1
    await log.new_sealer().seal()
    assert (await log.verify()).ok


async def test_a_key_that_was_put_in_place_by_hand_is_refused(log: Log, tmp_path: Path) -> None:
    await log.sealed(1)
    rotate_key(Custody.of(log.settings), NOW)
    new_key_file(tmp_path / "other").replace(log.settings.audit_key_file)
    with pytest.raises(CustodyError, match="not the key that the last rotation brought"):
        Custody.of(log.settings).keys(STREAM)
    rotations_file(Path(log.settings.audit_key_file)).unlink()
    await log.receive(1)
    with pytest.raises(CustodyError, match="not signed by"):
        await log.new_sealer().seal()


def test_nobody_signs_while_the_key_is_being_replaced(tmp_path: Path) -> None:
    key_file = new_key_file(tmp_path / "audit")
    custody = Custody(key_file, "amana.test/audit")
    with locked(key_file):
        process = get_context("spawn").Process(target=_sign, args=(key_file,))
        process.start()
        process.join(1.5)
        assert custody.newest(STREAM) == []
    process.join(20)
    assert process.exitcode == 0
    assert [kept.checkpoint.size for kept in custody.newest(STREAM)] == [1]


def _sign(key_file: Path) -> None:
    Custody(key_file, "amana.test/audit").sign(STREAM, 1, bytes(32))
