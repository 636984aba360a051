"""The log on a real database: receiving, sealing, proving, and naming what was tampered with."""

from pathlib import Path

import asyncpg
import pytest
from tests.audit.conftest import new_key_file
from tests.audit.logs import STREAM, Log, body, event_id

from amana.audit.checkpoint import Signer, open_note
from amana.audit.custody import Custody
from amana.audit.findings import Kind
from amana.audit.flow import InclusionProof, Received, prove, receive
from amana.audit.key_file import load_key
from amana.audit.merkle import EMPTY_ROOT, leaf_hash, verify_consistency, verify_inclusion
from amana.audit.places import CustodyError
from amana.audit.sealer import LogBroken, Sealer
from amana.audit.store import StoredEvent
from amana.audit.tree import consistency_proof
from amana.audit.verify import run_verify

# --- receiving


async def test_an_event_that_comes_again_is_dropped(log: Log) -> None:
    assert await log.receive(0, 1, 2) == Received(stored=3, duplicates=0)
    assert await log.receive(1, 2, 3) == Received(stored=1, duplicates=2)
    assert await log.receive(3) == Received(stored=0, duplicates=1)


async def test_an_event_twice_in_one_batch_is_stored_once(log: Log) -> None:
    assert await log.receive(0, 1, 0) == Received(stored=2, duplicates=1)


async def test_an_event_that_comes_again_with_other_bytes_is_reported_and_never_stored(log: Log) -> None:
    await log.receive(0, 1)
    forged = await receive(log.store, STREAM, [(0, body(0)), (1, body(1, amount=1))])
    assert forged == Received(stored=0, duplicates=1, conflicts=(1,))
    assert await log.owner.fetchval("SELECT bytes FROM audit.leaves WHERE position = 1") == body(1)


async def test_an_event_that_its_source_gave_two_places_is_kept_at_both_and_reported(log: Log) -> None:
    await log.receive(0, 1)
    received = await receive(log.store, STREAM, [(2, body(0)), (3, body(3)), (4, body(3))])
    assert received.stored == 3
    assert received.doubled == ((2, "transactions/0"), (3, "transactions/4"), (4, "transactions/3"))
    assert (await log.receive(0)).doubled == ()


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        body(0) + b" ",
        body(0).replace(b'"amount":5000', b'"amount":5000.0'),
        body(0).replace(b'"amount":5000', b'"amount":9007199254740993'),
        body(0).replace(b'"tenant":1', b'"tenant":1,"tenant":1'),
        body(0).replace(b'"tenant":1', b'"tenant":4294967296'),
        body(0).replace(b"system:test", b"system\\u0000"),
        body(0).replace(b"000Z", b"000+00:00"),
        body(0).replace(b"000Z", b"000z"),
        body(0).replace(b'"data":{', b'"data":[{').replace(b'},"event_id"', b'}],"event_id"') + b" ",
        body(0).replace(b'"amount":5000', b'"amount":"' + b"x" * 65_536 + b'"'),
    ],
)
async def test_what_is_no_event_in_canonical_bytes_is_refused_and_the_rest_of_its_batch_is_stored(
    log: Log, bad: bytes
) -> None:
    received = await receive(log.store, STREAM, [(0, bad), (1, body(1))])
    assert (received.stored, [position for position, _ in received.malformed]) == (1, [0])


async def test_the_database_computes_the_leaf_hash_of_the_standard(log: Log) -> None:
    await log.receive(0)
    assert await log.owner.fetchval("SELECT leaf_hash FROM audit.leaves") == leaf_hash(body(0))


@pytest.mark.parametrize("table", ["leaves", "nodes", "checkpoints"])
@pytest.mark.parametrize("statement", ["UPDATE audit.{} SET stream = 'x'", "DELETE FROM audit.{}", "TRUNCATE audit.{}"])
async def test_nobody_changes_the_log_by_accident(log: Log, table: str, statement: str) -> None:
    service = await asyncpg.connect(log.settings.audit_database_url)
    try:
        for connection in (service, log.owner):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement.format(table))
    finally:
        await service.close()


# --- sealing


async def test_leaves_are_sealed_up_to_the_first_gap_whatever_order_they_came_in(log: Log) -> None:
    sealer = log.new_sealer()
    await log.receive(4, 1, 0)
    assert await sealer.seal() == 2
    assert await sealer.seal() == 0
    await log.receive(3, 2)
    assert await sealer.seal() == 3
    assert [open_note(note, log.signer.key).size for note in log.kept.notes()] == [2, 5]
    assert (await log.verify()).ok


async def test_a_sealer_that_starts_anew_goes_on_where_the_last_one_stopped(log: Log) -> None:
    await log.sealed(3, 300)
    await log.receive(*range(300, 601))
    assert await log.new_sealer().seal() == 301
    report = await log.verify()
    assert report.ok
    assert [(stream.sealed, stream.checkpoints) for stream in report.streams] == [(0, 0), (601, 3), (0, 0), (0, 0)]


