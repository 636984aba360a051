"""Requests and responses about customers: the lender's record, what other sources say, blocks."""

from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import Meta

from amana.domain.record import Employment
from amana.wire.common import END, AmountOrZero, Instant, Request, Response
from amana.wire.problems import FieldError, Figure

CHANGES_MAX = 1_000
"""Customers in one batch."""

KycTier = Annotated[int, Meta(ge=1, le=3, description="How well the customer's identity is verified (CBN tiers).")]
ShortText = Annotated[str, Meta(min_length=1, max_length=40)]
IfVersion = Annotated[
    int, Meta(ge=0, le=2**53 - 1, description="Only if the facts are of this version; 0: only if there is no record.")
]
Days = Annotated[int, Meta(ge=0, le=36_500)]
Bvn = Annotated[str, Meta(pattern=rf"^[0-9]{{11}}{END}", description="11 digits, nothing between them.")]
Nin = Annotated[
    str, Meta(pattern=rf"^[0-9]{{11}}{END}", description="11 digits, nothing between them; no virtual NIN.")
]
Nuban = Annotated[str, Meta(pattern=rf"^[0-9]{{10}}{END}", description="10 digits, nothing between them.")]


class CustomerRecordRequest(Request):
    """All that the lender says of a customer. What is left out is unknown from now on.

    BVN, NIN and account number are refused unless they are digits alone; a phone number is taken in any usual spelling
    and kept in E.164.
    """

    kyc_tier: KycTier
    birth_date: date | None = None
    employment: Employment | None = None
    monthly_income: AmountOrZero | None = None
    bank_code: ShortText | None = None
    nuban: Nuban | None = None
    phone: ShortText | None = None
    bvn: Bvn | None = None
    nin: Nin | None = None
    blocked: bool = False


class CustomerFactsRequest(CustomerRecordRequest):
    """The record of one customer."""

    if_version: IfVersion | None = None


class BureauReport(Request):
    """What credit bureaus report of a customer, as of the report's own date. What is left out, it does not say."""

    as_of: Instant
    bureau_count: Annotated[int, Meta(ge=1, le=20, description="How many bureaus it rests on.")]
    score: Annotated[int, Meta(ge=0, le=1_000)] | None = None
    worst_days_past_due: Days | None = None
    open_facilities: Annotated[int, Meta(ge=0, le=10_000)] | None = None


class BureauRequest(BureauReport):
    """The bureau report of one customer."""

    if_version: IfVersion | None = None


class TopUpsReport(Request):
    """What a customer tops up a month, as of the network's own date."""

    as_of: Instant
    monthly: AmountOrZero


class TopUpsRequest(TopUpsReport):
    """The top-ups of one customer."""

    if_version: IfVersion | None = None


class ConsentAnswer(Request):
    """A consent given or, with false, refused or withdrawn; and when."""

    given: bool
    at: Instant


class ConsentAnswers(Request):
    """A customer's answers by purpose, at least one. What is left out stays as it is."""

    terms: ConsentAnswer | None = None
    bureau: ConsentAnswer | None = None
    recovery: ConsentAnswer | None = None


class ConsentsRequest(ConsentAnswers):
    """The consents of one customer."""

    if_version: IfVersion | None = None


class CustomerFactsRecorded(Response):
    """The version of the customer's facts; it grows with every change. `warnings` refuse nothing."""

    customer: UUID
    facts_version: int
    warnings: tuple[FieldError, ...] = ()


class CustomerChange(Request):
    """One item of a batch: the record, what another source says, or several of them, which make one version."""

    customer: UUID
    record: CustomerRecordRequest | None = None
    bureau: BureauReport | None = None
    topups: TopUpsReport | None = None
    consents: ConsentAnswers | None = None
    if_version: IfVersion | None = None


class CustomersRequest(Request):
    """Changes of many customers, each as if it were sent alone, in their order.

    An item is `{customer, record?, bureau?, topups?, consents?, if_version?}`; the parts are the bodies of the routes
    for one customer. It is looked at by itself, so that one that is wrong is one refused result.
    """

    customers: Annotated[list[dict[str, Any]], Meta(min_length=1, max_length=CHANGES_MAX)]


class CustomerResult(Response):
    """What became of one item. Pointers are into the whole request. `customer` is null where the item names none.

    `figures` are the numbers behind a refusal, null where there are none.
    """

    customer: UUID | None
    status: Literal["recorded", "unchanged", "refused"]
    facts_version: int | None = None
    reason: str | None = None
    figures: dict[str, Figure] | None = None
    errors: tuple[FieldError, ...] = ()
    warnings: tuple[FieldError, ...] = ()


class CustomerResults(Response):
    """A result for each item, in the order of the request."""

    results: list[CustomerResult]


class BureauView(Response):
    """The newest bureau report."""

    as_of: datetime
    bureau_count: int
    score: int | None
    worst_days_past_due: int | None
    open_facilities: int | None


class TopUpsView(Response):
    """The newest word on top-ups."""

    as_of: datetime
    monthly: int


class ConsentView(Response):
    """The newest answer for one purpose."""

    given: bool
    at: datetime


class CustomerView(Response):
    """What is known of a customer. Without the scope `customers:identity`, BVN, NIN, account and phone are masked.

    `linked` are the other customers who are the same person; `person_blocked` says whether any of them, this one
    included, is blocked by its record or by a block in force.
    """

    customer: UUID
    facts_version: int
    recorded_at: datetime
    kyc_tier: int
    birth_date: date | None
    employment: Employment | None
    monthly_income: int | None
    bank_code: str | None
    nuban: str | None
    phone: str | None
    bvn: str | None
    nin: str | None
    blocked: bool
    bureau: BureauView | None
    topups: TopUpsView | None
    consents: dict[str, ConsentView | None]
    person_blocked: bool
    linked: list[UUID]
