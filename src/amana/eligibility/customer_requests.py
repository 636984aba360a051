"""From requests about customers to changes of what is known. What a type can't say of a field is checked here.

No detail repeats a value: BVN, NIN, account and phone numbers appear in no answer that a refusal gives.
"""

import asyncio
from collections.abc import Sequence
from datetime import date, datetime
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import naija_data
import phonenumbers

from amana.domain.customer import Change
from amana.domain.lending import business_date
from amana.domain.reasons import Reason
from amana.domain.record import CustomerRecord
from amana.domain.sources import BureauSummary, Consent, Consents, TopUps
from amana.domain.transfer import Refused as Refusal
from amana.gateway.strict import BodyError, decode_strict
from amana.wire.customers import (
    BureauReport,
    ConsentAnswers,
    CustomerChange,
    CustomerRecordRequest,
    TopUpsReport,
)
from amana.wire.problems import FieldError, Refused, check_instant

PARTS = ("record", "bureau", "topups", "consents")
"""What one change may say, by the names in a batch's item."""
ITEMS_AT_ONCE = 20
"""Items that are looked at before others have their turn: a few milliseconds."""
BORN_AFTER = date(1900, 1, 1)
BANKS_MAX = 2_000
"""Codes whose institution is remembered: it is found by going through all of them."""
DEPOSIT_BANK_CODE_DIGITS = 3
"""The CBN code of a deposit money bank; others have 5."""


class Asked(NamedTuple):
    """What is to be known of a customer, and what is odd about it though it refuses nothing."""

    customer: UUID
    change: Change
    warnings: list[FieldError]


def change_of(asked: CustomerChange, now: datetime) -> Asked | Refused:
    """The change that is asked for, or what can't be, by pointers into `asked`."""
    errors: list[FieldError] = []
    warnings: list[FieldError] = []
    if all(getattr(asked, part) is None for part in PARTS):
        errors.append(FieldError("", "missing", f"At least one of {', '.join(PARTS)}."))
    change = Change(
        record=None if asked.record is None else _record(asked.record, business_date(now), errors, warnings),
        bureau=None if asked.bureau is None else _bureau(asked.bureau, now, errors),
        topups=None if asked.topups is None else _topups(asked.topups, now, errors),
        consents=_consents(asked.consents, now, errors),
        if_version=asked.if_version,
    )
    if errors:
        return Refused(Reason.VALIDATION, errors=errors)
    return Asked(asked.customer, change, warnings)


async def items_of(items: Sequence[dict[str, Any]], now: datetime) -> list[Asked | Refused]:
    """What each item of a batch asks for. A list takes a while: others have their turn in between."""
    looked_at: list[Asked | Refused] = []
    for at in range(0, len(items), ITEMS_AT_ONCE):
        looked_at += [_item(item, now) for item in items[at : at + ITEMS_AT_ONCE]]
        await asyncio.sleep(0)
    return looked_at


def _item(item: dict[str, Any], now: datetime) -> Asked | Refused:
    """The change that one item asks for, decoded and checked as if it were a body of its own."""
    try:
        return change_of(decode_strict(msgspec.json.encode(item), CustomerChange), now)
    except BodyError as error:
        return Refused(error.reason, errors=error.errors)


def refused_as(refusal: Refusal) -> Refused:
    """A refusal of a change, with a pointer into the item where a field of it is the cause."""
    errors = []
    figures = dict(refusal.figures)
    if refusal.reason is Reason.FACTS_OLDER:
        errors.append(FieldError(f"/{figures.pop('field')}", "older", "Before the instant that is known."))
    if refusal.reason is Reason.VERSION_CONFLICT:
        errors.append(FieldError("/if_version", "differs", "The facts are of another version."))
    return Refused(refusal.reason, figures=figures, errors=errors)


def moved(errors: Sequence[FieldError], below: str = "", instead_of: str = "") -> tuple[FieldError, ...]:
    """The same faults with their pointers below another place; of the part `instead_of`, as of the whole."""
    return tuple(
        FieldError(below + error.pointer.removeprefix(instead_of), error.code, error.detail) for error in errors
    )