async def test_two_sealers_at_once_make_one_log(log: Log) -> None:
    one, other = log.new_sealer(), log.new_sealer()
    for size in range(10):
        await log.receive(size)
        assert await (one if size % 2 else other).seal() == 1
    assert (await log.verify()).ok


async def test_a_checkpoint_that_reached_the_file_and_not_the_database_is_adopted(log: Log) -> None:
    await log.sealed(3, 7)
    await log.tamper("DELETE FROM audit.checkpoints WHERE size = 7")  # as if its transaction had never committed
    assert (await log.verify()).ok
    sealer = log.new_sealer()
    assert await sealer.seal() == 0
    assert sealer.size == 7
    assert await log.owner.fetchval("SELECT max(size) FROM audit.checkpoints") == 7
    assert (await log.verify()).ok


@pytest.mark.parametrize(
    "tampering",
    [
        "DELETE FROM audit.leaves WHERE position >= 5; DELETE FROM audit.checkpoints WHERE size > 5",
        "DELETE FROM audit.leaves WHERE position = 2",
        "UPDATE audit.checkpoints SET root = sha256('other') WHERE size = 9",
        "UPDATE audit.leaves SET bytes = 'other' WHERE position = 8",
        "DELETE FROM audit.leaves; DELETE FROM audit.checkpoints",
    ],
)
async def test_a_sealer_refuses_to_sign_what_does_not_extend_the_last_checkpoint(log: Log, tampering: str) -> None:
    await log.sealed(5, 9)
    await log.tamper(tampering)
    await receive(log.store, STREAM, [(9, body(9))])
    with pytest.raises(LogBroken):
        await log.new_sealer().seal()


async def test_a_running_sealer_notices_that_the_signed_root_was_replaced(log: Log) -> None:
    sealer = log.new_sealer()
    await log.receive(0, 1)
    await sealer.seal()
    await log.tamper("UPDATE audit.checkpoints SET root = sha256('other')")
    await log.receive(2)
    with pytest.raises(LogBroken):
        await sealer.seal()


async def test_nothing_is_signed_that_can_not_be_written_to_the_file(log: Log) -> None:
    sealer = log.new_sealer()
    await log.receive(0, 1)
    log.kept.path.parent.write_text("in the way")
    with pytest.raises(CustodyError):
        await sealer.seal()
    assert await log.owner.fetchval("SELECT count(*) FROM audit.checkpoints") == 0
    log.kept.path.parent.unlink()
    assert await sealer.seal() == 2
    assert (await log.verify()).ok


# --- proving


async def test_every_leaf_has_a_proof_under_the_newest_checkpoint(log: Log) -> None:
    await log.sealed(1, 255, 256, 257, 700)
    for position in (0, 1, 254, 255, 256, 511, 512, 698, 699):
        proof = await prove(log.store, 1, event_id(position))
        assert isinstance(proof, InclusionProof)
        signed = open_note(proof.checkpoint.note, log.signer.key)
        assert verify_inclusion(leaf_hash(body(position)), position, signed.size, proof.hashes, signed.root)


async def test_each_checkpoint_is_consistent_with_every_one_before(log: Log) -> None:
    sizes = (1, 6, 255, 256, 300, 700)
    await log.sealed(*sizes)
    newest, *older = [open_note(note, log.signer.key) for note in reversed(list(log.kept.notes()))]
    async with log.store.rows() as rows:
        for old in older:
            hashes = await consistency_proof(rows, STREAM, old.size, newest.size)
            assert verify_consistency(old.size, old.root, newest.size, newest.root, hashes)


async def test_an_event_of_another_tenant_has_no_proof_and_one_not_sealed_yet_waits(log: Log) -> None:
    await log.sealed(2)
    await log.receive(2)
    assert await prove(log.store, 2, event_id(0)) is None
    assert isinstance(await prove(log.store, 1, event_id(2)), StoredEvent)


# --- verifying


async def test_an_untouched_log_verifies_and_says_how_far(log: Log) -> None:
    await log.sealed(4, 270)
    await log.receive(270, 271, 273)
    seen: list[tuple[str, int, int]] = []
    report = await run_verify(log.settings, progress=lambda *done: seen.append(done))
    assert report.ok and report.first_bad is None
    assert report.leaves == 272
    assert seen == [(STREAM, 4, 274), (STREAM, 270, 274)]


async def test_an_empty_log_verifies(log: Log) -> None:
    report = await log.verify()
    assert report.ok and report.leaves == 0 and report.streams[0].root == EMPTY_ROOT.hex()


ALL = "FROM audit.leaves WHERE position"
REHASH = (
    "UPDATE audit.checkpoints AS c SET leaf_hashes ="
    " (SELECT string_agg(leaf_hash, '' ORDER BY position) FROM audit.leaves WHERE position >= 100 AND position < 300)"
    " WHERE size = 300"
)
FORGED = "UPDATE audit.leaves SET bytes = replace(encode(bytes, 'escape'), '5000', '4000')::bytea WHERE position = 123"


