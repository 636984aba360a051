"""Processes that work off reversals, one after the other, each of which dies at a named point:

    undoing_process.py DSN LEDGER_URL KEY POINT...

Points: `taken` (before the ledger is asked), `answered` (its answer is lost), `settled` (before the COMMIT of what came
of it), `committed` (after it). `never` works until nothing is due. Prints how each ended: 0, or -9 for SIGKILL.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from amana.eligibility import undoing
from amana.eligibility.reversal_ledger import UndoingLedger
from amana.infra.http import HttpClient
from amana.infra.postgres import open_pool

TURNS_MAX = 40


class Fate:
    """Ends it all at a point."""

    def __init__(self, point: str) -> None:
        self._point = point

    def after(self, point: str, run: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def watched(*arguments: Any) -> Any:
            result = await run(*arguments)
            if point == self._point:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return watched


async def live(dsn: str, url: str, key: str, point: str) -> None:
    """Takes turns until nothing is due."""
    fate = Fate(point)
    undoing.LEASE_S = 0  # whoever comes next need not wait
    undoing.reversal_store.find_reversal = fate.after("taken", undoing.reversal_store.find_reversal)  # type: ignore[attr-defined]
    undoing._conclude = fate.after("settled", undoing._conclude)  # type: ignore[assignment]
    pool = await open_pool(dsn, "eligibility", 4)
    async with HttpClient() as client:
        ledger = UndoingLedger(client, url, key)
        ledger.ask = fate.after("answered", ledger.ask)  # type: ignore[method-assign, assignment]
        work = undoing.Undoing(pool, ledger)
        work._settle = fate.after("committed", work._settle)  # type: ignore[method-assign, assignment]
        for _ in range(TURNS_MAX):
            if not await work.turn():
                break
    await pool.close()


def main(dsn: str, url: str, key: str, *points: str) -> None:
    """One life for each point. Forked, because it takes a second to import what they need."""
    for point in points:
        pid = os.fork()
        if not pid:
            asyncio.run(live(dsn, url, key, point))
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
