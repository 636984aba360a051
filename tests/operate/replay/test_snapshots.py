"""A replay that begins with a snapshot ends where one from the first event does; what is not of this log is refused."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from tests.operate.replay.conftest import PLACES, ReadingFrom, Replaying
from tests.operate.replay.town import Town

from amana.operate.replay.options import CannotReplay, Log
from amana.operate.replay.snapshot import MANIFEST, Manifest, Place


@pytest.fixture
async def snapshot(replaying: Replaying, tmp_path: Path) -> Path:
    """What stands now."""
    place = tmp_path / "now.snapshot"
    result = await replaying(write_snapshot=place)
    assert result.ok
    assert len(result.snapshot) == 64
    return place


def rewritten(place: Path, change: Callable[[str, bytes], bytes]) -> Path:
    """The snapshot with other contents."""
    other = place.with_name("other.snapshot")
    with zipfile.ZipFile(place) as old, zipfile.ZipFile(other, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return other


def with_manifest(place: Path, change: Callable[[Manifest], Manifest]) -> Path:
    """The snapshot with another manifest."""

    def changed(name: str, content: bytes) -> bytes:
        if name != MANIFEST:
            return content
        return msgspec.json.encode(change(msgspec.json.decode(content, type=Manifest)))

    return rewritten(place, changed)


@pytest.mark.parametrize("place", PLACES)
async def test_a_replay_from_a_snapshot_reads_only_what_came_after_it(
    replaying: Replaying, reading_from: ReadingFrom, town: Town, snapshot: Path, place: str
) -> None:
    whole = (await replaying()).events
    for number in range(3):
        await town.move(amount=11 + number)
    await town.lender.loan(await town.lender.customer())
    options = await reading_from(place)
    result = await replaying(from_snapshot=snapshot, **options)
    assert result.differences == []
    assert 10 < result.events < 40 < whole
    again = await replaying(from_snapshot=snapshot, **options, rows_in_memory=3, only=("accounts", "exposures"))
    assert again.differences == []


async def test_a_table_that_was_altered_is_named(replaying: Replaying, snapshot: Path) -> None:
    other = rewritten(snapshot, lambda name, content: content[:-3] + b"abc" if name == "loans.copy" else content)
    with pytest.raises(CannotReplay, match="loans"):
        await replaying(from_snapshot=other)


async def test_a_snapshot_of_another_log_is_refused(replaying: Replaying, snapshot: Path) -> None:
    def forged(manifest: Manifest) -> Manifest:
        streams = {name: Place(place.size, "00" * 32) for name, place in manifest.streams.items()}
        return msgspec.structs.replace(manifest, streams=streams)

    for log in Log:
        with pytest.raises(CannotReplay, match="made of another log"):
            await replaying(from_snapshot=with_manifest(snapshot, forged), log=log)


async def test_a_snapshot_of_a_longer_log_is_refused(replaying: Replaying, snapshot: Path) -> None:
    def longer(manifest: Manifest) -> Manifest:
        streams = {name: Place(place.size + 1_000_000, place.root) for name, place in manifest.streams.items()}
        return msgspec.structs.replace(manifest, streams=streams)

    with pytest.raises(CannotReplay, match="and the log has"):
        await replaying(from_snapshot=with_manifest(snapshot, longer))


async def test_a_snapshot_of_other_folds_or_shards_is_refused(replaying: Replaying, snapshot: Path) -> None:
    def older(manifest: Manifest) -> Manifest:
        return msgspec.structs.replace(manifest, format=0)

    def wider(manifest: Manifest) -> Manifest:
        return msgspec.structs.replace(manifest, shards=manifest.shards + 1)

    with pytest.raises(CannotReplay, match="another version of Amana"):
        await replaying(from_snapshot=with_manifest(snapshot, older))
    with pytest.raises(CannotReplay, match="ledger shards"):
        await replaying(from_snapshot=with_manifest(snapshot, wider))


async def test_what_is_no_snapshot_is_said_to_be_none(replaying: Replaying, tmp_path: Path) -> None:
    place = tmp_path / "none.snapshot"
    for content in (b"", b"PK\x03\x04 nothing", b"{}"):
        place.write_bytes(content)
        with pytest.raises(CannotReplay, match="can't be read"):
            await replaying(from_snapshot=place)
    with zipfile.ZipFile(place, "w") as archive:
        archive.writestr(MANIFEST, b'{"format": "one"}')
    with pytest.raises(CannotReplay, match="can't be read"):
        await replaying(from_snapshot=place)
