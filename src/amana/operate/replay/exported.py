"""Events from a folder that `amana audit export` wrote, once all of it is verified: nothing else is needed.

Verified is the whole export, as `amana audit verify DIRECTORY` does, with the keys and checkpoints that somebody kept;
one that does not verify is not replayed. What was read is hashed once more while it is folded, and held to the same
root, so what was changed in between is seen as well. What no checkpoint vouches for, such as the end of an export that
broke off, is passed over.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from amana.audit.export_log import CHECKPOINTS, entries_of
from amana.audit.findings import CannotVerify, Progress, StreamReport
from amana.audit.offline import verify_export
from amana.audit.tiles import TILE_WIDTH
from amana.operate.replay.options import CannotReplay
from amana.operate.replay.sources import Event, Signed, filed


class Exported:
    """One stream of an export that was verified."""

    place = "export"
    advice = ""

    def __init__(self, folder: Path, report: StreamReport) -> None:
        self.stream = report.stream
        self._folder = folder / report.stream
        self._end = Signed(report.sealed, bytes.fromhex(report.sealed_root))

    async def last(self) -> int:
        """The last that is sealed."""
        return self._end.size - 1

    async def page(self, start: int, limit: int) -> list[Event]:
        """See `Source`."""
        return await asyncio.to_thread(self._read, start, min(start + limit, self._end.size))

    async def signed(self, size: int) -> list[Signed]:
        """The newest checkpoint."""
        return [self._end] if self._end.size <= size else []

    async def tree_at(self, size: int) -> None:
        """Unknown until it is read."""
        return

    async def oldest(self) -> int:
        """See `Source`: it is read from the first one."""
        return 0

    def _read(self, start: int, stop: int) -> list[Event]:
        events: list[Event] = []
        while (at := start + len(events)) < stop:
            bodies = entries_of(self._folder, at // TILE_WIDTH)[0][at % TILE_WIDTH : TILE_WIDTH]
            if not bodies:
                break
            events += [filed(self.stream, position, body) for position, body in enumerate(bodies, at)]
        return events[: stop - start]


async def verified(
    folder: Path, streams: Sequence[str], keys: Sequence[str], checkpoints: Sequence[Path], progress: Progress | None
) -> list[Exported]:
    """The streams of an export in which nothing is wrong. Raises `CannotReplay`."""
    for stream in streams:
        if not (folder / stream / CHECKPOINTS).is_file():
            raise CannotReplay(f"--from-export: {folder} holds no whole stream {stream}: export again to go on with it")
    try:
        report = await verify_export(folder, keys, checkpoints, progress)
    except (CannotVerify, OSError) as error:
        raise CannotReplay(f"--from-export: {error}") from error
    fault = report.first_bad
    if fault is not None:
        place = f"{fault.stream}, leaf {fault.position}, {fault.kind}"
        raise CannotReplay(f"--from-export: {folder} does not verify: {place}: {fault.detail}")
    found = {each.stream: each for each in report.streams}
    return [Exported(folder, found[stream]) for stream in streams]
