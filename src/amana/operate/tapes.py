"""`amana tape import` and `amana tape replay`: a lender's own book, checked and then played through the platform."""

import time
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from amana.gateway import provision
from amana.infra.settings import Settings
from amana.operate.play import QUIET, Proof, play, prove
from amana.operate.stack import Stack
from amana.tape.book import Book
from amana.tape.check import load_book
from amana.tape.mapping import detect_mapping
from amana.tape.report import CheckReport, Disposition
from amana.tape.result import ReplayResult


def check_tape(console: Console, folder: Path, mapping: str | None) -> tuple[Book, CheckReport]:
    """Reads and checks a tape, and prints what became of its rows. Raises `TapeError`.

    Without a mapping, the shipped one that fits the folder's files.
    """
    mapping = mapping or detect_mapping(folder)
    with console.status(f"Reading {folder}"):
        book, report = load_book(folder, mapping)
    table = Table("File", "Rows", "Accepted", "Repaired", "Refused", title=f"{folder}, as {mapping} maps it")
    for file in report.summaries():
        table.add_row(
            f"{file.file} ({file.kind})", *(f"{n:,}" for n in (file.rows, file.accepted, file.repaired, file.refused))
        )
    console.print(table)
    for disposition in (Disposition.REFUSED, Disposition.REPAIRED, Disposition.NOTED):
        for code, count in report.counts(disposition).items():
            console.print(f"  {disposition.name.lower():<9}{count:>7,}  {code}")
    console.print(
        f"{len(book.customers):,} customers, {len(book.loans):,} loans, {len(book.repayments):,} repayments, "
        f"{report.inferred:,} of them inferred"
    )
    return book, report


async def run_replay(
    console: Console, folder: Path, mapping: str | None, data_dir: Path | None, given: Settings, concurrency: int
) -> tuple[dict[str, Any], bool]:
    """Plays a tape on a stack of its own, kept in `data_dir` or thrown away. The report, and whether all is well."""
    begun = time.monotonic()
    book, checked = check_tape(console, folder, mapping)
    given = given if data_dir else msgspec.structs.replace(given, log_level=QUIET)
    async with Stack.open(data_dir, given=given, say=lambda line: console.print(f"  {line}")) as stack:
        dsn = stack.settings.owner_database_url
        tenant = await provision.create_tenant(dsn, "tape", f"The lender of {book.key}")
        key = await provision.create_key(dsn, tenant, provision.ALL_SCOPES)
        result = await play(stack, book, key, console, f"Replaying {len(book.loans):,} loans", concurrency)
        proof = await prove(stack, console)
    report = result.to_json(checked.counts(Disposition.REFUSED))
    report |= proof.to_json() | {"replay_seconds": report["seconds"]}
    report["seconds"] = round(time.monotonic() - begun, 1)
    report["repaired"] = checked.counts(Disposition.REPAIRED)
    report["ok"] = proof.ok and not result.failed
    _print(console, result, proof, report, concurrency)
    return report, report["ok"]


def _print(console: Console, result: ReplayResult, proof: Proof, report: dict[str, Any], concurrency: int) -> None:
    table = Table(show_header=False, title="What happened", min_width=60)
    decisions = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(result.decisions.items()))
    reasons = ", ".join(f"{code} {count:,}" for code, count in result.reasons.most_common(6))
    table.add_row("Loans", f"{result.loans:,}: {result.booked_from_offer:,} offers, {result.imported:,} imported")
    table.add_row("Decisions", decisions)
    table.add_row("Reasons, most frequent", reasons)
    table.add_row("Repayments", f"{result.repayments:,}, {result.inferred:,} of them inferred")
    table.add_row("Owed on closed loans", f"{result.outstanding_closed:,} kobo")
    table.add_row("Transfers posted", f"{report['transfers']:,}")
    table.add_row("Debits less credits", ", ".join(f"{c} {n}" for c, n in report["trial_balance"].items()))
    table.add_row("Events written / leaves sealed", f"{report['events']:,} / {report['leaves']:,}")
    table.add_row("Audit log", "verified" if report["checkpoint_verified"] else "[red]NOT verified")
    table.add_row("Seconds", f"{report['seconds']} in all, {result.seconds:.1f} of replay")
    for name, times in result.latency_ms.items():
        table.add_row(f"Time of a {name}, {concurrency} in flight", f"p50 {times['p50']} ms, p99 {times['p99']} ms")
    console.print(table)
    for error in result.errors[:10]:
        console.print(f"[red]{error.step} {error.ref}: {error.status} {error.code} {error.body}")
    for difference in proof.reconciliation.differences[:10]:
        console.print(f"[red]{difference.check}: {difference.subject}: {difference.expected} / {difference.found}")
    console.print("[green]Everything agrees." if report["ok"] else "[red]Something does not agree: see above.")
