"""An export verified with a public key and old checkpoints alone: what was done to it is found and named."""

import base64
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid5

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.audit.exports import ORIGIN, STREAM, leaf, root, signer, write_export

from amana.audit import ahead
from amana.audit.findings import CannotVerify, Kind, VerifyReport
from amana.audit.keys import sign_rotation
from amana.audit.offline import verify_export
from amana.audit.tiles import from_bundle, to_bundle
from amana.domain.events import Aggregate, Event, event_bytes

NAMES = UUID(int=13)
SIZES = [100, 300, 600]
KEY = str(signer().key)


def body(position: int, amount: int = 5_000) -> bytes:
    return event_bytes(
        Event(
            event_id=uuid5(NAMES, str(position)),
            tenant=1,
            type="TransferPosted",
            version=1,
            occurred_at=datetime(2026, 3, 1, tzinfo=UTC) + timedelta(seconds=position),
            aggregate=Aggregate("transfer", uuid5(NAMES, f"transfer {position}"), 1),
            actor="system:test",
            trace="",
            data={"amount": amount},
        )
    )


BODIES = [body(position) for position in range(600)]


@pytest.fixture
def export(tmp_path: Path) -> Path:
    write_export(tmp_path / "export", BODIES, SIZES)
    return tmp_path / "export"


async def verify(export: Path, *kept: Path, keys: tuple[str, ...] = (KEY,)) -> VerifyReport:
    return await verify_export(export, keys, kept)


async def first_bad(export: Path, *kept: Path) -> tuple[int, Kind]:
    bad = (await verify(export, *kept)).first_bad
    assert bad and bad.stream == STREAM
    return bad.position, bad.kind


def bundle(export: Path, number: int) -> Path:
    whole = export / STREAM / "tile" / "entries" / f"{number:03d}"
    return whole if whole.exists() else next(whole.with_name(f"{whole.name}.p").iterdir())


