"""The book: everything that a batch of commands may read or change, and what it did.

The transactions service fills a book under row locks, runs the commands of a batch over it one after the other, and
writes what came out. The id that a client chose is the idempotency key for ever: `once` gives the first answer again,
refuses a changed field by name, and remembers business refusals like any other answer.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias
from uuid import UUID

from amana.domain.account import Account
from amana.domain.events import Aggregate
from amana.domain.ids import shard_of
from amana.domain.lending import Loan, Repayment
from amana.domain.posting import Ledger
from amana.domain.reasons import Reason
from amana.domain.transfer import Key, Posted, Refused, Transfer

Json: TypeAlias = dict[str, Any]


class Kind(StrEnum):
    """What an id was used for: one id space per tenant, whatever the command."""

    TRANSFER = "transfer"
    REVERSAL = "reversal"
    ACCOUNT = "account"
    CREDIT_LINE = "credit_line"
    LOAN = "loan"
    REPAYMENT = "repayment"
    REPAYMENT_REVERSAL = "repayment_reversal"


@dataclass(frozen=True, slots=True)
class Asked:
    """A command as the client sent it. `request` holds its fields as JSON values; only those that it named."""

    tenant: int
    id: UUID
    kind: Kind
    request: Json
    actor: str
    trace: str

    @property
    def key(self) -> Key:
        """(tenant, id)."""
        return self.tenant, self.id


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a command: `result` is the body when `reason` is None, else the figures of the refusal."""

    reason: Reason | None
    result: Json
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """A command that was answered before, as it is kept."""

    kind: str
    request: Json
    reason: Reason | None
    result: Json


@dataclass(frozen=True, slots=True)
class Draft:
    """An event before it gets its id and time; `asked` says who and in which trace."""

    asked: Asked
    type: str
    aggregate: Aggregate
    data: Json


@dataclass(slots=True)
class Book(Ledger):
    """A `Ledger` with loans, and the lists of what is to be written."""

    answers: dict[Key, StoredAnswer] = field(default_factory=dict)
    loans: dict[Key, Loan] = field(default_factory=dict)
    repayments: dict[Key, Repayment] = field(default_factory=dict)
    offers_used: dict[Key, UUID] = field(default_factory=dict)
    new_answers: list[tuple[Asked, Answer]] = field(default_factory=list)
    new_accounts: list[Account] = field(default_factory=list)
    new_limits: set[Key] = field(default_factory=set)
    new_loans: list[Loan] = field(default_factory=list)
    changed_loans: set[Key] = field(default_factory=set)
    new_repayments: list[Repayment] = field(default_factory=list)
    new_reversals: list[Repayment] = field(default_factory=list)
    drafts: list[Draft] = field(default_factory=list)

    def open_account(self, account: Account) -> None:
        """Adds an account that was not there before."""
        key = (account.tenant, account.id)
        assert key not in self.accounts, "an account is opened once"
        self.accounts[key] = account
        self.new_accounts.append(account)


UNSTORED = frozenset({Reason.ID_CONFLICT, Reason.ID_SHARD_MISMATCH})
"""Refusals that say the id itself can't be used here; nothing is kept under it."""


def once(book: Book, asked: Asked, run: Callable[[], Json | Refused]) -> Answer:
    """Runs a command unless its id was used before; a second use gets the first answer or an `id_conflict`."""
    known = book.answers.get(asked.key)
    if known is not None:
        return replayed(asked, known)
    if asked.key in book.transfers and asked.kind not in (Kind.TRANSFER, Kind.REVERSAL):
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


def differing_field(asked: Asked, kind: str, request: Json) -> str | None:
    """The first field, in alphabetical order, in which a second use of an id differs from the first."""
    if kind != asked.kind:
        return "kind"
    for name in sorted(asked.request.keys() | request.keys()):
        if asked.request.get(name) != request.get(name):
            return name
    return None


def draft_postings(book: Book, asked: Asked, posted: list[Posted]) -> None:
    """`TransferPosted` for each, with both accounts' new versions and counters: a projection never waits for a gap."""
    for item in posted:
        transfer = item.transfer
        data: Json = {
            "transfer": str(transfer.id),
            "amount": transfer.amount,
            "currency": transfer.currency,
            "code": transfer.code,
            "effective_on": transfer.effective_on.isoformat(),
            "debit": _side(transfer.debit_account, item.debit),
            "credit": _side(transfer.credit_account, item.credit),
        }
        if transfer.reverses is not None:
            data["reverses"] = str(transfer.reverses)
        if transfer.command is not None:
            data["command"] = str(transfer.command)
        aggregate = Aggregate("transfer", transfer.id, 1)
        book.drafts.append(Draft(asked, "TransferPosted", aggregate, data))


def _side(account: UUID, after: Any) -> Json:
    return {
        "account": str(account),
        "version": after.version,
        "debits_pending": after.debits_pending,
        "debits_posted": after.debits_posted,
        "credits_pending": after.credits_pending,
        "credits_posted": after.credits_posted,
    }


def wrong_shard(book: Book, asked: Asked, place: UUID) -> Refused | None:
    """A command's id must fall in the shard of what it moves, so that one id keeps one effect when keys are sharded."""
    if shard_of(asked.id, book.shards) == shard_of(place, book.shards):
        return None
    return Refused(Reason.ID_SHARD_MISMATCH, {"id": str(asked.id)})


def stored_fields(transfer: Transfer) -> Json:
    """A stored transfer's fields as a client names them, to compare a second use of its id."""
    return {
        "debit_account": str(transfer.debit_account),
        "credit_account": str(transfer.credit_account),
        "amount": transfer.amount,
        "currency": transfer.currency,
        "code": transfer.code,
        "effective_on": transfer.effective_on.isoformat(),
        "reverses": None if transfer.reverses is None else str(transfer.reverses),
        "command": None if transfer.command is None else str(transfer.command),
    }
