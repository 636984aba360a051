"""What the trail keeps of an event: a narrow row, without its body. Pure.

Texts that do not apply are empty and numbers 0: every row then has one place in every count.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

import msgspec


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


class Seen(NamedTuple):
    """What the trail reads of an event: columns of its leaf, and its bytes."""

    position: int
    tenant: int
    type: str
    occurred_at: datetime
    aggregate_type: str
    aggregate_id: UUID
    customer: UUID | None
    actor: str
    body: bytes


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


class Data(msgspec.Struct, frozen=True, gc=False):
    """What the trail reads of an event's data. A value may be anything: its writer's declarations change."""

    amount: Any = None
    as_of_past: Any = None
    code: Any = None
    command: Any = None
    currency: Any = None
    outcome: Any = None
    policy: Any = None
    principal: Any = None
    product: Any = None
    request_to_borrow: Any = None
    reverses: Any = None


def data_of(body: bytes) -> Data:
    """The data of an event; what the trail does not read is passed over."""
    try:
        return _decoder.decode(body).data
    except msgspec.ValidationError:
        return _NO_DATA


def trail_row(seen: Seen, data: Data, product: str = "") -> TrailRow:
    """The row of an event; `product` is that of the loan that it belongs to, where its data does not say."""
    kind = policy = outcome = code = currency = ""
    policy_version = amount = 0
    if seen.type == "DecisionMade":
        named = data.policy if isinstance(data.policy, dict) else {}
        asked = Kind.REQUESTED if data.request_to_borrow else Kind.ASKED
        kind = (Kind.REPLAYED if data.as_of_past else asked).value
        policy, policy_version = short_text(named.get("name")), _number(named.get("version"), 2**31 - 1)
        outcome, currency, amount = short_text(data.outcome), short_text(data.currency), _amount(data.amount)
    elif seen.type in _REVIEWS:
        kind, outcome = _REVIEWS[seen.type].value, short_text(data.outcome)
    else:
        currency = short_text(data.currency)
        amount = _amount(data.amount if data.principal is None else data.principal)
        if seen.type in _MOVEMENTS:
            returned = seen.type == "TransferPosted" and data.reverses
            kind = (Kind.RETURNED if returned else _MOVEMENTS[seen.type]).value
            code = short_text(data.code) if data.command else ""
    return TrailRow(
        seen.occurred_at,
        seen.tenant,
        seen.position,
        seen.type,
        seen.aggregate_id,
        seen.customer,
        seen.actor,
        kind,
        short_text(data.product) or product,
        policy,
        policy_version,
        outcome,
        code,
        currency,
        amount,
        amount_band(amount),
    )


Columns: TypeAlias = list[list[Any]]


def packed(rows: Sequence[TrailRow]) -> Columns:
    """Rows as columns: first what each has for itself (`OWN`) and the number, from 1, of its shape; then the columns of
    the shapes (`SHAPE`). A page has some dozens of them, and the database takes an array apart by its elements.
    """
    shapes: dict[tuple[Any, ...], int] = {}
    numbers = [shapes.setdefault(_shape(row), len(shapes) + 1) for row in rows]
    own = [list(column) for column in zip(*map(_own, rows), strict=True)]
    return [*own, numbers, *(list(column) for column in zip(*shapes, strict=True))]


OWN = ("occurred_at", "position", "aggregate", "customer", "amount")
SHAPE = tuple(name for name in TrailRow._fields if name not in OWN)
_own, _shape = attrgetter(*OWN), attrgetter(*SHAPE)


def short_text(value: Any) -> str:
    """A short text; what the log holds otherwise (its writer may change) counts as none rather than stop the trail."""
    return value if isinstance(value, str) and len(value) <= 100 and "\0" not in value else ""


def _number(value: Any, at_most: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= at_most else 0


def _amount(value: Any) -> int:
    return _number(value, 2**53 - 1)


class _Envelope(msgspec.Struct, gc=False):
    data: Data


class _Whole(msgspec.Struct, gc=False):
    data: dict[str, Any]


_NO_DATA = Data()
"""Of what has some other value where an event has its object."""
_decoder = msgspec.json.Decoder(_Envelope)
_whole_decoder = msgspec.json.Decoder(_Whole)


def commands_of(body: bytes) -> tuple[UUID, ...]:
    """The ids in an event of a loan under which legs may have moved: the loan's own, a repayment's, a reversal's."""
    try:
        values = _whole_decoder.decode(body).data.values()
    except msgspec.ValidationError:
        return ()
    return tuple(found for value in values if (found := uuid_in(value)))


def uuid_in(value: object) -> UUID | None:
    """The id that a text spells."""
    try:
        return msgspec.convert(value, UUID) if isinstance(value, str) and len(value) == 36 else None
    except msgspec.ValidationError:
        return None
