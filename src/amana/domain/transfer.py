"""Transfers: immutable movements between a debit account and a credit account, and the holds that some of them place.

Every change of a counter is one transfer, whatever its kind:

    kind      debit account                        credit account
    post      debits_posted  + amount              credits_posted  + amount
    hold      debits_pending + amount              credits_pending + amount
    capture   pending - released, posted + amount  the same on the credit side
    void      pending - released                   pending - released
    expire    pending - released                   pending - released
"""

from collections.abc import Mapping
from datetime import date, datetime
from enum import StrEnum
from typing import TypeAlias
from uuid import UUID

from msgspec import Struct, field

from amana.domain.reasons import Reason

Key: TypeAlias = tuple[int, UUID]
"""(tenant, id): nothing is ever looked up without its tenant."""

Figures: TypeAlias = Mapping[str, int | str]


class Movement(StrEnum):
    """What a transfer does to the counters of its accounts."""

    POST = "post"
    HOLD = "hold"
    CAPTURE = "capture"
    VOID = "void"
    EXPIRE = "expire"


_POST = Movement.POST  # to look up a member takes 0.1 us


class Transfer(Struct, frozen=True):
    """What is to move. `amount` is positive, in minor units of `currency`.

    `original` is the transfer that a reversal (a post with an original) reverses, or the hold that a capture, void or
    expiry is about; `released` is what those give back of the pending amounts. `command` is the loan command that this
    is a leg of, or None for a client's own transfer. `dated` says that the client named `effective_on`.
    `limit_applies` is False only where money that is already owed, was already lent or was already promised is being
    recorded.
    """

    tenant: int
    id: UUID
    debit_account: UUID
    credit_account: UUID
    amount: int
    currency: str
    code: str
    effective_on: date
    kind: str = Movement.POST
    original: UUID | None = None
    released: int = 0
    command: UUID | None = None
    dated: bool = False
    limit_applies: bool = True

    @property
    def reverses(self) -> UUID | None:
        """The transfer that this one reverses."""
        return self.original if self.kind == _POST else None

    @property
    def hold(self) -> UUID | None:
        """The hold that this captures, voids or expires."""
        return None if self.kind == _POST else self.original


class Standing(Struct, frozen=True, gc=False):
    """One account's version and counters just after a transfer, and the transfer before it on that account."""

    version: int
    previous: UUID | None
    debits_pending: int
    debits_posted: int
    credits_pending: int
    credits_posted: int


class Posted(Struct, frozen=True):
    """A transfer that moved, and how it left both accounts."""

    transfer: Transfer
    posted_at: datetime
    debit: Standing
    credit: Standing


class HoldState(StrEnum):
    """An open hold reserves its amount; every other state is final, but a forced capture may follow an expiry."""

    OPEN = "open"
    CAPTURED = "captured"
    VOIDED = "voided"
    EXPIRED = "expired"


class Hold(Struct):
    """A pending transfer as it stands. Amounts in minor units; `expires_at` None lives until captured or voided.

    `version` counts its own events.
    """

    tenant: int
    id: UUID
    debit_account: UUID
    credit_account: UUID
    amount: int
    currency: str
    code: str
    ttl_s: int | None
    expires_at: datetime | None
    captured: int = 0
    state: str = HoldState.OPEN
    version: int = 1

    @property
    def remaining(self) -> int:
        """What was not captured; reserved while the hold is open."""
        return self.amount - self.captured

    def is_over(self, now: datetime) -> bool:
        """Whether its time is over although nobody has released it yet."""
        return self.state == HoldState.OPEN and self.expires_at is not None and self.expires_at <= now


class Notes(Struct, frozen=True):
    """What a client says about a transfer in its own words: kept beside the ledger, never in events.

    `salt` (16 random bytes) makes the commitment that the event carries worthless to whoever guesses.
    """

    reference: str | None
    metadata: Mapping[str, str] | None
    salt: bytes


class NotesState(StrEnum):
    """How it stands with what a client said about a transfer.

    `restricted`: it is about a customer who is to be erased, and is kept and not used. `unavailable`: the keys that
    open it can't be had now.
    """

    KEPT = "kept"
    RESTRICTED = "restricted"
    ERASED = "erased"
    UNAVAILABLE = "unavailable"


ERASED = b""
"""The fingerprint of what was said and is erased: no text is told apart from another any more."""


class Prints(Struct, frozen=True):
    """How notes are known that were kept before, without what they say: a keyed fingerprint of each field.

    None where nothing was said; `ERASED` where only that is known, that something was.
    """

    reference: bytes | None = None
    metadata: bytes | None = None


class Refused(Struct, frozen=True):
    """An expected "no": the reason and the figures behind it. Final for its id."""

    reason: Reason
    figures: Figures = field(default_factory=dict)
