"""A customer's report as one page for people: printable, without script or anything from elsewhere. Pure.

Every text that comes from an event goes through `_text`, which escapes it; nothing else is put between tags.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

from amana.audit.telling import money, spelled
from amana.domain.lending import LAGOS
from amana.wire.audit_reports import CustomerReport, DecisionReport, LoanReport, LogState, Place, Step

CONTENT_SECURITY_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def report_page(report: CustomerReport) -> str:
    """The page, as HTML."""
    parts = [
        _head(report),
        _section("Decisions", [_decision(decision) for decision in report.decisions], "No decision was recorded."),
        _section("Loans", [_loan(loan) for loan in report.loans], "No loan was booked."),
        _section("What is known, blocks and consents", _steps("", report.facts), "Nothing was recorded."),
        _section("Everything else", _steps("", report.other), "Nothing else was recorded."),
        _reads(report),
        _proof(report),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>Decision report {_text(report.customer)}</title><style>{_style()}</style></head>"
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


def _reads(report: CustomerReport) -> str:
    """Who read it; nothing where that is not to be shown."""
    if report.reads is None:
        return ""
    more = "<p>These are the newest; there are older ones.</p>" if report.more_reads else ""
    parts = [*_steps("", report.reads), *([more] if more else [])]
    return _section("Who read it", parts, "Nobody read it.")


def _head(report: CustomerReport) -> str:
    complete = (
        "<p>It holds every event of this customer that the audit log had then.</p>"
        if report.complete
        else '<p class="warning"><strong>This report is not complete:</strong> there are more events than fit one '
        "report, or some that have just arrived and can't be found yet.</p>"
    )
    return (
        f"<h1>Decision report</h1><p>Customer <code>{_text(report.customer)}</code>. Made {_when(report.made_at)} from "
        f"{report.events} events of the audit log alone. Times are those of Lagos.</p>{complete}"
    )


def _decision(decision: DecisionReport) -> str:
    asked = "Request to borrow" if decision.request_to_borrow else "Question"
    amount = "" if decision.amount is None else f" {money(decision.amount, decision.currency)}"
    score = "none" if decision.score is None else f"{decision.score} (band {decision.band})"
    rows = [
        ("Decision", _code(decision.decision)),
        ("Asked by key", _code(decision.asked_by)),
        ("Outcome", f"<strong>{_text(spelled(decision.outcome))}</strong>"),
        ("Stands now", _text(spelled(decision.standing))),
        ("Could borrow up to", _text(money(decision.limit, decision.currency))),
        ("Price", _price(decision)),
        ("Owed then", "not known" if decision.exposure is None else _text(money(decision.exposure, decision.currency))),
        ("Score", _text(score)),
        ("Policy", f"{_text(decision.policy.name)}, version {decision.policy.version}, {_code(decision.policy.hash)}"),
        ("Loans that came of it", _codes(decision.loans) or "none"),
        ("Proof", _place(decision.place)),
    ]
    facts = [
        (_text(spelled(fact.name)), _text(fact.value), _text(fact.source), _text(fact.as_of)) for fact in decision.facts
    ]
    rules = [(_text(spelled(rule)), _text(spelled(str(state)))) for rule, state in decision.rules.items()]
    return "".join(
        (
            f"<h3>{_when(decision.decided_at)}: {asked}{_text(amount)}, {_text(decision.product)}</h3>",
            _pairs(rows),
            _reasons(decision),
            _table("The facts that it rests on", ("Fact", "Value", "Said by", "As of"), facts),
            _table("The rules of the policy", ("Rule", "Result"), rules),
            *_steps("How the policy came into force", decision.policy.steps),
            *_steps("What changed it since", decision.changes),
        )
    )


def _reasons(decision: DecisionReport) -> str:
    if not decision.reasons:
        return "<p>No reason against it.</p>"
    items = (
        f"<li>{_text(reason.words or spelled(reason.code))} <code>{_text(reason.code)}</code></li>"
        for reason in decision.reasons
    )
    return f"<p>Why:</p><ul>{''.join(items)}</ul>"


def _price(decision: DecisionReport) -> str:
    price = decision.price
    if price is None:
        return "none"
    sums = {name: money(price[name], decision.currency) for name in ("principal", "fee", "total_due")}
    return _text(
        f"{sums['principal']} with a fee of {sums['fee']}: {sums['total_due']} due after {price['term_days']} days"
    )


def _loan(loan: LoanReport) -> str:
    rows = [
        ("Loan", _code(loan.loan)),
        ("From decision", "none: it was imported" if loan.decision is None else _code(loan.decision)),
        ("Principal and fee", _text(f"{money(loan.principal, loan.currency)} and {money(loan.fee, loan.currency)}")),
        ("Due on", _text(loan.due_on)),
        ("Still owed", _text(money(loan.outstanding, loan.currency))),
    ]
    return "".join((f"<h3>Loan, {_text(loan.product)}</h3>", _pairs(rows), *_steps("What became of it", loan.history)))


def _proof(report: CustomerReport) -> str:
    logs = "".join(map(_log, report.log))
    return (
        "<h2>How to check this report</h2><p>Each event names its place in the log. Its proof is at "
        "<code>/v1/audit/events/{event}/proof</code>: it leads from the event's bytes to a signed checkpoint. "
        f"These were the newest checkpoints.</p>{logs}"
    )


def _log(log: LogState) -> str:
    dropped = f"Those before {log.floor} were dropped by retention. " if log.floor else ""
    note = f"<pre>{_text(log.note)}</pre>" if log.note else "<p>Nothing was sealed yet.</p>"
    return (
        f"<h3>Stream {_text(log.stream)}</h3><p>{log.size} events sealed, {log.received} received. {dropped}"
        f"Key <code>{_text(log.verifier_key)}</code></p>{note}"
    )


def _section(title: str, parts: Sequence[str], nothing: str) -> str:
    return f"<h2>{_text(title)}</h2>{''.join(parts) or f'<p>{_text(nothing)}</p>'}"


def _steps(caption: str, steps: Sequence[Step]) -> list[str]:
    if not steps:
        return []
    rows = [(_when(step.at), _text(step.told), _code(step.actor), _place(step.place)) for step in steps]
    return [_table(caption, ("When", "What", "By", "Place in the log"), rows)]


def _pairs(rows: Iterable[tuple[str, str]]) -> str:
    cells = (f'<tr><th scope="row">{_text(name)}</th><td>{value}</td></tr>' for name, value in rows)
    return f"<table><tbody>{''.join(cells)}</tbody></table>"


def _table(caption: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; its cells are HTML already."""
    if not rows:
        return ""
    named = f"<caption>{_text(caption)}</caption>" if caption else ""
    heads = "".join(f'<th scope="col">{_text(column)}</th>' for column in columns)
    lines = ("".join(f"<td>{cell}</td>" for cell in row) for row in rows)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table>{named}<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"


def _place(place: Place) -> str:
    sealed = "" if place.sealed else ", not sealed yet"
    return f"{_text(place.stream)} {place.position}{sealed} {_code(place.event_id)}"


def _codes(values: Iterable[Any]) -> str:
    return ", ".join(map(_code, values))


def _code(value: Any) -> str:
    return f"<code>{_text(value)}</code>"


def _when(instant: datetime) -> str:
    return _text(f"{instant.astimezone(LAGOS):%-d %B %Y, %H:%M:%S}")


def _text(value: Any) -> str:
    words = {None: "not known", True: "yes", False: "no"}
    return escape(words[value] if value is None or isinstance(value, bool) else str(value))


@cache
def _style() -> str:
    return files("amana.audit").joinpath("report.css").read_text(encoding="utf-8")
