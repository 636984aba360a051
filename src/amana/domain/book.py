"""The book: everything that a batch of commands may read or change, and what it did.

The transactions service fills a book under row locks, runs the commands of a batch over it one after the other, and
writes what came out. The id that a client chose is the idempotency key for ever: `once` gives the first answer again,
refuses a changed field by name, and remembers business refusals like any other answer.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from functools import cached_property
from typing import Any, TypeAlias
from uuid import UUID

from msgspec import Struct

from amana.domain.account import Account
from amana.domain.events import Aggregate, MovementData, SideData
from amana.domain.ids import shard_of
from amana.domain.lending import Loan, Repayment, business_date
from amana.domain.posting import Ledger
from amana.domain.reasons import Reason
from amana.domain.transfer import Key, Movement, Notes, Posted, Prints, Refused, Standing

Json: TypeAlias = dict[str, Any]


class Kind(StrEnum):
    """What an id was used for: one id space per tenant, whatever the command."""

    TRANSFER = "transfer"
    HOLD = "hold"
    CAPTURE = "capture"
    VOID = "void"
    REVERSAL = "reversal"
    ACCOUNT = "account"
    LIMIT = "limit"
    FREEZE = "freeze"
    UNFREEZE = "unfreeze"
    CLOSURE = "closure"
    CREDIT_LINE = "credit_line"
    LOAN = "loan"
    REPAYMENT = "repayment"
    REPAYMENT_REVERSAL = "repayment_reversal"
    OFFER_WITHDRAWAL = "offer_withdrawal"
    LOAN_REVERSAL = "loan_reversal"
    LOAN_REVERSAL_ABANDONMENT = "loan_reversal_abandonment"


class Asked(Struct, frozen=True):
    """A command as the client sent it. `request` holds its fields as JSON values; only those that it named."""

    tenant: int
    id: UUID
    kind: str
    request: Json
    actor: str
    trace: str

    @property
    def key(self) -> Key:
        """(tenant, id)."""
        return self.tenant, self.id


class Answer(Struct, frozen=True):
    """What came of a command: `result` is the body when `reason` is None, else the figures of the refusal."""

    reason: Reason | None
    result: Json
    replayed: bool = False


class StoredAnswer(Struct, frozen=True):
    """A command that was answered before, as it is kept."""

    kind: str
    request: Json
    reason: Reason | None
    result: Json


class Draft(Struct, frozen=True):
    """An event before it gets its id and time. `data` is JSON values, or the fixed shape of a movement."""

    tenant: int
    actor: str
    trace: str
    type: str
    aggregate: Aggregate
    data: Json | MovementData


@dataclass
class Book(Ledger):
    """A `Ledger` with loans, and the lists of what is to be written.

    `offers_used` says what each offer was booked as; None: it was withdrawn before, and is never booked. `notes` are
    those of this batch as they were said, and the fingerprints of older ones; `prints_of` makes those of what is asked.
    """

    answers: dict[Key, StoredAnswer] = field(default_factory=dict)
    notes: dict[Key, Notes | Prints] = field(default_factory=dict)
    loans: dict[Key, Loan] = field(default_factory=dict)
    repayments: dict[Key, Repayment] = field(default_factory=dict)
    offers_used: dict[Key, UUID | None] = field(default_factory=dict)
    new_answers: list[tuple[Asked, Answer]] = field(default_factory=list)
    new_accounts: list[Account] = field(default_factory=list)
    new_notes: list[tuple[Key, Notes]] = field(default_factory=list)
    changed_accounts: set[Key] = field(default_factory=set)
    new_loans: list[Loan] = field(default_factory=list)
    changed_loans: set[Key] = field(default_factory=set)
    new_repayments: list[Repayment] = field(default_factory=list)
    new_reversals: list[Repayment] = field(default_factory=list)
    new_withdrawals: list[tuple[Key, UUID, UUID]] = field(default_factory=list)
    """Offers, each with its customer and the reversal that withdrew it."""
    drafts: list[Draft] = field(default_factory=list)
    prints_of: Callable[[Key, Notes], Prints] = lambda _key, _notes: Prints()

    @cached_property
    def today(self) -> date:
        """The business date of the batch."""
        return business_date(self.now)

    def ids_used(self) -> set[Key]:
        """The ids that clients chose and that the batch used up. Legs and expiries have ids that follow from others."""
        used = {asked.key for asked, _ in self.new_answers}
        for posted in self.posted:
            transfer = posted.transfer
            if transfer.command is None and transfer.kind in _CHOSEN:
                used.add((transfer.tenant, transfer.id))
        return used

    def open_account(self, account: Account) -> None:
        """Adds an account that was not there before."""
        key = (account.tenant, account.id)
        assert key not in self.accounts, "an account is opened once"
        self.accounts[key] = account
        self.new_accounts.append(account)


_CHOSEN = (Movement.POST, Movement.HOLD)  # no set: the hash of a member is worked out in Python
"""What moves under an id of a client's and may need no answer beside its row."""
MOVING = frozenset({Kind.TRANSFER, Kind.HOLD, Kind.CAPTURE, Kind.VOID, Kind.REVERSAL})
"""Commands whose id is that of one transfer."""
UNSTORED = frozenset({Reason.ID_CONFLICT, Reason.ID_SHARD_MISMATCH})
"""Refusals that say the id itself can't be used here; nothing is kept under it."""


