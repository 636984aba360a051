"""What the trail keeps of an event: a narrow row, without its body. Pure.

Texts that do not apply are empty and numbers 0: every row then has one place in every count.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from amana.audit.leaf import Leaf


class Kind(StrEnum):
    """What an event counts as. Decisions first, then transfers; other events count as nothing."""

    ASKED = "asked"  # a plain question, computed
    REQUESTED = "requested"  # a request to borrow
    REPLAYED = "replayed"  # a decision of a past time, from an older book
    OVERRIDDEN = "overridden"
    REVERSED = "reversed"
    POSTED = "posted"
    RETURNED = "returned"  # a transfer that reverses another
    CAPTURED = "captured"
    HELD = "held"
    VOIDED = "voided"
    EXPIRED = "expired"


_MOVEMENTS = {
    "TransferPosted": Kind.POSTED,
    "HoldCaptured": Kind.CAPTURED,
    "HoldPlaced": Kind.HELD,
    "HoldVoided": Kind.VOIDED,
    "HoldExpired": Kind.EXPIRED,
}
_REVIEWS = {"DecisionOverridden": Kind.OVERRIDDEN, "DecisionReversed": Kind.REVERSED}


class TrailRow(NamedTuple):
    """A row of the trail, in the order of the columns. `amount` and where its band begins are in minor units."""

    occurred_at: datetime
    tenant: int
    position: int
    type: str
    aggregate: UUID
    customer: UUID | None
    actor: str
    kind: str = ""
    product: str = ""
    policy: str = ""
    policy_version: int = 0
    outcome: str = ""
    code: str = ""
    currency: str = ""
    amount: int = 0
    amount_band: int = 0


def amount_band(amount: int) -> int:
    """Where the band of `amount` begins: the highest of 1, 2 and 5 times a power of ten that it reaches; 0 for none."""
    if amount < 1:
        return 0
    power: int = 10 ** (len(str(amount)) - 1)
    lead = amount // power
    return power * (5 if lead >= 5 else 2 if lead >= 2 else 1)


def data_of(leaf: Leaf) -> dict[str, Any]:
    """The data of an event."""
    data: dict[str, Any] = _decoder.decode(leaf.body).data
    return data


def trail_row(leaf: Leaf, data: Mapping[str, Any], product: str = "") -> TrailRow:
    """The row of an event; `product` is that of the loan that it belongs to, where its data does not say."""
    return TrailRow(
        occurred_at=leaf.occurred_at,
        tenant=leaf.tenant,
        position=leaf.position,
        type=leaf.type,
        aggregate=leaf.aggregate_id,
        customer=leaf.customer,
        actor=leaf.actor,
        **{"product": _text(data, "product") or product, **_counted(leaf.type, data)},
    )


def _counted(type_: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """The columns by which an event is counted."""
    if type_ == "DecisionMade":
        return _decision(data)
    if type_ in _REVIEWS:
        return {"kind": _REVIEWS[type_], "outcome": _text(data, "outcome")}
    columns: dict[str, Any] = {"currency": _text(data, "currency"), **_amount(data, "principal", "amount")}
    if type_ in _MOVEMENTS:
        kind = Kind.RETURNED if type_ == "TransferPosted" and data.get("reverses") else _MOVEMENTS[type_]
        columns |= {"kind": kind, "code": _text(data, "code") if data.get("command") else ""}
    return columns


def _decision(data: Mapping[str, Any]) -> dict[str, Any]:
    policy = data.get("policy")
    policy = policy if isinstance(policy, dict) else {}
    asked = Kind.REQUESTED if data.get("request_to_borrow") else Kind.ASKED
    return {
        "kind": Kind.REPLAYED if data.get("as_of_past") else asked,
        "policy": _text(policy, "name"),
        "policy_version": _number(policy, "version", 2**31 - 1),
        "outcome": _text(data, "outcome"),
        "currency": _text(data, "currency"),
        **_amount(data, "amount"),
    }


def _amount(data: Mapping[str, Any], *names: str) -> dict[str, int]:
    """The first amount that the event tells of, and its band."""
    amount = next((_number(data, name, 2**53 - 1) for name in names if name in data), 0)
    return {"amount": amount, "amount_band": amount_band(amount)}


def _text(data: Mapping[str, Any], name: str) -> str:
    """A short text; what the log holds otherwise (its writer may change) counts as none rather than stop the trail."""
    value = data.get(name)
    return value if isinstance(value, str) and len(value) <= 100 and "\0" not in value else ""


def _number(data: Mapping[str, Any], name: str, at_most: int) -> int:
    value = data.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= at_most else 0


class _Envelope(msgspec.Struct):
    data: Any


_decoder = msgspec.json.Decoder(_Envelope)


def commands_of(data: Mapping[str, Any]) -> Iterable[UUID]:
    """The ids in an event of a loan under which legs may have moved: the loan's own, a repayment's, a reversal's."""
    return (found for value in data.values() if (found := uuid_in(value)))


def uuid_in(value: object) -> UUID | None:
    """The id that a text spells."""
    try:
        return UUID(value) if isinstance(value, str) and len(value) == 36 else None
    except ValueError:
        return None