def rewrite(file: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    file.write_bytes(to_bundle(change(from_bundle(file.read_bytes()))))


def notebook(folder: Path, *notes: str) -> Path:
    file = folder / "notebook"
    file.write_text("".join(f"{note}\n" for note in notes), encoding="utf-8")
    return file


async def test_an_untouched_export_verifies(export: Path, tmp_path: Path) -> None:
    report = await verify(export, notebook(tmp_path, signer().sign(255, root([leaf(each) for each in BODIES[:255]]))))
    assert report.ok, report.told()
    told = {each.stream: (each.leaves, each.sealed, each.checkpoints, each.older) for each in report.streams}
    assert told == {
        "eligibility": (0, 0, 0, 0),
        STREAM: (600, 600, 3, 1),
        "notifications": (0, 0, 0, 0),
        "accesses": (0, 0, 0, 0),
    }


def changed(bodies: list[bytes], at: int, other: bytes) -> list[bytes]:
    return [*bodies[:at], other, *bodies[at + 1 :]]


def swapped(bodies: list[bytes], one: int, other: int) -> list[bytes]:
    return changed(changed(bodies, one, bodies[other]), other, bodies[one])


@pytest.mark.parametrize(
    ("number", "change", "position", "kind"),
    [
        (0, lambda bodies: changed(bodies, 123, body(123, amount=1)), 123, Kind.ALTERED),
        (1, lambda bodies: changed(bodies, 0, bodies[0][:-1] + b" "), 256, Kind.ALTERED),
        (2, lambda bodies: changed(bodies, 87, b""), 599, Kind.ALTERED),
        (0, lambda bodies: swapped(bodies, 20, 21), 20, Kind.REORDERED),
        (0, lambda bodies: swapped(bodies, 20, 200), 20, Kind.REORDERED),
        (0, lambda bodies: [*bodies[:7], *bodies[8:]], 7, Kind.MISSING),
        (0, lambda bodies: bodies[1:], 0, Kind.MISSING),
        (0, lambda bodies: bodies[:-1], 255, Kind.MISSING),
        (2, lambda bodies: bodies[:-1], 599, Kind.TRUNCATED),
        (2, lambda bodies: [], 512, Kind.TRUNCATED),
        (1, lambda bodies: [*bodies, body(512)], 512, Kind.MALFORMED),
        (1, lambda bodies: [*bodies[:9], body(9_999), *bodies[9:-1]], 265, Kind.REORDERED),
    ],
)
async def test_what_was_done_to_the_leaves_is_found_and_the_first_one_named(
    export: Path, number: int, change: Callable[[list[bytes]], list[bytes]], position: int, kind: Kind
) -> None:
    rewrite(bundle(export, number), change)
    assert await first_bad(export) == (position, kind)


async def test_one_bit_anywhere_in_any_file_is_found(export: Path) -> None:
    files = [file for file in sorted((export / STREAM).rglob("*")) if file.is_file() and file.name != "checkpoint"]
    for file in files:
        content = file.read_bytes()
        for at in (0, len(content) // 2, len(content) - 1):
            file.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
            # The last byte of the file of notes only says that the last one is whole.
            assert not (await verify(export)).ok or (file.name == "checkpoints" and at == len(content) - 1), (file, at)
        file.write_bytes(content)
    assert (await verify(export)).ok


async def test_a_bundle_cut_in_the_middle_of_an_entry_is_bad_from_there_on(export: Path) -> None:
    file = bundle(export, 1)
    file.write_bytes(file.read_bytes()[:-1])
    assert await first_bad(export) == (511, Kind.MALFORMED)
    rewrite(bundle(export, 0), lambda bodies: changed(bodies, 3, body(3, amount=1)))
    assert await first_bad(export) == (3, Kind.ALTERED)


async def test_a_checkpoint_that_claims_more_leaves_than_there_can_be_is_bad_at_once(export: Path) -> None:
    with (export / STREAM / "checkpoints").open("a", encoding="utf-8") as notes:
        notes.write(signer().sign(10**18, bytes(32)) + "\n")
    assert await first_bad(export) == (600, Kind.NODE)
    bundle(export, 2).unlink()
    assert await first_bad(export) == (512, Kind.TRUNCATED)


@pytest.mark.parametrize(
    ("path", "position", "kind"),
    [
        ("tile/entries/000", 0, Kind.MISSING),
        ("tile/entries/001", 256, Kind.MISSING),
        ("tile/entries/002.p/88", 512, Kind.TRUNCATED),
        ("tile/0/001", 256, Kind.NODE),
        ("tile/1/000.p/2", 0, Kind.NODE),
    ],
)
async def test_a_file_that_is_gone_is_found(export: Path, path: str, position: int, kind: Kind) -> None:
    (export / STREAM / path).unlink()
    assert await first_bad(export) == (position, kind)


async def test_the_end_cut_off_is_betrayed_by_a_checkpoint_that_somebody_kept(export: Path, tmp_path: Path) -> None:
    kept = notebook(tmp_path, *write_export(export, BODIES, SIZES))
    write_export(tmp_path / "shorter", BODIES[:300], [100, 300])
    assert (await verify(tmp_path / "shorter")).ok  # nobody could tell
    assert await first_bad(tmp_path / "shorter", kept) == (300, Kind.TRUNCATED)


async def test_a_log_rewritten_by_somebody_with_the_key_is_betrayed_by_every_checkpoint_kept(
    export: Path, tmp_path: Path
) -> None:
    first, second, _ = write_export(export, BODIES, SIZES)
    write_export(tmp_path / "forged", changed(BODIES, 250, body(250, amount=1)), SIZES)
    assert (await verify(tmp_path / "forged")).ok
    assert (await verify(tmp_path / "forged", notebook(tmp_path, first))).ok  # which covers other leaves
    assert await first_bad(tmp_path / "forged", notebook(tmp_path, second, first)) == (299, Kind.CHECKPOINT)


async def test_another_key_is_no_key(export: Path) -> None:
    write_export(export, BODIES, SIZES, seed=2)
    assert await first_bad(export) == (0, Kind.CHECKPOINT)


async def test_checkpoints_out_of_order_or_left_out_are_found(export: Path) -> None:
    notes = write_export(export, BODIES, SIZES)
    file = export / STREAM / "checkpoints"
    file.write_text("".join(f"{note}\n" for note in reversed(notes)), encoding="utf-8")
    assert (await first_bad(export))[1] == Kind.CHECKPOINT
    file.write_text(f"{notes[2]}\n", encoding="utf-8")
    assert (await verify(export)).ok  # the newest one vouches for all


# --- keys that were replaced


def private(seed: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)


def rotation(old: int, new: int, size: int) -> str:
    return sign_rotation(ORIGIN, private(old), private(new), {STREAM: size}, "2026-03-01T00:00:00.000000Z")


def with_rotations(export: Path, *notes: str) -> None:
    (export / "rotations").write_text("".join(f"{note}\n" for note in notes), encoding="utf-8")


@pytest.mark.parametrize("trusted", [1, 2, 3])
async def test_whoever_trusts_one_key_comes_to_trust_those_before_and_after_it(export: Path, trusted: int) -> None:
    write_export(export, BODIES, SIZES, signers={100: 1, 300: 2, 600: 3})
    with_rotations(export, rotation(1, 2, 100), rotation(2, 3, 300))
    assert (await verify(export, keys=(str(signer(trusted).key),))).ok


async def test_a_key_that_was_replaced_signs_nothing_more(export: Path) -> None:
    write_export(export, BODIES, SIZES, signers={300: 2, 600: 1})  # as if somebody had stolen the old one
    with_rotations(export, rotation(1, 2, 100))
    bad = (await verify(export)).first_bad
    assert bad and (bad.position, bad.kind) == (300, Kind.CHECKPOINT)
    assert "was replaced at 100 leaves" in bad.detail


async def test_a_rotation_that_the_old_key_did_not_sign_brings_no_key(export: Path) -> None:
    write_export(export, BODIES, SIZES, signers={600: 2})
    forged = rotation(3, 2, 300).replace(f"old {public_text(3)}", f"old {public_text(1)}")
    with_rotations(export, forged)
    bad = (await verify(export)).first_bad
    assert bad and bad.kind == Kind.CHECKPOINT and "rotation" in bad.detail


async def test_rotations_that_do_not_hang_together_are_refused(export: Path) -> None:
    write_export(export, BODIES, SIZES)
    for notes in ([rotation(1, 2, 1), rotation(3, 4, 2)], [rotation(1, 2, 1), rotation(2, 1, 2)], [KEY + "\n\n— a b"]):
        with_rotations(export, *notes)
        bad = (await verify(export)).first_bad
        assert notes[0].startswith(KEY) or (bad and "rotations" in bad.detail)


def public_text(seed: int) -> str:
    return base64.b64encode(private(seed).public_key().public_bytes_raw()).decode()


# --- what can't be verified


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ((), "a verifier key is needed"),
        (("nonsense",), "nonsense"),
        ((KEY[:-4] + "AAAA",), "id is not that of the key"),
        ((KEY, str(signer(1).key).replace("amana.test", "other.test")), "other.test"),
        (("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",), "none of the streams"),
    ],
)
async def test_keys_that_can_not_be_used_are_named(export: Path, keys: tuple[str, ...], message: str) -> None:
    with pytest.raises(CannotVerify, match=message):
        await verify(export, keys=keys)


