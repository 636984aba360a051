"""Requests that raced: which order of them does the model agree with, answer by answer and event by event?"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from tests.property.model import Model, Said
from tests.property.world import Unit

EVENT_TYPES = {
    "transfer": "TransferPosted",
    "reversal": "TransferPosted",
    "hold": "HoldPlaced",
    "capture": "HoldCaptured",
    "void": "HoldVoided",
    "expire": "HoldExpired",
}
Event = dict[str, Any]
Terms = dict[UUID, tuple[object, ...]]
TERMS = ("status", "frozen_for", "credit_limit", "floor")


class Heard(NamedTuple):
    """What was sent together, what each was answered, the events by their movement, and the accounts' terms after."""

    units: Sequence[Unit]
    told: Sequence[Sequence[Said]]
    moved: dict[UUID, Event]
    terms: Terms


def find_order(
    model: Model, expired: Sequence[Event], left: Sequence[int], heard: Heard
) -> tuple[Model, list[int]] | None:
    """The model after the first order of the units `left` that explains all, and that order; None if none does."""
    model, expired = _release(model, expired)
    if not left:
        return None if expired or terms_of(model.accounts) != heard.terms else (model, [])
    for at in left:
        tried = _send(model, at, heard)
        if tried is not None:
            rest = find_order(tried, expired, [other for other in left if other != at], heard)
            if rest is not None:
                return rest[0], [at, *rest[1]]
    return None


def terms_of(accounts: Mapping[UUID, Mapping[str, Any]]) -> Terms:
    """The bounds and states of accounts."""
    return {id_: tuple(account[name] for name in TERMS) for id_, account in accounts.items()}


def _release(model: Model, expired: Sequence[Event]) -> tuple[Model, list[Event]]:
    """Releases what was released at this point, as the versions of its accounts say; and what was not yet."""
    left = list(expired)
    for _ in expired:
        for event in left:
            tried = model.fork()
            tried.now = datetime.fromisoformat(event["occurred_at"])
            movement = UUID(event["data"]["transfer"])
            tried.expire(UUID(event["data"]["hold"]), movement)
            if told_by_model(tried, movement) == told_by_event(event):
                tried.now = model.now
                model = tried
                left.remove(event)
                break
    return model, left


def _send(model: Model, at: int, heard: Heard) -> Model | None:
    """The model after a unit, if it answers and moves as the service did."""
    units, told, moved, _ = heard
    tried = model.fork()
    answers = []
    for group in units[at]:
        times = [moved[request["id"]]["occurred_at"] for request in group if request["id"] in moved]
        tried.now = datetime.fromisoformat(times[0]) if times else model.now
        answers += tried.send(group)
    tried.now = model.now
    if answers != told[at]:
        return None
    for move in tried.movements[len(model.movements) :]:
        if move.id not in moved or told_by_model(tried, move.id) != told_by_event(moved[move.id]):
            return None
    return tried


def told_by_model(model: Model, id_: UUID) -> dict[str, Any]:
    """What the one event of a movement must say."""
    move = model.movement(id_)
    assert move is not None
    sides = {}
    for side, account in (("debit", move.debit), ("credit", move.credit)):
        after = next(entry.after for entry in model.entries(account) if entry.movement.id == id_)
        sides[side] = {"account": str(account)} | after._asdict()
    about = None if move.about is None else str(move.about)
    return sides | {
        "type": EVENT_TYPES[move.kind],
        "amount": move.amount,
        "code": move.code,
        "currency": move.currency,
        "effective_on": move.effective_on.isoformat(),
        "released": -move.pending if move.kind != "hold" else 0,
        "hold": None if move.kind == "reversal" else about,
        "reverses": about if move.kind == "reversal" else None,
    }


def told_by_event(event: Event) -> dict[str, Any]:
    """What an event says of its movement, in the same words."""
    data = event["data"]
    named = ("debit", "credit", "amount", "code", "currency", "effective_on", "hold", "reverses")
    return {name: data.get(name) for name in named} | {"type": event["type"], "released": data.get("released", 0)}
