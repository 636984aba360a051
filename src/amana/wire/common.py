"""The types that every request and response is made of.

A request is decoded strictly: unknown fields are refused, and an integer is a JSON integer, never a string, a float or
a bool. Ids are `uuid.UUID`, business dates `datetime.date`, instants `datetime.datetime` with an offset.
"""

from datetime import datetime
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from amana.domain.money import MAX_AMOUNT

Amount: TypeAlias = Annotated[int, Meta(ge=1, le=MAX_AMOUNT, description="Minor units (kobo), at least 1.")]
AmountOrZero: TypeAlias = Annotated[int, Meta(ge=0, le=MAX_AMOUNT, description="Minor units (kobo).")]
Instant: TypeAlias = Annotated[datetime, Meta(tz=True, description="RFC 3339, with its offset.")]

END = r"(?![\s\S])"
"""The end of a text in a pattern, in Python and in ECMA 262 (JSON Schema) alike: `$` allows a newline in Python."""

Code = Annotated[
    str, Meta(min_length=1, max_length=40, pattern=rf"^[a-z][a-z0-9_]*{END}", description="What it is for.")
]

PAGE_SIZE_DEFAULT = 100
PAGE_SIZE_MAX = 1_000
PageSize: TypeAlias = Annotated[int, Meta(ge=1, le=PAGE_SIZE_MAX, description="Items per page.")]

LIST_MAX = 5_000
"""The longest list that one request may carry."""


class Request(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The base of every request body. A subclass repeats no option: msgspec inherits them."""


class Response(msgspec.Struct, kw_only=True):
    """The base of every response body. It may grow fields, so clients must ignore those that they do not know."""
