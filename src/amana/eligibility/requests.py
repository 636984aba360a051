"""From requests to what the flow is asked. What a type can't say of a field is checked here."""

from datetime import date, datetime

import naija_data
import phonenumbers

from amana.domain.facts import CustomerRecord
from amana.domain.policy import Policy
from amana.domain.policy_checks import check_policy
from amana.domain.pricing import Terms
from amana.domain.reasons import Reason
from amana.domain.transfer import Refused as Refusal
from amana.eligibility.records import Check
from amana.gateway.caller import Caller
from amana.wire.eligibility import CheckRequest, CustomerFactsRequest
from amana.wire.problems import FieldError, Refused, check_instant

TAPE_IMPORT = "tape:import"
BORN_AFTER = date(1900, 1, 1)


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
        id=request.id,
        customer=request.customer,
        product=request.product,
        amount=request.amount,
        currency=request.currency,
        term_days=request.term_days,
        terms=terms,
        as_of=request.as_of,
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


def record_of(request: CustomerFactsRequest, today: date) -> CustomerRecord:
    """The record that is said, its phone in E.164. Raises `Refused` naming what can't be."""
    errors = []
    if request.birth_date is not None and not BORN_AFTER <= request.birth_date <= today:
        errors.append(FieldError("/birth_date", "out_of_range", f"From {BORN_AFTER} to today."))
    if request.bank_code is not None and not _is_bank(request.bank_code):
        errors.append(FieldError("/bank_code", "unknown_bank", "No CBN or NIP code of a Nigerian institution."))
    phone = None if request.phone is None else _e164(request.phone)
    if request.phone is not None and phone is None:
        errors.append(FieldError("/phone", "invalid", "Not a valid phone number."))
    if errors:
        raise Refused(Reason.VALIDATION, errors=errors)
    return CustomerRecord(
        kyc_tier=request.kyc_tier,
        birth_date=request.birth_date,
        employment=request.employment,
        monthly_income=request.monthly_income,
        bank_code=request.bank_code,
        phone=phone,
        blocked=request.blocked,
    )


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


def _is_bank(code: str) -> bool:
    """CBN codes have 3 or 5 digits, NIP codes 6. Names are for people, not for records."""
    return code.isascii() and code.isdigit() and naija_data.get_bank(code) is not None


def _e164(text: str) -> str | None:
    """One spelling for a number, Nigerian unless it says otherwise; None where it can't be one."""
    try:
        number = phonenumbers.parse(text, "NG")
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _need_scope(caller: Caller, pointer: str) -> None:
    if not caller.may(TAPE_IMPORT):
        detail = f"This needs the scope {TAPE_IMPORT}."
        raise Refused(Reason.SCOPE_MISSING, detail, errors=[FieldError(pointer, "scope_missing", detail)])


def _invalid(pointer: str, detail: str) -> Refused:
    return Refused(Reason.VALIDATION, errors=[FieldError(pointer, "invalid", detail)])
