"""A lender's till: short calls about transfers between two of its accounts, for tests over HTTP."""

from typing import Any
from uuid import UUID

from tests.e2e.lenders import Lender
from tests.ids import near

Item = dict[str, Any]
NOBODY = UUID("0189f7a2-0000-7000-8000-000000000abc")
LEDGER = "transactions"
ROUTES_OF_A_TRANSFER = ("reversals", "captures", "voids", "forced-captures")
ROUTES_OF_AN_ACCOUNT = ("limits", "freezes", "unfreezes", "closures")


class Till:
    """A lender with an account without bounds and one that it pays into; what is not said of an item is about those."""

    def __init__(self, lender: Lender, debit: UUID, credit: UUID) -> None:
        self.lender, self.debit, self.credit = lender, debit, credit

    def item(self, **more: Any) -> Item:
        base: Item = {"debit_account": self.debit, "credit_account": self.credit, "amount": 100, "currency": "NGN"}
        return {"id": near(more.get("debit_account", self.debit))} | base | more

    def hold(self, **more: Any) -> Item:
        return self.item(kind="hold", **more)

    async def send(self, *items: Item) -> list[dict[str, Any]]:
        answer = await self.lender.must("POST", LEDGER, "/v1/transfers", {"transfers": list(items)})
        results: list[dict[str, Any]] = answer["results"]
        return results

    async def outcomes(self, *items: Item) -> list[Any]:
        """Of each item what moved, or why nothing did."""
        return [one["reason"] or (one["status"], one["amount"]) for one in await self.send(*items)]

    async def refused(self, *items: Item) -> list[tuple[str, str]]:
        """(pointer, code) of what is wrong with a list that is refused whole."""
        status, problem = await self.lender.post(LEDGER, "/v1/transfers", {"transfers": list(items)})
        assert 400 <= status < 500, problem
        return [(error["pointer"], error["code"]) for error in problem["errors"]]

    async def account(self, id_: UUID | None = None) -> dict[str, Any]:
        return await self.lender.must("GET", LEDGER, f"/v1/accounts/{id_ or self.debit}")

    async def about(self, what: str, id_: UUID | str, **body: Any) -> tuple[int, dict[str, Any]]:
        """A command about a transfer or an account, by its route."""
        kind = "accounts" if what in ROUTES_OF_AN_ACCOUNT else "transfers"
        return await self.lender.post(LEDGER, f"/v1/{kind}/{id_}/{what}", {"id": near(id_)} | body)


def about(kind: str, original: Item, **more: Any) -> Item:
    """An item about an earlier one."""
    place = original["id"]
    return {"id": near(place), "kind": kind, "reverses" if kind == "reverse" else "hold": place} | more
