"""RFC 9162 hashing against known vectors, against properties, and against another implementation."""

from functools import lru_cache
from hashlib import sha256

import pymerkle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amana.audit.merkle import (
    EMPTY_ROOT,
    Node,
    Range,
    Tree,
    consistency_ranges,
    full_subtrees,
    inclusion_ranges,
    leaf_hash,
    perfect_root,
    range_hashes,
    verify_consistency,
    verify_inclusion,
)

# The reference tree of Certificate Transparency: eight leaves, and the root after each.
ENTRIES = """
    -                                 6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d
    00                                fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125
    10                                aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77
    2021                              d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7
    3031                              4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4
    40414243                          76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef
    5051525354555657                  ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c
    606162636465666768696a6b6c6d6e6f  5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328
"""
REFERENCE = [
    (bytes.fromhex(entry.strip("-")), root) for entry, root in (line.split() for line in ENTRIES.strip().splitlines())
]
# (leaf, size, proof) as published with the reference tree, each hash by its first eight digits.
INCLUSION = """
    0 1  .
    0 8  96a296d2 5f083f0a 6b47aaf2
    5 8  bc1a0643 ca854ea1 d37ee418
    2 3  fac54203
    1 5  6e340b9c 5f083f0a bc1a0643
"""
# (old size, new size, proof)
CONSISTENCY = """
    1 1  .
    1 8  96a296d2 5f083f0a 6b47aaf2
    6 8  0ebc5d34 ca854ea1 d37ee418
    2 5  5f083f0a bc1a0643
    6 7  0ebc5d34 b08693ec d37ee418
"""
sizes = st.integers(1, 700)


@lru_cache
def leaves(count: int) -> list[bytes]:
    return [leaf_hash(number.to_bytes(4, "big")) for number in range(count)]


def root_of(hashes: list[bytes]) -> bytes:
    tree = Tree()
    tree.append(hashes)
    return tree.root()


def hashes_over(ranges: list[Range], hashes: list[bytes]) -> list[bytes]:
    nodes = [node for leaves_ in ranges for node in full_subtrees(leaves_)]
    known = {node: perfect_root(hashes[node.number << node.level : (node.number + 1) << node.level]) for node in nodes}
    return range_hashes(ranges, known)


def inclusion_proof(index: int, hashes: list[bytes]) -> list[bytes]:
    return hashes_over(inclusion_ranges(index, len(hashes)), hashes)


def consistency_proof(old: int, hashes: list[bytes]) -> list[bytes]:
    return hashes_over(consistency_ranges(old, len(hashes)), hashes)


def flipped(value: bytes, bit: int) -> bytes:
    return (int.from_bytes(value, "big") ^ 1 << bit % (8 * len(value))).to_bytes(len(value), "big")


def test_the_root_of_nothing_is_the_hash_of_nothing() -> None:
    assert Tree().root() == EMPTY_ROOT == sha256(b"").digest()


def test_the_roots_of_the_reference_tree_are_the_published_ones() -> None:
    tree = Tree()
    for entry, root in REFERENCE:
        tree.append([leaf_hash(entry)])
        assert tree.root().hex() == root


@pytest.mark.parametrize("line", INCLUSION.strip().splitlines())
def test_the_inclusion_proofs_of_the_reference_tree_are_the_published_ones(line: str) -> None:
    index, size, *expected = line.replace(".", "").split()
    hashes = [leaf_hash(entry) for entry, _ in REFERENCE[: int(size)]]
    proof = inclusion_proof(int(index), hashes)
    assert [part.hex()[:8] for part in proof] == expected
    assert verify_inclusion(hashes[int(index)], int(index), int(size), proof, root_of(hashes))


@pytest.mark.parametrize("line", CONSISTENCY.strip().splitlines())
def test_the_consistency_proofs_of_the_reference_tree_are_the_published_ones(line: str) -> None:
    old, new, *expected = line.replace(".", "").split()
    hashes = [leaf_hash(entry) for entry, _ in REFERENCE[: int(new)]]
    assert [part.hex()[:8] for part in consistency_proof(int(old), hashes)] == expected


