"""The stored tree: hashes of full subtrees at any size, put together from what the database keeps.

Leaf hashes are in `leaves`, full subtrees of 2^8, 2^16, ... leaves in `nodes`. Any other full subtree is computed from
at most 128 of those, so a proof in a log of N leaves costs two round trips and O(log N) rows.
"""

from collections.abc import Iterable

from amana.audit.merkle import (
    STORED_LEVEL_STEP,
    Node,
    Range,
    Tree,
    consistency_ranges,
    fold,
    full_subtrees,
    inclusion_ranges,
    perfect_root,
    range_hashes,
)
from amana.audit.store import Rows


class Incomplete(Exception):
    """A leaf or node that a checkpoint covers is not stored: the log was tampered with. The message names it."""


async def inclusion_proof(rows: Rows, stream: str, position: int, size: int) -> list[bytes]:
    """The proof that the leaf at `position` is in the log of `size` leaves. Raises `Incomplete`."""
    return await _hashes_over(rows, stream, inclusion_ranges(position, size))


async def consistency_proof(rows: Rows, stream: str, old: int, new: int) -> list[bytes]:
    """The proof that the log of `new` leaves begins with that of `old` leaves. Raises `Incomplete`."""
    return await _hashes_over(rows, stream, consistency_ranges(old, new))


async def tree_at(rows: Rows, stream: str, size: int) -> Tree:
    """The tree of the first `size` leaves, ready to grow. Raises `Incomplete`."""
    peaks = full_subtrees((0, size))
    known = await _subtree_hashes(rows, stream, peaks)
    return Tree(size, [known[node] for node in peaks])


async def root_at(rows: Rows, stream: str, size: int) -> bytes:
    """The root over the first `size` leaves. Raises `Incomplete`."""
    peaks = full_subtrees((0, size))
    known = await _subtree_hashes(rows, stream, peaks)
    return fold([known[node] for node in peaks])


async def _hashes_over(rows: Rows, stream: str, ranges: list[Range]) -> list[bytes]:
    nodes = [node for leaves in ranges for node in full_subtrees(leaves)]
    return range_hashes(ranges, await _subtree_hashes(rows, stream, nodes))


async def _subtree_hashes(rows: Rows, stream: str, nodes: Iterable[Node]) -> dict[Node, bytes]:
    """The hash of each full subtree, from stored siblings of the level at or next below it."""
    parts = {node: _stored_parts(node) for node in nodes}
    leaves = [numbers for level, numbers in parts.values() if level == 0]
    stored = [(level, numbers) for level, numbers in parts.values() if level > 0]
    known: dict[Node, bytes] = await rows.nodes_in(stream, stored) if stored else {}
    if leaves:
        hashes = await rows.leaf_hashes_in(stream, leaves)
        known.update((Node(0, position), leaf_hash) for position, leaf_hash in hashes.items())
    try:
        return {
            node: perfect_root([known[Node(level, number)] for number in range(*numbers)])
            for node, (level, numbers) in parts.items()
        }
    except KeyError as error:
        missing: Node = error.args[0]
        raise Incomplete(f"{stream}: no hash stored from leaf {missing.number << missing.level}") from error


def _stored_parts(node: Node) -> tuple[int, Range]:
    """The stored level at or below a node, and the numbers of the nodes there that make it up."""
    below = node.level % STORED_LEVEL_STEP
    return node.level - below, (node.number << below, (node.number + 1) << below)
