"""Accounts, transfers, holds: every counter is worked out again from what moved, and held against what was told."""

from datetime import datetime, timedelta
from uuid import UUID

from amana.domain.ids import shard_of
from amana.domain.projection.rows import AccountRow, HoldRow, MarkRow, TransferRow
from amana.domain.projection.state import Needs, State
from amana.domain.projection.told import Bounded, Moved, Opened, Side, StatusChanged, Told

MARK_EVERY = 128
KINDS = {
    "TransferPosted": "post",
    "HoldPlaced": "hold",
    "HoldCaptured": "capture",
    "HoldVoided": "void",
    "HoldExpired": "expire",
}
STATUSES = {"AccountFrozen": "frozen", "AccountUnfrozen": "open", "AccountClosed": "closed"}
ENDS = {"HoldVoided": "voided", "HoldExpired": "expired"}


def needs_account(told: Told[Opened] | Told[StatusChanged], _state: State) -> Needs:
    """The account."""
    yield "accounts", (told.tenant, told.data.account)


def open_account(state: State, told: Told[Opened], position: int | None) -> None:
    """An account that was not there before."""
    data, key = told.data, (told.tenant, told.data.account)
    if key in state.accounts:
        state.object_to(position, f"account {data.account}", "open already", "opened")
        return
    state.accounts[key] = AccountRow(
        told.tenant,
        data.account,
        shard_of(data.account, state.shards),
        data.owner,
        data.currency,
        data.code,
        data.normal_side,
        data.credit_limit,
        data.floor,
        told.occurred_at,
        told.occurred_at,
        position=position,
    )


def change_status(state: State, told: Told[StatusChanged], position: int | None) -> None:
    """Frozen, opened again, closed."""
    account = _account(state, told.tenant, told.data.account, position)
    if account is not None:
        account.status, account.frozen_for = STATUSES[told.type], told.data.frozen_for
        _own_event(state, account, told.aggregate.version, position)


def change_bounds(state: State, told: Told[Bounded], position: int | None) -> None:
    """A new limit and floor."""
    account = _account(state, told.tenant, told.data.account, position)
    if account is not None:
        account.credit_limit, account.floor = told.data.to, told.data.floor_to
        _own_event(state, account, told.aggregate.version, position)


def needs_sides(told: Told[Moved], _state: State) -> Needs:
    """Both accounts, and the hold."""
    data = told.data
    yield "accounts", (told.tenant, data.debit.account)
    yield "accounts", (told.tenant, data.credit.account)
    if told.type != "TransferPosted":
        yield "holds", (told.tenant, data.hold or data.transfer)


def move(state: State, told: Told[Moved], position: int | None) -> None:
    """A movement: both accounts, the hold, the transfer itself, and marks where they fall."""
    data, tenant, kind = told.data, told.tenant, KINDS[told.type]
    debit = _account(state, tenant, data.debit.account, position)
    credit = _account(state, tenant, data.credit.account, position)
    if debit is None or credit is None:
        return
    posted_at = max(told.occurred_at, debit.last_posted_at, credit.last_posted_at)
    if state.until is not None and posted_at >= state.until:
        # The clock had gone back. The ledger counts it from `posted_at` on, and so whatever follows on its accounts.
        debit.last_posted_at = credit.last_posted_at = posted_at
        return
    posted = data.amount if kind in ("post", "capture") else 0
    pending = data.amount if kind == "hold" else -data.released
    debit.debits_posted += posted
    debit.debits_pending += pending
    credit.credits_posted += posted
    credit.credits_pending += pending
    debit_previous = _step(state, debit, data.debit, data.transfer, posted_at, position)
    credit_previous = _step(state, credit, data.credit, data.transfer, posted_at, position)
    row = (debit, debit_previous, credit, credit_previous, posted_at, position)
    state.transfers.append(_transfer(told, kind, shard_of(data.transfer, state.shards), *row))
    if kind != "post":
        _change_hold(state, told, position)


def _step(
    state: State, account: AccountRow, told: Side, transfer: UUID, posted_at: datetime, position: int | None
) -> UUID | None:
    """The account's next version; the transfer before it. What was told is taken, and objected to where it differs."""
    folded = (
        account.credits_pending,
        account.credits_posted,
        account.debits_pending,
        account.debits_posted,
        account.version + 1,
    )
    said = (told.credits_pending, told.credits_posted, told.debits_pending, told.debits_posted, told.version)
    if folded != said:
        state.object_to(position, f"account {account.id}", _counters(folded), _counters(said))
        account.credits_pending, account.credits_posted, account.debits_pending, account.debits_posted = said[:4]
    account.version = told.version
    previous, account.last_transfer = account.last_transfer, transfer
    account.last_posted_at = posted_at
    account.position = position
    if not account.version % MARK_EVERY:
        state.marks.append(
            MarkRow(account.tenant, account.id, account.version, account.shard, transfer, posted_at, position)
        )
    return previous


def _transfer(  # one row of one movement
    told: Told[Moved],
    kind: str,
    shard: int,
    debit: AccountRow,
    debit_previous: UUID | None,
    credit: AccountRow,
    credit_previous: UUID | None,
    posted_at: datetime,
    position: int | None,
) -> TransferRow:
    data = told.data
    return TransferRow(
        told.tenant,
        data.transfer,
        shard,
        kind,
        debit.id,
        credit.id,
        data.amount,
        data.currency,
        data.code,
        data.effective_on,
        posted_at,
        data.reverses or data.hold,
        data.released,
        data.command,
        *(debit.version, debit_previous),
        *(debit.debits_pending, debit.debits_posted, debit.credits_pending, debit.credits_posted),
        *(credit.version, credit_previous),
        *(credit.debits_pending, credit.debits_posted, credit.credits_pending, credit.credits_posted),
        position,
    )


def _counters(counters: tuple[int, ...]) -> str:
    credits_pending, credits_posted, debits_pending, debits_posted, version = counters
    return f"debits {debits_posted} + {debits_pending}, credits {credits_posted} + {credits_pending}, version {version}"


def _change_hold(state: State, told: Told[Moved], position: int | None) -> None:
    data = told.data
    if told.type == "HoldPlaced":
        ttl = None if data.expires_at is None else (data.expires_at - told.occurred_at) // timedelta(seconds=1)
        state.holds[told.tenant, data.transfer] = HoldRow(
            told.tenant,
            data.transfer,
            shard_of(data.transfer, state.shards),
            data.debit.account,
            data.credit.account,
            data.amount,
            data.currency,
            data.code,
            ttl,
            data.expires_at,
            position=position,
        )
        return
    hold = None if data.hold is None else state.holds.get((told.tenant, data.hold))
    if hold is None:
        state.object_to(position, f"hold {data.hold}", "never placed", told.type)
        return
    if told.type == "HoldCaptured":
        hold.captured += data.amount
        hold.state = "captured" if data.final else hold.state
    else:
        hold.state = ENDS[told.type]
    hold.version, hold.position = told.aggregate.version, position


def _account(state: State, tenant: int, id_: UUID, position: int | None) -> AccountRow | None:
    account = state.accounts.get((tenant, id_))
    if account is None:
        state.object_to(position, f"account {id_}", "never opened", "changed")
    return account


def _own_event(state: State, account: AccountRow, revision: int, position: int | None) -> None:
    if revision != account.revision + 1:
        state.object_to(position, f"account {account.id}", f"revision {account.revision + 1}", f"revision {revision}")
    account.revision, account.position = revision, position
