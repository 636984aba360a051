"""Sealed bytes open in their own place, under their own key, unchanged; and the file of the keys that wrap."""

import json
from pathlib import Path

import pytest

from amana.infra.key_file import KeyFile, KeyFileError, ensure_key_file, read_key_file
from amana.infra.sealing import KEY_BYTES, SealBroken, SealingKey, new_key

HERE = b"amana/1/ada/customers.identity"


def test_what_was_sealed_opens_in_its_place() -> None:
    key = SealingKey(new_key())
    for content in (b"", b"22212345678", bytes(range(256)) * 40):
        sealed = key.seal(content, HERE)
        assert key.open(sealed, HERE) == content
        assert len(sealed) == len(content) + 29


def test_the_same_is_never_sealed_the_same() -> None:
    key = SealingKey(new_key())
    assert len({key.seal(b"22212345678", HERE) for _ in range(100)}) == 100


@pytest.mark.parametrize(
    "elsewhere", [b"amana/2/ada/customers.identity", b"amana/1/obi/customers.identity", b"amana/1/ada/customers.birth"]
)
def test_what_is_moved_to_another_place_does_not_open(elsewhere: bytes) -> None:
    key = SealingKey(new_key())
    with pytest.raises(SealBroken):
        key.open(key.seal(b"22212345678", HERE), elsewhere)


def test_a_bit_that_changed_anywhere_is_an_error_and_no_garbage() -> None:
    key = SealingKey(new_key())
    sealed = key.seal(b"22212345678", HERE)
    for at in range(len(sealed)):
        for bit in range(8):
            changed = bytearray(sealed)
            changed[at] ^= 1 << bit
            with pytest.raises(SealBroken):
                key.open(bytes(changed), HERE)


@pytest.mark.parametrize("cut", [b"", b"\x01", b"\x01" + bytes(11), b"\x01" + bytes(27)])
def test_bytes_that_are_too_short_are_broken(cut: bytes) -> None:
    with pytest.raises(SealBroken):
        SealingKey(new_key()).open(cut, HERE)


def test_another_key_opens_nothing() -> None:
    with pytest.raises(SealBroken):
        SealingKey(new_key()).open(SealingKey(new_key()).seal(b"x", HERE), HERE)


def test_a_key_file_is_made_once_and_closed_to_others(tmp_path: Path) -> None:
    path = ensure_key_file(tmp_path / "privacy" / "keys.json")
    first = path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert ensure_key_file(path).read_bytes() == first


def test_a_rotated_file_opens_what_the_first_version_wrapped(tmp_path: Path) -> None:
    path = ensure_key_file(tmp_path / "keys.json")
    before = read_key_file(path)
    old = before.kek(1)
    assert old is not None
    wrapped = old.seal(b"key", HERE)
    before.rotated().write(path)
    after = read_key_file(path)
    assert (after.current, after.versions) == (2, [1, 2])
    kept = after.kek(1)
    assert kept is not None
    assert kept.open(wrapped, HERE) == b"key"
    assert after.hidden(b"22212345678") == before.hidden(b"22212345678")
    assert (after.without(1).versions, after.without(1).kek(1)) == ([2], None)
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_current_version_is_never_dropped() -> None:
    with pytest.raises(KeyFileError, match="no key of its current version"):
        KeyFile(1, {1: new_key()}, new_key()).without(1)


GOOD = "A" * 43 + "="


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is no key file"),
        (b"[]", "is no key file"),
        (json.dumps({"current": 1, "keks": {"1": "???"}, "lookup": GOOD}).encode(), "is no key file"),
        (json.dumps({"current": 1, "keks": {"one": GOOD}, "lookup": GOOD}).encode(), "is no key file"),
        (json.dumps({"current": 1, "keks": {"1": GOOD}, "lookup": GOOD, "more": 1}).encode(), "is no key file"),
        (json.dumps({"current": 2, "keks": {"1": GOOD}, "lookup": GOOD}).encode(), "current version 2"),
        (json.dumps({"current": 1, "keks": {"1": "AAAA"}, "lookup": GOOD}).encode(), f"has not {KEY_BYTES} bytes"),
    ],
)
def test_what_is_no_key_file_is_said_so_and_never_shown(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(content)
    with pytest.raises(KeyFileError, match=complaint) as caught:
        read_key_file(path)
    assert GOOD not in str(caught.value)


def test_a_file_that_is_absent_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="can't be read: No such file"):
        read_key_file(tmp_path / "keys.json")
