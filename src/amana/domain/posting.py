"""Posting: the ledger's own rules, over a working set of accounts.

A batch is computed here, purely: the caller has locked and read everything, and writes what comes out. Transfers are
applied one at a time in their order, so a batch gives exactly the results of sending its items singly.
"""

from dataclasses import dataclass, field
from datetime import datetime

from amana.domain.account import RESERVED_CODES, Account, AccountStatus
from amana.domain.ids import shard_of
from amana.domain.money import MAX_AMOUNT
from amana.domain.reasons import Reason
from amana.domain.transfer import Key, Posted, Refused, Standing, Transfer


@dataclass(slots=True)
class Ledger:
    """The working set of one batch, and what the batch did to it.

    `accounts` are locked; `transfers` holds every stored transfer that the batch names (same ids, originals) and, as it
    goes, the new ones; `reversed_amounts` the sum of reversals of each original.
    """

    shards: int
    now: datetime
    accounts: dict[Key, Account] = field(default_factory=dict)
    transfers: dict[Key, Transfer] = field(default_factory=dict)
    reversed_amounts: dict[Key, int] = field(default_factory=dict)
    posted: list[Posted] = field(default_factory=list)

    def account(self, tenant: int, id_: object) -> Account | None:
        """The locked account, or None where there is none."""
        return self.accounts.get((tenant, id_))  # type: ignore[arg-type]


def post_linked(ledger: Ledger, transfers: list[Transfer]) -> tuple[int, Refused] | None:
    """Applies all of `transfers` or none. Returns None, or the index of the first refused and why.

    On success the results are appended to `ledger.posted`.
    """
    done: list[Posted] = []
    for index, transfer in enumerate(transfers):
        refused = check(ledger, transfer)
        if refused is not None:
            for posted in reversed(done):
                _undo(ledger, posted)
            return index, refused
        done.append(_apply(ledger, transfer))
    ledger.posted.extend(done)
    return None


def check(ledger: Ledger, transfer: Transfer) -> Refused | None:
    """The first refusal that applies, in the documented order of precedence, or None.

    The order is the public one: it is tested pair by pair.
    """
    # A reversal lives beside its original, where the sum of reversals is kept; anything else with its debit account.
    place = transfer.reverses or transfer.debit_account
    if shard_of(transfer.id, ledger.shards) != shard_of(place, ledger.shards):
        return Refused(Reason.ID_SHARD_MISMATCH, {"id": str(transfer.id), "beside": str(place)})
    if transfer.debit_account == transfer.credit_account:
        return Refused(Reason.SAME_ACCOUNT)
    if transfer.reverses is not None and (refused := _check_original(ledger, transfer)):
        return refused
    debit = ledger.account(transfer.tenant, transfer.debit_account)
    credit = ledger.account(transfer.tenant, transfer.credit_account)
    if debit is None:
        return Refused(Reason.ACCOUNT_NOT_FOUND, {"account": str(transfer.debit_account)})
    if credit is None:
        return Refused(Reason.ACCOUNT_NOT_FOUND, {"account": str(transfer.credit_account)})
    for account in (debit, credit):
        if refused := _check_account(account, transfer):
            return refused
    if transfer.reverses is not None and (refused := _check_remaining(ledger, transfer)):
        return refused
    return _check_counters(debit, credit, transfer)


def _check_original(ledger: Ledger, transfer: Transfer) -> Refused | None:
    assert transfer.reverses is not None
    original = ledger.transfers.get((transfer.tenant, transfer.reverses))
    if original is None:
        return Refused(Reason.ORIGINAL_NOT_FOUND, {"original": str(transfer.reverses)})
    if original.reverses is not None:
        return Refused(Reason.ORIGINAL_IS_REVERSAL, {"original": str(transfer.reverses)})
    if original.command is not None and transfer.command is None:
        return Refused(Reason.ORIGINAL_RESERVED, {"command": str(original.command)})
    return None


def _check_account(account: Account, transfer: Transfer) -> Refused | None:
    figures = {"account": str(account.id)}
    if transfer.command is None and account.code in RESERVED_CODES:
        return Refused(Reason.ACCOUNT_RESERVED, figures)
    if account.currency != transfer.currency:
        return Refused(Reason.CURRENCY_MISMATCH, figures | {"account_currency": account.currency})
    if account.status == AccountStatus.CLOSED:
        return Refused(Reason.ACCOUNT_CLOSED, figures)
    if account.status == AccountStatus.FROZEN:
        return Refused(Reason.ACCOUNT_FROZEN, figures)
    return None


def _check_remaining(ledger: Ledger, transfer: Transfer) -> Refused | None:
    assert transfer.reverses is not None
    key = (transfer.tenant, transfer.reverses)
    remaining = ledger.transfers[key].amount - ledger.reversed_amounts.get(key, 0)
    if transfer.amount > remaining:
        return Refused(Reason.EXCEEDS_ORIGINAL, {"remaining": remaining, "requested": transfer.amount})
    return None


def _check_counters(debit: Account, credit: Account, transfer: Transfer) -> Refused | None:
    amount = transfer.amount
    if debit.debits_posted + debit.debits_pending + amount > MAX_AMOUNT:
        return Refused(Reason.BALANCE_OVERFLOW, {"account": str(debit.id)})
    if credit.credits_posted + credit.credits_pending + amount > MAX_AMOUNT:
        return Refused(Reason.BALANCE_OVERFLOW, {"account": str(credit.id)})
    headroom = debit.headroom
    if transfer.limit_applies and headroom is not None and amount > headroom:
        return Refused(Reason.LIMIT_EXCEEDED, {"headroom": headroom, "requested": amount})
    return None


def _apply(ledger: Ledger, transfer: Transfer) -> Posted:
    debit = ledger.accounts[transfer.tenant, transfer.debit_account]
    credit = ledger.accounts[transfer.tenant, transfer.credit_account]
    # Time never goes back on an account, whatever the clock does.
    posted_at = max(ledger.now, debit.last_posted_at, credit.last_posted_at)
    debit.debits_posted += transfer.amount
    credit.credits_posted += transfer.amount
    for account in (debit, credit):
        account.version += 1
        account.last_posted_at = posted_at
    key = (transfer.tenant, transfer.id)
    ledger.transfers[key] = transfer
    if transfer.reverses is not None:
        original = (transfer.tenant, transfer.reverses)
        ledger.reversed_amounts[original] = ledger.reversed_amounts.get(original, 0) + transfer.amount
    return Posted(transfer, posted_at, standing(debit), standing(credit))


def _undo(ledger: Ledger, posted: Posted) -> None:
    transfer = posted.transfer
    debit = ledger.accounts[transfer.tenant, transfer.debit_account]
    credit = ledger.accounts[transfer.tenant, transfer.credit_account]
    debit.debits_posted -= transfer.amount
    credit.credits_posted -= transfer.amount
    debit.version -= 1
    credit.version -= 1
    del ledger.transfers[transfer.tenant, transfer.id]
    if transfer.reverses is not None:
        ledger.reversed_amounts[transfer.tenant, transfer.reverses] -= transfer.amount


def standing(account: Account) -> Standing:
    """The account's version and counters now."""
    return Standing(
        account.version,
        account.debits_pending,
        account.debits_posted,
        account.credits_pending,
        account.credits_posted,
    )
