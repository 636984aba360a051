"""Which fold each type of event has. A type that is neither here nor in `NO_EFFECT` is an error, never passed over."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from amana.domain.projection import customers, decisions, ledger, lending, policies, reversals, told
from amana.domain.projection.state import Needs, State
from amana.domain.projection.told import Told

VERSIONS_MAX = {"DecisionMade": 2}
"""The newest version of a type that its fold reads; 1 of every other."""
NO_EFFECT: frozenset[str] = frozenset(
    (
        *("AuditRead", "CustomerRecordRead", "LedgerRecordRead", "NotificationsRead"),
        *("BodiesDropped", "ConsumerRetired", "DeadLettersPruned", "OutboxPruned", "SettledPruned"),
        *("CustomerErasurePlanned", "CustomerExported", "LegalHoldPlaced", "LegalHoldReleased"),
    )
)
"""Types of which nothing follows for any row that is rebuilt. Whoever adds an event decides: here, or a fold."""


class Group(StrEnum):
    """Tables that are rebuilt together, because one event changes several of them."""

    LEDGER = "ledger"
    LENDING = "lending"
    CUSTOMERS = "customers"
    DECISIONS = "decisions"
    POLICIES = "policies"


class Part(NamedTuple):
    """What one group makes of an event."""

    group: Group
    needs: Callable[[Any, State], Needs]
    apply: Callable[[State, Any, int | None], None]


class Fold(NamedTuple):
    """How a type of event is read, and what each group makes of it."""

    decode: Callable[[bytes], Told[Any]]
    parts: tuple[Part, ...]


class UnknownEvent(Exception):
    """An event of a type or version that no fold knows: what it means for the rows can't be said."""


def _fold(data: Any, *parts: Part) -> Fold:
    return Fold(msgspec.json.Decoder(Told[data]).decode, parts)


def _ledger(needs: Callable[[Any, State], Needs], apply: Callable[[State, Any, int | None], None]) -> Part:
    return Part(Group.LEDGER, needs, apply)


_MOVE = _fold(told.Moved, _ledger(ledger.needs_sides, ledger.move))
_STATUS = _fold(told.StatusChanged, _ledger(ledger.needs_account, ledger.change_status))
_REVIEWED = Part(Group.DECISIONS, decisions.needs_reviewed, decisions.review)
_HELP = _fold(reversals.Helped, _REVIEWED, Part(Group.DECISIONS, reversals.needs_helped, reversals.go_on))
_POLICY = _fold(told.PolicyTold, Part(Group.POLICIES, policies.needs_product, policies.change))

FOLDS: Mapping[str, Fold] = {
    **dict.fromkeys(ledger.KINDS, _MOVE),
    **dict.fromkeys(ledger.STATUSES, _STATUS),
    **dict.fromkeys(("DecisionOverridden", "DecisionAppealed", "AppealResolved"), _fold(told.Reviewed, _REVIEWED)),
    **dict.fromkeys(("DecisionReversalResumed", "DecisionReversalAbandoned"), _HELP),
    **dict.fromkeys(policies.STEPS, _POLICY),
    **dict.fromkeys(("PolicyPublished", "PolicyRetired"), _POLICY),
    "AccountOpened": _fold(
        told.Opened,
        _ledger(ledger.needs_account, ledger.open_account),
        Part(Group.LENDING, lending.needs_opened, lending.open_line),
    ),
    "AccountLimitChanged": _fold(
        told.Bounded,
        _ledger(ledger.needs_account, ledger.change_bounds),
        Part(Group.LENDING, lending.needs_line, lending.set_line),
    ),
    "LoanBooked": _fold(told.Booked, Part(Group.LENDING, lending.needs_booked, lending.book)),
    "RepaymentReceived": _fold(told.Repaid, Part(Group.LENDING, lending.needs_repaid, lending.repay)),
    "RepaymentReversed": _fold(told.Repaid, Part(Group.LENDING, lending.needs_repaid, lending.take_back)),
    "LoanClosed": _fold(told.Settled, Part(Group.LENDING, lending.needs_settled, lending.close)),
    "LoanReversalStarted": _fold(told.Undone, Part(Group.LENDING, lending.needs_undone, lending.begin_reversal)),
    "LoanReversalAbandoned": _fold(told.Undone, Part(Group.LENDING, lending.needs_undone, lending.abandon_reversal)),
    "LoanReversed": _fold(told.Undone, Part(Group.LENDING, lending.needs_undone, lending.undo)),
    "OfferWithdrawn": _fold(reversals.Closed, Part(Group.LENDING, decisions.needs_nothing, lending.close_offer)),
    "DecisionReversalStarted": _fold(
        reversals.Begun, _REVIEWED, Part(Group.DECISIONS, reversals.needs_begun, reversals.begin)
    ),
    "DecisionReversalStuck": _fold(
        reversals.Halted,
        Part(Group.DECISIONS, decisions.needs_step, decisions.step),
        Part(Group.DECISIONS, reversals.needs_halted, reversals.halt),
    ),
    "DecisionReversed": _fold(reversals.Ended, _REVIEWED, Part(Group.DECISIONS, reversals.needs_ended, reversals.end)),
    "CustomerFactsRecorded": _fold(
        told.FactsRecorded, Part(Group.CUSTOMERS, customers.needs_customer, customers.record)
    ),
    "CustomerRestricted": _fold(told.CustomerTold, Part(Group.CUSTOMERS, customers.needs_customer, customers.restrict)),
    "CustomerErased": _fold(told.CustomerTold, Part(Group.CUSTOMERS, customers.needs_customer, customers.erase)),
    "CustomerBlocked": _fold(told.Blocked, Part(Group.CUSTOMERS, customers.needs_blocked, customers.block)),
    "CustomerBlockLifted": _fold(told.Lifted, Part(Group.CUSTOMERS, customers.needs_lifted, customers.lift)),
    "DecisionMade": _fold(told.Decided, Part(Group.DECISIONS, decisions.needs_nothing, decisions.decide)),
}


def fold_of(type_: str) -> Fold | None:
    """The fold of a type, None where it has no effect. Raises `UnknownEvent`."""
    found = FOLDS.get(type_)
    if found is None and type_ not in NO_EFFECT:
        raise UnknownEvent(f"no fold knows the event type {type_}")
    return found


def read(type_: str, fold: Fold, body: bytes) -> Told[Any]:
    """An event's bytes as its fold reads them. `type_` is what it is filed as.

    Raises `UnknownEvent`, and `msgspec.MsgspecError` where they are no such event.
    """
    event = fold.decode(body)
    if event.type != type_:
        raise UnknownEvent(f"it is filed as {type_} and says that it is {event.type}")
    if event.version > VERSIONS_MAX.get(type_, 1):
        raise UnknownEvent(f"no fold knows version {event.version} of {event.type}")
    return event
