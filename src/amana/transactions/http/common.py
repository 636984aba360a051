"""What the routes of this service share."""

from collections.abc import Collection
from datetime import date, datetime, time, timedelta
from typing import Annotated, NoReturn
from uuid import UUID

from litestar.datastructures import State
from litestar.params import QueryParameter

from amana.domain.book import Answer
from amana.domain.lending import LAGOS
from amana.domain.loan_commands import NOBODY
from amana.domain.reasons import Reason
from amana.gateway.caller import Caller
from amana.transactions.work import Command
from amana.wire.common import PAGE_SIZE_MAX
from amana.wire.problems import FieldError, Refused

TAPE_IMPORT = "tape:import"
STATEMENT_DAYS_MAX = 366
LISTS_TIMEOUT_MAX_S = 45.0
"""What a client may wait for a long list: its last part is begun within 30 s, and takes what a single one does."""
FIRST = UUID(int=0)
PageLimit = Annotated[int, QueryParameter(name="limit", ge=1, le=PAGE_SIZE_MAX, description="Items per page.")]


async def one(state: State, command: Command) -> Answer:
    """The answer of a single command."""
    answers: list[Answer] = await state.flow.submit([command])
    return answers[0]


def others_than_lender(owners: Collection[UUID]) -> set[UUID]:
    """Whose data it is: owners of accounts, without the lender of system accounts."""
    return set(owners) - {NOBODY}


def may_backdate(caller: Caller, pointer: str, is_past: bool) -> None:
    """Refuses a business time that is later than now, or earlier without the scope for it."""
    if not is_past:
        refuse_future(pointer)
    need_scope(caller, pointer)


def refuse_future(*pointers: str) -> NoReturn:
    """Refuses business times that are later than now."""
    errors = [FieldError(pointer, "future", "Later than now.") for pointer in pointers]
    raise Refused(Reason.EFFECTIVE_IN_FUTURE, errors=errors)


def need_scope(caller: Caller, *pointers: str) -> None:
    """Refuses what only the importer of an older book may say."""
    if not caller.may(TAPE_IMPORT):
        detail = f"This needs the scope {TAPE_IMPORT}."
        errors = [FieldError(pointer, "scope_missing", detail) for pointer in pointers]
        raise Refused(Reason.SCOPE_MISSING, detail, errors=errors)


def days_between(first_on: date, last_on: date) -> tuple[datetime, datetime]:
    """Midnight in Lagos before the first date and after the last."""
    if not date(1970, 1, 1) <= first_on <= last_on <= date(2199, 12, 30):
        detail = "Dates of the years 1970 to 2199, the first not after the last."
        raise Refused(Reason.VALIDATION, errors=[FieldError("?last_on", "out_of_range", detail)])
    if (last_on - first_on).days >= STATEMENT_DAYS_MAX:
        detail = f"At most {STATEMENT_DAYS_MAX} days."
        raise Refused(Reason.VALIDATION, errors=[FieldError("?last_on", "out_of_range", detail)])
    return (
        datetime.combine(first_on, time(), LAGOS),
        datetime.combine(last_on + timedelta(days=1), time(), LAGOS),
    )
