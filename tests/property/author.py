"""Who writes the histories: the next requests, mostly sensible, and often about what was sent before.

Hypothesis gives each history the seed of its choices. It is not asked for each of them: what can be chosen depends on
how races ended, and a history that fails is shortened by leaving out steps, not by choosing again.
"""

from collections.abc import Callable, Sequence
from datetime import date
from typing import Any
from uuid import UUID

from tests.property.model import MOST, Request, Said

Choose = Callable[[Sequence[Any]], Any]
"""One of the options, like `random.Random.choice`."""

CAST: dict[str, Request] = {
    # Each with the bounds that the stories need; `bucket` is the last 12 bits of its id, where its shard comes from.
    "till": {"bucket": 0x000, "normal_side": "debit"},
    "income": {"bucket": 0x001, "normal_side": "credit"},
    "wallet": {"bucket": 0x002, "normal_side": "credit", "floor": 0},
    "purse": {"bucket": 0x9FF, "normal_side": "credit", "floor": 20, "credit_limit": 0},
    "card": {"bucket": 0xFFF, "normal_side": "debit", "credit_limit": 150},
    "bank": {"bucket": 0x003, "normal_side": "debit", "floor": 0},
    "vault": {"bucket": 0x004, "normal_side": "debit"},
    "sink": {"bucket": 0xA00, "normal_side": "credit"},
    "dollars": {"bucket": 0x005, "normal_side": "credit", "currency": "USD"},
    "control": {"bucket": 0x006, "normal_side": "debit", "code": "exposure"},
    "funding": {"bucket": 0x007, "normal_side": "debit", "code": "funding"},
}
BUSY = ("till", "income", "wallet", "card", "bank", "purse")
USUAL = ("transfer",) * 5 + ("hold",) * 4 + ("capture",) * 4 + ("void", "reversal", "reversal")
KINDS = (
    *USUAL * 2,
    *("again",) * 7,
    *("group",) * 5,
    *("group again",) * 3,
    *("limit", "limit", "freeze", "unfreeze", "unfreeze", "closure", "account"),
)
AMOUNTS = (1, 2, 5, 10, 20, 40, 60, 100, 149)
DATES = (date(2026, 3, 1), date(2026, 3, 2))
TTLS_S = (3_600, 86_400)
VALUES: dict[str, Sequence[Any]] = {
    "amount": AMOUNTS,
    "balancing": ("debit", "credit", "both"),
    "code": ("transfer", "correction"),
    "credit_limit": (None, 0, 30, 200),
    "effective_on": DATES,
    "final": (True,),
    "floor": (None, 0, 10),
    "frozen_for": ("debits", "all"),
    "normal_side": ("debit", "credit"),
    "metadata": ({"colour": "red"}, {"colour": "red", "size": "XL"}),
    "reference": ("May", "June"),
    "ttl_s": TTLS_S,
}
VARIANTS = {
    "transfer": (
        "kind",
        "amount",
        "balancing",
        "code",
        "credit_account",
        "debit_account",
        "effective_on",
        "metadata",
        "reference",
    ),
    "hold": (
        "kind",
        "amount",
        "code",
        "credit_account",
        "debit_account",
        "effective_on",
        "metadata",
        "reference",
        "ttl_s",
    ),
    "capture": ("kind", "amount", "code", "effective_on", "final", "metadata", "reference"),
    "void": ("kind", "metadata", "reference"),
    "reversal": ("kind", "amount", "code", "effective_on", "metadata", "reference"),
    "limit": ("kind", "credit_limit", "floor"),
    "freeze": ("kind", "frozen_for"),
    "account": ("kind", "credit_limit", "floor", "normal_side"),
}
"""The fields in which a second use of an id may differ from the first."""
OPTIONAL = {
    "transfer": ("balancing", "effective_on", "metadata", "reference"),
    "hold": ("effective_on", "metadata", "reference", "ttl_s"),
    "capture": ("amount", "code", "effective_on", "final", "metadata", "reference"),
    "void": ("metadata", "reference"),
    "reversal": ("amount", "code", "effective_on", "metadata", "reference"),
    "limit": ("credit_limit", "floor"),
    "account": ("credit_limit", "floor"),
}


def rarely(choose: Choose, times: int) -> bool:
    """Once in so many times; the simplest history has none of it."""
    return bool(choose(range(times)) == times - 1)


