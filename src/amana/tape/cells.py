"""From the text of a cell to a value of the book. Pure, exact, and never an exception: a bad cell is a `Fault`."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import NamedTuple, TypeAlias
from zoneinfo import ZoneInfo

import naija_data

from amana.domain.money import MAX_AMOUNT
from amana.tape import mapping as m


class Fault(NamedTuple):
    """What is wrong with a cell or a row: a code of `amana.tape.report.CODES`, and words for people."""

    code: str
    detail: str


class Changed(NamedTuple):
    """A value that was repaired on the way in, and why."""

    value: str
    fault: Fault


Value: TypeAlias = str | int | date | datetime
Cell: TypeAlias = "Value | Fault | Changed | None"
CellReader: TypeAlias = "Callable[[str], Cell]"

TEXT_MAX = 200
SHOWN_MAX = 60
DIGITS_MAX = 18
MINOR_DIGITS = 2
BANK_NAMES_CACHED = 4_096
MERGERS_MAX = 4
EARLIEST_YEAR, LATEST_YEAR = 1900, 9999

_AMOUNT = re.compile(r"([+-]?)(\d+|\d{1,3}(?:,\d{3})+)(?:\.(\d+))?", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d{1,15}", re.ASCII)
_ZONES = {"UTC": UTC, "Africa/Lagos": ZoneInfo("Africa/Lagos")}


def cell_reader(reader: m.Reader) -> CellReader:
    """The function that reads one cell, already trimmed and not blank, as the mapping says."""
    match reader:
        case m.Text():
            return read_text
        case m.Money():
            return lambda text: read_money(text, 0 if reader.unit == "kobo" else MINOR_DIGITS)
        case m.InstantAt():
            return lambda text: read_instant(text, reader.zone, reader.format)
        case m.Date():
            return lambda text: read_date(text, reader.format)
        case m.Integer():
            return read_integer
        case m.OneOf():
            return lambda text: reader.values.get(text) or _fault("unknown_value", text)
        case m.BankName():
            return lambda text: read_bank(reader.aliases.get(text, text), text)
        case m.Phone():
            return read_phone
        case m.Constant():
            return lambda text: reader.value


def read_text(text: str) -> Cell:
    """The text itself, at most 200 characters, without control characters."""
    if len(text) > TEXT_MAX or not text.isprintable():
        return _fault("unreadable_text", text)
    return text


def read_money(text: str, minor_digits: int = MINOR_DIGITS) -> Cell:
    """Minor units from a decimal number with at most `minor_digits` places that count: `12345.5000` is 1234550.

    Whole-number arithmetic throughout; a fraction of a kobo is a fault, never rounded.
    """
    match = _AMOUNT.fullmatch(text)
    if match is None:
        return _fault("unreadable_money", text)
    sign, whole, fraction = match[1], match[2].replace(",", ""), (match[3] or "").rstrip("0")
    if len(fraction) > minor_digits:
        return _fault("fractional_kobo", text)
    digits = (whole + fraction.ljust(minor_digits, "0")).lstrip("0")
    if not digits:
        return _fault("zero_amount", text)
    if sign == "-":
        return _fault("negative_amount", text)
    if len(digits) > DIGITS_MAX or int(digits) > MAX_AMOUNT:
        return _fault("amount_too_large", text)
    return int(digits)


def read_instant(text: str, zone: str, pattern: str = "iso") -> Cell:
    """UTC from a time on the clock `zone`; a value that carries its own offset keeps it."""
    moment = _parsed(text, pattern)
    if moment is None:
        return _fault("unreadable_instant", text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=_ZONES[zone])
    return moment.astimezone(UTC)


def read_date(text: str, pattern: str = "iso") -> Cell:
    """A calendar date."""
    moment = _parsed(text, pattern)
    return _fault("unreadable_date", text) if moment is None else moment.date()


def read_integer(text: str) -> Cell:
    """A whole number of at most 15 digits."""
    return int(text) if _INTEGER.fullmatch(text) else _fault("unreadable_integer", text)


def read_phone(text: str) -> Cell:
    """`+234...` from the usual ways of writing a Nigerian number."""
    return naija_data.normalize_phone(text) if naija_data.is_valid_phone(text) else _fault("unreadable_phone", text)


@lru_cache(BANK_NAMES_CACHED)
def read_bank(name: str, shown: str) -> Cell:
    """The CBN code of a bank by any of its names. `shown` is the cell, `name` what the mapping's aliases make of it.

    Another spelling is just read; a bank that has become another (by merger or alias) counts as repaired.
    """
    bank = naija_data.get_bank(name)
    original = bank
    for _ in range(MERGERS_MAX):
        if bank is None or bank.merged_into is None:
            break
        bank = naija_data.get_bank(bank.merged_into)
    if bank is None or not bank.cbn_code:
        return _fault("unknown_bank", shown)
    if bank is not original or naija_data.get_bank(shown) != bank:
        return Changed(bank.cbn_code, Fault("bank_renamed", f"{shown!r} is {bank.name} ({bank.cbn_code})"))
    return str(bank.cbn_code)


def _parsed(text: str, pattern: str) -> datetime | None:
    try:
        moment = (
            datetime.fromisoformat(text) if pattern == "iso" else datetime.strptime(text, pattern)  # noqa: DTZ007
        )
    except ValueError:
        return None
    return moment if EARLIEST_YEAR < moment.year < LATEST_YEAR else None


def _fault(code: str, text: str) -> Fault:
    return Fault(code, repr(text if len(text) <= SHOWN_MAX else text[:SHOWN_MAX] + "..."))
