"""Tiles and entry bundles from what the database keeps. Of what no checkpoint covers yet there are none."""

from amana.audit.merkle import STORED_LEVEL_STEP
from amana.audit.store import Rows
from amana.audit.tiles import Tile, to_bundle
from amana.audit.tree import Incomplete

STORED_LEVELS = 8
"""Levels of tiles that a stream of 2^63 leaves can have."""


class BundleDropped(Exception):
    """The bodies of this bundle's leaves were dropped by retention; its hashes are in the tiles."""


async def read_tile(rows: Rows, stream: str, tile: Tile) -> bytes | None:
    """The bytes of a tile; None when the newest checkpoint's log has no such tile. Raises `Incomplete`
    and `BundleDropped`.

    A tile that is full by now is still given at a lesser width: it was published so.
    """
    newest = await rows.newest_checkpoint(stream)
    level = (tile.level or 0) * STORED_LEVEL_STEP
    if newest is None or (tile.level or 0) > STORED_LEVELS or tile.stop > newest.size >> level:
        return None
    if tile.level is None:
        parts = await rows.bodies_in(stream, tile.first, tile.stop)
    elif tile.level == 0:
        leaves = await rows.leaf_hashes_in(stream, halves(tile))
        parts = [leaves[position] for position in sorted(leaves)]
    else:
        nodes = await rows.nodes_in(stream, [(level, half) for half in halves(tile)])
        parts = [nodes[node] for node in sorted(nodes)]
    if len(parts) != tile.width:
        if tile.level is None and tile.first < await rows.dropped_below(stream):
            raise BundleDropped(tile.path)
        raise Incomplete(f"{stream}: {tile.path} has {len(parts)} of {tile.width} parts")
    return to_bundle(parts) if tile.level is None else b"".join(parts)


def halves(tile: Tile) -> list[tuple[int, int]]:
    """Its numbers, in the runs of at most 128 that the statements read."""
    return [(at, min(at + 128, tile.stop)) for at in range(tile.first, tile.stop, 128)]
