"""What a lender's own program would do, for tests over HTTP: a tenant of its own with keys, and short calls."""

from typing import Any
from uuid import UUID, uuid4

import msgspec
from tests.ids import near

from amana.gateway import provision
from amana.infra.http import HttpClient
from amana.operate.stack import Stack

ORDINARY = tuple(scope for scope in provision.ALL_SCOPES if scope != "tape:import")
TIMEOUT_MS = 15_000


class Lender:
    """One tenant and one key of it."""

    def __init__(self, stack: Stack, http: HttpClient, key: str, tenant: int = 0) -> None:
        self.stack, self.http, self.key, self.tenant = stack, http, key, tenant

    async def with_another_key(self, scopes: tuple[str, ...] = ORDINARY) -> "Lender":
        """The same tenant with a second key: for what one key may not do alone."""
        key = await provision.create_key(self.stack.settings.owner_database_url, self.tenant, scopes)
        return Lender(self.stack, self.http, key, self.tenant)

    async def send(
        self, method: str, service: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, dict[str, Any]]:
        """(status, decoded body). `body` is sent as it is when it is bytes."""
        raw = body if isinstance(body, bytes) or body is None else msgspec.json.encode(body)
        given = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        reply = await self.http.request(
            method, self.stack.urls[service] + path, body=raw, headers=given, timeout_ms=TIMEOUT_MS
        )
        return reply.status, msgspec.json.decode(reply.body) if reply.body else {}

    async def post(self, service: str, path: str, body: Any, **headers: str) -> tuple[int, dict[str, Any]]:
        return await self.send("POST", service, path, body, **headers)

    async def get(self, service: str, path: str) -> tuple[int, dict[str, Any]]:
        return await self.send("GET", service, path)

    async def must(self, method: str, service: str, path: str, body: Any = None) -> dict[str, Any]:
        status, answer = await self.send(method, service, path, body)
        assert status < 300, (method, path, status, answer)
        return answer

    async def customer(self, credit_limit: int = 25_000_000, id_: UUID | None = None, **facts: Any) -> UUID:
        """A customer that the nano policy approves ₦10,000 for, with a credit line."""
        id_ = id_ or uuid4()
        known = {"kyc_tier": 2, "employment": "permanent", "birth_date": "1990-01-01", "bank_code": "058"}
        await self.must("PUT", "eligibility", f"/v1/customers/{id_}", known | facts)
        line = {"id": near(id_), "customer": id_, "currency": "NGN", "credit_limit": credit_limit}
        await self.must("POST", "transactions", "/v1/credit-lines", line)
        return id_

    async def offer(self, customer: UUID, amount: int = 1_000_000) -> dict[str, Any]:
        """An approved request to borrow."""
        request = {"id": uuid4(), "customer": customer, "product": "nano", "amount": amount, "currency": "NGN"}
        answer = await self.must("POST", "eligibility", "/v1/eligibility/checks", request)
        assert answer["outcome"] == "approve", answer
        return answer

    async def loan(self, customer: UUID) -> dict[str, Any]:
        """A booked loan."""
        offer = await self.offer(customer)
        booking = {"id": near(customer), "offer_id": offer["decision_id"]}
        return await self.must("POST", "transactions", "/v1/loans", booking)

    async def account(self, id_: UUID | None = None, **more: Any) -> UUID:
        """An account of the lender's own."""
        id_ = id_ or uuid4()
        item = {"id": id_, "owner": uuid4(), "currency": "NGN", "normal_side": "debit"} | more
        answer = await self.must("POST", "transactions", "/v1/accounts", {"accounts": [item]})
        assert answer["results"][0]["status"] == "opened", answer
        return id_

    async def balance(self, account: object) -> int:
        """The balance of an account."""
        answer = await self.must("GET", "transactions", f"/v1/accounts/{account}")
        return int(answer["balance"])

    async def trial_difference(self) -> dict[str, int]:
        """Debits less credits by currency."""
        return dict((await self.must("GET", "transactions", "/v1/trial-balance"))["difference"])


async def new_lender(stack: Stack, http: HttpClient, scopes: tuple[str, ...] = ORDINARY) -> Lender:
    """A lender that nobody else uses."""
    dsn = stack.settings.owner_database_url
    tenant = await provision.create_tenant(dsn, f"t{uuid4().hex[:12]}", "A lender of the tests")
    return Lender(stack, http, await provision.create_key(dsn, tenant, scopes), tenant)
