"""Runs one review of a decision, whatever its kind: judged under the lock, and written with its event.

    the customer's key  →  BEGIN, the decision's standing locked, judged purely, review, event  →  COMMIT

All reviews of a decision take turns at the row of its standing, so of two at once the second one sees the first. An id
that was used before gives its first answer again, or is refused by the field that differs. What is refused is not
stored: as with checks, its id stays free. Who was erased has no key: nothing can be written about them any more.
"""

from collections.abc import Awaitable, Callable
from typing import NamedTuple
from uuid import UUID

from amana.domain.book import Asked, differing_field
from amana.domain.commitments import Words, differing_words
from amana.domain.decision_reversal import UndoTerms, abandoned, resumed
from amana.domain.reasons import Reason
from amana.domain.review import Case, ReviewKind
from amana.domain.transfer import Refused
from amana.eligibility import reversal_store, review_store
from amana.eligibility.flow import Flow
from amana.eligibility.records import Key
from amana.eligibility.review_events import reviewed
from amana.eligibility.review_records import Draft, Review
from amana.eligibility.sealed import open_review, seal_words
from amana.gateway.caller import Caller
from amana.infra.outbox import append
from amana.infra.postgres import Connection, in_transaction, reading
from amana.infra.sealing import SealingKey


class Done(NamedTuple):
    """A review that is stored; `replayed` when it was before."""

    review: Review
    replayed: bool


class Reviewing(NamedTuple):
    """One request to review: what was asked, in which words, of which decision, and how it is judged."""

    asked: Asked
    words: Words
    decision_id: UUID
    judge: Callable[[Connection, Case], Awaitable[Draft | Refused]]


async def run(flow: Flow, caller: Caller, wanted: Reviewing) -> Done | Refused:
    """Judges and writes a review, or finds it written. Raises `DatabaseUnavailable`, also where no keys can be had."""
    where, key = await _key(flow, caller.tenant, wanted.decision_id)

    async def work(connection: Connection) -> Done | Refused:
        case = await review_store.lock_case(connection, caller.tenant, wanted.decision_id)
        known = await review_store.find_review(connection, caller.tenant, wanted.asked.id)
        if known is not None:
            return _replayed(wanted, known, where, key)
        if await review_store.is_decision(connection, caller.tenant, wanted.asked.id):
            return Refused(Reason.ID_CONFLICT, {"field": "kind"})
        if key is None:
            return Refused(Reason.CUSTOMER_ERASED)
        draft = await wanted.judge(connection, case)
        if isinstance(draft, Refused):
            return draft
        words = seal_words(key, where, wanted.asked.id, draft.words)
        review = await review_store.insert_review(connection, draft, case.customer, words)
        await _keep(connection, review, draft.undo)
        await append(connection, [reviewed(review, case, caller.trace, draft.undo)])
        return Done(review, replayed=False)

    return await in_transaction(flow.pool, work)


async def _keep(connection: Connection, review: Review, undo: UndoTerms | None) -> None:
    """Opens or closes the appeal that a review is about; begins a saga, or helps one on."""
    match review.kind:
        case ReviewKind.APPEAL:
            await review_store.insert_appeal(connection, review)
        case ReviewKind.RESOLUTION:
            await review_store.resolve_appeal(connection, review.tenant, UUID(review.asked["appeal"]), review.review_id)
        case ReviewKind.REVERSAL if review.offers and undo is not None:
            await reversal_store.insert_reversal(connection, review, undo)
        case ReviewKind.RESUMPTION | ReviewKind.ABANDONMENT:
            change = resumed if review.kind is ReviewKind.RESUMPTION else abandoned
            await reversal_store.help_on(connection, review.tenant, UUID(review.asked["reversal"]), change)


async def _key(flow: Flow, tenant: int, decision_id: UUID) -> tuple[Key, SealingKey | None]:
    """Whose key seals the words about a decision that is there, and the key; None once they were erased."""
    async with reading(flow.pool) as connection:
        customer = await review_store.find_customer(connection, tenant, decision_id)
    assert customer is not None, "a decision is never deleted"
    where = tenant, customer
    return where, (await flow.vault.ensure([where]))[where]


def _replayed(wanted: Reviewing, known: Review, where: Key, key: SealingKey | None) -> Done | Refused:
    differs = differing_field(wanted.asked, known.kind, known.asked)
    if differs is None:  # so it is about the same decision, and the same customer
        known = open_review(known, where, key)
        differs = differing_words(wanted.words, known.words)
    return Done(known, replayed=True) if differs is None else Refused(Reason.ID_CONFLICT, {"field": differs})
