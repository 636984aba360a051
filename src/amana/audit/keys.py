"""Which key signs which checkpoints: the keys of a log in turn, from the first to the one in use. Pure.

A key is replaced by a rotation, a signed note by both keys:

    <origin>/rotation
    old <base64 of the old public key>
    new <base64 of the new one>
    <stream> <leaves of the newest checkpoint that the old key signed>
    ...
    <instant>

So whoever trusts either of the two keys comes to trust the other, and the old one for no checkpoint beyond the size
named, even should it be stolen later. Its first line is no stream's origin and its second no size: a rotation can't be
passed off as a checkpoint.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from amana.audit.checkpoint import (
    Checkpoint,
    NoteError,
    VerifierKey,
    decode_base64,
    encode_base64,
    open_note,
    open_text,
    sign_text,
    signed_by,
)

ROTATIONS_MAX = 1_000
_LINE = re.compile(r"(?P<name>[a-z]{1,40}) (?P<size>0|[1-9][0-9]{0,18})")


@dataclass(frozen=True, slots=True)
class Rotation:
    """One key replaced by another, 32 bytes each, after `sizes` leaves by stream; `at` in words, as signed."""

    old: bytes
    new: bytes
    sizes: Mapping[str, int]
    at: str


def sign_rotation(
    origin: str, old: Ed25519PrivateKey, new: Ed25519PrivateKey, sizes: Mapping[str, int], at: str
) -> str:
    """The note that replaces `old` by `new`, signed by both."""
    public = [key.public_key().public_bytes_raw() for key in (old, new)]
    lines = [_name(origin), f"old {encode_base64(public[0])}", f"new {encode_base64(public[1])}"]
    lines += [f"{stream} {size}" for stream, size in sorted(sizes.items())]
    return sign_text("\n".join([*lines, at, ""]), [(_name(origin), old), (_name(origin), new)])


def open_rotation(note: str, origin: str) -> Rotation:
    """The rotation in a note that both of its keys signed. Raises `NoteError`."""
    text = note.partition("\n\n")[0] + "\n"
    lines = text.split("\n")
    if len(lines) < 5 or lines[0] != _name(origin) or not lines[1].startswith("old ") or lines[2][:4] != "new ":
        raise NoteError(f"not a rotation of the keys of {origin}")
    old, new = (decode_base64(line[4:]) for line in lines[1:3])
    found = [_LINE.fullmatch(line) for line in lines[3:-2]]
    if len(old) != 32 or len(new) != 32 or not all(found):
        raise NoteError(f"a rotation of the keys of {origin} is malformed")
    for key in (old, new):
        if open_text(note, VerifierKey(_name(origin), key)) != text:
            raise NoteError(f"a rotation of the keys of {origin} is malformed")
    return Rotation(old, new, {each["name"]: int(each["size"]) for each in found if each}, lines[-2])


@dataclass(frozen=True, slots=True)
class StreamKeys:
    """The keys of one stream, oldest first. `until` has, by public key, the size that a replaced one signed up to."""

    keys: tuple[VerifierKey, ...]
    until: Mapping[bytes, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The log's origin."""
        return self.keys[0].name

    @property
    def current(self) -> VerifierKey:
        """The key in use."""
        return self.keys[-1]

    def open(self, note: str) -> Checkpoint:
        """The checkpoint in a note that one of the keys signed while it was in use. Raises `NoteError`."""
        key = self.key_of(note)
        checkpoint = open_note(note, key)
        if checkpoint.size > self.until.get(key.public, checkpoint.size):
            replaced = f"which was replaced at {self.until[key.public]} leaves"
            raise NoteError(f"a checkpoint of {checkpoint.size} leaves is signed by {key.label}, {replaced}")
        return checkpoint

    def key_of(self, note: str) -> VerifierKey:
        """The newest of the keys that is said to have signed a note. Raises `NoteError` when none is."""
        for key in reversed(self.keys):
            if signed_by(note, key):
                return key
        raise NoteError(f"not signed by {' or '.join(key.label for key in self.keys)}")


def stream_keys(origin: str, stream: str, trusted: Sequence[bytes], rotations: Iterable[str]) -> StreamKeys:
    """The keys of a stream, from public keys that are trusted and notes of rotations, oldest first.

    Rotations hang together: each replaces the key that the one before brought. They count where one of the trusted keys
    is among theirs; trusted keys that they do not name stand before them. Raises `NoteError` for rotations that do not
    hang together.
    """
    opened = [open_rotation(note, origin) for note in rotations]
    if len(opened) > ROTATIONS_MAX:
        raise NoteError(f"more than {ROTATIONS_MAX} rotations")
    if any(one.new != next_.old for one, next_ in pairwise(opened)):
        raise NoteError("a rotation replaces another key than the one in use")
    chain = [opened[0].old, *(rotation.new for rotation in opened)] if opened else []
    if len(set(chain)) != len(chain):
        raise NoteError("a key was taken into use twice")
    if not set(chain) & set(trusted):
        chain, opened = [], []
    until = {rotation.old: rotation.sizes.get(stream, 0) for rotation in opened}
    keys = [*(key for key in trusted if key not in chain), *chain]
    return StreamKeys(tuple(VerifierKey(f"{origin}/{stream}", key) for key in keys), until)


def _name(origin: str) -> str:
    return f"{origin}/rotation"
