"""From items of a list of transfers to orders, and from answers to results: no decision is made here."""

from collections.abc import Sequence
from uuid import UUID

from amana.domain.book import Answer, Json, Kind
from amana.domain.order import Order
from amana.domain.reasons import REFUSALS, Reason
from amana.domain.transfer import Notes
from amana.gateway.caller import Caller
from amana.infra import clock
from amana.infra.quick_uuid import quick
from amana.transactions.work import PostOrders
from amana.wire.problems import FieldError, Refused
from amana.wire.transfers import (
    CaptureRequest,
    ForcedCaptureRequest,
    ItemResult,
    ItemResults,
    OrderKind,
    ReversalRequest,
    TransferItem,
    VoidRequest,
)

TRANSFER_CODE = "transfer"
LINKED_MAX = 100
"""Members of one linked group."""

_VERSION_BITS = 0xF << 76 | 0b11 << 62
_VERSION_8 = 0x8 << 76 | 0b10 << 62
_KINDS = {
    OrderKind.POST: Kind.TRANSFER,
    OrderKind.HOLD: Kind.HOLD,
    OrderKind.CAPTURE: Kind.CAPTURE,
    OrderKind.VOID: Kind.VOID,
    OrderKind.REVERSE: Kind.REVERSAL,
}
DONE = {
    OrderKind.POST: "posted",
    OrderKind.HOLD: "held",
    OrderKind.CAPTURE: "posted",
    OrderKind.VOID: "voided",
    OrderKind.REVERSE: "posted",
}
_DONE_BY_KIND: dict[str, str] = {_KINDS[kind]: done for kind, done in DONE.items()}
_ORIGINALS: dict[str, str] = {Kind.CAPTURE: "hold", Kind.VOID: "hold", Kind.REVERSAL: "reverses"}
"""What a client calls the `original` of an order."""
_ABOUT = {
    ReversalRequest: Kind.REVERSAL,
    CaptureRequest: Kind.CAPTURE,
    ForcedCaptureRequest: Kind.CAPTURE,
    VoidRequest: Kind.VOID,
}
_POST = OrderKind.POST  # to look up a member takes 0.1 us
_NAMING_ACCOUNTS = (OrderKind.POST, OrderKind.HOLD)
_ACCOUNTS = ("debit_account", "credit_account", "amount", "currency")
_FIELDS: dict[OrderKind, tuple[tuple[str, ...], tuple[str, ...]]] = {
    OrderKind.POST: (_ACCOUNTS, ("hold", "final", "ttl_s", "reverses")),
    OrderKind.HOLD: (_ACCOUNTS, ("hold", "final", "reverses", "balancing")),
    OrderKind.CAPTURE: (("hold",), ("debit_account", "credit_account", "currency", "ttl_s", "reverses", "balancing")),
    OrderKind.VOID: (("hold",), (*_ACCOUNTS, "code", "effective_on", "final", "ttl_s", "reverses", "balancing")),
    OrderKind.REVERSE: (
        ("reverses",),
        ("debit_account", "credit_account", "currency", "hold", "final", "ttl_s", "balancing"),
    ),
}
"""By kind: the fields that it needs, and those that mean nothing to it."""


def transfer_unit(caller: Caller, items: Sequence[TransferItem]) -> list[PostOrders]:
    """Consecutive items joined by `linked`. An open chain, or an id twice in one chain, is malformed."""
    groups: list[PostOrders] = []
    members: list[Order] = []
    for index, item in enumerate(items):
        if members and any(one.id == item.id for one in members):
            raise malformed(f"/transfers/{index}/id", "An id stands twice in one linked group.")
        members.append(_order(caller, item, index))
        if not item.linked:
            groups.append(PostOrders(members))
            members = []
        elif len(members) >= LINKED_MAX:
            raise malformed(f"/transfers/{index}/linked", f"A linked group has at most {LINKED_MAX} members.")
    if members:
        raise malformed(f"/transfers/{len(items) - 1}/linked", "The last item can't be linked to a next one.")
    return groups


def refuse_kept_id(id_: UUID, pointer: str) -> None:
    """Ids of version 8 are those of Amana's own accounts and legs, which follow from other ids: nobody may take one."""
    if id_.int & _VERSION_BITS == _VERSION_8:
        raise malformed(pointer, "Ids of version 8 are kept for the accounts and transfers that Amana itself makes.")


