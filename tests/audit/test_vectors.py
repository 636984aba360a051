"""What others publish: proofs to accept and to refuse, signed notes, checkpoints, names of tiles."""

import base64
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest

from amana.audit.checkpoint import Checkpoint, NoteError, open_text, parse_checkpoint, parse_verifier_key
from amana.audit.merkle import EMPTY_ROOT, Tree, leaf_hash, verify_consistency, verify_inclusion
from amana.audit.tiles import Tile, TileError, number_path, parse_tile, tiles_of

VECTORS = Path(__file__).with_name("vectors")


class Inclusion(msgspec.Struct):
    name: str
    leafIdx: int
    treeSize: int
    root: bytes | None
    leafHash: bytes | None
    proof: list[bytes] | None
    wantErr: bool


class Consistency(msgspec.Struct):
    name: str
    size1: int
    size2: int
    root1: bytes | None
    root2: bytes | None
    proof: list[bytes] | None
    wantErr: bool


INCLUSION = msgspec.json.Decoder(Inclusion).decode_lines((VECTORS / "inclusion.jsonl").read_bytes())
CONSISTENCY = msgspec.json.Decoder(Consistency).decode_lines((VECTORS / "consistency.jsonl").read_bytes())


def test_there_are_proofs_to_accept_and_to_refuse() -> None:
    assert (len(INCLUSION), sum(vector.wantErr for vector in INCLUSION)) == (98, 92)
    assert (len(CONSISTENCY), sum(vector.wantErr for vector in CONSISTENCY)) == (98, 92)


@pytest.mark.parametrize("vector", INCLUSION, ids=lambda vector: vector.name)
def test_published_inclusion_proofs_are_accepted_and_forged_ones_refused(vector: Inclusion) -> None:
    found = verify_inclusion(
        vector.leafHash or b"", vector.leafIdx, vector.treeSize, vector.proof or [], vector.root or b""
    )
    assert found is not vector.wantErr


@pytest.mark.parametrize("vector", CONSISTENCY, ids=lambda vector: vector.name)
def test_published_consistency_proofs_are_accepted_and_forged_ones_refused(vector: Consistency) -> None:
    found = verify_consistency(vector.size1, vector.root1 or b"", vector.size2, vector.root2 or b"", vector.proof or [])
    assert found is not vector.wantErr


# From the text of C2SP signed-note.
EXAMPLE_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
EXAMPLE_NOTE = (
    "This is an example message.\n\n"
    "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)


def test_the_example_of_the_standard_for_notes_is_opened_with_its_key() -> None:
    assert open_text(EXAMPLE_NOTE, parse_verifier_key(EXAMPLE_KEY)) == "This is an example message.\n"
    with pytest.raises(NoteError, match="not valid"):
        open_text(EXAMPLE_NOTE.replace("message", "massage"), parse_verifier_key(EXAMPLE_KEY))


def test_the_example_of_the_standard_for_checkpoints_is_read() -> None:
    root = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="
    text = f"example.com/behind-the-sofa\n20852163\n{root}\n"
    expected = Checkpoint("example.com/behind-the-sofa", 20_852_163, base64.b64decode(root))
    assert parse_checkpoint(text) == expected
    assert parse_checkpoint(text + "an extension line\n") == expected
    assert expected.text() == text


@pytest.mark.parametrize("size", ["bananas", "-34", "3438945738945739845734895735", "٣", "1e3", " 1", "1 ", "+1", ""])
def test_a_checkpoint_with_such_a_size_is_refused(size: str) -> None:
    with pytest.raises(NoteError):
        parse_checkpoint(f"Log\n{size}\n{base64.b64encode(bytes(32)).decode()}\n")


def test_tiles_are_named_as_the_standard_names_them() -> None:
    assert number_path(1_234_067) == "x001/x234/067"
    # "A tree of size 70,000 will be represented by 273 full level 0 tiles, one partial level 0 tile of width 112, one
    # full level 1 tile, one partial level 1 tile of width 17, and one partial level 2 tile of width 1."
    assert [*tiles_of(0, 70_000)] == [*(Tile(0, number) for number in range(273)), Tile(0, 273, 112)]
    assert [*tiles_of(1, 70_000)] == [Tile(1, 0), Tile(1, 1, 17)]
    assert [*tiles_of(2, 70_000)] == [Tile(2, 0, 1)]
    assert [*tiles_of(3, 70_000)] == []
    # "A tree of size 256 will be represented by a full level 0 tile and a partial level 1 tile of width 1."
    assert [*tiles_of(0, 256), *tiles_of(1, 256)] == [Tile(0, 0), Tile(1, 0, 1)]


@pytest.mark.parametrize("tile", [Tile(0, 0), Tile(1, 999, 255), Tile(63, 1_000), Tile(None, 1_234_067, 1)])
def test_a_tile_is_found_by_its_path(tile: Tile) -> None:
    assert parse_tile(tile.path.removeprefix("tile/")) == tile


@pytest.mark.parametrize(
    "path",
    [
        *("", "0", "0/", "0/1", "0/0000", "0/x000/001", "0/x001", "00/000", "64/000", "-1/000", "0/000.p/0"),
        *("0/000.p/256", "0/000.p/01", "0/000.p/", "0/000/", "data/000", "0/../000", "entries/000.p", "0/x001/0a7"),
        *("0/٠٠٠", "0/" + "x999/" * 7 + "999"),
    ],
)
def test_what_is_no_path_of_a_tile_is_refused(path: str) -> None:
    with pytest.raises(TileError):
        parse_tile(path)


def test_a_slow_reading_of_the_standard_gives_the_same_roots() -> None:
    def root(leaves: list[bytes]) -> bytes:  # RFC 9162, 2.1.1, word by word
        if not leaves:
            return sha256(b"").digest()
        if len(leaves) == 1:
            return sha256(b"\x00" + leaves[0]).digest()
        k = 1
        while k * 2 < len(leaves):
            k *= 2
        return sha256(b"\x01" + root(leaves[:k]) + root(leaves[k:])).digest()

    leaves = [str(number).encode() for number in range(70)]
    tree = Tree()
    assert tree.root() == root([]) == EMPTY_ROOT
    for size in range(1, 71):
        tree.append([leaf_hash(leaves[size - 1])])
        assert tree.root() == root(leaves[:size])
