"""Problem responses: RFC 9457, made from the one table of refusals.

`type` and `code` name the reason and never change; `detail` is for people and may. `errors` lists what is wrong with a
request, each with an RFC 6901 JSON pointer into the body; a query parameter, path parameter or header is named as
`?name`, `{name}` or `Header-Name` instead. `figures` holds the numbers behind a refusal (a limit, a headroom).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TypeAlias

import msgspec

from amana.domain.reasons import REFUSALS, Reason

TYPE_PREFIX = "https://amana.dev/problems/"
MEDIA_TYPE = "application/problem+json"
FIRST_YEAR, LAST_YEAR = 1969, 2200
"""Both exclusive, by the year as written: a day of offset makes no difference that matters."""

Figure: TypeAlias = int | str | bool | None


class FieldError(msgspec.Struct, frozen=True):
    """One thing wrong with a request: where, a stable code, and words for people."""

    pointer: str
    code: str
    detail: str


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of every answer that is not a success. `figures` is left out where there are none."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: Reason
    request_id: str
    retryable: bool
    errors: tuple[FieldError, ...]
    figures: dict[str, Figure] = {}


def problem(
    reason: Reason,
    detail: str = "",
    *,
    errors: Sequence[FieldError] = (),
    instance: str = "",
    request_id: str = "",
    figures: Mapping[str, Figure] | None = None,
) -> Problem:
    """The problem for `reason`, with the table's status; without `detail` the table's meaning is said."""
    row = REFUSALS[reason]
    return Problem(
        type=f"{TYPE_PREFIX}{reason}",
        title=reason.value.replace("_", " ").capitalize(),
        status=row.status,
        detail=detail or row.meaning,
        instance=instance,
        code=reason,
        request_id=request_id,
        retryable=row.retryable,
        errors=tuple(errors),
        figures=dict(figures or {}),
    )


class Refused(Exception):
    """Raised by an HTTP handler, and only there, to answer with a refusal as the whole response.

    Below the handler a refusal is a value; this is how the last line turns it into the table's status.
    """

    def __init__(
        self,
        reason: Reason,
        detail: str = "",
        figures: Mapping[str, Figure] | None = None,
        errors: Sequence[FieldError] = (),
    ) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail
        self.figures = dict(figures or {})
        self.errors = tuple(errors)


def check_instant(value: datetime, pointer: str) -> None:
    """Refuses an instant outside 1970 to 2199, whatever its offset: no business happened there."""
    if not FIRST_YEAR < value.year < LAST_YEAR:
        detail = f"An instant of the years {FIRST_YEAR + 1} to {LAST_YEAR - 1}."
        raise Refused(Reason.VALIDATION, errors=[FieldError(pointer, "out_of_range", detail)])
