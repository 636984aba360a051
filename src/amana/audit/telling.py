"""What an event says, in one sentence of plain English. Pure.

A sentence is made from the event's own data alone; what a field lacks is left out, and a type that is not known here is
told by its name.
"""

import re
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from amana.domain.money import format_minor
from amana.domain.policy import policy_bytes, policy_from, policy_hash

SHIPPED = ("airtime", "bnpl", "nano")

Data = Mapping[str, Any]


@cache
def shipped_words() -> dict[str, dict[str, str]]:
    """The customer's words for each reason, by the hash of a policy that comes with Amana."""
    found = {}
    for name in SHIPPED:
        policy = policy_from(files("amana").joinpath("policies", f"{name}.json").read_bytes())
        found[policy_hash(policy_bytes(policy))] = dict(policy.reasons)
    return found


def tell(type_: str, data: Data) -> str:
    """The sentence for an event."""
    teller = _TELLERS.get(type_)
    try:
        return teller(data) if teller else f"{spelled(type_)}."
    except (KeyError, TypeError, AttributeError, ValueError):
        return f"{spelled(type_)}."  # an event of another shape than this version writes


def spelled(name: str) -> str:
    """`LoanBooked` and `loan_overdue` as words."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|_", " ", name).capitalize()


def money(amount: int, currency: Any) -> str:
    """An amount for people."""
    return format_minor(amount, str(currency))


def _decided(data: Data) -> str:
    asked = "A request to borrow" if data["request_to_borrow"] else "A question about borrowing"
    amount = "" if data.get("amount") is None else f" {money(data['amount'], data['currency'])}"
    said = {"approve": "approved", "decline": "declined", "refer": "referred to a person"}
    return f"{asked}{amount} ({data['product']}) was {said.get(data['outcome'], data['outcome'])}."


def _overridden(data: Data) -> str:
    over = f", overruling {', '.join(data['supersedes'])}" if data.get("supersedes") else ""
    return f"A person decided otherwise: {data['outcome']}{over}."


def _resolved(data: Data) -> str:
    return "An appeal was answered: the decision " + ("stands." if data["outcome"] == "upheld" else "was changed.")


def _reversed(data: Data) -> str:
    return f"The decision was withdrawn for good, and with it {len(data['withdrawn'])} offer(s)."


def _recorded(data: Data) -> str:
    known = ", ".join(data["known"]) or "nothing else"
    consents = "".join(
        f"; consent to {name} {'given' if given else 'refused or withdrawn'}"
        for name, given in data.get("consents", {}).items()
    )
    return (
        f"What is known was recorded, version {data['facts_version']}: KYC tier {data['kyc_tier']}, {known}{consents}."
    )


def _blocked(data: Data) -> str:
    until = f" until {data['until']}" if data.get("until") else ""
    return f"The customer was blocked ({data['code']}){until}."


def _booked(data: Data) -> str:
    total = f"{money(data['principal'], data['currency'])} with a fee of {money(data['fee'], data['currency'])}"
    return f"A loan of {total} was booked, due on {data['due_on']}."


def _repaid(data: Data) -> str:
    return f"A repayment of {_plain(data['amount'])} came in; {_plain(data['outstanding'])} is still owed."


def _returned(data: Data) -> str:
    return f"A repayment of {_plain(data['amount'])} was taken back; {_plain(data['outstanding'])} is owed."


def _limit(data: Data) -> str:
    to = "no limit" if data["to"] is None else money(data["to"], data["currency"])
    return f"The credit line or a bound of an account was set to {to}."


def _plain(amount: int) -> str:
    """An amount of an event that does not say its currency."""
    return f"{amount // 100:,}.{amount % 100:02d}"


def _read(data: Data) -> str:
    shown = "" if data["rows"] is None else f": {data['rows']} shown"
    return f"Read by {data['route']}{shown}."


_TELLERS: dict[str, Callable[[Data], str]] = {
    "AccountLimitChanged": _limit,
    "AppealResolved": _resolved,
    "AuditRead": _read,
    "CustomerBlockLifted": lambda data: f"The customer's blocks ({data['code']}) were lifted.",
    "CustomerBlocked": _blocked,
    "CustomerFactsRecorded": _recorded,
    "CustomerRecordRead": _read,
    "DecisionAppealed": lambda data: "The customer contested the decision.",
    "DecisionMade": _decided,
    "DecisionOverridden": _overridden,
    "DecisionReversed": _reversed,
    "LedgerRecordRead": _read,
    "LoanBooked": _booked,
    "LoanClosed": lambda data: "The loan was repaid in full.",
    "NotificationsRead": _read,
    "PolicyApproved": lambda data: f"Version {data['policy_version']} was approved, from {data['valid_from']}.",
    "PolicyDrafted": lambda data: f"Version {data['policy_version']} was drafted.",
    "PolicyPublished": lambda data: f"Version {data['policy_version']} decided from {data['valid_from']} on.",
    "RepaymentReceived": _repaid,
    "RepaymentReversed": _returned,
}
