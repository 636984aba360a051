"""What may be done with what is known of a customer, and until when the law keeps it.

`open` → `restricted` → `erased`, and never back. A request to erase restricts at once: the customer's data is kept and
used for nothing but what they owe. It is destroyed when no law keeps it any longer:

    something is owed                      not yet: looked at again later
    a decision is being reversed           the same: a person may have to help it on, and say why
    never decided about, never lent to     at once
    else                                   the retention period after the last decision or the end of the last loan

A legal hold comes before all of these: while one stands on a customer, nothing of them is destroyed.
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

from amana.domain.facts import CustomerStanding
from amana.domain.lending import LAGOS
from amana.domain.reasons import Reason
from amana.domain.transfer import Refused

AT_ONCE = datetime(1970, 1, 1, tzinfo=UTC)
"""The end of a retention period that never began."""


class Processing(StrEnum):
    """What may be done with a customer's data."""

    OPEN = "open"
    RESTRICTED = "restricted"
    ERASED = "erased"


class ErasureReason(StrEnum):
    """Why a customer is erased (NDPA 2023, s. 34): a code, for free text could name the person."""

    CUSTOMER_REQUEST = "customer_request"
    CONSENT_WITHDRAWN = "consent_withdrawn"
    NOT_NEEDED = "not_needed"
    UNLAWFUL = "unlawful"
    LEGAL_DUTY = "legal_duty"


class HoldReason(StrEnum):
    """Why a customer is under a legal hold: a code, for free text could name the person."""

    DISPUTE = "dispute"
    REGULATOR = "regulator"
    COURT_ORDER = "court_order"
    INVESTIGATION = "investigation"


class ReleaseReason(StrEnum):
    """Why a legal hold was released."""

    MATTER_CLOSED = "matter_closed"
    ORDER_LIFTED = "order_lifted"
    PLACED_IN_ERROR = "placed_in_error"


def refuse_processing(processing: Processing) -> Refused | None:
    """Why nothing may be done with a customer's data."""
    match processing:
        case Processing.OPEN:
            return None
        case Processing.RESTRICTED:
            return Refused(Reason.CUSTOMER_RESTRICTED)
        case Processing.ERASED:
            return Refused(Reason.CUSTOMER_ERASED)


def end_of_retention(
    last_decided_at: datetime | None,
    standings: Iterable[CustomerStanding],
    retention: timedelta,
    *,
    reversing: bool = False,
) -> datetime | None:
    """The instant from which a customer may be erased; None while something is owed, or `reversing`. In UTC.

    `standings` are the customer's own, one for each currency.
    """
    if reversing:
        return None
    ends = [] if last_decided_at is None else [last_decided_at]
    for standing in standings:
        if standing.loans_open or standing.exposure > 0:
            return None
        if standing.last_closed_on is not None:
            ends.append(_end_of(standing.last_closed_on))
    return max(ends).astimezone(UTC) + retention if ends else AT_ONCE


def _end_of(day: date) -> datetime:
    """When a business day is over."""
    following = day + timedelta(days=1)
    return datetime(following.year, following.month, following.day, tzinfo=LAGOS)
