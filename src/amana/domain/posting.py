"""Posting: the ledger's own rules, over a working set of accounts.

A batch is computed here, purely: the caller has locked and read everything, and writes what comes out. Transfers are
applied one at a time in their order, so a batch gives exactly the results of sending its items singly.

`check` is the public order of precedence: the first refusal that applies is the answer (tested pair by pair).
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from amana.domain.account import RESERVED_CODES, Account, AccountStatus, Freeze, Side
from amana.domain.ids import shard_of
from amana.domain.money import MAX_AMOUNT
from amana.domain.reasons import Reason
from amana.domain.transfer import Hold, HoldState, Key, Movement, Posted, Refused, Standing, Transfer

_POSTING = (Movement.POST, Movement.CAPTURE)
_OPEN = AccountStatus.OPEN  # to look up a member takes 0.1 us


@dataclass(slots=True)
class Ledger:
    """The working set of one batch, and what the batch did to it.

    `accounts` are locked; `transfers` holds every stored transfer that the batch names (same ids, originals) and, as it
    goes, the new ones; `holds` the holds that it names; `reversed_amounts` the sum of reversals of each original.
    """

    shards: int
    now: datetime
    accounts: dict[Key, Account] = field(default_factory=dict)
    transfers: dict[Key, Transfer] = field(default_factory=dict)
    holds: dict[Key, Hold] = field(default_factory=dict)
    reversed_amounts: dict[Key, int] = field(default_factory=dict)
    posted: list[Posted] = field(default_factory=list)

    def account(self, tenant: int, id_: UUID) -> Account | None:
        """The locked account, or None where there is none."""
        return self.accounts.get((tenant, id_))


class Undo:
    """Takes back what a linked group did before one of its members was refused."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._posted = len(ledger.posted)
        self._accounts: dict[Key, Account] = {}
        self._holds: dict[Key, Hold | None] = {}

    def note(self, transfer: Transfer) -> None:
        """Remembers what `transfer` is about to change. Call it before."""
        tenant = transfer.tenant
        for id_ in (transfer.debit_account, transfer.credit_account):
            account = self._ledger.accounts.get((tenant, id_))
            if account is not None and (tenant, id_) not in self._accounts:
                self._accounts[tenant, id_] = copy(account)
        for hold in (transfer.id, transfer.original):
            if hold is not None and (tenant, hold) not in self._holds:
                self._holds[tenant, hold] = copy(self._ledger.holds.get((tenant, hold)))

    def run(self) -> None:
        """Everything noted is as it was."""
        ledger = self._ledger
        for posted in ledger.posted[self._posted :]:
            transfer = posted.transfer
            del ledger.transfers[transfer.tenant, transfer.id]
            if transfer.reverses is not None:
                ledger.reversed_amounts[transfer.tenant, transfer.reverses] -= transfer.amount
        del ledger.posted[self._posted :]
        # In place: what was opened in this batch stands in the list of new accounts as well.
        for key, account in self._accounts.items():
            _restore(ledger.accounts[key], account)
        for key, hold in self._holds.items():
            if hold is None:
                ledger.holds.pop(key, None)
            else:
                _restore(ledger.holds[key], hold)


def _restore(target: Account | Hold, saved: Account | Hold) -> None:
    for name in saved.__struct_fields__:
        setattr(target, name, getattr(saved, name))


def post_linked(ledger: Ledger, transfers: Sequence[Transfer]) -> tuple[int, Refused] | None:
    """Applies all of `transfers` or none. Returns None, or the index of the first refused and why.

    On success the results are appended to `ledger.posted`.
    """
    undo = Undo(ledger)
    for index, transfer in enumerate(transfers):
        refused = check(ledger, transfer)
        if refused is not None:
            undo.run()
            return index, refused
        undo.note(transfer)
        apply(ledger, transfer)
    return None


def check(ledger: Ledger, transfer: Transfer) -> Refused | None:
    """The first refusal that applies, in the documented order of precedence, or None.

    A capture or void has its hold checked by the caller: the amount that it moves depends on the hold.
    """
    # Whatever is about an earlier transfer lives beside it, where its sums are kept; anything else beside its debit.
    place = transfer.original or transfer.debit_account
    if shard_of(transfer.id, ledger.shards) != shard_of(place, ledger.shards):
        return Refused(Reason.ID_SHARD_MISMATCH, {"id": str(transfer.id), "beside": str(place)})
    if transfer.debit_account == transfer.credit_account:
        return Refused(Reason.SAME_ACCOUNT, {"account": str(transfer.debit_account)})
    reversal = transfer.original is not None and transfer.reverses is not None
    if reversal and (refused := _check_original(ledger, transfer)):
        return refused
    debit = ledger.accounts.get((transfer.tenant, transfer.debit_account))
    if debit is None:
        return Refused(Reason.ACCOUNT_NOT_FOUND, {"account": str(transfer.debit_account)})
    credit = ledger.accounts.get((transfer.tenant, transfer.credit_account))
    if credit is None:
        return Refused(Reason.ACCOUNT_NOT_FOUND, {"account": str(transfer.credit_account)})
    refused = _check_account(debit, transfer, True) or _check_account(credit, transfer, False)
    if refused is not None:
        return refused
    if reversal and (refused := _check_remaining(ledger, transfer)):
        return refused
    return _check_counters(debit, credit, transfer)


