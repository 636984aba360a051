"""The crash run: load, a storm of kills, recovery, the verdict; again and again until the time is over.

    python -m tests.chaos.crash --seed 7 --minutes 5

What is sent, what is killed and in which order follow from the seed; the moments, as far as two cores allow. Ends with
1, and says what was broken, as soon as anything was.
"""

import argparse
import asyncio
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from tests.chaos.load import Town, run_load
from tests.chaos.record import Record
from tests.chaos.site import AWAY, Ledger, Site
from tests.chaos.storm import Storm
from tests.chaos.verdict import Verdict

from amana.operate.reconcile import SQL as RECONCILE

LEDGERS = 2
ROUND_S = 25.0
GAP_MAX_S = 2.0
SNAPSHOT_EVERY_S = 0.25
TOLD_MAX = 20
ANSWERS = ("posted", "held", "voided", "refused")


@dataclass
class Outcome:
    """What a round counted, and what was broken."""

    counts: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)

    def add(self, other: "Outcome") -> None:
        """Adds a further round."""
        self.counts += other.counts
        self.faults += other.faults
        self.violations += other.violations

    def told(self) -> str:
        """In lines for a person."""
        rows = {
            "acknowledged": sum(self.counts[status] for status in ANSWERS[:3]),
            **{f"  {status}": self.counts[status] for status in ANSWERS[:3]},
            "refused": self.counts["refused"],
            **{name: count for name, count in sorted(self.counts.items()) if name not in ANSWERS},
            **dict(sorted(self.faults.items())),
        }
        lines = [f"  {count:>9,}  {name}" for name, count in rows.items()]
        broken = [f"  BROKEN: {what}" for what in self.violations[:TOLD_MAX]]
        return "\n".join([*lines, *broken, f"  {len(self.violations):>9,}  promises broken"])


async def crash_round(site: Site, seed: str, seconds: float, gap_max_s: float) -> Outcome:
    """One round with a tenant of its own. What was not broken before a fault is not broken by recovery either."""
    ledgers = await site.serving(LEDGERS)
    record = Record(await site.lender())
    town = await Town.build(record.lender, ledgers[0])
    stop = asyncio.Event()
    loading = asyncio.create_task(run_load(record, town, ledgers, seed, stop))
    watching = asyncio.create_task(_watch(site, record, stop))
    storm = Storm(site, ledgers, Random(seed), gap_max_s)
    try:
        await storm.run(seconds)
    finally:
        stop.set()
        await asyncio.gather(loading, watching)
    await Verdict(site, record, town, ledgers).run()
    record.violations += _errors(ledgers)
    return Outcome(record.counts, storm.counts, record.violations)


async def _watch(site: Site, record: Record, stop: asyncio.Event) -> None:
    """Debits equal credits in every snapshot, not only in the last."""
    while not stop.is_set():
        try:
            async with site.database() as connection:
                rows = await connection.fetch(RECONCILE["trial_balance"])
        except AWAY:
            record.counts["snapshots missed"] += 1
        else:
            record.counts["snapshots in balance"] += not rows
            record.violations += [f"a snapshot: {dict(row)}" for row in rows]
        await asyncio.sleep(SNAPSHOT_EVERY_S)


def _errors(ledgers: list[Ledger]) -> list[str]:
    return [f"logged by the service: {line}" for ledger in ledgers for line in ledger.errors()]


async def crash_run(seed: str, seconds: float, shards: int, say: Callable[[str], object]) -> Outcome:
    """Rounds on one database, whose history grows, until the time is over or something was broken."""
    total = Outcome()
    until_s = time.monotonic() + seconds
    number = 0
    async with Site.open(shards) as site:
        while not total.violations and time.monotonic() < until_s:
            number += 1
            outcome = await crash_round(site, f"{seed}/{number}", ROUND_S, GAP_MAX_S)
            total.add(outcome)
            say(f"Round {number} of seed {seed}\n{outcome.told()}")
    say(f"Seed {seed}, {number} rounds in all\n{total.told()}")
    return total


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    """The exit code: 0 when nothing was broken."""
    parser = argparse.ArgumentParser(description="Kill the ledger under load, and look what was lost.")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--shards", type=int, default=1)
    given = parser.parse_args()
    outcome = asyncio.run(crash_run(given.seed, given.minutes * 60, given.shards, _say))
    return 1 if outcome.violations else 0


if __name__ == "__main__":
    sys.exit(main())