@pytest.mark.parametrize(
    ("position", "kind", "tampering"),
    [
        (123, Kind.ALTERED, [FORGED]),
        (123, Kind.ALTERED, ["UPDATE audit.leaves SET bytes = set_byte(bytes, 9, 66) WHERE position = 123"]),
        (299, Kind.ALTERED, ["UPDATE audit.leaves SET bytes = bytes || ' ' WHERE position = 299"]),
        (123, Kind.MISSING, [f"DELETE {ALL} = 123"]),
        (0, Kind.MISSING, [f"DELETE {ALL} < 10"]),
        (290, Kind.TRUNCATED, [f"DELETE {ALL} >= 290"]),
        (90, Kind.TRUNCATED, [f"DELETE {ALL} >= 90", "DELETE FROM audit.checkpoints WHERE size > 90"]),
        (100, Kind.TRUNCATED, [f"DELETE {ALL} >= 100", "DELETE FROM audit.checkpoints WHERE size > 100"]),
        (0, Kind.TRUNCATED, [f"DELETE {ALL} >= 0", "DELETE FROM audit.checkpoints", "DELETE FROM audit.nodes"]),
        (
            20,
            Kind.REORDERED,
            [
                f"UPDATE audit.leaves SET position = {move} WHERE position = {at}"
                for at, move in ((20, 999), (200, 20), (999, 200))
            ],
        ),
        (7, Kind.COLUMNS, ["UPDATE audit.leaves SET tenant = 2 WHERE position = 7"]),
        (7, Kind.COLUMNS, ["UPDATE audit.leaves SET customer = NULL WHERE position = 7"]),
        (7, Kind.COLUMNS, ["UPDATE audit.leaves SET occurred_at = now() WHERE position = 7"]),
        (0, Kind.NODE, ["UPDATE audit.nodes SET hash = sha256('other')"]),
        (0, Kind.NODE, ["DELETE FROM audit.nodes"]),
        (0, Kind.CHECKPOINT, ["UPDATE audit.checkpoints SET root = sha256('other') WHERE size = 100"]),
        (100, Kind.CHECKPOINT, ["UPDATE audit.checkpoints SET note = replace(note, '300', '299') WHERE size = 300"]),
        (0, Kind.CHECKPOINT, ["DELETE FROM audit.checkpoints WHERE size = 100"]),
        (
            100,
            Kind.CHECKPOINT,
            ["UPDATE audit.checkpoints SET leaf_hashes = set_byte(leaf_hashes, 9, 1) WHERE size = 300"],
        ),
        # With the recorded hashes rewritten too, only the signed roots are left to compare with.
        (100, Kind.ALTERED, [FORGED, REHASH]),
    ],
)
async def test_tampering_is_found_and_the_first_bad_leaf_named(
    log: Log, position: int, kind: Kind, tampering: list[str]
) -> None:
    await log.sealed(100, 300)
    assert (await log.verify()).ok
    await log.tamper(*tampering)
    assert await log.first_bad() == (position, kind)


async def test_a_forged_newer_checkpoint_is_found_by_the_verifier_and_stops_the_sealer(
    log: Log, tmp_path: Path
) -> None:
    await log.sealed(5)
    stranger = Signer(log.signer.key.name, load_key(new_key_file(tmp_path / "elsewhere")))
    note, forged = stranger.sign(7, bytes(32)), "INSERT INTO audit.checkpoints VALUES ($1, 7, $2, $3, $4)"
    await log.owner.execute(forged, STREAM, bytes(32), note, bytes(64))
    await log.receive(5, 6, 7)
    assert await log.first_bad() == (5, Kind.CHECKPOINT)
    with pytest.raises(LogBroken):
        await log.new_sealer().seal()


async def test_a_log_recomputed_whole_with_another_key_is_found(log: Log, tmp_path: Path) -> None:
    await log.sealed(5)
    await log.tamper("TRUNCATE audit.leaves, audit.nodes, audit.checkpoints")
    await receive(log.store, STREAM, [(at, body(at, amount=1)) for at in range(5)])
    stranger = new_key_file(tmp_path / "elsewhere")
    forger = Sealer(STREAM, log.store, Custody(stranger, log.settings.audit_origin))
    assert await forger.seal() == 5
    bad = (await log.verify()).first_bad
    assert bad is not None
    assert (bad.position, bad.kind) == (0, Kind.CHECKPOINT)
    assert "not signed by" in bad.detail


async def test_a_log_recomputed_whole_with_the_right_key_is_betrayed_by_an_older_checkpoint(
    log: Log, tmp_path: Path
) -> None:
    await log.sealed(3, 5)
    notebook = tmp_path / "notebook"
    notebook.write_text("".join(f"{note}\n" for note in reversed(list(log.kept.notes()))))
    log.kept.path.unlink()
    await log.tamper("TRUNCATE audit.leaves, audit.nodes, audit.checkpoints")
    await receive(log.store, STREAM, [(at, body(at, amount=1 if at == 4 else 5_000)) for at in range(5)])
    await log.new_sealer().seal()
    assert (await log.verify()).ok
    report = await log.verify(notebook)
    assert report.first_bad is not None
    assert (report.first_bad.position, report.first_bad.kind) == (4, Kind.CHECKPOINT)
    assert "another log" in report.first_bad.detail
