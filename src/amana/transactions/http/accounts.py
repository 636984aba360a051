"""Accounts: opening, bounds and states, what stands on them and how it came there."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated
from uuid import UUID

from litestar import get, post
from litestar.datastructures import State
from litestar.params import QueryParameter
from litestar.types import ControllerRouterHandler

from amana.domain.account import Account, Side
from amana.domain.book import Kind
from amana.domain.reasons import Reason
from amana.gateway.caller import Caller
from amana.infra.postgres import Record
from amana.transactions import requests
from amana.transactions.account_work import SetCreditLine
from amana.transactions.http.common import (
    FIRST,
    LISTS_TIMEOUT_MAX_S,
    PageLimit,
    days_between,
    one,
    others_than_lender,
)
from amana.transactions.orders import item_result
from amana.wire.accounts import (
    AccountChange,
    AccountChangeRequest,
    AccountPage,
    AccountsRequest,
    AccountView,
    BalanceView,
    CreditLine,
    CreditLineRequest,
    EntryPage,
    EntryView,
    FreezeRequest,
    LimitsRequest,
    Statement,
    TrialBalance,
)
from amana.wire.common import PAGE_SIZE_DEFAULT
from amana.wire.problems import FieldError, Refused, check_instant
from amana.wire.transfers import ItemResults

WRITE = {"scope": "accounts:write"}
READ = {"scope": "accounts:read", "personal": True}
Version = Annotated[int, QueryParameter(ge=0, le=2**53 - 1)]


@post("/v1/credit-lines", opt={"scope": "accounts:write"}, tags=["Accounts"])
async def set_credit_line(caller: Caller, data: CreditLineRequest, state: State) -> CreditLine:
    """Set what a customer may owe; opens their accounts at the first time."""
    command = requests.asked(caller, data.id, Kind.CREDIT_LINE, data)
    answer = await one(state, SetCreditLine(command, data.customer, data.currency, data.credit_limit))
    return requests.body(answer, CreditLine, id=data.id)


@post("/v1/accounts", opt=WRITE | {"timeout_max_s": LISTS_TIMEOUT_MAX_S}, status_code=200, tags=["Accounts"])
async def open_accounts(caller: Caller, data: AccountsRequest, state: State) -> ItemResults:
    """Open accounts of your own: one result each, in order."""
    unit = [requests.open_account(caller, item, index) for index, item in enumerate(data.accounts)]
    answers = await state.flow.submit(unit)
    return ItemResults(
        results=[item_result(item.id, answer, "opened") for item, answer in zip(data.accounts, answers, strict=True)]
    )


@get("/v1/accounts", opt=READ, tags=["Accounts"])
async def list_accounts(
    caller: Caller, state: State, owner: UUID, after: UUID = FIRST, limit: PageLimit = PAGE_SIZE_DEFAULT
) -> AccountPage:
    """The accounts of a customer, a loan or another owner."""
    found = await state.reads.list_accounts(caller.tenant, owner, after, limit)
    views = [requests.account_view(account) for account in found]
    await state.read_log.record(caller, "/v1/accounts", others_than_lender((owner,)), len(views))
    return AccountPage(accounts=views, next=views[-1].id if len(views) == limit else None)


@get("/v1/accounts/{account_id:uuid}", opt=READ, tags=["Accounts"])
async def get_account(caller: Caller, state: State, account_id: UUID) -> AccountView:
    """One account with its four counters."""
    account = await _account(caller, state, account_id)
    await _record(caller, state, "/v1/accounts/{account_id}", account, 1)
    return requests.account_view(account)


@post("/v1/accounts/{account_id:uuid}/limits", opt=WRITE, tags=["Accounts"])
async def set_limits(caller: Caller, state: State, account_id: UUID, data: LimitsRequest) -> AccountChange:
    """Set or lift an account's credit limit and floor. A bound that is already passed stops what would go further."""
    return await _change(caller, state, Kind.LIMIT, account_id, data)


@post("/v1/accounts/{account_id:uuid}/freezes", opt=WRITE, tags=["Accounts"])
async def freeze_account(caller: Caller, state: State, account_id: UUID, data: FreezeRequest) -> AccountChange:
    """Stop an account's debits, or everything on it. Its holds stay; they may be voided and may expire."""
    return await _change(caller, state, Kind.FREEZE, account_id, data)


@post("/v1/accounts/{account_id:uuid}/unfreezes", opt=WRITE, tags=["Accounts"])
async def unfreeze_account(caller: Caller, state: State, account_id: UUID, data: AccountChangeRequest) -> AccountChange:
    """Open a frozen account again."""
    return await _change(caller, state, Kind.UNFREEZE, account_id, data)


@post("/v1/accounts/{account_id:uuid}/closures", opt=WRITE, tags=["Accounts"])
async def close_account(caller: Caller, state: State, account_id: UUID, data: AccountChangeRequest) -> AccountChange:
    """Close an account for ever, once nothing stands or is held on it."""
    return await _change(caller, state, Kind.CLOSURE, account_id, data)