def once(book: Book, asked: Asked, run: Callable[[], Json | Refused]) -> Answer:
    """Runs a command unless its id was used before; a second use gets the first answer or an `id_conflict`."""
    known = book.answers.get(asked.key)
    if known is not None:
        return replayed(asked, known)
    if asked.key in book.transfers and asked.kind not in MOVING:
        return Answer(Reason.ID_CONFLICT, {"field": "kind"})
    outcome = run()
    answer = Answer(outcome.reason, dict(outcome.figures)) if isinstance(outcome, Refused) else Answer(None, outcome)
    if answer.reason not in UNSTORED:
        keep(book, asked, answer)
    return answer


def replayed(asked: Asked, known: StoredAnswer) -> Answer:
    """The first answer again, or an `id_conflict` that names the field that changed."""
    field_name = differing_field(asked, known.kind, known.request)
    if field_name is not None:
        return Answer(Reason.ID_CONFLICT, {"field": field_name})
    return Answer(known.reason, known.result, replayed=True)


def keep(book: Book, asked: Asked, answer: Answer) -> None:
    """Remembers an answer for its id. Posted transfers need it not: their row holds every field."""
    book.answers[asked.key] = StoredAnswer(asked.kind, asked.request, answer.reason, answer.result)
    book.new_answers.append((asked, answer))


_ABSENT = object()


def differing_field(asked: Asked, kind: str, request: Json) -> str | None:
    """The first field, in alphabetical order, in which a second use of an id differs from the first."""
    if kind != asked.kind:
        return "kind"
    for name in sorted(asked.request.keys() | request.keys()):
        # A field that is null says something (lift this bound) that one that is not there does not.
        if asked.request.get(name, _ABSENT) != request.get(name, _ABSENT):
            return name
    return None


def draft_event(book: Book, asked: Asked, type_: str, aggregate: Aggregate, data: Json) -> None:
    """An event of a command, to be written with the batch."""
    book.drafts.append(Draft(asked.tenant, asked.actor, asked.trace, type_, aggregate, data))


def draft_postings(book: Book, asked: Asked, posted: list[Posted]) -> None:
    """`TransferPosted` for each, with both accounts' new versions and counters: a projection never waits for a gap."""
    for item in posted:
        draft_movement(
            book, asked.actor, asked.trace, item, "TransferPosted", Aggregate("transfer", item.transfer.id, 1)
        )


def draft_movement(  # one event of one movement: nothing here belongs together elsewhere
    book: Book, actor: str, trace: str, item: Posted, type_: str, aggregate: Aggregate, **more: Any
) -> None:
    """The event of one transfer; `more` are the members that only its kind has."""
    transfer = item.transfer
    data = MovementData(
        amount=transfer.amount,
        code=transfer.code,
        command=transfer.command,
        credit=_side(transfer.credit_account, item.credit),
        currency=transfer.currency,
        debit=_side(transfer.debit_account, item.debit),
        effective_on=transfer.effective_on,
        hold=transfer.hold,
        released=transfer.released,
        reverses=transfer.reverses,
        transfer=transfer.id,
        **more,
    )
    book.drafts.append(Draft(transfer.tenant, actor, trace, type_, aggregate, data))


def _side(account: UUID, after: Standing) -> SideData:
    return SideData(
        account,
        after.credits_pending,
        after.credits_posted,
        after.debits_pending,
        after.debits_posted,
        after.version,
    )


def wrong_shard(book: Book, asked: Asked, place: UUID) -> Refused | None:
    """A command's id must fall in the shard of what it moves, so that one id keeps one effect when keys are sharded."""
    if shard_of(asked.id, book.shards) == shard_of(place, book.shards):
        return None
    return Refused(Reason.ID_SHARD_MISMATCH, {"id": str(asked.id)})
