"""Reviews of a decision: judged under its lock, and written with their event in one transaction.

    the decision, the live policy, the customer's key  →
    BEGIN, the decision's standing locked, judged purely, review, event  →  COMMIT

All reviews of a decision take turns at the row of its standing, so of two at once the second one sees the first. An id
that was used before gives its first answer again, or is refused by the field that differs. What is refused is not
stored: as with checks, its id stays free.

A reversal ends every offer of the decision here, in this transaction, and begins a saga in it where there are any: what
was booked from one lives in transactions, and is undone from there (`undoing`).
"""

from collections.abc import Awaitable, Callable
from typing import NamedTuple
from uuid import UUID

import msgspec

from amana.domain.book import Asked, differing_field
from amana.domain.commitments import Words, differing_words
from amana.domain.decision import CompiledPolicy
from amana.domain.decision_reversal import SagaState, UndoLoans, UndoTerms, abandoned, resumed, undo_terms
from amana.domain.reasons import Reason
from amana.domain.review import (
    Case,
    OverrideOutcome,
    OverrideTerms,
    ResolutionOutcome,
    ReviewKind,
    Standing,
    Wanted,
    refuse_appeal,
    refuse_help,
    refuse_override,
    refuse_resolution,
    refuse_reversal,
    terms_of,
)
from amana.domain.transfer import Refused
from amana.eligibility import reversal_store, review_store, store
from amana.eligibility.flow import Flow
from amana.eligibility.records import Key
from amana.eligibility.review_events import reviewed
from amana.eligibility.review_records import Draft, Review
from amana.eligibility.sealed import open_review, seal_words
from amana.gateway.caller import Caller
from amana.infra import clock
from amana.infra.outbox import append
from amana.infra.postgres import Connection, in_transaction, reading
from amana.infra.sealing import SealingKey
from amana.wire.reviews import (
    AppealRequest,
    DecisionReversalRequest,
    OverrideRequest,
    ResolutionRequest,
    ReversalHelpRequest,
)

_WORDS = ("id", "reason", "reviewer")


class Done(NamedTuple):
    """A review that is stored; `replayed` when it was before."""

    review: Review
    replayed: bool


class _Review(NamedTuple):
    """One request to review: what was asked, in which words, of which decision, and how it is judged."""

    asked: Asked
    words: Words
    decision_id: UUID
    judge: Callable[[Connection, Case], Awaitable[Draft | Refused]]


async def override(flow: Flow, caller: Caller, decision_id: UUID, request: OverrideRequest) -> Done | Refused:
    """A person decides otherwise; approving makes an offer under the override's id."""
    policy = await _live_policy(flow, caller.tenant, decision_id)
    if isinstance(policy, Refused):
        return policy
    asked, words = _asked(caller, request, ReviewKind.OVERRIDE, decision=decision_id)
    wanted = Wanted(
        outcome=request.outcome,
        amount=request.amount,
        exposure_cap=request.exposure_cap,
        term_days=request.term_days,
        supersedes=request.supersedes,
    )

    async def judge(_: Connection, case: Case) -> Draft | Refused:
        if refused := refuse_override(case, caller.key_id, wanted):
            return refused
        terms = _terms(case, policy, wanted)
        if isinstance(terms, Refused):
            return terms
        draft = _draft(asked, words, case, Standing.OVERRIDDEN)
        return msgspec.structs.replace(draft, outcome=request.outcome, terms=terms, ttl_s=request.ttl_s)

    return await _run(flow, caller, _Review(asked, words, decision_id, judge))


async def appeal(flow: Flow, caller: Caller, decision_id: UUID, request: AppealRequest) -> Done | Refused:
    """The customer contests a decision: it waits for a person from now on."""
    if not await _exists(flow, caller.tenant, decision_id):
        return Refused(Reason.NOT_FOUND)
    asked, words = _asked(caller, request, ReviewKind.APPEAL, decision=decision_id)

    async def judge(_: Connection, case: Case) -> Draft | Refused:
        return refuse_appeal(case) or _draft(asked, words, case, case.standing)

    return await _run(flow, caller, _Review(asked, words, decision_id, judge))


async def resolve(flow: Flow, caller: Caller, appeal_id: UUID, request: ResolutionRequest) -> Done | Refused:
    """A person answers an appeal."""
    async with reading(flow.pool) as connection:
        found = await review_store.find_appeal(connection, caller.tenant, appeal_id)
    if found is None:
        return Refused(Reason.APPEAL_NOT_FOUND)
    decision_id, filed_version = found
    asked, words = _asked(caller, request, ReviewKind.RESOLUTION, appeal=appeal_id)

    async def judge(connection: Connection, case: Case) -> Draft | Refused:
        changed = request.outcome is ResolutionOutcome.CHANGED and await review_store.changed_since(
            connection, caller.tenant, request.changed_by, decision_id, filed_version
        )
        refused = refuse_resolution(case, caller.key_id, appeal_id, request.outcome, changed_since=changed)
        if refused is not None:
            return refused
        return msgspec.structs.replace(_draft(asked, words, case, case.standing), outcome=request.outcome)

    return await _run(flow, caller, _Review(asked, words, decision_id, judge))


