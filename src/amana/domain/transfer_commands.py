"""The commands that move money: orders one by one or in linked groups, and the expiry of holds.

Every one is a top-down list of early refusals, then a line after which nothing may fail. Which refusal comes first is
said once, in `amana.domain.precedence`.
"""

from collections.abc import Sequence
from copy import copy
from datetime import timedelta
from typing import TypeAlias

from msgspec.structs import replace

from amana.domain.book import (
    UNSTORED,
    Answer,
    Book,
    Json,
    StoredAnswer,
    differing_field,
    draft_movement,
    keep,
    replayed,
)
from amana.domain.events import Aggregate, utc_text
from amana.domain.ids import derived_id
from amana.domain.order import Order, commitment, differing_notes, stored_request
from amana.domain.posting import Undo, apply, change_hold, check
from amana.domain.reasons import Reason
from amana.domain.resolving import resolve
from amana.domain.transfer import Hold, HoldState, Movement, Notes, Posted, Refused, Transfer

EXPIRY_ACTOR = "system:expiry"
_POST = Movement.POST  # to look up a member takes 0.1 us

Moved: TypeAlias = tuple[Posted, Hold | None]
"""A transfer that moved, and the hold that it placed or changed as it left it."""


def post_orders(book: Book, group: Sequence[Order]) -> list[Answer]:
    """One linked group (a single order is a group of one): all of it moves, or none does."""
    if len(group) == 1:
        return [_post_one(book, group[0])]
    answers = [_known(book, order) for order in group]
    fresh = [index for index, answer in enumerate(answers) if answer is None]
    failed = next((index for index, answer in enumerate(answers) if answer and answer.reason), None)
    if failed is None and 0 < len(fresh) < len(group):
        # What moved before did so without the others: this is another group, and half of it can't be all of it.
        failed = next(index for index, answer in enumerate(answers) if answer is not None)
        answers[failed] = Answer(Reason.ID_CONFLICT, {"field": "linked"})
    if failed is None:
        moved = _move_all(book, [group[index] for index in fresh])
        if isinstance(moved, list):
            # From here nothing may fail.
            for index, (posted, hold) in zip(fresh, moved, strict=True):
                answers[index] = _record(book, group[index], posted, hold)
        else:
            place, refused = moved
            failed = fresh[place]
            answers[failed] = _refuse(book, group[failed], Answer(refused.reason, dict(refused.figures)))
    if failed is not None:
        cause = answers[failed]
        # Where the cause itself is not kept, neither is what follows from it: the same group again gets the same.
        kept = cause is not None and cause.reason not in UNSTORED
        for index in fresh:
            if index != failed:
                sibling = Answer(Reason.LINKED_FAILED, _figures_of(group[failed], cause))
                answers[index] = _refuse(book, group[index], sibling) if kept else sibling
    return [answer for answer in answers if answer is not None]


def _figures_of(failed: Order, cause: Answer | None) -> Json:
    assert cause is not None and cause.reason is not None, "something made the group fail"
    return {"cause": str(cause.reason), "failed": str(failed.id)}  # as jsonb gives them back


def _post_one(book: Book, order: Order) -> Answer:
    known = _known(book, order)
    if known is not None:
        return known
    moved = _move(book, order, None)
    if isinstance(moved, Refused):
        return _refuse(book, order, Answer(moved.reason, dict(moved.figures)))
    return _record(book, order, *moved)


def _move_all(book: Book, orders: Sequence[Order]) -> list[Moved] | tuple[int, Refused]:
    """Applies all of `orders`, or none: then the place of the first refused and why."""
    undo = Undo(book) if len(orders) > 1 else None
    moved: list[Moved] = []
    for place, order in enumerate(orders):
        done = _move(book, order, undo)
        if isinstance(done, Refused):
            if undo is not None:
                undo.run()
            return place, done
        moved.append(done)
    return moved


def _known(book: Book, order: Order) -> Answer | None:
    """The answer to an id that was used before, else None."""
    key = order.key
    kept, stored = book.answers.get(key), book.transfers.get(key)
    if kept is None and stored is None:
        return None
    asked = order.asked()
    if kept is None:
        assert stored is not None, "it was answered or it moved"
        hold = book.holds.get(key)
        kept = StoredAnswer(*stored_request(order, stored, hold), None, _result(stored, hold))
    elif stored is not None and order.effective_on is not None and not stored.dated:
        # To name the date that was filled in is no other request.
        kept = replace(kept, request=kept.request | {"effective_on": stored.effective_on.isoformat()})
    words = differing_notes(order, book.notes.get(key), book.prints_of)
    changed = [differing_field(asked, kept.kind, kept.request), words]
    if kept.kind == order.kind and any(changed):
        return Answer(Reason.ID_CONFLICT, {"field": min(filter(None, changed))})
    return replayed(asked, kept)