def _check_original(ledger: Ledger, transfer: Transfer) -> Refused | None:
    original = ledger.transfers.get((transfer.tenant, transfer.original))  # type: ignore[arg-type] # a reversal has one
    figures = {"original": str(transfer.original)}
    if original is None:
        return Refused(Reason.ORIGINAL_NOT_FOUND, figures)
    if original.kind not in (Movement.POST, Movement.CAPTURE):
        return Refused(Reason.ORIGINAL_NOT_POSTED, figures | {"kind": original.kind})
    if original.reverses is not None:
        return Refused(Reason.ORIGINAL_IS_REVERSAL, figures)
    if original.command is not None and transfer.command is None:
        return Refused(Reason.ORIGINAL_RESERVED, {"command": str(original.command)})
    return None


def _check_account(account: Account, transfer: Transfer, is_debit: bool) -> Refused | None:
    if transfer.command is None and account.code in RESERVED_CODES:
        return Refused(Reason.ACCOUNT_RESERVED, {"account": str(account.id)})
    if account.currency != transfer.currency:
        return Refused(Reason.CURRENCY_MISMATCH, {"account": str(account.id), "account_currency": account.currency})
    if account.status == _OPEN or transfer.kind == Movement.VOID:
        return None  # what is held may be given back whatever the account's state
    if account.status == AccountStatus.CLOSED:
        return Refused(Reason.ACCOUNT_CLOSED, {"account": str(account.id)})
    if is_debit or account.frozen_for == Freeze.ALL:
        return Refused(Reason.ACCOUNT_FROZEN, {"account": str(account.id), "frozen_for": account.frozen_for or "all"})
    return None


def _check_remaining(ledger: Ledger, transfer: Transfer) -> Refused | None:
    assert transfer.original is not None
    key = (transfer.tenant, transfer.original)
    remaining = ledger.transfers[key].amount - ledger.reversed_amounts.get(key, 0)
    if transfer.amount > remaining:
        return Refused(Reason.EXCEEDS_ORIGINAL, {"remaining": remaining, "requested": transfer.amount})
    return None


def _check_counters(debit: Account, credit: Account, transfer: Transfer) -> Refused | None:
    """Overflow, limit, floor. What was reserved before (`released`) is free to be used again."""
    more = transfer.amount - transfer.released
    room = MAX_AMOUNT - debit.debits_posted - debit.debits_pending
    if more > room:
        return Refused(Reason.BALANCE_OVERFLOW, _figures(debit, "headroom", room, transfer))
    room = MAX_AMOUNT - credit.credits_posted - credit.credits_pending
    if more > room:
        return Refused(Reason.BALANCE_OVERFLOW, _figures(credit, "headroom", room, transfer))
    if not transfer.limit_applies:
        return None
    headroom = debit.headroom
    if headroom is not None and more > headroom:
        return Refused(Reason.LIMIT_EXCEEDED, {"headroom": headroom, "requested": transfer.amount})
    if debit.floor is None and credit.floor is None:
        return None
    for account, pays in ((debit, Side.CREDIT), (credit, Side.DEBIT)):
        # Money leaves a credit-side account by a debit, and a debit-side account by a credit.
        available = account.available
        if available is not None and account.normal_side == pays and more > available:
            return Refused(Reason.INSUFFICIENT_FUNDS, _figures(account, "available", available, transfer))
    return None


def _figures(account: Account, name: str, room: int, transfer: Transfer) -> dict[str, int | str]:
    return {"account": str(account.id), name: room, "requested": transfer.amount}


def apply(ledger: Ledger, transfer: Transfer) -> Posted:
    """Moves it. Only after `check`, in which every refusal is: nothing here may fail."""
    tenant = transfer.tenant
    debit = ledger.accounts[tenant, transfer.debit_account]
    credit = ledger.accounts[tenant, transfer.credit_account]
    kind = transfer.kind
    amount = transfer.amount
    # Time never goes back on an account, whatever the clock does.
    posted_at = max(ledger.now, debit.last_posted_at, credit.last_posted_at)
    if kind in _POSTING:
        debit.debits_posted += amount
        credit.credits_posted += amount
    elif kind == Movement.HOLD:
        debit.debits_pending += amount
        credit.credits_pending += amount
    released = transfer.released
    if released:
        debit.debits_pending -= released
        credit.credits_pending -= released
    posted = Posted(transfer, posted_at, _step(debit, transfer.id, posted_at), _step(credit, transfer.id, posted_at))
    ledger.transfers[tenant, transfer.id] = transfer
    ledger.posted.append(posted)
    if transfer.original is not None and transfer.reverses is not None:
        key = (tenant, transfer.reverses)
        ledger.reversed_amounts[key] = ledger.reversed_amounts.get(key, 0) + amount
    return posted


def _step(account: Account, transfer: UUID, posted_at: datetime) -> Standing:
    """The account's next version, chained to the one before."""
    account.version += 1
    previous, account.last_transfer = account.last_transfer, transfer
    account.last_posted_at = posted_at
    return Standing(
        account.version,
        previous,
        account.debits_pending,
        account.debits_posted,
        account.credits_pending,
        account.credits_posted,
    )


def change_hold(hold: Hold, state: HoldState) -> None:
    """Every change of a hold is a version of it."""
    hold.state = state
    hold.version += 1
