"""A few customers whose story `amana demo` tells: asked over HTTP like any lender would, with an ordinary key."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec

from amana.domain.ids import derived_id, uuid7
from amana.infra import clock
from amana.infra.http import HttpClient
from amana.operate.stack import Stack

TIMEOUT_MS = 10_000
CREDIT_LIMIT = 25_000_000


class Told(msgspec.Struct):
    """One line of a story: who, what they asked, and the answer as the API gave it."""

    who: str
    asked: str
    answer: dict[str, Any]


class Lender:
    """One API key's view of the platform."""

    def __init__(self, http: HttpClient, stack: Stack, key: str) -> None:
        self._http, self._urls = http, stack.urls
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    async def call(self, method: str, service: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
        """(status, body) of one request."""
        reply = await self._http.request(
            method,
            self._urls[service] + path,
            body=None if body is None else msgspec.json.encode(body),
            headers=self._headers,
            timeout_ms=TIMEOUT_MS,
        )
        answer: dict[str, Any] = msgspec.json.decode(reply.body) if reply.body else {}
        return reply.status, answer

    async def must(self, method: str, service: str, path: str, body: Any = None) -> dict[str, Any]:
        """The body of a request that has to succeed."""
        status, answer = await self.call(method, service, path, body)
        assert status < 300, f"{method} {path} answered {status}: {answer}"
        return answer


PEOPLE: Sequence[tuple[str, dict[str, Any], int]] = (
    ("Amina, new, salaried", {"kyc_tier": 2, "employment": "permanent", "birth_date": "1991-04-02"}, 1_000_000),
    ("Bode, new, asks for too much", {"kyc_tier": 2, "employment": "permanent", "birth_date": "1988-09-17"}, 4_000_000),
    ("Chidi, age unknown", {"kyc_tier": 1, "employment": "self_employed"}, 1_000_000),
    ("Dayo, blocked", {"kyc_tier": 2, "birth_date": "1979-12-30", "blocked": True}, 1_000_000),
)
BANK_CODE = "058"


async def ask_for_each(lender: Lender) -> list[tuple[UUID, Told]]:
    """Records each person's facts and asks whether they may borrow what they want."""
    told = []
    for who, facts, amount in PEOPLE:
        customer = uuid7(clock.unix_ms(), clock.random_74_bits())
        await lender.must("PUT", "eligibility", f"/v1/customers/{customer}", {"bank_code": BANK_CODE, **facts})
        answer = await lender.must("POST", "eligibility", "/v1/eligibility/checks", _check(customer, amount))
        told.append((customer, Told(who, f"may borrow ₦{amount // 100:,}?", answer)))
    return told


async def borrow_and_repay(lender: Lender, customer: UUID, amount: int) -> list[Told]:
    """A request to borrow, its booking, a part repaid, too much repaid, and what the next answer is."""
    line = {"id": derived_id(customer, "line"), "customer": customer, "currency": "NGN", "credit_limit": CREDIT_LIMIT}
    await lender.must("POST", "transactions", "/v1/credit-lines", line)
    request = _check(customer, amount) | {"id": derived_id(customer, "request")}
    decided = await lender.must("POST", "eligibility", "/v1/eligibility/checks", request)
    loan_id = derived_id(customer, "loan")
    booking = {"id": loan_id, "offer_id": decided["decision_id"]}
    loan = await lender.must("POST", "transactions", "/v1/loans", booking)
    half = loan["outstanding"] // 2
    path = f"/v1/loans/{loan_id}/repayments"
    first = {"id": derived_id(customer, "repayment 1"), "amount": half}
    part = await lender.must("POST", "transactions", path, first)
    second = {"id": derived_id(customer, "repayment 2"), "amount": loan["outstanding"]}
    rest = await lender.must("POST", "transactions", path, second)
    again = await lender.must("POST", "eligibility", "/v1/eligibility/checks", _check(customer, amount))
    return [
        Told("Amina", f"borrows ₦{amount // 100:,}", loan),
        Told("Amina", "repays half", part),
        Told("Amina", "repays too much", rest),
        Told("Amina", "asks again", again),
    ]


async def is_hidden_from(other: Lender, customer: UUID) -> bool:
    """Whether another lender's key finds nothing of this customer and their loan."""
    loan = derived_id(customer, "loan")
    found = [
        await other.call("GET", "transactions", f"/v1/loans/{loan}"),
        await other.call("GET", "eligibility", f"/v1/customers/{customer}"),
    ]
    return all(status == 404 for status, _ in found)


def _check(customer: UUID, amount: int) -> dict[str, Any]:
    return {"customer": customer, "product": "nano", "amount": amount, "currency": "NGN"}