async def test_a_folder_or_a_notebook_that_can_not_be_used_is_named(export: Path, tmp_path: Path) -> None:
    with pytest.raises(CannotVerify, match="no export"):
        await verify(tmp_path)
    with pytest.raises(CannotVerify, match="holds no checkpoint"):
        await verify(export, notebook(tmp_path))
    with pytest.raises(OSError, match="absent"):
        await verify(export, tmp_path / "absent")
    foreign = notebook(tmp_path, signer().sign(1, bytes(32)).replace("amana.test", "other.test"))
    with pytest.raises(CannotVerify, match=r"other\.test"):
        await verify(export, foreign)


async def test_a_note_alone_is_a_file_of_checkpoints_too(export: Path) -> None:
    assert (await verify(export, export / STREAM / "checkpoint")).streams[1].older == 1


async def test_processes_beside_this_one_find_the_same(export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "WORKERS_FROM_LEAVES", 1)
    monkeypatch.setattr(ahead, "RUN_LEAVES", 256)
    alone = await verify(export)
    assert alone.ok and alone.leaves == 600
    rewrite(bundle(export, 2), lambda bodies: changed(bodies, 3, body(3)))
    assert await first_bad(export) == (515, Kind.ALTERED)
    bundle(export, 1).unlink()
    assert await first_bad(export) == (256, Kind.MISSING)


def test_nothing_of_a_database_or_broker_is_loaded() -> None:
    code = "import sys, amana.audit.offline; print(*sorted(sys.modules))"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert "amana.audit.offline" in loaded
    assert not loaded & {"asyncpg", "confluent_kafka", "redis", "litestar", "amana.infra.postgres", "amana.audit.store"}
