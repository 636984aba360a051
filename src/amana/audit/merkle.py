"""The Merkle tree of RFC 9162, section 2.1: hashes, an incremental tree, proofs made and checked. Pure.

A `Node` names a full subtree: `Node(level, number)` covers the leaves `number << level` up to `(number + 1) << level`.
All of a tree is made of full subtrees; whatever is ragged on its right is a fold of some of them (`fold`). So a store
keeps full subtrees only, they never change once they exist, and every root and proof at every size comes from them.

Proofs are made in two steps so that this module needs no store: which ranges of leaves the proof is the hashes of
(`inclusion_ranges`, `consistency_ranges`), then, once the full subtrees in them were read, the hashes (`range_hashes`).
"""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()
"""The root of no leaves (RFC 9162, 2.1.1)."""
STORED_LEVEL_STEP = 8
"""Full subtrees are stored at every eighth level, the heights at which C2SP tlog-tiles cuts a tree."""

Range = tuple[int, int]
"""Leaves from the first number up to, not including, the second."""


class Node(NamedTuple):
    """A full subtree of 2^level leaves, `number` of its level counted from the left."""

    level: int
    number: int


def leaf_hash(entry: bytes) -> bytes:
    """SHA-256(0x00 || entry), 32 bytes (RFC 9162, 2.1.1)."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right), 32 bytes (RFC 9162, 2.1.1)."""
    return sha256(b"\x01" + left + right).digest()


def fold(peaks: Sequence[bytes]) -> bytes:
    """The root over adjacent full subtrees, largest first: from the right, two become one (RFC 9162, 2.1.1)."""
    if not peaks:
        return EMPTY_ROOT
    root = peaks[-1]
    for left in reversed(peaks[:-1]):
        root = node_hash(left, root)
    return root


def perfect_root(hashes: Sequence[bytes]) -> bytes:
    """The root over 2^k sibling subtrees of one height."""
    assert hashes and len(hashes) & (len(hashes) - 1) == 0, f"{len(hashes)} is not a power of two"
    row = list(hashes)
    while len(row) > 1:
        row = [node_hash(row[at], row[at + 1]) for at in range(0, len(row), 2)]
    return row[0]


def full_subtrees(leaves: Range) -> list[Node]:
    """The fewest full subtrees that make up a range, from left to right."""
    start, end = leaves
    nodes = []
    while start < end:
        fits = (end - start).bit_length() - 1
        level = min(fits, (start & -start).bit_length() - 1) if start else fits
        nodes.append(Node(level, start >> level))
        start += 1 << level
    return nodes


class Tree:
    """A tree that grows on its right: its size and the hashes of its full subtrees, largest first (its peaks).

    Memory is O(log size); appending costs one leaf hash given and one node hash on average.
    """

    def __init__(self, size: int = 0, peaks: Iterable[bytes] = ()) -> None:
        self.size = size
        self._peaks = list(peaks)
        assert len(self._peaks) == size.bit_count(), "the peaks are not those of this size"

    def append(self, leaf_hashes: Iterable[bytes]) -> list[tuple[Node, bytes]]:
        """Adds leaves. Returns the full subtrees at the stored levels (8, 16, ...) that this completed."""
        completed = []
        for leaf in leaf_hashes:
            node, level = leaf, 0
            while self.size >> level & 1:
                node = node_hash(self._peaks.pop(), node)
                level += 1
                if level % STORED_LEVEL_STEP == 0:
                    completed.append((Node(level, self.size >> level), node))
            self._peaks.append(node)
            self.size += 1
        return completed

    @property
    def peaks(self) -> list[bytes]:
        """The hashes of its full subtrees, largest first."""
        return self._peaks.copy()

    def root(self) -> bytes:
        """The Merkle tree hash of all leaves so far (RFC 9162, 2.1.1)."""
        return fold(self._peaks)

    def copy(self) -> "Tree":
        """The same tree, to be grown apart."""
        return Tree(self.size, self._peaks)


def inclusion_ranges(index: int, size: int) -> list[Range]:
    """What the inclusion proof of leaf `index` in the tree of `size` leaves hashes, in order (RFC 9162, 2.1.3.1)."""
    assert 0 <= index < size, "the leaf is not in the tree"
    ranges, (start, end) = [], (0, size)
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    return ranges[::-1]


def consistency_ranges(old: int, new: int) -> list[Range]:
    """What the consistency proof from `old` to `new` leaves hashes, in order (RFC 9162, 2.1.4.1).

    From no leaves, and to the same size, the proof is empty.
    """
    assert 0 <= old <= new, "the newer tree is smaller"
    if old == 0:
        return []
    ranges, (start, end) = [], (0, new)
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    if start > 0:
        ranges.append((start, end))
    return ranges[::-1]


def range_hashes(ranges: Iterable[Range], known: Mapping[Node, bytes]) -> list[bytes]:
    """The hash over each range, from the hashes of the full subtrees in it."""
    return [fold([known[node] for node in full_subtrees(leaves)]) for leaves in ranges]


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether `proof` shows the leaf hash `leaf` at `index` under `root` of `size` leaves (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size or not _are_hashes(leaf, root, *proof):
        return False
    at, last, computed = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if at & 1 or at == last:
            computed = node_hash(sibling, computed)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            computed = node_hash(computed, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and computed == root


def verify_consistency(old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether `proof` shows that the tree of `new` leaves begins with that of `old` leaves (RFC 9162, 2.1.4.2)."""
    if old == new:
        return old_root == new_root and not proof and (old > 0 or old_root == EMPTY_ROOT)
    if not 0 <= old < new or not _are_hashes(old_root, new_root, *proof):
        return False
    if old == 0:
        return old_root == EMPTY_ROOT and not proof
    path = list(proof) if old & (old - 1) else [old_root, *proof]
    if not path:
        return False
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    of_old = of_new = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            of_old, of_new = node_hash(sibling, of_old), node_hash(sibling, of_new)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            of_new = node_hash(of_new, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and of_old == old_root and of_new == new_root


def _are_hashes(*values: bytes) -> bool:
    return all(len(value) == HASH_BYTES for value in values)


def _split(leaves: int) -> int:
    """The largest power of two below `leaves` (RFC 9162, 2.1.1: k < n <= 2k)."""
    return 1 << (leaves - 1).bit_length() - 1
