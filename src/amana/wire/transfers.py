"""Requests and responses about transfers, in lists and one by one."""

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from msgspec import Meta, field

from amana.domain.money import Currency
from amana.domain.order import Balancing
from amana.domain.reasons import Reason
from amana.domain.transfer import HoldState, Movement, NotesState
from amana.wire.common import END, LIST_MAX, Amount, Code, Request, Response

TtlS = Annotated[int, Meta(ge=1, le=31_536_000, description="Seconds, at most a year.")]
Reference = Annotated[str, Meta(min_length=1, max_length=100, description="What you call it.")]
MetadataKey = Annotated[str, Meta(min_length=1, max_length=40, pattern=rf"^[A-Za-z][A-Za-z0-9_.-]*{END}")]
MetadataValue = Annotated[str, Meta(max_length=200)]
Metadata = Annotated[dict[MetadataKey, MetadataValue], Meta(max_length=16, description="Up to 16 texts of yours.")]


class OrderKind(StrEnum):
    """What an item of a list of transfers asks for."""

    POST = "post"
    HOLD = "hold"
    CAPTURE = "capture"
    VOID = "void"
    REVERSE = "reverse"


class TransferItem(Request):
    """One movement. `linked` ties it to the next item: they move together or not at all.

    - `post` (the default) and `hold` need `debit_account`, `credit_account`, `amount` and `currency`. A hold lives
      `ttl_s` seconds, or until it is captured or voided. `balancing` makes the amount of a post "at most": what the
      debit account can give, what the credit account owes, or both.
    - `capture` and `void` need `hold`; a capture without `amount` takes all that is left, a `final` one releases the
      rest.
    - `reverse` needs `reverses`; without `amount` it reverses all that is left.

    `reference` and `metadata` are yours: kept beside the ledger, sealed for the customers whose accounts it moves, and
    never in its events.
    """

    id: UUID
    kind: OrderKind = OrderKind.POST
    debit_account: UUID | None = None
    credit_account: UUID | None = None
    amount: Amount | None = None
    currency: Currency | None = None
    code: Code | None = None
    linked: bool = False
    effective_on: date | None = None
    balancing: Balancing | None = None
    hold: UUID | None = None
    final: bool = False
    ttl_s: TtlS | None = None
    reverses: UUID | None = None
    reference: Reference | None = None
    metadata: Metadata | None = None


class TransfersRequest(Request):
    """Transfers in the order in which they are to be tried."""

    transfers: Annotated[list[TransferItem], Meta(min_length=1, max_length=LIST_MAX)]


class ItemResult(Response):
    """What came of one item.

    `amount` is what moved or is held, None for a refusal; `figures` stand behind a refusal. A refusal that is not
    `retryable` is final for its id.
    """

    id: UUID
    status: str
    amount: int | None = None
    expires_at: str | None = None
    reason: Reason | None = None
    retryable: bool = False
    figures: dict[str, Any] = field(default_factory=dict)
    replayed: bool = False


class ItemResults(Response):
    """One result for each item, in input order."""

    results: list[ItemResult]


class ReversalRequest(Request):
    """A reversal of a transfer; without `amount`, of all that is left of it."""

    id: UUID
    amount: Amount | None = None


class CaptureRequest(Request):
    """A capture of a hold; without `amount`, of all that is left of it. A `final` one releases the rest."""

    id: UUID
    amount: Amount | None = None
    final: bool = False


class VoidRequest(Request):
    """Gives back what a hold still reserves."""

    id: UUID


class ForcedCaptureRequest(Request):
    """A capture that a hold's expiry does not stop and that may pass a limit. `reason` goes into the event."""

    id: UUID
    reason: Code
    amount: Amount | None = None


class TransferView(Response):
    """A transfer as it stands.

    `original` is what a post reverses, or the hold of a capture, void or expiry. `hold_state`, `captured` and
    `expires_at` are those of a hold. `notes` says how it stands with `reference` and `metadata`, null where nothing was
    said: they are null once they are erased, while they are restricted (but for keys with the scope `privacy:read`),
    and while the keys that open them can't be had.
    """

    id: UUID
    kind: Movement
    debit_account: UUID
    credit_account: UUID
    amount: int
    currency: str
    code: str
    effective_on: date
    posted_at: datetime
    original: UUID | None
    released: int
    command: UUID | None
    reversed_amount: int
    hold_state: HoldState | None
    captured: int | None
    expires_at: datetime | None
    reference: str | None
    metadata: dict[str, str] | None
    notes: NotesState | None


class TransferPage(Response):
    """Transfers in the order of their ids; `next` is the cursor of the next page, None at the end."""

    transfers: list[TransferView]
    next: UUID | None
