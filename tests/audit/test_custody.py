"""The checkpoint files: nothing lost, nothing half written ever read."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from amana.audit.checkpoint import Signer
from amana.audit.key_file import load_key
from amana.audit.places import CheckpointFile, CustodyError

SIGNER = Signer("amana.test/audit/transactions", Ed25519PrivateKey.from_private_bytes(bytes(32)))
NOTES = [SIGNER.sign(size, bytes(32)) for size in (3, 8, 21)]


def test_notes_are_read_back_in_order(tmp_path: Path) -> None:
    kept = CheckpointFile(tmp_path / "checkpoints", "transactions")
    assert kept.newest() is None
    assert list(kept.notes()) == []
    for note in NOTES:
        kept.append(note)
    assert list(kept.notes()) == NOTES
    assert kept.newest() == NOTES[-1]


def test_a_note_torn_at_any_byte_is_left_out_and_the_next_one_is_whole(tmp_path: Path) -> None:
    block = f"{NOTES[1]}\n".encode()
    for cut in range(len(block)):
        kept = CheckpointFile(tmp_path / str(cut), "transactions")
        kept.append(NOTES[0])
        with kept.path.open("ab") as stream:
            stream.write(block[:cut])
        assert kept.newest() == NOTES[0]
        after_restart = CheckpointFile(tmp_path / str(cut), "transactions")
        after_restart.append(NOTES[2])
        assert list(after_restart.notes()) == [NOTES[0], NOTES[2]]


def test_a_missing_or_foreign_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(CustodyError, match=r"audit\.key"):
        load_key(tmp_path / "audit.key")
    (tmp_path / "audit.key").write_text("not a key")
    with pytest.raises(CustodyError, match=r"audit\.key"):
        load_key(tmp_path / "audit.key")
