"""From the model's requests to the commands of the service: no decision is made here."""

import os
from collections.abc import Sequence
from datetime import date, datetime
from functools import partial
from typing import Any
from uuid import UUID

from tests.property.model import Request

from amana.domain import account_commands
from amana.domain.account import Account, Freeze
from amana.domain.book import Asked, Kind
from amana.domain.order import Order
from amana.domain.transfer import Notes
from amana.transactions.account_work import ChangeAccount, OpenAccount
from amana.transactions.work import Command, PostOrders

ACTOR = "key"
ORDER_FIELDS = (
    *("debit_account", "credit_account", "amount", "currency", "code", "effective_on", "original", "final"),
    *("ttl_s", "balancing"),
)


def command_of(tenant: int, group: Sequence[Request]) -> Command:
    """A linked group of orders, or one single command about an account."""
    request = group[0]
    match request["kind"]:
        case "account":
            return OpenAccount(_asked(tenant, request), partial(_account, tenant, request))
        case "limit" | "freeze" | "unfreeze" | "closure":
            return _change(tenant, request)
    return PostOrders([_order(tenant, item) for item in group])


def _order(tenant: int, request: Request) -> Order:
    fields = {name: request[name] for name in ORDER_FIELDS if name in request}
    notes = None
    if "reference" in request or "metadata" in request:
        notes = Notes(request.get("reference"), request.get("metadata"), os.urandom(16))
    return Order(
        tenant=tenant,
        id=request["id"],
        kind=request["kind"],
        actor=ACTOR,
        trace="",
        forced_reason=request.get("reason"),
        notes=notes,
        **fields,
    )


def _asked(tenant: int, request: Request) -> Asked:
    fields = {name: _json(value) for name, value in request.items() if name not in ("id", "kind")}
    return Asked(tenant, request["id"], Kind(request["kind"]), fields, ACTOR, "")


def _json(value: Any) -> Any:
    return str(value) if isinstance(value, UUID | date) else value


def _account(tenant: int, request: Request, now: datetime) -> Account:
    return Account(
        tenant=tenant,
        id=request["id"],
        owner=request["id"],
        currency=request["currency"],
        code=request["code"],
        normal_side=request["normal_side"],
        credit_limit=request.get("credit_limit"),
        floor=request.get("floor"),
        last_posted_at=now,
    )


def _change(tenant: int, request: Request) -> ChangeAccount:
    account: UUID = request["account"]
    match request["kind"]:
        case "limit":
            bounds = {name: request.get(name, account_commands.UNCHANGED) for name in ("credit_limit", "floor")}
            change = partial(account_commands.set_limits, account_id=account, **bounds)
        case "freeze":
            change = partial(account_commands.freeze, account_id=account, frozen_for=Freeze(request["frozen_for"]))
        case "unfreeze":
            change = partial(account_commands.unfreeze, account_id=account)
        case _:
            change = partial(account_commands.close, account_id=account)
    return ChangeAccount(_asked(tenant, request), account, change)