async def reverse(flow: Flow, caller: Caller, decision_id: UUID, request: DecisionReversalRequest) -> Done | Refused:
    """Withdraws a decision and every offer that was made of it, for good; and begins to undo what followed."""
    policy = await _live_policy(flow, caller.tenant, decision_id)
    if isinstance(policy, Refused):
        return policy
    asked, words = _asked(caller, request, ReviewKind.REVERSAL, decision=decision_id)
    undo = undo_terms(request.loans, policy)

    async def judge(_: Connection, case: Case) -> Draft | Refused:
        undoes_loans = request.loans is UndoLoans.REVERSE
        if refused := refuse_reversal(case, caller.key_id, undoes_loans=undoes_loans):
            return refused
        draft = _draft(asked, words, case, Standing.REVERSING if case.offers else Standing.REVERSED)
        return msgspec.structs.replace(draft, offers=case.offers, undo=undo)

    return await _run(flow, caller, _Review(asked, words, decision_id, judge))


async def help_on(
    flow: Flow, caller: Caller, reversal_id: UUID, request: ReversalHelpRequest, kind: ReviewKind
) -> Done | Refused:
    """A person has a stuck reversal go on (`RESUMPTION`), or gives up what it can't undo (`ABANDONMENT`)."""
    async with reading(flow.pool) as connection:
        found = await reversal_store.find_reversal(connection, caller.tenant, reversal_id)
    if found is None:
        return Refused(Reason.REVERSAL_NOT_FOUND)
    asked, words = _asked(caller, request, kind, reversal=reversal_id)

    async def judge(connection: Connection, case: Case) -> Draft | Refused:
        saga = await reversal_store.find_reversal(connection, caller.tenant, reversal_id)
        assert saga is not None, "a reversal is never deleted"
        undoes_loans = kind is ReviewKind.RESUMPTION and saga.undo.terms is not None
        stuck = saga.state is SagaState.STUCK
        refused = refuse_help(case, caller.key_id, undoes_loans=undoes_loans, stuck=stuck)
        return refused or _draft(asked, words, case, case.standing)

    return await _run(flow, caller, _Review(asked, words, found.decision_id, judge))


async def _run(flow: Flow, caller: Caller, wanted: _Review) -> Done | Refused:
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


def _replayed(wanted: _Review, known: Review, where: Key, key: SealingKey | None) -> Done | Refused:
    differs = differing_field(wanted.asked, known.kind, known.asked)
    if differs is None:  # so it is about the same decision, and the same customer
        known = open_review(known, where, key)
        differs = differing_words(wanted.words, known.words)
    return Done(known, replayed=True) if differs is None else Refused(Reason.ID_CONFLICT, {"field": differs})


def _asked(
    caller: Caller,
    request: OverrideRequest | AppealRequest | ResolutionRequest | DecisionReversalRequest | ReversalHelpRequest,
    kind: ReviewKind,
    **place: UUID,
) -> tuple[Asked, Words]:
    """The request's fields that were named, as JSON values, and apart from them what a person wrote."""
    fields = {
        name: value for name, value in msgspec.to_builtins(request).items() if name not in _WORDS and value is not None
    }
    if fields.get("loans") == UndoLoans.KEEP:
        del fields["loans"]  # as when it is not named
    fields |= {name: str(id_) for name, id_ in place.items()}
    words = Words(getattr(request, "reviewer", None), request.reason, clock.random_salt())
    return Asked(caller.tenant, request.id, kind, fields, caller.key_id, caller.trace), words


def _draft(asked: Asked, words: Words, case: Case, standing: Standing) -> Draft:
    return Draft(asked=asked, decision_id=case.decision_id, version=case.version + 1, standing=standing, words=words)


def _terms(case: Case, policy: CompiledPolicy | None, wanted: Wanted) -> OverrideTerms | Refused | None:
    if wanted.outcome is OverrideOutcome.DECLINE:
        return None
    return Refused(Reason.PRODUCT_NOT_FOUND) if policy is None else terms_of(case, policy, wanted)


async def _live_policy(flow: Flow, tenant: int, decision_id: UUID) -> CompiledPolicy | Refused | None:
    """The live policy of a decision's product, None where it has none by now."""
    async with reading(flow.pool) as connection:
        found = (await store.find_decisions(connection, [(tenant, decision_id)])).get((tenant, decision_id))
        if found is None:
            return Refused(Reason.NOT_FOUND)
        key = tenant, found.product
        return (await flow.policies.live(connection, [key])).get(key)


async def _exists(flow: Flow, tenant: int, decision_id: UUID) -> bool:
    async with reading(flow.pool) as connection:
        return await review_store.is_decision(connection, tenant, decision_id)
