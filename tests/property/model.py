"""The ledger, slow and obvious: one list of movements, and everything else added up from it each time it is asked for.

It is written from what the words mean, shares no code with the domain, and is what service and domain are held to.
A request is a dict: `id`, `kind`, and the fields that the client named. `send` answers a linked group (or one single
request) as (reason, figures or result, replayed).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from tests.property.lines import Lines, Movement

MOST = 2**53 - 1
UNNAMED = object()
Request = dict[str, Any]


class Said(NamedTuple):
    """An answer: `what` is the result where `reason` is None, else the figures of the refusal."""

    reason: str | None
    what: dict[str, Any]
    replayed: bool = False


def no(reason: str, **figures: Any) -> Said:
    """A refusal."""
    return Said(reason, {name: str(value) if isinstance(value, UUID) else value for name, value in figures.items()})


class Model(Lines):
    """A ledger of one tenant."""

    def __init__(self, shards: int, now: datetime) -> None:
        super().__init__(now)
        self.shards = shards
        self.accounts: dict[UUID, Request] = {}
        self.said: dict[UUID, tuple[Request, Said]] = {}

    def fork(self) -> "Model":
        """A copy, to try something."""
        other = Model(self.shards, self.now)
        other.movements = list(self.movements)
        other.accounts = {id_: dict(account) for id_, account in self.accounts.items()}
        other.expiries = dict(self.expiries)
        other.said = dict(self.said)
        return other

    # What is done

    def expire(self, hold_id: UUID, movement_id: UUID) -> None:
        """A hold is released because its time is over."""
        assert hold_id in self.over(), f"hold {hold_id} was released although it is not over"
        hold = self.hold(hold_id)
        assert hold is not None
        today = (self.now + timedelta(hours=1)).date()
        move = replace(hold.placed, id=movement_id, kind="expire", amount=hold.left, effective_on=today, about=hold_id)
        self._append(move, posted=0, pending=-hold.left)

    def send(self, group: Sequence[Request]) -> list[Said]:
        """The answers to a linked group: all of it moves, or nothing."""
        known = [self._known(request) for request in group]
        before = len(self.movements)
        answers: list[Said | None] = list(known)
        failed = next((at for at, said in enumerate(known) if said and said.reason), None)
        if failed is None and any(known) and not all(known):
            failed = next(at for at, said in enumerate(known) if said)
            answers[failed] = no("id_conflict", field="linked")
        if failed is None:
            for at, request in enumerate(group):
                if known[at] is None:
                    answers[at] = done = self._do(request)
                    if done.reason:
                        failed = at
                        break
        if failed is not None:
            del self.movements[before:]
            for at, said in enumerate(known):
                if said is None and at != failed:
                    first = answers[failed]
                    assert first is not None
                    answers[at] = no("linked_failed", failed=group[failed]["id"], cause=first.reason)
        unkept = ("id_conflict", "id_shard_mismatch")
        cause = answers[failed] if failed is not None else None
        for request, old, new in zip(group, known, answers, strict=True):
            assert new is not None
            if old is None and new.reason not in unkept and not (cause and cause.reason in unkept):
                self.said[request["id"]] = request, new
                if request["kind"] == "hold" and not new.reason and "ttl_s" in request:
                    self.expiries[request["id"]] = self.now + timedelta(seconds=request["ttl_s"])
        return [self._with_expiry(request, said) for request, said in zip(group, answers, strict=True) if said]

    def _known(self, request: Request) -> Said | None:
        """The first answer again, or the alphabetically first field that differs."""
        if request["id"] not in self.said:
            return None
        first, said = self.said[request["id"]]
        if first["kind"] != request["kind"]:
            return no("id_conflict", field="kind")
        first = dict(first)
        # The date that was filled in may be named afterwards.
        move = None if said.reason else self.movement(first["id"])
        if move and "effective_on" in request and "effective_on" not in first:
            first["effective_on"] = move.effective_on
        for name in sorted(first.keys() | request.keys()):
            if first.get(name, UNNAMED) != request.get(name, UNNAMED):
                return no("id_conflict", field=name)
        return said._replace(replayed=True)

    def _with_expiry(self, request: Request, said: Said) -> Said:
        if said.reason or request["kind"] != "hold" or request["id"] not in self.expiries:
            return said
        return said._replace(what=said.what | {"expires_at": told(self.expiries[request["id"]])})

    def _do(self, request: Request) -> Said:
        doers: dict[str, Callable[[Request], Said]] = {
            "transfer": self._post_or_hold,
            "hold": self._post_or_hold,
            "capture": self._capture_or_void,
            "void": self._capture_or_void,
            "reversal": self._reverse,
            "account": self._open,
        }
        return doers.get(request["kind"], self._change)(request)

    def _append(self, move: Movement, posted: int, pending: int) -> Said:
        """Writes a line, at a time that never goes back on either account."""
        at = self.now
        for account in (move.debit, move.credit):
            at = max(at, self.accounts[account]["opened_at"])
            for entry in self.entries(account):
                at = max(at, entry.movement.at)
        self.movements.append(replace(move, at=at, posted=posted, pending=pending))
        return Said(None, {"amount": move.amount})

    # Transfers

    def _post_or_hold(self, r: Request) -> Said:
        debit, credit, amount = r["debit_account"], r["credit_account"], r["amount"]
        refused = self._misplaced(r, debit) or self._bad_accounts(r["kind"], debit, credit, r["currency"])
        if refused:
            return refused
        if "balancing" in r:
            if r["balancing"] in ("debit", "both"):
                amount = min(amount, self._can_give(debit))
            if r["balancing"] in ("credit", "both"):
                amount = min(amount, self._can_take(credit))
            if amount <= 0:
                # Where not even the least amount fits, that comes first.
                full = self._overflows(debit, credit, 1, 1)
                return full or no("nothing_available", available=0, requested=r["amount"])
        refused = self._overflows(debit, credit, amount, amount) or self._passes_bounds(debit, credit, amount)
        if refused:
            return refused
        held = amount if r["kind"] == "hold" else 0
        move = self._moving(r, debit, credit, amount, r["currency"], r["code"])
        return self._append(move, posted=amount - held, pending=held)

    def _capture_or_void(self, r: Request) -> Said:
        capture = r["kind"] == "capture"
        hold = self.hold(r["original"])
        if refused := self._misplaced(r, r["original"]):
            return refused
        if hold is None:
            return no("hold_not_found", hold=r["original"])
        late = hold.state == "expired" or r["original"] in self.over()
        if hold.state == "captured":
            return no("hold_captured", hold=r["original"], captured=hold.captured)
        if hold.state == "voided":
            return no("hold_voided", hold=r["original"])
        if late and not (capture and "reason" in r):
            return no("hold_expired", hold=r["original"], expires_at=told(self.expiries[r["original"]]))
        amount = r.get("amount", hold.left)
        if amount > hold.left:
            return no("exceeds_hold", remaining=hold.left, requested=amount)
        everything = not capture or "final" in r or amount == hold.left
        released = 0 if late else hold.left if everything else amount
        placed = hold.placed
        refused = self._bad_accounts(r["kind"], placed.debit, placed.credit, placed.currency)
        refused = refused or self._overflows(placed.debit, placed.credit, amount - released, amount)
        if refused:
            return refused
        move = self._moving(r, placed.debit, placed.credit, amount, placed.currency, placed.code)
        return self._append(move, posted=amount if capture else 0, pending=-released)

    def _reverse(self, r: Request) -> Said:
        original = self.movement(r["original"])
        if refused := self._misplaced(r, r["original"]):
            return refused
        if original is None:
            return no("original_not_found", original=r["original"])
        if original.kind not in ("transfer", "capture", "reversal"):
            return no("original_not_posted", original=original.id, kind=original.kind)
        if original.kind == "reversal":
            return no("original_is_reversal", original=original.id)
        left = original.amount
        for move in self.movements:
            if move.kind == "reversal" and move.about == original.id:
                left -= move.amount
        amount = r.get("amount", left or original.amount)
        refused = self._bad_accounts("reversal", original.credit, original.debit, original.currency)
        if not refused and amount > left:
            refused = no("exceeds_original", remaining=left, requested=amount)
        refused = refused or self._overflows(original.credit, original.debit, amount, amount)
        refused = refused or self._passes_bounds(original.credit, original.debit, amount)
        if refused:
            return refused
        move = self._moving(r, original.credit, original.debit, amount, original.currency, original.code)
        return self._append(move, posted=amount, pending=0)

    def _moving(self, r: Request, debit: UUID, credit: UUID, amount: int, currency: str, code: str) -> Movement:
        today = (self.now + timedelta(hours=1)).date()  # in Lagos
        on = r.get("effective_on", today)
        code = r.get("code", code)
        return Movement(
            r["id"], r["kind"], debit, credit, amount, 0, 0, currency, code, on, self.now, r.get("original")
        )

    # Refusals, in the order in which they are looked for

    def _misplaced(self, r: Request, beside: UUID) -> Said | None:
        if self._shard(r["id"]) != self._shard(beside):
            return no("id_shard_mismatch", id=r["id"], beside=beside)
        return None

    def _shard(self, id_: UUID) -> int:
        return int(str(id_)[-3:], 16) * self.shards // 4096

    def _bad_accounts(self, kind: str, debit: UUID, credit: UUID, currency: str) -> Said | None:
        if debit == credit:
            return no("same_account", account=debit)
        for id_ in (debit, credit):
            if id_ not in self.accounts:
                return no("account_not_found", account=id_)
        for id_ in (debit, credit):
            account = self.accounts[id_]
            if account["code"] in ("exposure", "exposure_contra", "principal_receivable", "fee_receivable"):
                return no("account_reserved", account=id_)
            if account["currency"] != currency:
                return no("currency_mismatch", account=id_, account_currency=account["currency"])
            if kind != "void" and account["status"] == "closed":
                return no("account_closed", account=id_)
            if kind != "void" and (account["frozen_for"] == "all" or (account["frozen_for"] and id_ == debit)):
                return no("account_frozen", account=id_, frozen_for=account["frozen_for"])
        return None

    def _overflows(self, debit: UUID, credit: UUID, more: int, requested: int) -> Said | None:
        d, c = self.counting(debit), self.counting(credit)
        room = {debit: MOST - d.debits_posted - d.debits_pending, credit: MOST - c.credits_posted - c.credits_pending}
        for id_ in (debit, credit):
            if more > room[id_]:
                return no("balance_overflow", account=id_, headroom=room[id_], requested=requested)
        return None

    def _passes_bounds(self, debit: UUID, credit: UUID, amount: int) -> Said | None:
        headroom = self._headroom(debit)
        if headroom is not None and amount > headroom:
            return no("limit_exceeded", headroom=headroom, requested=amount)
        for id_, side in ((debit, "credit"), (credit, "debit")):
            available = self._available(id_)
            if self.accounts[id_]["normal_side"] == side and available is not None and amount > available:
                return no("insufficient_funds", account=id_, available=available, requested=amount)
        return None

    def _headroom(self, id_: UUID) -> int | None:
        limit: int | None = self.accounts[id_]["credit_limit"]
        return None if limit is None else max(0, limit - self.counting(id_).drawn)

    def _available(self, id_: UUID) -> int | None:
        """What may leave before the floor is reached; what is held on the way out has left, on the way in is not in."""
        c = self.counting(id_)
        floor: int | None = self.accounts[id_]["floor"]
        if floor is None:
            return None
        if self.accounts[id_]["normal_side"] == "credit":
            return max(0, c.credits_posted - c.debits_posted - c.debits_pending - floor)
        return max(0, c.debits_posted - c.credits_posted - c.credits_pending - floor)

    def _can_give(self, id_: UUID) -> int:
        bounds = [self._headroom(id_)]
        if self.accounts[id_]["normal_side"] == "credit":
            bounds.append(self._available(id_))
        return min((bound for bound in bounds if bound is not None), default=-self.counting(id_).drawn)

    def _can_take(self, id_: UUID) -> int:
        c, available = self.counting(id_), self._available(id_)
        if self.accounts[id_]["normal_side"] == "debit" and available is not None:
            return available
        return c.debits_posted - c.credits_posted - c.credits_pending

    # Accounts

    def _open(self, r: Request) -> Said:
        self.accounts[r["id"]] = {"credit_limit": None, "floor": None} | r | {"status": "open", "frozen_for": None}
        self.accounts[r["id"]]["opened_at"] = self.now
        return Said(None, {})

    def _change(self, r: Request) -> Said:
        account = self.accounts.get(r["account"])
        if self._shard(r["id"]) != self._shard(r["account"]):
            return no("id_shard_mismatch", id=r["id"])
        if account is None:
            return no("account_not_found", account=r["account"])
        if account["status"] == "closed":
            return no("account_closed", account=r["account"])
        c = self.counting(r["account"])
        reserved = account["code"] == "exposure"
        match r["kind"]:
            case "limit" if reserved:
                return no("account_reserved", account=r["account"])
            case "closure" if reserved or account["code"] == "funding":
                return no("account_reserved", account=r["account"])
            case "closure" if c.debits_posted != c.credits_posted or c.debits_pending or c.credits_pending:
                balance = c.debits_posted - c.credits_posted
                balance = balance if account["normal_side"] == "debit" else -balance
                return no("balance_not_zero", balance=balance, pending=c.debits_pending + c.credits_pending)
            case "limit":
                account |= {name: r[name] for name in ("credit_limit", "floor") if name in r}
            case "freeze":
                account |= {"status": "frozen", "frozen_for": r["frozen_for"]}
            case "unfreeze":
                account |= {"status": "open", "frozen_for": None}
            case "closure":
                account |= {"status": "closed", "frozen_for": None}
        terms = {name: account[name] for name in ("status", "frozen_for", "credit_limit", "floor")}
        return Said(None, {"account": str(r["account"]), "drawn": c.drawn} | terms)


def told(moment: datetime) -> str:
    """An instant as answers spell it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
