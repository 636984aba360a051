"""The register of a month: a row for each decision, override, appeal, answer to one and reversal; and totals. Pure.

A month is Lagos's, from the first midnight to the next month's. Rows are in the order of the log.
"""

import csv
import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from io import StringIO
from typing import Any

import msgspec

from amana.audit.store import StoredEvent
from amana.domain.lending import LAGOS
from amana.domain.reasons import Reason
from amana.wire.problems import FieldError, Refused

TYPES = ("DecisionMade", "DecisionOverridden", "DecisionAppealed", "AppealResolved", "DecisionReversed")
FIRST_YEAR = 1970
NOT_SAID = "not said"

COLUMNS = (
    "position",
    "event_id",
    "at",
    "type",
    "decision",
    "customer",
    "product",
    "request_to_borrow",
    "currency",
    "amount",
    "outcome",
    "limit",
    "policy",
    "policy_version",
    "policy_hash",
    "reasons",
    "review",
    "standing",
    "actor",
)
"""Of a row, in order. What an event does not say is empty; `reasons` are codes with a space between."""

_MONTH = re.compile(r"(?P<year>[0-9]{4})-(?P<month>0[1-9]|1[0-2])")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def month_bounds(text: str) -> tuple[datetime, datetime]:
    """The first instant of a month such as `2026-11`, and the first after it. Raises `Refused`."""
    found = _MONTH.fullmatch(text)
    if not found or not FIRST_YEAR <= int(found["year"]) < 2200:
        detail = "A month such as 2026-11."
        raise Refused(Reason.VALIDATION, errors=[FieldError("{month}", "invalid", detail)])
    year, month = int(found["year"]), int(found["month"])
    following = (year + 1, 1) if month == 12 else (year, month + 1)
    return datetime(year, month, 1, tzinfo=LAGOS), datetime(*following, 1, tzinfo=LAGOS)


def register_row(event: StoredEvent) -> dict[str, Any]:
    """The row of an event, by column."""
    body = msgspec.json.decode(event.body)
    data: dict[str, Any] = body["data"]
    policy = data.get("policy") or {}
    return {
        "position": event.position,
        "event_id": str(event.event_id),
        "at": event.occurred_at.astimezone(LAGOS).isoformat(timespec="microseconds"),
        "type": body["type"],
        "decision": body["aggregate"]["id"],
        "customer": data.get("customer"),
        "product": data.get("product"),
        "request_to_borrow": data.get("request_to_borrow"),
        "currency": data.get("currency"),
        "amount": data.get("amount"),
        "outcome": data.get("outcome"),
        "limit": data.get("limit"),
        "policy": policy.get("name"),
        "policy_version": policy.get("version"),
        "policy_hash": policy.get("hash"),
        "reasons": " ".join(data.get("reasons") or ()),
        "review": data.get("review"),
        "standing": data.get("standing"),
        "actor": body["actor"],
    }


@dataclass(slots=True)
class Totals:
    """How many rows there are, in all and by what they say. A decision counts under each of its reasons."""

    month: str
    events: int = 0
    by_type: Counter[str] = field(default_factory=Counter)
    by_outcome: Counter[str] = field(default_factory=Counter)
    by_policy: Counter[str] = field(default_factory=Counter)
    by_reason: Counter[str] = field(default_factory=Counter)

    def add(self, row: dict[str, Any]) -> None:
        """Counts a row. Outcomes, policies and reasons are those of the decisions."""
        self.events += 1
        self.by_type[row["type"]] += 1
        if row["type"] == "DecisionMade":
            self.by_outcome[row["outcome"] or NOT_SAID] += 1
            self.by_policy[f"{row['policy']} {row['policy_version']}" if row["policy"] else NOT_SAID] += 1
            self.by_reason.update(row["reasons"].split())

    def told(self) -> dict[str, Any]:
        """The totals, each table from the most to the least."""
        tables = ("by_type", "by_outcome", "by_policy", "by_reason")
        return {
            "month": self.month,
            "events": self.events,
            **{name: dict(getattr(self, name).most_common()) for name in tables},
        }


def csv_line(values: Any) -> bytes:
    """A line of CSV (RFC 4180). A text that a spreadsheet would take for a formula begins with an apostrophe."""
    line = StringIO()
    csv.writer(line).writerow([_cell(value) for value in values])
    return line.getvalue().encode()


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
