"""Cosignatures: a witness says when it saw which checkpoint as the newest of a log (C2SP tlog-cosignature, v1). Pure.

A cosignature is one more signature line of a checkpoint's note. Its payload is the key's id, the instant (POSIX
seconds, 8 bytes, big-endian) and an Ed25519 signature of

    cosignature/v1
    time <instant>
    <the text of the note>

The id of a witness's key is made with the type 0x04, so that it is never taken for a log's key.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from amana.audit.checkpoint import (
    KEY_ID_BYTES,
    KEY_NAME,
    NoteError,
    decode_base64,
    encode_base64,
    signature_line,
    split_note,
)

_TYPE = b"\x04"
_TIME_BYTES = 8
_SIGNATURE_BYTES = 64
TIME_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class WitnessKey:
    """What is trusted of a witness: its name and Ed25519 public key, 32 bytes."""

    name: str
    public: bytes

    def key_id(self) -> bytes:
        """Four bytes that tell keys apart."""
        return sha256(self.name.encode() + b"\n" + _TYPE + self.public).digest()[:KEY_ID_BYTES]

    @property
    def label(self) -> str:
        """`name+hex id`: which key it is, for people."""
        return f"{self.name}+{self.key_id().hex()}"

    def __str__(self) -> str:
        """`name+hex id+base64(0x04 || public key)`, as every tool for signed notes takes it."""
        return f"{self.label}+{encode_base64(_TYPE + self.public)}"


@dataclass(frozen=True, slots=True)
class Cosignature:
    """A signature line that holds, and when the witness made it, in POSIX seconds."""

    line: str
    at: int


def parse_witness_key(text: str) -> WitnessKey:
    """Reads a witness's verifier key. Raises `NoteError`, also when the id is not that of the key."""
    parts = text.split("+", 2)
    if len(parts) != 3 or not KEY_NAME.fullmatch(parts[0]):
        raise NoteError("a witness key is name+id+key")
    typed = decode_base64(parts[2])
    if typed[:1] != _TYPE or len(typed) != 33:
        raise NoteError("not a key for Ed25519 cosignatures")
    key = WitnessKey(parts[0], typed[1:])
    if key.key_id().hex() != parts[1]:
        raise NoteError("the id is not that of the key")
    return key


def cosign(text: str, name: str, private: Ed25519PrivateKey, at: int) -> str:
    """The signature line, with its newline, by which the witness `name` says that at `at` this was the newest."""
    assert 0 < at <= TIME_MAX, f"an instant in POSIX seconds: {at}"
    key = WitnessKey(name, private.public_key().public_bytes_raw())
    payload = key.key_id() + at.to_bytes(_TIME_BYTES) + private.sign(_signed(text, at))
    return signature_line(name, payload)


def cosigned(note: str, key: WitnessKey) -> Cosignature | None:
    """The newest cosignature of a witness in a note; None where it has none. Of the log's signature nothing is said.
    Raises `NoteError` for what is no note, and for a line of this key that does not verify."""
    text, signatures = split_note(note)
    found = [
        _opened(text, key, payload)
        for name, payload in signatures
        if name == key.name and payload[:KEY_ID_BYTES] == key.key_id()
    ]
    return max(found, key=lambda each: each.at, default=None)


def with_lines(note: str, lines: Iterable[str]) -> str:
    """The note with more signature lines, each once."""
    return note + "".join(line for line in dict.fromkeys(lines) if line not in note)


def _opened(text: str, key: WitnessKey, payload: bytes) -> Cosignature:
    signed = payload[KEY_ID_BYTES:]
    at = int.from_bytes(signed[:_TIME_BYTES])
    if len(signed) != _TIME_BYTES + _SIGNATURE_BYTES or not 0 < at <= TIME_MAX:
        raise NoteError(f"a cosignature of {key.label} is malformed")
    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(signed[_TIME_BYTES:], _signed(text, at))
    except (InvalidSignature, ValueError) as error:
        raise NoteError(f"a cosignature of {key.label} is not valid") from error
    return Cosignature(signature_line(key.name, payload), at)


def _signed(text: str, at: int) -> bytes:
    return f"cosignature/v1\ntime {at}\n{text}".encode()
