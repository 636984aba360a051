"""Plays a loan book on a running stack and proves the result: what `amana demo` and `amana tape replay` share."""

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from amana.audit.findings import VerifyReport
from amana.audit.verify import run_verify
from amana.operate.reconcile import Reconciliation, reconcile
from amana.operate.replay.options import Options
from amana.operate.replay.result import Replayed
from amana.operate.replay.run import replay as replay_log
from amana.operate.replay.telling import Telling
from amana.operate.stack import Stack
from amana.tape.book import Book
from amana.tape.client import Urls
from amana.tape.replay import CONCURRENCY_DEFAULT, replay
from amana.tape.result import ReplayResult

QUIET = "warning"
"""The log level of a stack that is thrown away: nobody reads a line per request of it."""
SETTLE_S = 60.0
"""How long the events of a replay may take to reach the audit log before that counts as a difference."""


class Proof(msgspec.Struct):
    """What was checked after the play, and how it came out."""

    reconciliation: Reconciliation
    verification: VerifyReport
    replayed: Replayed

    @property
    def ok(self) -> bool:
        """Everything agrees, every checkpoint verifies, and the log alone says what stands."""
        return self.reconciliation.ok and self.verification.ok and self.replayed.ok

    def to_json(self) -> dict[str, Any]:
        """The keys that every report of a play has."""
        found = self.reconciliation
        return {
            "transfers": found.counts["transfers"],
            "trial_balance": found.trial_balance,
            "events": sum(found.events.values()),
            "leaves": sum(found.sealed.values()),
            "checkpoint_verified": self.verification.ok,
            "reconciliation": msgspec.to_builtins(found),
            "replay": msgspec.to_builtins(self.replayed),
        }


async def play(
    stack: Stack, book: Book, key: str, console: Console, title: str, concurrency: int = CONCURRENCY_DEFAULT
) -> ReplayResult:
    """Replays `book` with a progress bar."""
    urls = Urls(stack.urls["eligibility"], stack.urls["transactions"])
    if not console.is_terminal:
        return await replay(book, urls=urls, key=key, concurrency=concurrency, progress=_spoken(console, title))
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(title, total=None)
        return await replay(
            book,
            urls=urls,
            key=key,
            concurrency=concurrency,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )


def _spoken(console: Console, title: str) -> Callable[[int, int], None]:
    """Progress where no bar can be drawn: a line for every tenth."""
    told = 0

    def progress(done: int, total: int) -> None:
        nonlocal told
        if done * 10 // total > told:
            told = done * 10 // total
            console.print(f"  {title}: {told * 10} %", soft_wrap=True)

    return progress


async def prove(stack: Stack, console: Console) -> Proof:
    """Waits until the log has everything, reconciles, verifies the whole log, and rebuilds what stands from it."""
    begun = time.monotonic()
    with console.status("Reconciling: counters, entries, loans, exposures, events and leaves"):
        reconciliation = await reconcile(stack.settings, SETTLE_S)
    with console.status("Verifying the audit log from its first leaf"):
        verification = await run_verify(stack.settings)
    with console.status("Rebuilding every row from the log alone"):
        replayed = await replay_log(stack.settings, Options(settle_s=SETTLE_S), Telling(console, quiet=True))
    console.print(f"Reconciled, verified and replayed in {time.monotonic() - begun:.1f} s")
    return Proof(reconciliation, verification, replayed)


def merged(results: list[ReplayResult]) -> dict[str, Any]:
    """Counts of several replays as one."""
    total: Counter[str] = Counter()
    decisions: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for result in results:
        for name in ("customers", "loans", "booked_from_offer", "imported", "repayments", "inferred", "reversals"):
            total[name] += getattr(result, name)
        total["outstanding_closed"] += result.outstanding_closed
        decisions += result.decisions
        reasons += result.reasons
    return {**total, "decisions": dict(decisions), "reasons": dict(reasons)}