@given(size=sizes, index=st.integers(0, 699), bit=st.integers(0, 255), spot=st.integers(0, 20))
def test_an_inclusion_proof_verifies_and_no_longer_does_with_one_bit_altered(
    size: int, index: int, bit: int, spot: int
) -> None:
    index %= size
    hashes, root = leaves(size), root_of(leaves(size))
    proof = inclusion_proof(index, hashes)
    assert verify_inclusion(hashes[index], index, size, proof, root)
    assert not verify_inclusion(flipped(hashes[index], bit), index, size, proof, root)
    assert not verify_inclusion(hashes[index], index, size, proof, flipped(root, bit))
    assert not verify_inclusion(hashes[index], index, size, [*proof, root], root)
    if proof:
        at = spot % len(proof)
        altered = [flipped(part, bit) if number == at else part for number, part in enumerate(proof)]
        assert not verify_inclusion(hashes[index], index, size, altered, root)
        assert not verify_inclusion(hashes[index], index, size, proof[:-1], root)
        assert not verify_inclusion(hashes[index], index ^ 1, size, proof, root)


@given(old=sizes, new=sizes, bit=st.integers(0, 255), spot=st.integers(0, 20))
def test_a_consistency_proof_verifies_and_no_longer_does_with_one_bit_altered(
    old: int, new: int, bit: int, spot: int
) -> None:
    old, new = sorted((old, new))
    old_root, new_root = root_of(leaves(old)), root_of(leaves(new))
    proof = consistency_proof(old, leaves(new))
    assert verify_consistency(old, old_root, new, new_root, proof)
    assert not verify_consistency(old, flipped(old_root, bit), new, new_root, proof)
    assert not verify_consistency(old, old_root, new, flipped(new_root, bit), proof)
    assert not verify_consistency(old, old_root, new, new_root, [*proof, new_root])
    if proof:
        at = spot % len(proof)
        altered = [flipped(part, bit) if number == at else part for number, part in enumerate(proof)]
        assert not verify_consistency(old, old_root, new, new_root, altered)
        assert not verify_consistency(old, old_root, new, new_root, proof[:-1])


@pytest.mark.parametrize(("old", "new"), [(1, 2), (3, 7), (4, 8), (6, 8), (129, 257)])
def test_a_rewritten_old_leaf_makes_the_new_tree_inconsistent(old: int, new: int) -> None:
    rewritten = [leaf_hash(b"other"), *leaves(new)[1:]]
    assert not verify_consistency(old, root_of(leaves(old)), new, root_of(rewritten), consistency_proof(old, rewritten))


def test_every_tree_is_consistent_with_the_empty_one_and_with_itself() -> None:
    root = root_of(leaves(5))
    assert verify_consistency(0, EMPTY_ROOT, 5, root, [])
    assert verify_consistency(5, root, 5, root, [])
    assert not verify_consistency(0, root, 5, root, [])
    assert not verify_consistency(5, root, 4, root_of(leaves(4)), [])


@given(cuts=st.lists(st.integers(0, 700), max_size=6))
def test_a_tree_grown_in_any_batches_is_the_same_tree_and_stores_the_same_nodes(cuts: list[int]) -> None:
    hashes, grown = leaves(700), Tree()
    stored: dict[Node, bytes] = {}
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), 700], strict=True):
        stored.update(grown.append(hashes[start:end]))
    assert grown.root() == root_of(hashes)
    assert stored == {Node(8, at): perfect_root(hashes[at << 8 : (at + 1) << 8]) for at in range(2)}


def test_nodes_are_stored_at_every_eighth_level() -> None:
    stored = dict(Tree().append(leaves(1 << 16)))
    assert sorted(stored) == [*(Node(8, at) for at in range(256)), Node(16, 0)]
    assert stored[Node(16, 0)] == perfect_root(leaves(1 << 16))


@given(size=sizes)
def test_a_tree_rebuilt_from_its_peaks_goes_on_as_if_it_had_never_stopped(size: int) -> None:
    hashes = leaves(size)
    peaks = [perfect_root(hashes[at << level : (at + 1) << level]) for level, at in full_subtrees((0, size))]
    rebuilt = Tree(size, peaks)
    assert rebuilt.root() == root_of(hashes)
    rebuilt.append(leaves(700)[size:])
    assert rebuilt.root() == root_of(leaves(700))


@given(size=sizes, index=st.integers(0, 699))
def test_another_implementation_finds_the_same_roots_and_paths(size: int, index: int) -> None:
    peer, index = peer_tree(), index % size
    assert peer.get_root(size) == root_of(leaves(size))
    path = peer.prove_inclusion(index + 1, size).path
    assert path == [leaves(size)[index], *inclusion_proof(index, leaves(size))]


@lru_cache
def peer_tree() -> pymerkle.InmemoryTree:
    tree = pymerkle.InmemoryTree(algorithm="sha256")
    for number in range(700):
        tree.append_entry(number.to_bytes(4, "big"))
    return tree
