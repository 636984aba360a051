"""Reviews of a decision, one function for each: what is asked, and how it is judged (`judging` runs it).

    the decision, the live policy  →  judged under the decision's lock, and written in one transaction

A reversal ends every offer of the decision here, in this transaction, and begins a saga in it where there are any: what
was booked from one lives in transactions, and is undone from there (`undoing`).
"""

from uuid import UUID

import msgspec

from amana.domain.book import Asked
from amana.domain.commitments import Words
from amana.domain.decision import CompiledPolicy
from amana.domain.decision_reversal import SagaState, UndoLoans, undo_terms
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
from amana.eligibility.judging import Done, Reviewing, run
from amana.eligibility.review_records import Draft
from amana.gateway.caller import Caller
from amana.infra import clock
from amana.infra.postgres import Connection, reading
from amana.wire.reviews import (
    AppealRequest,
    DecisionReversalRequest,
    OverrideRequest,
    ResolutionRequest,
    ReversalHelpRequest,
)

_WORDS = ("id", "reason", "reviewer")


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

    return await run(flow, caller, Reviewing(asked, words, decision_id, judge))


async def appeal(flow: Flow, caller: Caller, decision_id: UUID, request: AppealRequest) -> Done | Refused:
    """The customer contests a decision: it waits for a person from now on."""
    if not await _exists(flow, caller.tenant, decision_id):
        return Refused(Reason.NOT_FOUND)
    asked, words = _asked(caller, request, ReviewKind.APPEAL, decision=decision_id)

    async def judge(_: Connection, case: Case) -> Draft | Refused:
        return refuse_appeal(case) or _draft(asked, words, case, case.standing)

    return await run(flow, caller, Reviewing(asked, words, decision_id, judge))


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

    return await run(flow, caller, Reviewing(asked, words, decision_id, judge))


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

    return await run(flow, caller, Reviewing(asked, words, decision_id, judge))


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

    return await run(flow, caller, Reviewing(asked, words, found.decision_id, judge))


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
