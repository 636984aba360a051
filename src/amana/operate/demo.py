"""`amana demo`: the main job, end to end, on real servers started for it, with a result that a person can read.

Two lenders. Each gets a seeded book of its own, played through the platform in the order it happened; then a few
customers ask, borrow and repay today; then everything is reconciled and the audit log verified.
"""

import time
from typing import Any

from rich.console import Console
from rich.table import Table

from amana.domain.money import format_minor
from amana.gateway import provision
from amana.infra.http import HttpClient
from amana.infra.settings import Settings
from amana.operate.play import QUIET, Proof, merged, play, prove
from amana.operate.scenes import PEOPLE, Lender, Told, ask_for_each, borrow_and_repay, is_hidden_from
from amana.operate.stack import Stack
from amana.tape.generate import BORROWERS_DEFAULT, generate_book
from amana.tape.replay import CONCURRENCY_DEFAULT
from amana.tape.result import ReplayResult

SEED = 20260101
LENDERS = (("kora", "Kora Credit", 0.8), ("unguwa", "Unguwa Finance", 0.2))
"""Slug, name and share of the borrowers. Invented; any likeness is by chance."""
ORDINARY_SCOPES = tuple(scope for scope in provision.ALL_SCOPES if scope != "tape:import")


async def run_demo(console: Console, borrowers: int = BORROWERS_DEFAULT) -> tuple[dict[str, Any], bool]:
    """Runs it all. The report as JSON values, and whether everything came out as it must."""
    begun = time.monotonic()
    async with Stack.open(given=Settings(log_level=QUIET), say=lambda line: console.print(f"  {line}")) as stack:
        keys, results = [], []
        for number, (slug, name, share) in enumerate(LENDERS):
            tenant = await provision.create_tenant(stack.settings.owner_database_url, slug, name)
            tape_key = await provision.create_key(stack.settings.owner_database_url, tenant, provision.ALL_SCOPES)
            keys.append(await provision.create_key(stack.settings.owner_database_url, tenant, ORDINARY_SCOPES))
            book = generate_book(SEED + number, max(1, int(borrowers * share)))
            results.append(await play(stack, book, tape_key, console, f"{name}: {len(book.loans):,} loans"))
        told, hidden = await _tell(stack, keys)
        proof = await prove(stack, console)
        ok = proof.ok and hidden and not any(result.failed for result in results)
    report = _report(time.monotonic() - begun, results, told, proof, hidden) | {"ok": ok}
    _print(console, report, told, proof)
    return report, ok


async def _tell(stack: Stack, keys: list[str]) -> tuple[list[Told], bool]:
    async with HttpClient() as http:
        ours, theirs = Lender(http, stack, keys[0]), Lender(http, stack, keys[1])
        asked = await ask_for_each(ours)
        borrower, first = asked[0]
        story = await borrow_and_repay(ours, borrower, PEOPLE[0][2])
        assert first.answer["outcome"] == "approve", "the demo's first customer is one that anybody would lend to"
        return [told for _, told in asked] + story, await is_hidden_from(theirs, borrower)


def _report(
    seconds: float, results: list[ReplayResult], told: list[Told], proof: Proof, hidden: bool
) -> dict[str, Any]:
    counts = merged(results)
    decided = sum(counts["decisions"].values())
    playing = sum(result.seconds for result in results)
    first = results[0]
    return {
        "seconds": round(seconds, 1),
        **counts,
        **proof.to_json(),
        "latency_ms": first.latency_ms,
        "per_second": {
            "decisions": round(decided / playing, 1),
            "bookings": round(counts["loans"] / playing, 1),
            "transfers": round(proof.reconciliation.counts["transfers"] / playing, 1),
        },
        "tenants_isolated": hidden,
        "errors": [str(error) for result in results for error in result.errors],
        "customers_told": [{"who": one.who, "asked": one.asked, "answer": one.answer} for one in told],
    }


def _print(console: Console, report: dict[str, Any], told: list[Told], proof: Proof) -> None:
    console.print()
    console.print(_decisions(told))
    console.print(_loan_story(told))
    console.print(_summary(report))
    for error in report["errors"][:5]:
        console.print(f"[red]{error}")
    for found in proof.replayed.differences[:10]:
        console.print(found.told(), style="red", markup=False, soft_wrap=True)
    for difference in proof.reconciliation.differences[:10]:
        console.print(f"[red]{difference.check}: {difference.subject}: {difference.expected} / {difference.found}")
    verdict = "[green]Everything agrees." if report["ok"] else "[red]Something does not agree: see above."
    console.print(f"{verdict}[/] {report['seconds']} s in all.")


def _decisions(told: list[Told]) -> Table:
    table = Table("Customer", "Outcome", "Limit", "To repay", "Why", title="What was decided, and why")
    for one in told:
        answer = one.answer
        if "outcome" not in answer:
            continue
        price = answer["price"]
        first = next(iter(answer["reasons"]), None)
        why = f"{first['text']}\n[dim]{first['code']}[/]" if first else "-"
        table.add_row(
            f"{one.who}\n[dim]{one.asked}",
            answer["outcome"],
            format_minor(answer["limit"], "NGN"),
            format_minor(price["total_due"], "NGN") if price else "-",
            why,
        )
    return table


def _loan_story(told: list[Told]) -> Table:
    table = Table("Step", "Principal", "Fee", "To the customer", "Still owed", title="One loan, as the ledger moved it")
    for one in told:
        answer = one.answer
        if "principal" in answer:
            row = (answer["principal"], answer["fee"], 0, answer["outstanding"])
        elif "principal_part" in answer:
            row = (answer["principal_part"], answer["fee_part"], answer["excess"], answer["loan_outstanding"])
        else:
            continue
        table.add_row(one.asked, *(format_minor(amount, "NGN") for amount in row))
    return table


def _summary(report: dict[str, Any]) -> Table:
    table = Table(show_header=False, title="What happened", min_width=60)
    decisions = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(report["decisions"].items()))
    balance = ", ".join(f"{currency} {amount}" for currency, amount in report["trial_balance"].items())
    latency = report["latency_ms"]
    table.add_row("Decisions", decisions)
    table.add_row("Loans", f"{report['booked_from_offer']:,} from offers, {report['imported']:,} imported")
    table.add_row("Repayments", f"{report['repayments']:,}, {report['reversals']:,} of them taken back")
    table.add_row("Transfers posted", f"{report['transfers']:,}")
    table.add_row("Debits less credits", balance)
    table.add_row("Events written / leaves sealed", f"{report['events']:,} / {report['leaves']:,}")
    table.add_row("Audit log", "verified from the first leaf" if report["checkpoint_verified"] else "[red]NOT verified")
    table.add_row("Replayed from the log alone", _replayed(report["replay"]))
    table.add_row("Other lender sees", "nothing" if report["tenants_isolated"] else "[red]SOMETHING")
    for name in ("check", "booking"):
        times = latency[name]
        table.add_row(
            f"Time of a {name}, {CONCURRENCY_DEFAULT} in flight", f"p50 {times['p50']}, p99 {times['p99']} ms"
        )
    table.add_row(
        "Throughput",
        f"{report['per_second']['decisions']:,} decisions, {report['per_second']['transfers']:,} transfers a second",
    )
    return table


def _replayed(report: dict[str, Any]) -> str:
    rows, differing = sum(report["live"].values()), sum(report["tables"].values()) + report["contradictions"]
    verdict = f"{differing:,} differences" if not differing else f"[red]{differing:,} differences[/]"
    return f"{report['events']:,} events, {rows:,} rows: {verdict}"
