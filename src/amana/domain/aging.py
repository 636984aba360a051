"""What the passage of days makes of a standing that was read before: loans that owe grow later, nothing else moves."""

from datetime import datetime

import msgspec

from amana.domain.facts import CustomerStanding
from amana.domain.lending import business_date


def aged(standing: CustomerStanding, at: datetime) -> CustomerStanding:
    """The standing that the ledger would tell at the instant `at`, had it recorded nothing since.

    `standing` is of an earlier instant and lasts. A closed loan stays as late as it was repaid, so of all days past due
    only those of loans that owe grow, and the loan that fell due first is the latest of them.
    """
    assert standing.lasts, "what takes effect later changes a standing too"
    if standing.open_due_on is None:
        return standing
    late = max(0, (business_date(at) - standing.open_due_on).days)
    return msgspec.structs.replace(
        standing,
        current_days_past_due=late,
        worst_days_past_due=max(standing.worst_days_past_due, late),
    )
