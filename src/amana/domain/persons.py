"""Persons: the customers of one tenant that share a BVN or a NIN, through one another too, are one person.

A person has one exposure and one history of repaying, whatever number they ask from.
"""

from collections.abc import Sequence

from amana.domain.facts import CustomerStanding, Through

LINKED_MAX = 20
"""How many other numbers a person may have. Beyond that the BVN or NIN is no person's, and nobody is decided for."""


def standing_of_person(standings: Sequence[CustomerStanding]) -> CustomerStanding:
    """How a person stands: the customer (the first) and the other numbers of the same person, counted as one.

    Debts and loans add up, lateness and sizes are the worst and the largest, the first loan is the earliest. `as_of` is
    the oldest: nothing newer is known of all. What one number has to its credit takes nothing off another's debt.
    """
    own, *others = standings
    if not others:
        return own
    firsts = [item.first_loan_on for item in standings if item.first_loan_on is not None]
    lasts = [item.last_closed_on for item in standings if item.last_closed_on is not None]
    return CustomerStanding(
        customer=own.customer,
        exposure=sum(max(0, item.exposure) for item in standings),
        loans_total=sum(item.loans_total for item in standings),
        loans_open=sum(item.loans_open for item in standings),
        loans_closed=sum(item.loans_closed for item in standings),
        worst_days_past_due=max(item.worst_days_past_due for item in standings),
        current_days_past_due=max(item.current_days_past_due for item in standings),
        largest_principal_repaid=max(item.largest_principal_repaid for item in standings),
        repaid_total=sum(item.repaid_total for item in standings),
        first_loan_on=min(firsts, default=None),
        last_closed_on=max(lasts, default=None),
        as_of=min(item.as_of for item in standings),
        linked=len(others),
        through=Through.PROJECTION if any(item.through is Through.PROJECTION for item in standings) else Through.LEDGER,
    )