class Author:
    """Writes requests for one history. Ids are `prefix`, a number and the bucket of what they stand beside."""

    def __init__(self, prefix: int) -> None:
        self._prefix = prefix
        self._numbers = 0
        self.names: dict[str, str] = {}
        """By the text of the id."""
        self.sent: list[Request] = []
        self.groups: list[list[Request]] = []
        self.refused: set[UUID] = set()
        self.accounts: dict[str, UUID] = {}

    def opening(self) -> list[Request]:
        """The requests that open the cast's accounts."""
        requests = []
        for name, terms in CAST.items():
            fields = {key: value for key, value in terms.items() if key != "bucket"}
            requests.append(self._account(name, terms["bucket"], fields))
        self.accounts["nobody"] = self._new_id("nobody", 0x008)
        return requests

    def write(self, choose: Choose) -> list[Request]:
        """One linked group of orders, or one request about an account."""
        kind = choose(KINDS)
        if kind == "group again" and self.groups:
            return list(choose(self.groups[-4:]))
        group: list[Request] = []
        if kind == "group":
            for _ in range(choose((2, 2, 3, 4))):
                request = self._request(choose((*USUAL, "again")), choose)
                if request["id"] not in {other["id"] for other in group} and request["kind"] in USUAL:
                    group.append(request)
        group = group or [self._request("transfer" if kind in ("group", "group again") else kind, choose)]
        self.sent += group
        if len(group) > 1:
            self.groups.append(group)
        return group

    def bulk(self, count: int) -> list[Request]:
        """Many small transfers to and fro: an account's history becomes long enough to be marked."""
        made = []
        for at in range(count):
            debit, credit = ("till", "income") if at % 3 else ("income", "till")
            id_ = self._new_id("t", CAST[debit]["bucket"])
            made.append(self._plain({"id": id_, "kind": "transfer"}, debit, credit, 1 + at % 2))
        return made

    def _request(self, kind: str, choose: Choose) -> Request:
        writers: dict[str, Callable[[Choose], Request]] = {
            "transfer": self._transfer,
            "hold": self._hold,
            "reversal": self._reversal,
            "account": self._new_account,
            "again": self._again,
        }
        if kind in writers:
            return writers[kind](choose)
        return self._about_hold(kind, choose) if kind in ("capture", "void") else self._change(kind, choose)

    def _transfer(self, choose: Choose) -> Request:
        if rarely(choose, 20):
            debit, credit = choose((("vault", "sink"), ("sink", "vault")))
            amount = choose((MOST, MOST - 1, 1))
        else:
            debit, credit = self._pair(choose)
            amount = choose(AMOUNTS)
        request = self._plain({"id": self._id("t", debit, choose), "kind": "transfer"}, debit, credit, amount)
        if rarely(choose, 5):
            request["balancing"] = choose(("debit", "credit", "both"))
            request["amount"] = choose((amount, MOST))
        return self._with_extras(request, choose)

    def _hold(self, choose: Choose) -> Request:
        huge = rarely(choose, 20)
        debit, credit = choose((("vault", "sink"), ("sink", "vault"))) if huge else self._pair(choose)
        amount = choose((MOST, MOST - 1)) if huge else choose(AMOUNTS)
        request = self._plain({"id": self._id("h", debit, choose), "kind": "hold"}, debit, credit, amount)
        if choose((True, False)):
            request["ttl_s"] = choose(TTLS_S)
        return self._with_extras(request, choose)

    def _pair(self, choose: Choose) -> tuple[str, str]:
        names = tuple(self.accounts) if rarely(choose, 8) else BUSY
        debit = choose(names)
        return debit, choose(names if rarely(choose, 25) else [name for name in names if name != debit])

    def _plain(self, request: Request, debit: str, credit: str, amount: int) -> Request:
        return request | {
            "debit_account": self.accounts[debit],
            "credit_account": self.accounts[credit],
            "amount": amount,
            "currency": "USD" if debit == "dollars" else "NGN",
            "code": "transfer",
        }

    def _about_hold(self, kind: str, choose: Choose) -> Request:
        if not any(request["kind"] == "hold" for request in self.sent):
            return self._hold(choose)
        original = self._earlier(("transfer", "hold") if rarely(choose, 20) else ("hold",), choose)
        request: Request = {"id": self._beside(kind[0], original, choose), "kind": kind, "original": original}
        if kind == "capture":
            if not rarely(choose, 5):
                request["amount"] = choose(AMOUNTS[:5])
            how = choose(("", "", "final", "reason"))
            if how:
                request[how] = True if how == "final" else "late_advice"
            request = self._with_extras(request, choose)
        return request

    def _reversal(self, choose: Choose) -> Request:
        original = self._earlier(USUAL if rarely(choose, 6) else ("transfer", "capture"), choose)
        request: Request = {"id": self._beside("r", original, choose), "kind": "reversal", "original": original}
        if choose((True, False)):
            request["amount"] = choose(AMOUNTS[:6])
        return self._with_extras(request, choose)

    def _earlier(self, kinds: Sequence[str], choose: Choose) -> UUID:
        """The id of one of the last requests of these kinds, or one that nobody knows."""
        every = [request["id"] for request in self.sent if request["kind"] in kinds]
        ids = [id_ for id_ in every if id_ not in self.refused or rarely(choose, 20)][-8:]
        known: UUID = choose(ids) if ids and not rarely(choose, 20) else self.accounts["nobody"]
        return known

    def _with_extras(self, request: Request, choose: Choose) -> Request:
        match choose(range(8)):
            case 0:
                name = choose(("metadata", "reference"))
                request[name] = choose(VALUES[name])
            case 1:
                request["effective_on"] = choose(DATES)
            case 2:
                request["code"] = "correction"
        return request

    def _change(self, kind: str, choose: Choose) -> Request:
        others = tuple(name for name in self.accounts if name not in BUSY)
        name = choose(others if rarely(choose, 6) or (kind == "closure" and not rarely(choose, 6)) else BUSY)
        request: Request = {"id": self._id("c", name, choose), "kind": kind, "account": self.accounts[name]}
        if kind == "freeze":
            request["frozen_for"] = choose(("debits", "all"))
        elif kind == "limit":
            bound = choose(("credit_limit", "floor"))
            request[bound] = choose((None, None, 0, 30, 200))
            if choose((True, False)):
                request["credit_limit" if bound == "floor" else "floor"] = choose((None, 10))
        return request

    def _new_account(self, choose: Choose) -> Request:
        name = f"a{len(self.accounts)}"
        terms: Request = {"normal_side": choose(("debit", "credit"))}
        if choose((True, False)):
            terms |= {"credit_limit": choose((0, 100)), "floor": 0}
        return self._account(name, choose((0x010, 0x811)), terms)

    def _account(self, name: str, bucket: int, terms: Request) -> Request:
        id_ = self.accounts[name] = self._new_id(name, bucket)
        return {"id": id_, "kind": "account", "code": "general", "currency": "NGN"} | terms

    def _again(self, choose: Choose) -> Request:
        """Something that was sent before, just so or with one field changed, left out or added."""
        if not self.sent:
            return self._transfer(choose)
        request = dict(choose(self.sent[-15:]))
        kind = request["kind"]
        if choose((True, False, False)) or kind not in VARIANTS:
            return request
        name = choose(VARIANTS[kind])
        if name in request and name in OPTIONAL.get(kind, ()) and choose((True, False)):
            del request[name]
        elif name in ("debit_account", "credit_account"):
            request[name] = self.accounts[choose(BUSY)]
        elif name == "kind":
            request = {"id": request["id"]} | dict(choose(self.sent[-15:])) | {"id": request["id"]}
        else:
            request[name] = choose(VALUES[name])
        return request

    def _id(self, letter: str, beside: str, choose: Choose) -> UUID:
        return self._beside(letter, self.accounts[beside], choose)

    def _beside(self, letter: str, beside: UUID, choose: Choose) -> UUID:
        bucket = beside.int & 0xFFF
        return self._new_id(letter, bucket ^ 0x800 if rarely(choose, 40) else bucket)

    def _new_id(self, name: str, bucket: int) -> UUID:
        self._numbers += 1
        id_ = UUID(int=self._prefix << 96 | self._numbers << 12 | bucket)
        self.names[str(id_)] = name if len(name) > 1 else f"{name}{self._numbers}"
        return id_

    def told(self, request: Request) -> str:
        """A request as a person reads it."""
        rest = [f"{name}={self._name(value)}" for name, value in request.items() if name not in ("id", "kind")]
        return f"{request['kind']} {self._name(request['id'])}: {' '.join(rest)}"

    def told_answer(self, said: Said) -> str:
        """An answer as a person reads it."""
        what = " ".join(f"{name}={self._name(value)}" for name, value in said.what.items())
        return f"{said.reason or 'done'} {what}{' (again)' if said.replayed else ''}".rstrip()

    def _name(self, value: object) -> str:
        return self.names.get(str(value), str(value))
