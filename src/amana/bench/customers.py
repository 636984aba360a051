"""The ground of a bench of checks: eligibility with its ledger, a lender, customers, and a Valkey of its own.

Valkey is never a given one, because it is emptied before each path and stopped in one of them.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from amana.bench.checks import AMOUNT, PRODUCT, Checks, Source
from amana.bench.connection import LoadFailed
from amana.bench.generator import Plan, run_load
from amana.bench.machine import tree_rss_bytes
from amana.bench.movements import CURRENCY, account_ids
from amana.bench.site import Measured, Run, Site, differ, new_lender, open_stack, owner_pool, start_set
from amana.gateway.keys import QUOTA_RATE_MAX, quota_of
from amana.infra.embedded.valkey import Valkey
from amana.infra.http import HttpClient
from amana.infra.postgres import Pool
from amana.infra.settings import Settings
from amana.operate.stack import Say, Stack

SCOPES = ("customers:write", "eligibility:check")
SERVICE, LEDGER = "eligibility", "transactions"
LIST_MAX = 1_000
TIMEOUT_MS = 60_000
FILL_CONNECTIONS, FILL_S, FILLS_MAX = 64, 900.0, 20
"""Of asking about customers before a run, and when that is given up."""
FILLED_MIN = 0.95
REST_S = 0.5
ASKED = 16
"""Customers who are asked about after a run, beside the replies that were kept of it."""
ANSWERS, NOT_GOOD, STORED = "answers_not_as_recorded", "answers_not_200", "misses_and_decisions_differ"
SAME = ("outcome", "limit", "price", "reasons", "policy")
"""What an answer and the decision that it names must both say."""


class Customers(Site):
    """See the module. A fresh service runs with settings of its path after `start`."""

    def __init__(self, stack: Stack, pool: Pool, tenant: int, key: str, customers: int, seed: int) -> None:
        super().__init__(stack, pool, tenant, key, SERVICE)
        self.customers = customers
        self.invariants = dict.fromkeys((ANSWERS, NOT_GOOD, STORED), 0)
        self._seed = seed
        self._opened_ms = time.time_ns() // 1_000_000
        self._http = HttpClient()
        self._fresh = self._unsure = self._not_good = 0
        self._samples: list[str] = []

    @property
    def valkey(self) -> Valkey:
        """The cache."""
        assert self.stack.valkey
        return self.stack.valkey

    async def open_customers(self) -> None:
        """Records them through the API."""
        ids = account_ids(self._seed, self._opened_ms, self.customers)
        for start in range(0, len(ids), LIST_MAX):
            items = [_customer(id_, start + at) for at, id_ in enumerate(ids[start : start + LIST_MAX])]
            status, answer = await self._call("POST", "/v1/customers:batch", {"customers": items})
            if status != 200 or any(one["status"] != "recorded" for one in answer["results"]):
                raise LoadFailed(f"customers were not recorded ({status}): {str(answer)[:300]}")

    async def start(self, processes: int = 1, **settings: Any) -> None:
        """Starts the service afresh with these settings, in so many processes, beside an empty Valkey."""
        await self._http.close()  # its connections end with the service
        for name in self.processes_of(SERVICE):
            await self.stack.services.pop(name).stop()
        await self.valkey.stop()
        await self.valkey.start()
        given = {"assessments_validated_per_s": Settings().assessments_validated_per_s, **settings}
        self.stack.settings = msgspec.structs.replace(
            self.stack.settings, listen_shared=int(processes > 1), quota_replicas=processes, **given
        )
        await start_set(self.stack, SERVICE, processes)

    def checks(self, last: int, source: Source, *, any_source: bool = False) -> Checks:
        """Checks of the customers up to `last`."""
        return Checks(
            seed=self._seed, opened_ms=self._opened_ms, first=0, last=last, source=source, any_source=any_source
        )

    def plan(self, checks: Checks, connections: int, warm_s: float, seconds: float, **more: Any) -> Plan:
        """A run of `checks` against the service; `more` as in `Plan`."""
        return self.plan_at(self.stack.ports.eligibility, checks, connections, warm_s, seconds, **more)

    async def ask_each(self, customers: int) -> dict[str, int]:
        """Asks about each of the first `customers` once; how many of the answers came from where."""
        checks = self.checks(customers, "fresh", any_source=True)
        measured = await self.run(self.plan(checks, FILL_CONNECTIONS, 0.0, FILL_S, items_max=customers))
        return measured.result.sources

    async def fill(self, customers: int, source: Source) -> None:
        """Asks until nearly all answers come from where they should: each process has a memory of its own, which fills
        as it happens to be asked; and a Valkey that was slow once is left alone for a second, so that what is computed
        meanwhile is not kept there."""
        for _ in range(FILLS_MAX):
            sources = await self.ask_each(customers)
            if sources.get(source, 0) >= FILLED_MIN * customers:
                return
            await asyncio.sleep(REST_S)
        raise LoadFailed(f"after asking {FILLS_MAX} times the answers come from {sources}, not from {source}")

    async def forget_standings(self) -> None:
        """Empties the service's projection of the ledger: everybody is asked about for the first time again."""
        await self.fetch("forget_standings")

    async def run(self, plan: Plan, run: Run = run_load) -> Measured:
        """As `Site.measure`, of one plan; notes what `check` has to hold against the database."""
        (measured,) = await self.measure(plan, run=run)
        result = measured.result
        self._fresh += result.sources.get("fresh", 0)
        self._unsure += result.unsure
        self._not_good += sum(result.refused.values())
        self._samples += result.samples
        return measured

    async def check(self) -> dict[str, int]:
        """Checks the invariants now; how often each is broken. All checks are summed up in `invariants`."""
        found = {ANSWERS: await self._differing(), NOT_GOOD: self._not_good}
        (row,) = await self.fetch("decisions_stored", self.tenant)
        found[STORED] = differ(row["count"], self._fresh, self._unsure)
        self._not_good = 0
        for name, count in found.items():
            self.invariants[name] += count
        return found

    def rss_bytes(self) -> int:
        """Resident memory of the service."""
        return tree_rss_bytes(self.stack.services[SERVICE].pid or 0)

    async def close(self) -> None:
        """Closes our own connections."""
        await self._http.close()

    async def _differing(self) -> int:
        """How many answers say something else than the decisions that they name: those kept of runs, and new ones."""
        differing = 0
        for sample in self._samples:
            differing += not await self._as_recorded(msgspec.json.decode(sample))
        self._samples = []
        for id_ in account_ids(self._seed, self._opened_ms, min(ASKED, self.customers)):
            differing += not await self._as_recorded(await self._ask(id_), id_)
        return differing

    async def _as_recorded(self, answer: dict[str, Any], customer: str = "") -> bool:
        status, decision = await self._call("GET", f"/v1/decisions/{answer['decision_id']}")
        if status != 200 or (customer and decision["customer"] != customer):
            return False
        return all(answer[name] == decision[name] for name in SAME)

    async def _ask(self, customer: str) -> dict[str, Any]:
        body = {"customer": customer, "product": PRODUCT, "amount": AMOUNT, "currency": CURRENCY}
        status, answer = await self._call("POST", "/v1/eligibility/checks", body)
        if status != 200:
            raise LoadFailed(f"a check was answered {status}: {answer}")
        self._fresh += answer["source"] == "fresh"
        told: dict[str, Any] = answer
        return told

    async def _call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        reply = await self._http.request(
            method,
            self.stack.urls[SERVICE] + path,
            body=None if body is None else msgspec.json.encode(body),
            headers={"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"},
            timeout_ms=TIMEOUT_MS,
        )
        return reply.status, msgspec.json.decode(reply.body)


@asynccontextmanager
async def open_customers(given: Settings, customers: int, seed: int, say: Say) -> AsyncIterator[Customers]:
    """Starts everything and, at the end of the block, stops and removes it."""
    own = msgspec.structs.replace(given, redis_url="")
    async with open_stack(own, [LEDGER, SERVICE], say) as stack, owner_pool(stack) as pool:
        quota = quota_of(QUOTA_RATE_MAX)  # it is counted, and never reached
        ground = Customers(stack, pool, *await new_lender(stack, SCOPES, quota), customers, seed)
        try:
            say(f"Recording {customers:,} customers")
            await ground.open_customers()
            yield ground
        finally:
            await ground.close()


def _customer(id_: str, number: int) -> dict[str, Any]:
    """One of some hundreds of different records."""
    record = {
        "kyc_tier": 1 + number % 3,
        "birth_date": f"{1960 + number % 40}-05-17",
        "employment": ("permanent", "contract", "self_employed", "student")[number % 4],
        "monthly_income": 5_000_000 + number % 7 * 3_000_000,
        "bank_code": ("058", "011", "044")[number % 3],
    }
    return {"customer": id_, "record": record}