@get("/v1/accounts/{account_id:uuid}/balance", opt=READ, tags=["Accounts"])
async def get_balance(caller: Caller, state: State, account_id: UUID, at: datetime) -> BalanceView:
    """An account as it stood just before an instant, not later than now. What was posted before it never changes.

    What was held counts as pending until its time was over, whenever it was released. Only where the release was
    recorded more than 1,024 movements of the account after the instant is it not found, and counts until then.
    """
    if at.tzinfo is None:
        raise Refused(Reason.VALIDATION, errors=[FieldError("?at", "invalid", "An instant with its offset.")])
    check_instant(at, "?at")
    account = await _account(caller, state, account_id)
    if at > await state.reads.now_settled(caller.tenant, account_id, at):
        raise Refused(Reason.VALIDATION, errors=[FieldError("?at", "future", "Later than now.")])
    stood = await state.reads.stood_at(caller.tenant, account_id, at)
    await _record(caller, state, "/v1/accounts/{account_id}/balance", account, 1)
    net = stood.debits_posted - stood.credits_posted
    return BalanceView(
        account=account_id, at=at, balance=net if account.normal_side == Side.DEBIT else -net, **stood._asdict()
    )


@get("/v1/accounts/{account_id:uuid}/entries", opt=READ, tags=["Accounts"])
async def list_entries(
    caller: Caller, state: State, account_id: UUID, after: Version = 0, limit: PageLimit = PAGE_SIZE_DEFAULT
) -> EntryPage:
    """An account's entries, oldest first; `after` is the version of the last one seen."""
    account = await _account(caller, state, account_id)
    rows = await state.reads.list_entries(caller.tenant, account_id, after, limit)
    entries = [EntryView(**row) for row in rows]
    await _record(caller, state, "/v1/accounts/{account_id}/entries", account, len(entries))
    return EntryPage(entries=entries, next=entries[-1].version if len(entries) == limit else None)


@get("/v1/accounts/{account_id:uuid}/statement", opt=READ, tags=["Accounts"])
async def get_statement(
    caller: Caller,
    state: State,
    account_id: UUID,
    first_on: date,
    last_on: date,
    after: Version = 0,
    limit: PageLimit = PAGE_SIZE_DEFAULT,
) -> Statement:
    """An account between two business dates, both included, with its balance before and after.

    By the time of posting: once it is `complete` (its last day is over), nothing changes it any more. `after` is the
    version of the last entry seen.
    """
    begin, end = days_between(first_on, last_on)
    account = await _account(caller, state, account_id)
    now = await state.reads.now_settled(caller.tenant, account_id, begin, end)
    before = await state.reads.last_entry_before(caller.tenant, account_id, begin)
    last = await state.reads.last_entry_before(caller.tenant, account_id, end)
    opened_at = before["version"] if before else 0
    ended_at = last["version"] if last else 0
    rows = []
    if max(after, opened_at) < ended_at:
        rows = await state.reads.list_entries(caller.tenant, account_id, max(after, opened_at), limit)
    entries = [EntryView(**row) for row in rows if row["version"] <= ended_at]
    await _record(caller, state, "/v1/accounts/{account_id}/statement", account, len(entries))
    return Statement(
        account=account_id,
        currency=account.currency,
        normal_side=Side(account.normal_side),
        first_on=first_on,
        last_on=last_on,
        complete=end <= now,
        opening_balance=_balance(account, before),
        closing_balance=_balance(account, last),
        posted_debits=_counter(last, "debits_posted") - _counter(before, "debits_posted"),
        posted_credits=_counter(last, "credits_posted") - _counter(before, "credits_posted"),
        entries=entries,
        next=entries[-1].version if entries and entries[-1].version < ended_at else None,
    )


@get("/v1/trial-balance", opt={"scope": "accounts:read"}, tags=["Accounts"])
async def get_trial_balance(caller: Caller, state: State) -> TrialBalance:
    """Debits and credits by currency and code; every difference is zero."""
    lines = await state.reads.trial_balance(caller.tenant)
    difference: dict[str, int] = {}
    for line in lines:
        difference[line.currency] = difference.get(line.currency, 0) + line.debits_posted - line.credits_posted
    return TrialBalance(lines=lines, difference=difference)


async def _account(caller: Caller, state: State, account_id: UUID) -> Account:
    account: Account | None = await state.reads.get_account(caller.tenant, account_id)
    if account is None:
        raise Refused(Reason.NOT_FOUND)
    return account


async def _record(caller: Caller, state: State, route: str, account: Account, rows: int) -> None:
    await state.read_log.record(caller, route, others_than_lender((account.owner,)), rows, account=account.id)


async def _change(
    caller: Caller,
    state: State,
    kind: Kind,
    account_id: UUID,
    data: LimitsRequest | FreezeRequest | AccountChangeRequest,
) -> AccountChange:
    answer = await one(state, requests.change_account(caller, kind, account_id, data))
    return requests.body(answer, AccountChange, id=data.id)


def _counter(entry: Record | None, name: str) -> int:
    return entry[name] if entry else 0


def _balance(account: Account, entry: Record | None) -> int:
    net = _counter(entry, "debits_posted") - _counter(entry, "credits_posted")
    return net if account.normal_side == Side.DEBIT else -net


ROUTES: Sequence[ControllerRouterHandler] = (
    set_credit_line,
    open_accounts,
    list_accounts,
    get_account,
    set_limits,
    freeze_account,
    unfreeze_account,
    close_account,
    get_balance,
    list_entries,
    get_statement,
    get_trial_balance,
)