def _order(caller: Caller, item: TransferItem, index: int) -> Order:
    refuse_kept_id(item.id, f"/transfers/{index}/id")
    kind = item.kind
    _check_fields(item, index)
    notes = None
    if item.reference is not None or item.metadata:
        notes = Notes(item.reference, item.metadata or None, clock.random_salt())
    return Order(
        tenant=caller.tenant,
        id=quick(item.id),
        kind=_KINDS[kind],
        actor=caller.key_id,
        trace=caller.trace,
        debit_account=item.debit_account and quick(item.debit_account),
        credit_account=item.credit_account and quick(item.credit_account),
        amount=item.amount,
        currency=item.currency or "",
        code=item.code or (TRANSFER_CODE if kind in _NAMING_ACCOUNTS else ""),
        effective_on=item.effective_on,
        original=item.hold or item.reverses,
        final=item.final,
        ttl_s=item.ttl_s,
        balancing=item.balancing,
        notes=notes,
    )


def _is_plain(item: TransferItem) -> bool:
    """Whether a post has all that it needs and nothing that means nothing to it: almost every item."""
    named = item.debit_account and item.credit_account and item.amount and item.currency
    return bool(named) and not (item.hold or item.final or item.ttl_s or item.reverses)


def _check_fields(item: TransferItem, index: int) -> None:
    """Each kind has fields that it needs and fields that mean nothing to it."""
    if item.kind is _POST and _is_plain(item):
        return
    needed, refused = _FIELDS[item.kind]
    errors = [
        FieldError(f"/transfers/{index}/{name}", "missing", f"A {item.kind} needs it.")
        for name in needed
        if getattr(item, name) is None
    ]
    errors += [
        FieldError(f"/transfers/{index}/{name}", "unknown_field", f"A {item.kind} has no such field.")
        for name in refused
        if getattr(item, name)
    ]
    if errors:
        raise Refused(Reason.VALIDATION, errors=errors)


def about(
    caller: Caller, request: ReversalRequest | CaptureRequest | VoidRequest | ForcedCaptureRequest, original: UUID
) -> PostOrders:
    """A single command about an earlier transfer."""
    refuse_kept_id(request.id, "/id")
    order = Order(
        tenant=caller.tenant,
        id=request.id,
        kind=_ABOUT[type(request)],
        actor=caller.key_id,
        trace=caller.trace,
        original=original,
        amount=getattr(request, "amount", None),
        final=getattr(request, "final", False),
        forced_reason=getattr(request, "reason", None),
    )
    return PostOrders([order])


def item_result(id_: UUID, answer: Answer, done: str, kind: str = "") -> ItemResult:
    """One line of a list's answer; `kind` is that of the order."""
    if answer.reason is None:
        result = answer.result
        return ItemResult(
            id=id_,
            status=done,
            amount=result.get("amount"),
            expires_at=result.get("expires_at"),
            replayed=answer.replayed,
        )
    return ItemResult(
        id=id_,
        status="refused",
        reason=answer.reason,
        retryable=REFUSALS[answer.reason].retryable,
        figures=_figures(answer, kind),
        replayed=answer.replayed,
    )


def _figures(answer: Answer, kind: str) -> Json:
    """The figures of a refusal; a field that differs is named as the client wrote it."""
    if answer.reason is Reason.ID_CONFLICT and answer.result.get("field") == "original":
        return {"field": _ORIGINALS[kind]}
    return answer.result


def transfer_results(items: Sequence[TransferItem], answers: Sequence[Answer]) -> ItemResults:
    """A list's answer, in its order."""
    return ItemResults(
        results=[
            item_result(item.id, answer, DONE[item.kind], _KINDS[item.kind])
            for item, answer in zip(items, answers, strict=True)
        ]
    )


def single_result(order: Order, answer: Answer) -> ItemResult:
    """The answer to a command about one earlier transfer, or its refusal as a problem."""
    if answer.reason is not None:
        raise Refused(answer.reason, figures=_figures(answer, order.kind))
    return item_result(order.id, answer, _DONE_BY_KIND[order.kind])


def malformed(pointer: str, detail: str) -> Refused:
    """A request that can't be meant: nothing is stored under its id."""
    return Refused(Reason.VALIDATION, errors=[FieldError(pointer, "invalid", detail)])
