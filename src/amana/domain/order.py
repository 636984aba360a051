"""Orders: what a client asks to be moved, before anybody knows whether it can be.

An order is cheap to make, because almost every one of them is new: its fields as JSON values, which are what a second
use of its id is compared with, are worked out only where they are needed.
"""

from collections.abc import Callable, Mapping
from datetime import date
from enum import StrEnum
from typing import Any
from uuid import UUID

from msgspec import Struct

from amana.domain.book import Asked, Json, Kind
from amana.domain.commitments import salted_digest
from amana.domain.transfer import ERASED, Hold, Key, Movement, Notes, Prints, Transfer

_NOTED = ("metadata", "reference")
_TOLD = (Kind.TRANSFER, Kind.HOLD)


class Balancing(StrEnum):
    """Which side bounds a transfer whose amount is "at most": what the debit account can give, what the credit account
    owes, or both."""

    DEBIT = "debit"
    CREDIT = "credit"
    BOTH = "both"


class Order(Struct, frozen=True, kw_only=True):
    """One item of a list of transfers. None stands for what was not named.

    A post or hold names accounts, amount and currency; a capture, void or reversal names its `original`, and its
    `amount` None means all that is left. `forced_reason` marks a forced capture.
    """

    tenant: int
    id: UUID
    kind: str
    actor: str
    trace: str
    debit_account: UUID | None = None
    credit_account: UUID | None = None
    amount: int | None = None
    currency: str = ""
    code: str = ""
    effective_on: date | None = None
    original: UUID | None = None
    final: bool = False
    ttl_s: int | None = None
    balancing: str | None = None
    forced_reason: str | None = None
    notes: Notes | None = None

    @property
    def key(self) -> Key:
        """(tenant, id)."""
        return self.tenant, self.id

    @property
    def is_told_by_its_row(self) -> bool:
        """Whether the stored transfer holds every field of it; else the request is kept as well."""
        return self.kind in _TOLD and self.balancing is None

    def asked(self) -> Asked:
        """The command as it was asked, with its fields as JSON values."""
        return Asked(self.tenant, self.id, self.kind, self.request(), self.actor, self.trace)

    def request(self) -> Json:
        """The fields that were named, as JSON values. Notes are not among them: see `differing_notes`."""
        fields: dict[str, Any] = {
            "debit_account": self.debit_account,
            "credit_account": self.credit_account,
            "amount": self.amount,
            "currency": self.currency or None,
            "code": self.code or None,
            "effective_on": self.effective_on,
            "original": self.original,
            "final": self.final or None,
            "ttl_s": self.ttl_s,
            "balancing": self.balancing,
            "reason": self.forced_reason,
        }
        return {
            name: value if isinstance(value, int) else str(value) for name, value in fields.items() if value is not None
        }


def stored_request(order: Order, stored: Transfer, hold: Hold | None) -> tuple[str, Json]:
    """(kind, fields) of the stored transfer under an order's id, spelled as `Order.request` would."""
    kind = {Movement.POST: Kind.TRANSFER, Movement.HOLD: Kind.HOLD}.get(Movement(stored.kind), Kind.CAPTURE)
    if stored.command is not None or stored.original is not None:
        return Kind.REVERSAL if stored.reverses is not None else "leg", {}
    fields: Json = {
        "debit_account": str(stored.debit_account),
        "credit_account": str(stored.credit_account),
        "amount": stored.amount,
        "currency": stored.currency,
        "code": stored.code,
    }
    if stored.dated or order.effective_on is not None:  # to name the date that was filled in is no other request
        fields["effective_on"] = stored.effective_on.isoformat()
    if hold is not None and hold.ttl_s is not None:
        fields["ttl_s"] = hold.ttl_s
    return kind, fields


def differing_notes(
    asked: Order, first: Notes | Prints | None, prints_of: Callable[[Key, Notes], Prints]
) -> str | None:
    """The field, `metadata` or `reference`, in which a second use of an id differs from the first.

    What was kept before is known by its fingerprints alone; once it is erased, any text of that field is the same.
    """
    notes = asked.notes
    if isinstance(first, Prints):
        said = Prints() if notes is None else prints_of(asked.key, notes)
        return next((name for name in _NOTED if _is_other(getattr(said, name), getattr(first, name))), None)
    return next((name for name in _NOTED if getattr(notes, name, None) != getattr(first, name, None)), None)


def _is_other(said: bytes | None, first: bytes | None) -> bool:
    return (said is None) != (first is None) or first not in (ERASED, said)


def commitment(notes: Notes, salt: bytes) -> str:
    """What the event carries of the notes."""
    metadata: Mapping[str, str] = notes.metadata or {}
    return salted_digest(salt, {"metadata": metadata, "reference": notes.reference})
