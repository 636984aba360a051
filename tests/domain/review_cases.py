"""A decision to review, for tests: Ada was declined for a late repayment, and nobody has looked at it yet."""

from typing import Any

import msgspec
from tests.domain.ledger import TENANT, id_for

from amana.domain.policy import Outcome
from amana.domain.review import Case, Standing

ASKER = "the key that asked"
JUDGE = "another key"


def case(**changes: Any) -> Case:
    """The decision, with changes."""
    declined = Case(
        tenant=TENANT,
        decision_id=id_for("decision"),
        customer=id_for("ada"),
        product="nano",
        currency="NGN",
        asked_by=ASKER,
        confirms=None,
        outcome=Outcome.DECLINE,
        knockouts=("loan_overdue",),
        term_days=None,
        network=None,
        version=1,
        standing=Standing.ACTIVE,
        override_id=None,
        open_appeal=None,
        offers=(),
    )
    return msgspec.structs.replace(declined, **changes)