def _record(
    said: CustomerRecordRequest, today: date, errors: list[FieldError], warnings: list[FieldError]
) -> CustomerRecord:
    if said.birth_date is not None and not BORN_AFTER <= said.birth_date <= today:
        errors.append(FieldError("/record/birth_date", "out_of_range", f"From {BORN_AFTER} to today."))
    bank = None if said.bank_code is None else _bank(said.bank_code)
    if said.bank_code is not None and bank is None:
        detail = "No CBN or NIP code of a Nigerian institution."
        errors.append(FieldError("/record/bank_code", "unknown_bank", detail))
    if said.nuban is not None:
        _check_nuban(said.nuban, bank, said.bank_code is None, errors, warnings)
    phone = None if said.phone is None else _e164(said.phone)
    if said.phone is not None and phone is None:
        errors.append(FieldError("/record/phone", "invalid", "Not a valid phone number."))
    return CustomerRecord(**{name: getattr(said, name) for name in CustomerRecord.__struct_fields__} | {"phone": phone})


def _bureau(said: BureauReport, now: datetime, errors: list[FieldError]) -> BureauSummary:
    _check_said_at("/bureau/as_of", said.as_of, now, errors)
    return BureauSummary(
        as_of=said.as_of,
        bureau_count=said.bureau_count,
        score=said.score,
        worst_days_past_due=said.worst_days_past_due,
        open_facilities=said.open_facilities,
    )


def _topups(said: TopUpsReport, now: datetime, errors: list[FieldError]) -> TopUps:
    _check_said_at("/topups/as_of", said.as_of, now, errors)
    return TopUps(as_of=said.as_of, monthly=said.monthly)


def _consents(said: ConsentAnswers | None, now: datetime, errors: list[FieldError]) -> Consents:
    if said is None:
        return Consents()
    answers = {purpose: getattr(said, purpose) for purpose in Consents._fields}
    if not any(answers.values()):
        errors.append(FieldError("/consents", "missing", f"At least one of {', '.join(Consents._fields)}."))
    for purpose, answer in answers.items():
        if answer is not None:
            _check_said_at(f"/consents/{purpose}/at", answer.at, now, errors)
    return Consents(**{purpose: answer and Consent(answer.given, answer.at) for purpose, answer in answers.items()})


def _check_said_at(pointer: str, said_at: datetime, now: datetime, errors: list[FieldError]) -> None:
    try:
        check_instant(said_at, pointer)
    except Refused as refused:
        errors.extend(refused.errors)
        return
    if said_at > now:
        errors.append(FieldError(pointer, "future", "Later than now."))


@lru_cache(maxsize=BANKS_MAX)
def _bank(code: str) -> naija_data.Bank | None:
    """CBN codes have 3 or 5 digits, NIP codes 6. Names are for people, not for records."""
    return naija_data.get_bank(code) if code.isascii() and code.isdigit() else None


def _check_nuban(
    nuban: str, bank: naija_data.Bank | None, no_bank_code: bool, errors: list[FieldError], warnings: list[FieldError]
) -> None:
    """The check digit by the CBN's rule of 2020: it binds deposit money banks. Other institutions have accounts that
    are older than the rule, or are phone numbers: there it only warns. That the account exists is not said by it."""
    pointer = "/record/nuban"
    if no_bank_code:
        errors.append(FieldError(pointer, "needs_bank", "An account number needs its bank_code."))
    if bank is None:
        return
    if not bank.cbn_code:
        warnings.append(FieldError(pointer, "not_checked", "The institution's CBN code is not known."))
    elif not naija_data.is_valid_nuban(nuban, bank.cbn_code):
        binding = len(bank.cbn_code) == DEPOSIT_BANK_CODE_DIGITS
        detail = "The check digit does not fit the bank."
        (errors if binding else warnings).append(FieldError(pointer, "check_digit", detail))


def _e164(text: str) -> str | None:
    """One spelling for a number, Nigerian unless it says otherwise; None where it can't be one."""
    # People write the international prefix as 00, which is not the one that Nigeria dials (009).
    international = f"+{text[2:]}" if text.startswith("00") else text
    try:
        number = phonenumbers.parse(international, "NG")
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