def _refuse(book: Book, order: Order, answer: Answer) -> Answer:
    if answer.reason not in UNSTORED:
        keep(book, order.asked(), answer)
        if order.notes is not None:
            _keep_notes(book, order, order.notes)
    return answer


def _keep_notes(book: Book, order: Order, notes: Notes) -> None:
    """Beside the ledger, where they can be erased: what stays for ever holds no text of a client's."""
    book.notes[order.key] = notes
    book.new_notes.append((order.key, notes))


def _move(book: Book, order: Order, undo: Undo | None) -> Moved | Refused:
    """Applies one order, noting for `undo` what it changes; the first refusal that applies leaves all as it was."""
    transfer = resolve(book, order)
    if isinstance(transfer, Refused):
        return transfer
    refused = check(book, transfer)
    if refused is not None:
        return refused
    # From here nothing may fail.
    if undo is not None:
        undo.note(transfer)
    posted = apply(book, transfer)
    if transfer.kind == _POST:
        return posted, None
    place = _place_hold if transfer.kind == Movement.HOLD else _settle_hold
    hold = place(book, order, transfer)
    # A copy in a group: a later member may change the hold again, and each event tells of its own change.
    return posted, hold if undo is None else copy(hold)


def _place_hold(book: Book, order: Order, transfer: Transfer) -> Hold:
    hold = book.holds[order.key] = Hold(
        order.tenant,
        order.id,
        transfer.debit_account,
        transfer.credit_account,
        transfer.amount,
        transfer.currency,
        transfer.code,
        order.ttl_s,
        None if order.ttl_s is None else book.now + timedelta(seconds=order.ttl_s),
    )
    return hold


def _settle_hold(book: Book, order: Order, transfer: Transfer) -> Hold:
    assert transfer.original is not None
    hold = book.holds[order.tenant, transfer.original]
    if transfer.kind == Movement.VOID:
        change_hold(hold, HoldState.VOIDED)
        return hold
    ends = transfer.released > transfer.amount or transfer.amount == hold.remaining
    hold.captured += transfer.amount
    change_hold(hold, HoldState.CAPTURED if ends else HoldState(hold.state))
    return hold


def _record(book: Book, order: Order, posted: Posted, hold: Hold | None) -> Answer:
    """The event, the notes and, where its row does not tell it whole, the request."""
    transfer = posted.transfer
    notes = None
    if order.notes is not None:
        notes = commitment(order.notes, order.notes.salt)
        _keep_notes(book, order, order.notes)
    if hold is None:
        aggregate = Aggregate("transfer", transfer.id, 1)
        draft_movement(book, order.actor, order.trace, posted, "TransferPosted", aggregate, notes=notes)
    else:
        _draft_hold(book, order, posted, hold, notes)
    answer = Answer(None, _result(transfer, hold))
    if not order.is_told_by_its_row:
        keep(book, order.asked(), answer)
    return answer


def _draft_hold(book: Book, order: Order, posted: Posted, hold: Hold, notes: str | None) -> None:
    more: Json = {"notes": notes}
    match posted.transfer.kind:
        case Movement.HOLD:
            more["expires_at"] = None if hold.expires_at is None else utc_text(hold.expires_at)
            type_, version = "HoldPlaced", 1
        case Movement.VOID:
            type_, version = "HoldVoided", hold.version
        case _:
            more |= {"final": hold.state == HoldState.CAPTURED, "reason": order.forced_reason}
            type_, version = "HoldCaptured", hold.version
    draft_movement(book, order.actor, order.trace, posted, type_, Aggregate("hold", hold.id, version), **more)


def _result(transfer: Transfer, hold: Hold | None) -> Json:
    """What the client is told of a transfer that moved."""
    result: Json = {"amount": transfer.amount}
    if hold is not None and hold.expires_at is not None and transfer.kind == Movement.HOLD:
        result["expires_at"] = utc_text(hold.expires_at)
    return result


def expire_holds(book: Book) -> int:
    """Releases every open hold of the book whose time is over; their accounts are locked. Returns how many.

    Run before the commands of a batch, so that an account is worth the same whether the sweeper lives or not.
    """
    over = [hold for hold in book.holds.values() if hold.is_over(book.now)]
    for hold in over:
        transfer = Transfer(
            hold.tenant,
            derived_id(hold.id, "expire"),
            hold.debit_account,
            hold.credit_account,
            hold.remaining,
            hold.currency,
            hold.code,
            book.today,
            Movement.EXPIRE,
            original=hold.id,
            released=hold.remaining,
            limit_applies=False,
        )
        posted = apply(book, transfer)
        change_hold(hold, HoldState.EXPIRED)
        aggregate = Aggregate("hold", hold.id, hold.version)
        draft_movement(book, EXPIRY_ACTOR, "", posted, "HoldExpired", aggregate)
    return len(over)
