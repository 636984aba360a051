"""Cosignatures, against a published vector and against forgery."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from amana.audit.checkpoint import NoteError, open_note, parse_verifier_key
from amana.audit.cosignature import WitnessKey, cosign, cosigned, parse_witness_key, with_lines

# Keys from published seeds and a note that they signed, made with the transparency-dev implementation of cosignatures.
LOG = "example.com/vector-log+4516a1da+ARGkVJ4QEa2MOOLGBO6i7NVSJ1FQ97tIX+w+Ku0RZ6Em"
WITNESS = "witness.example.com/vector+416f103d+BK/QmJFVP3SKJOqAMhFxBQPtylo3sjwWibyFDAlZKK8B"
SEED = base64.b64decode("BJEX3xv88eoQIKT4E+GkxZcXaJCYlQfi/GJ3NDFmZIW8")[1:]
AT = 1_791_014_171
TEXT = "example.com/vector-log\n1234\nSBNJTRN+FjG7owHVrKtue7eqdM4RhdRWVl71HXN2d7I=\n"
LOG_LINE = (
    "— example.com/vector-log RRah2qlLrSlk6J8DA1HmNewppUM15Quhs5cAIb1KjBsV3otVirJTW8AFVsQtJkTW1Zny7GuoAxZpI6bUPcpM68QO"
    "IgE=\n"
)
WITNESS_LINE = (
    "— witness.example.com/vector QW8QPQAAAABqwLUbDdj7sDNRIVjmjYgqFI6y4UJhPg/UAA8J8wAdqSd3q4PedRhkgXA4xFN/Jg5uWn7ZkBA+"
    "H/UHQs5d9hITdXmQAA==\n"
)
NOTE = f"{TEXT}\n{LOG_LINE}{WITNESS_LINE}"
KEY = parse_witness_key(WITNESS)


def test_the_published_key_parses_and_is_written_back() -> None:
    assert (str(KEY), KEY.key_id().hex()) == (WITNESS, "416f103d")


def test_the_published_note_holds_for_the_log_and_for_the_witness() -> None:
    found = cosigned(NOTE, KEY)
    assert found is not None and (found.at, found.line) == (AT, WITNESS_LINE)
    assert open_note(NOTE, parse_verifier_key(LOG)).size == 1234


def test_the_published_cosignature_is_made_again() -> None:
    private = Ed25519PrivateKey.from_private_bytes(SEED)
    assert cosign(TEXT, KEY.name, private, AT) == WITNESS_LINE
    assert with_lines(f"{TEXT}\n{LOG_LINE}", [WITNESS_LINE, WITNESS_LINE]) == NOTE
    assert with_lines(NOTE, [WITNESS_LINE]) == NOTE


def changed(at: int, mask: int = 1) -> str:
    """The witness's line with a bit of its payload flipped."""
    payload = bytearray(base64.b64decode(WITNESS_LINE.split(" ")[2]))
    payload[at] ^= mask
    return f"— {KEY.name} {base64.b64encode(payload).decode()}\n"


@pytest.mark.parametrize("at", [4, 11, 12, 40, 75])
def test_a_bit_of_the_time_or_the_signature_that_is_flipped_is_seen(at: int) -> None:
    with pytest.raises(NoteError, match=r"is not valid|is malformed"):
        cosigned(f"{TEXT}\n{LOG_LINE}{changed(at)}", KEY)


def test_another_text_is_not_what_was_cosigned() -> None:
    with pytest.raises(NoteError, match="is not valid"):
        cosigned(NOTE.replace("1234", "1235"), KEY)


def test_a_line_of_another_key_says_nothing() -> None:
    assert cosigned(f"{TEXT}\n{LOG_LINE}{changed(0)}", KEY) is None
    assert cosigned(f"{TEXT}\n{LOG_LINE}", KEY) is None
    assert cosigned(NOTE, WitnessKey("witness.example.com/other", KEY.public)) is None


def test_a_witness_signature_is_never_taken_for_the_logs_nor_the_other_way_round() -> None:
    with pytest.raises(NoteError, match="not an Ed25519 verifier key"):
        parse_verifier_key(WITNESS)
    with pytest.raises(NoteError, match="not a key for Ed25519 cosignatures"):
        parse_witness_key(LOG)


@pytest.mark.parametrize(
    "text", ["", "a+b+c", WITNESS.replace("witness.example.com/vector", "witness"), WITNESS.replace("+BK/", "+BB/")]
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(NoteError):
        parse_witness_key(text)
