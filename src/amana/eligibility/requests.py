"""From requests to what the flow is asked. What a type can't say of a field is checked here."""

from datetime import datetime

from amana.domain.policy import Policy
from amana.domain.policy_checks import check_policy
from amana.domain.pricing import Terms
from amana.domain.reasons import Reason
from amana.domain.transfer import Refused as Refusal
from amana.eligibility.records import Check
from amana.gateway.caller import Caller
from amana.infra.quick_uuid import quick
from amana.wire.eligibility import CheckRequest
from amana.wire.problems import FieldError, Refused, check_instant

TAPE_IMPORT = "tape:import"


def check_of(caller: Caller, request: CheckRequest, now: datetime) -> Check:
    """The check that is asked. Raises `Refused` for what the caller may not ask."""
    check_as_of(caller, request.as_of, now)
    terms = None
    if request.terms is not None:
        _need_scope(caller, "/terms")
        if request.term_days is not None:
            raise _invalid("/term_days", "Given terms say their own number of days.")
        if request.terms.fee >= request.amount:
            raise _invalid("/terms/fee", "A fee is less than the amount.")
        terms = Terms(fee=request.terms.fee, term_days=request.terms.term_days)
    return Check(
        tenant=caller.tenant,
        actor=caller.key_id,
        trace=caller.trace,
        id=request.id and quick(request.id),
        customer=quick(request.customer),
        product=request.product,
        amount=request.amount,
        currency=request.currency,
        term_days=request.term_days,
        terms=terms,
        as_of=request.as_of,
        network=request.network,
    )


def check_as_of(caller: Caller, as_of: datetime | None, now: datetime) -> None:
    """A past instant needs its scope; one that is no past instant is refused to anybody."""
    if as_of is not None:
        check_past(as_of, now)
        _need_scope(caller, "/as_of")


def check_past(as_of: datetime, now: datetime) -> None:
    """Refuses an instant before 1970 or later than now."""
    check_instant(as_of, "/as_of")
    if as_of > now:
        errors = [FieldError("/as_of", "future", "Later than now.")]
        raise Refused(Reason.EFFECTIVE_IN_FUTURE, errors=errors)


def checked(policy: Policy) -> Policy:
    """The policy, if nothing is wrong with it. Raises `Refused` naming each fault by its pointer."""
    faults = check_policy(policy)
    if faults:
        errors = [FieldError(f"/document{fault.pointer}", fault.code, fault.detail) for fault in faults]
        raise Refused(Reason.VALIDATION, errors=errors)
    return policy


def as_problem(refusal: Refusal) -> Refused:
    """A refusal that is the whole answer."""
    errors = []
    if refusal.reason is Reason.ID_CONFLICT:
        errors.append(FieldError(f"/{refusal.figures['field']}", "differs", "Another value than under this id before."))
    return Refused(refusal.reason, figures=refusal.figures, errors=errors)


def _need_scope(caller: Caller, pointer: str) -> None:
    if not caller.may(TAPE_IMPORT):
        detail = f"This needs the scope {TAPE_IMPORT}."
        raise Refused(Reason.SCOPE_MISSING, detail, errors=[FieldError(pointer, "scope_missing", detail)])


def _invalid(pointer: str, detail: str) -> Refused:
    return Refused(Reason.VALIDATION, errors=[FieldError(pointer, "invalid", detail)])
