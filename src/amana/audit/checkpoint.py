"""Checkpoints: the signed size and root of a log, as C2SP tlog-checkpoint in a C2SP signed note. Pure.

The text is `<origin>\\n<size>\\n<base64 root>\\n`. A signed note is that text, an empty line, and signature lines
`— <key name> <base64(4-byte key id || Ed25519 signature)>`. A key's id is the first four bytes of
SHA-256(name || 0x0A || 0x01 || public key), and the key's name is the log's origin; so one Ed25519 key that signs two
streams is two verifier keys, and a checkpoint of one stream can't be passed off as one of the other.
"""

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from amana.audit.merkle import HASH_BYTES

NOTE_MAX_CHARS = 64 * 1024
SIGNATURES_MAX = 100
_ED25519 = b"\x01"
KEY_ID_BYTES = 4
_SIGNATURE = re.compile(r"— (?P<name>[^\s+]+) (?P<payload>[A-Za-z0-9+/]+={0,2})")
KEY_NAME = re.compile(r"[^\s+]+")
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_NEVER = re.compile(r"[\x00-\x09\x0b-\x1f\ud800-\udfff]")


class NoteError(ValueError):
    """A note or verifier key is not what it should be: its form, its key or its signature."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What is signed: the log's origin, how many leaves it has and the root (32 bytes) over them."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """The body of the note (C2SP tlog-checkpoint)."""
        return f"{self.origin}\n{self.size}\n{encode_base64(self.root)}\n"


class SignedStep(NamedTuple):
    """A checkpoint as it is stored: the size and root that its row says, its note, and the hashes of the leaves that it
    added as recorded then, 32 bytes each."""

    size: int
    root: bytes
    note: str
    leaf_hashes: bytes


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """What a verifier trusts: the key's name (the log's origin) and the Ed25519 public key, 32 bytes."""

    name: str
    public: bytes

    def key_id(self) -> bytes:
        """Four bytes that tell keys apart (C2SP signed-note, "Signatures")."""
        return sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:KEY_ID_BYTES]

    @property
    def label(self) -> str:
        """`name+hex id`: which key it is, for people."""
        return f"{self.name}+{self.key_id().hex()}"

    def __str__(self) -> str:
        """`name+hex id+base64(0x01 || public key)`, as every tool for signed notes takes it."""
        return f"{self.label}+{encode_base64(_ED25519 + self.public)}"


def parse_verifier_key(text: str) -> VerifierKey:
    """Reads a verifier key string. Raises `NoteError`, also when the id is not that of the key."""
    parts = text.split("+", 2)
    if len(parts) != 3 or not KEY_NAME.fullmatch(parts[0]):
        raise NoteError("a verifier key is name+id+key")
    typed = decode_base64(parts[2])
    if typed[:1] != _ED25519 or len(typed) != 33:
        raise NoteError("not an Ed25519 verifier key")
    key = VerifierKey(parts[0], typed[1:])
    if key.key_id().hex() != parts[1]:
        raise NoteError("the id is not that of the key")
    return key


class Signer:
    """Signs the checkpoints of one log."""

    def __init__(self, origin: str, private: Ed25519PrivateKey) -> None:
        assert KEY_NAME.fullmatch(origin), f"not a key name: {origin!r}"
        self._private = private
        self.key = VerifierKey(origin, private.public_key().public_bytes_raw())

    def sign(self, size: int, root: bytes) -> str:
        """The signed note for `size` leaves under `root`."""
        return sign_text(Checkpoint(self.key.name, size, root).text(), [(self.key.name, self._private)])


def sign_text(text: str, signers: Iterable[tuple[str, Ed25519PrivateKey]]) -> str:
    """The note of `text`, which ends in a newline, signed by each key under its name."""
    lines = []
    for name, private in signers:
        key = VerifierKey(name, private.public_key().public_bytes_raw())
        lines.append(signature_line(name, key.key_id() + private.sign(text.encode())))
    return f"{text}\n{''.join(lines)}"


def signature_line(name: str, payload: bytes) -> str:
    """The line of a note, with its newline, for a key's id and what it signed."""
    return f"— {name} {encode_base64(payload)}\n"


def signed_by(note: str, key: VerifierKey) -> bool:
    """Whether a note has a signature line of this key, right or wrong. Raises `NoteError` for what is no note."""
    return bool(_signatures_of(key, split_note(note)[1]))


def open_text(note: str, key: VerifierKey) -> str:
    """The text of a note that `key` signed. Raises `NoteError`.

    Signatures of other keys are ignored; one by `key` that does not verify refuses the whole note.
    """
    text, signatures = split_note(note)
    ours = _signatures_of(key, signatures)
    if not ours:
        raise NoteError(f"not signed by {key.label}")
    for payload in ours:
        try:
            Ed25519PublicKey.from_public_bytes(key.public).verify(payload[KEY_ID_BYTES:], text.encode())
        except (InvalidSignature, ValueError) as error:
            raise NoteError("the signature is not valid") from error
    return text


def open_note(note: str, key: VerifierKey) -> Checkpoint:
    """The checkpoint in a note that `key` signed. Raises `NoteError`, as `open_text` does."""
    checkpoint = parse_checkpoint(open_text(note, key))
    if checkpoint.origin != key.name:
        raise NoteError(f"a checkpoint of {checkpoint.origin}, not of {key.name}")
    return checkpoint


def parse_checkpoint(text: str) -> Checkpoint:
    """Reads the body of a note (C2SP tlog-checkpoint; extension lines are allowed and ignored). Raises `NoteError`."""
    lines = text.split("\n")
    if len(lines) < 4 or lines[-1] or not all(lines[:-1]):
        raise NoteError("a checkpoint has an origin, a size and a root, each on its line")
    if not _SIZE.fullmatch(lines[1]):
        raise NoteError("the size is not a plain decimal number")
    root = decode_base64(lines[2])
    if len(root) != HASH_BYTES:
        raise NoteError("the root is not a SHA-256 hash")
    return Checkpoint(lines[0], int(lines[1]), root)


def split_note(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    """The signed text and the (name, payload) of each signature (C2SP signed-note). Raises `NoteError`."""
    if len(note) > NOTE_MAX_CHARS or _NEVER.search(note) or not note.endswith("\n"):
        raise NoteError("not a signed note")
    text, separator, tail = note.rpartition("\n\n")
    lines = tail[:-1].split("\n")
    if not separator or not text or len(lines) > SIGNATURES_MAX:
        raise NoteError("not a signed note")
    return text + "\n", [_signature(line) for line in lines]


def _signatures_of(key: VerifierKey, signatures: Iterable[tuple[str, bytes]]) -> list[bytes]:
    return [payload for name, payload in signatures if name == key.name and payload[:KEY_ID_BYTES] == key.key_id()]


def _signature(line: str) -> tuple[str, bytes]:
    found = _SIGNATURE.fullmatch(line)
    if not found:
        raise NoteError("a signature line is malformed")
    payload = decode_base64(found["payload"])
    if len(payload) <= KEY_ID_BYTES:
        raise NoteError("a signature is too short")
    return found["name"], payload


def encode_base64(value: bytes) -> str:
    """Standard base64, padded."""
    return base64.b64encode(value).decode()


def decode_base64(text: str) -> bytes:
    """Standard base64, padded, in its one canonical spelling. Raises `NoteError`."""
    try:
        value = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise NoteError("not base64") from error
    if encode_base64(value) != text:
        raise NoteError("not canonical base64")
    return value
