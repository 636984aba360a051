"""Signed notes and checkpoints, against published vectors and against forgery."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from amana.audit.checkpoint import (
    NoteError,
    Signer,
    VerifierKey,
    open_note,
    parse_checkpoint,
    parse_verifier_key,
    split_note,
)

# A key and a note published with the original implementation of signed notes.
PUBLISHED_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PUBLISHED_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
ROOT = bytes(range(32))
SIGNER = Signer("amana.test/audit/transactions", Ed25519PrivateKey.from_private_bytes(bytes(32)))


def test_the_published_key_parses_and_is_written_back() -> None:
    assert str(parse_verifier_key(PUBLISHED_KEY)) == PUBLISHED_KEY


def test_the_published_note_verifies() -> None:
    with pytest.raises(NoteError, match="a checkpoint has an origin"):  # the signature held; it is no checkpoint
        open_note(PUBLISHED_NOTE, parse_verifier_key(PUBLISHED_KEY))
    with pytest.raises(NoteError, match="signature is not valid"):
        open_note(PUBLISHED_NOTE.replace("answer", "anstwr"), parse_verifier_key(PUBLISHED_KEY))


def test_a_note_has_the_form_of_the_standard() -> None:
    text, signatures = split_note(SIGNER.sign(42, ROOT))
    assert text == "amana.test/audit/transactions\n42\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"
    assert [(name, payload[:4], len(payload)) for name, payload in signatures] == [
        ("amana.test/audit/transactions", SIGNER.key.key_id(), 4 + 64)
    ]


@given(size=st.integers(0, 2**62), root=st.binary(min_size=32, max_size=32))
def test_what_was_signed_is_read_back(size: int, root: bytes) -> None:
    checkpoint = open_note(SIGNER.sign(size, root), parse_verifier_key(str(SIGNER.key)))
    assert (checkpoint.origin, checkpoint.size, checkpoint.root) == (SIGNER.key.name, size, root)


@given(st.data())
def test_a_note_with_one_character_altered_is_refused(data: st.DataObject) -> None:
    note = SIGNER.sign(42, ROOT)
    at = data.draw(st.integers(0, len(note) - 1))
    other = data.draw(st.characters().filter(lambda character: character != note[at]))
    with pytest.raises(NoteError):
        open_note(note[:at] + other + note[at + 1 :], SIGNER.key)


def test_a_checkpoint_of_one_stream_is_none_of_another() -> None:
    private = Ed25519PrivateKey.from_private_bytes(bytes(32))
    other = Signer("amana.test/audit/eligibility", private)
    with pytest.raises(NoteError, match="not signed by"):
        open_note(other.sign(42, ROOT), SIGNER.key)


def test_a_witness_may_cosign_and_another_key_may_not_stand_in() -> None:
    note = SIGNER.sign(42, ROOT)
    witness = "— witness.example " + base64.b64encode(bytes(76)).decode() + "\n"
    assert open_note(note + witness, SIGNER.key).size == 42
    stranger = Signer(SIGNER.key.name, Ed25519PrivateKey.from_private_bytes(b"1" * 32))
    with pytest.raises(NoteError, match="not signed by"):
        open_note(stranger.sign(42, ROOT), SIGNER.key)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "origin\n1\n",
        "origin\n01\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        "origin\n-1\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        "origin\n1\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9=\n",
        "origin\n1\nAAEC\n",
        "\n1\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        "origin\n1\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n\n",
        "origin\n1\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(NoteError):
        parse_checkpoint(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "name+00000000",
        "with space+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+c74f20a3+AhpcAgcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        str(VerifierKey("name", bytes(31))),
    ],
)
def test_what_is_no_verifier_key_is_refused(text: str) -> None:
    with pytest.raises(NoteError):
        parse_verifier_key(text)
