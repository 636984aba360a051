"""What can be read when a history is over: each account's entries page by page, past instants, single transfers."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from tests.property.lines import Entry, Movement
from tests.property.model import Model

if TYPE_CHECKING:
    from tests.property.test_service_against_model import ServiceHistory

PAGES = (7, 200)
"""Entries a page."""
INSTANTS_MAX = 4
"""Of each account, spread over its history."""
TICK = timedelta(microseconds=1)


async def check_afterwards(history: "ServiceHistory") -> None:
    """Compares everything that the API reads with the model."""
    model, world = history.model, history.world
    for id_ in model.accounts:
        history.world.words.add(str(id_))
        await _check_entries(history, id_)
        await _check_instants(history, id_)
        await _check_account(history, id_)
    for move in model.movements:
        row = await world.reads.get_transfer(history.tenant, move.id)
        assert row is not None
        name = history.author.names.get(str(move.id), "an expiry")
        history.check(f"transfer {name}", _view(model, move), row)


async def _check_entries(history: "ServiceHistory", account: UUID) -> None:
    expected = [_entry(entry) for entry in history.model.entries(account)]
    for page in PAGES:
        found: list[dict[str, Any]] = []
        rows = None
        while rows is None or len(rows) == page:
            after = found[-1]["version"] if found else 0
            rows = await history.world.reads.list_entries(history.tenant, account, after, page)
            found += map(dict, rows)
        name = history.author.names[str(account)]
        history.check(f"entries of {name} in pages of {page}", expected, found)


async def _check_instants(history: "ServiceHistory", account: UUID) -> None:
    entries = list(history.model.entries(account))
    chosen = entries[:: max(1, len(entries) // INSTANTS_MAX)]
    for at in [instant for entry in chosen for instant in (entry.movement.at, entry.movement.at + TICK)]:
        before = [entry for entry in entries if entry.movement.at < at]
        found = await history.world.reads.last_entry_before(history.tenant, account, at)
        name = history.author.names[str(account)]
        expected = _entry(before[-1]) if before else None
        history.check(f"{name} before {at}", expected, None if found is None else dict(found))


async def _check_account(history: "ServiceHistory", account: UUID) -> None:
    """What is held beyond its time is not shown, whether it was released or not."""
    found = await history.world.reads.get_account(history.tenant, account)
    expected = history.model.counting(account)
    name = history.author.names[str(account)]
    history.check(name, expected._asdict(), {field: getattr(found, field) for field in expected._fields})


def _entry(entry: Entry) -> dict[str, Any]:
    move = entry.movement
    return entry.after._asdict() | {
        "transfer": move.id,
        "kind": _kind(move),
        "side": entry.side,
        "posted": move.posted,
        "pending": move.pending,
        "posted_at": move.at,
        "effective_on": move.effective_on,
    }


def _kind(move: Movement) -> str:
    return "post" if move.kind in ("transfer", "reversal") else move.kind


def _view(model: Model, move: Movement) -> dict[str, Any]:
    hold = model.hold(move.id)
    request = model.said[move.id][0] if move.id in model.said else {}
    reversals = [other.amount for other in model.movements if other.kind == "reversal" and other.about == move.id]
    return {
        "id": move.id,
        "kind": _kind(move),
        "debit_account": move.debit,
        "credit_account": move.credit,
        "amount": move.amount,
        "currency": move.currency,
        "code": move.code,
        "effective_on": move.effective_on,
        "posted_at": move.at,
        "original": move.about,
        "released": -move.pending if move.kind != "hold" else 0,
        "command": None,
        "reversed_amount": sum(reversals),
        "state": "expired" if move.id in model.over() else hold.state if hold else None,
        "captured": hold.captured if hold else None,
        "expires_at": model.expiries.get(move.id),
        "reference": request.get("reference"),
        "metadata": request.get("metadata"),
        "notes": "kept" if "reference" in request or "metadata" in request else None,
    }
