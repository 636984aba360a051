"""From an order to the transfer that it would make: its hold, its original or the balances say how much.

Only what that needs is refused here; the ledger's own rules come after, in `amana.domain.posting`.
"""

from amana.domain.account import Account, Side
from amana.domain.book import Book, Json, Kind
from amana.domain.events import utc_text
from amana.domain.ids import shard_of
from amana.domain.order import Balancing, Order
from amana.domain.posting import check
from amana.domain.reasons import Reason
from amana.domain.transfer import Hold, HoldState, Movement, Refused, Transfer

_POST, _HOLD = Movement.POST, Movement.HOLD  # to look up a member takes 0.1 us
_HOLD_ASKED, _REVERSAL = Kind.HOLD, Kind.REVERSAL


def resolve(book: Book, order: Order) -> Transfer | Refused:
    """What an order would move, once its original, hold or balances have said how much."""
    if order.original is not None:
        return _reversal(book, order) if order.kind == _REVERSAL else _about_hold(book, order)
    assert order.debit_account and order.credit_account and order.amount, "the edge lets no other order pass"
    amount = order.amount
    if order.balancing is not None:
        found = _balanced(book, order, amount)
        if isinstance(found, Refused):
            return found
        amount = found
    return Transfer(
        order.tenant,
        order.id,
        order.debit_account,
        order.credit_account,
        amount,
        order.currency,
        order.code,
        order.effective_on or book.today,
        _HOLD if order.kind == _HOLD_ASKED else _POST,
        dated=order.effective_on is not None,
    )


def _balanced(book: Book, order: Order, amount: int) -> int | Refused:
    """At most `amount`, at most what the named sides allow. Whatever else is wrong is for `check` to say first."""
    assert order.debit_account and order.credit_account, "the edge lets no other order pass"
    debit, credit = book.account(order.tenant, order.debit_account), book.account(order.tenant, order.credit_account)
    if debit is None or credit is None:
        return amount
    most = amount
    if order.balancing in (Balancing.DEBIT, Balancing.BOTH):
        most = min(most, _can_give(debit))
    if order.balancing in (Balancing.CREDIT, Balancing.BOTH):
        most = min(most, _can_take(credit))
    if most:
        return most
    # Nothing can move: whatever would refuse even the least amount comes first.
    probe = Transfer(
        order.tenant,
        order.id,
        debit.id,
        credit.id,
        1,
        order.currency,
        order.code,
        book.today,
        limit_applies=False,
    )
    return check(book, probe) or Refused(Reason.NOTHING_AVAILABLE, {"available": 0, "requested": amount})


def _can_give(debit: Account) -> int:
    """What may still be debited: up to the limit and the floor, or, with neither, what stands on it."""
    bounds = [bound for bound in (debit.headroom, _floor_room(debit)) if bound is not None]
    return min(bounds) if bounds else max(0, -debit.drawn)


def _can_take(credit: Account) -> int:
    """What the account still owes: what stands on its debit side, less its floor there and what is held already."""
    if credit.normal_side == Side.DEBIT and credit.available is not None:
        return credit.available
    return max(0, credit.debits_posted - credit.credits_posted - credit.credits_pending)


def _floor_room(debit: Account) -> int | None:
    return debit.available if debit.normal_side == Side.CREDIT else None


def _about_hold(book: Book, order: Order) -> Transfer | Refused:
    """What a capture or void moves. A forced capture may follow the hold's expiry and go over a limit."""
    assert order.original is not None
    if shard_of(order.id, book.shards) != shard_of(order.original, book.shards):
        return Refused(Reason.ID_SHARD_MISMATCH, {"id": str(order.id), "beside": str(order.original)})
    hold = book.holds.get((order.tenant, order.original))
    if hold is None:
        return Refused(Reason.HOLD_NOT_FOUND, {"hold": str(order.original)})
    forced = order.forced_reason is not None
    late = hold.state == HoldState.EXPIRED
    refused = None if late and forced else _refuse_hold(hold)
    if refused is not None:
        return refused
    capture = order.kind == Kind.CAPTURE
    amount = hold.remaining if order.amount is None else order.amount
    if amount > hold.remaining or not hold.remaining:
        return Refused(Reason.EXCEEDS_HOLD, {"remaining": hold.remaining, "requested": amount})
    ends = not capture or order.final or amount == hold.remaining
    return Transfer(
        order.tenant,
        order.id,
        hold.debit_account,
        hold.credit_account,
        amount,
        hold.currency,
        order.code or hold.code,
        order.effective_on or book.today,
        Movement.CAPTURE if capture else Movement.VOID,
        original=hold.id,
        released=0 if late else hold.remaining if ends else amount,
        dated=order.effective_on is not None,
        limit_applies=False,
    )


def _refuse_hold(hold: Hold) -> Refused | None:
    figures: Json = {"hold": str(hold.id)}
    match hold.state:
        case HoldState.CAPTURED:
            return Refused(Reason.HOLD_CAPTURED, figures | {"captured": hold.captured})
        case HoldState.VOIDED:
            return Refused(Reason.HOLD_VOIDED, figures)
        case HoldState.EXPIRED:
            assert hold.expires_at is not None
            return Refused(Reason.HOLD_EXPIRED, figures | {"expires_at": utc_text(hold.expires_at)})
    return None


def _reversal(book: Book, order: Order) -> Transfer | Refused:
    """The opposite of a posted transfer; without an amount, of all that is left of it."""
    assert order.original is not None
    original = book.transfers.get((order.tenant, order.original))
    if original is None:
        if shard_of(order.id, book.shards) != shard_of(order.original, book.shards):
            return Refused(Reason.ID_SHARD_MISMATCH, {"id": str(order.id), "beside": str(order.original)})
        return Refused(Reason.ORIGINAL_NOT_FOUND, {"original": str(order.original)})
    remaining = original.amount - book.reversed_amounts.get((order.tenant, order.original), 0)
    return Transfer(
        order.tenant,
        order.id,
        original.credit_account,
        original.debit_account,
        # Where nothing is left the whole amount is asked for, so that `check` refuses it with the figures.
        order.amount or remaining or original.amount,
        original.currency,
        order.code or original.code,
        order.effective_on or book.today,
        original=order.original,
        dated=order.effective_on is not None,
    )
