"""After the storm: what the client was told against what is there, and all that must hold in any case (I1 to I5)."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from uuid import UUID

import asyncpg
from tests.chaos.load import ELASTIC_MAX, Town
from tests.chaos.record import CHANGED, CHANGES, Item, Record, Sent
from tests.chaos.site import Ledger, Site

from amana.operate.reconcile import CHECKS
from amana.operate.reconcile import SQL as RECONCILE

AT_ONCE = 16
TRIES_MAX = 50
PAUSE_S = 0.2
MOVEMENTS = {"post": "post", "reverse": "post", "hold": "hold", "capture": "capture", "void": "void"}
DONE = {"post": "posted", "reverse": "posted", "hold": "held", "capture": "posted", "void": "voided"}
DONE |= dict.fromkeys(CHANGES, CHANGED)
Rows = dict[UUID, asyncpg.Record]

OVER_A_BOUND = """
SELECT e.account || ', version ' || e.version
FROM transactions.entries e JOIN transactions.accounts a ON a.tenant = e.tenant AND a.id = e.account
WHERE e.tenant = $1
  AND (e.debits_posted + e.debits_pending - e.credits_posted > CASE a.id WHEN $2 THEN $3 ELSE a.credit_limit END
       OR (a.normal_side = 'credit' AND e.credits_posted - e.debits_posted - e.debits_pending < a.floor))
"""


class Verdict:
    """Judges one record. `run` leaves what it found in `record.violations` and what it counted in `record.counts`."""

    def __init__(self, site: Site, record: Record, town: Town, ledgers: list[Ledger]) -> None:
        self._site = site
        self._record = record
        self._town = town
        self._ledgers = ledgers
        self._asked = {item["id"]: item for sent in record.sent for item in sent.items}

    async def run(self) -> None:
        """As it was found, then with everything settled, then once more from the beginning: all replays."""
        await self._compare()
        in_doubt = [sent for sent in self._record.sent if sent.silences and not sent.said]
        self._record.counts["requests in doubt"] += len(in_doubt)
        await self._each(self._settle, [sent for sent in self._record.sent if not sent.said])
        for sent in in_doubt:
            self._record.counts[f"in doubt, {_became(sent)}"] += 1
        await self._each(self._replay, self._record.sent)
        await self._compare()
        await self._compare_counters()
        await self._reconcile()
        for sent in self._record.sent:
            self._record.counts.update(result["status"] for result in sent.results)

    def _broken(self, what: str) -> None:
        self._record.violations.append(what)

    # What was told, and what is there

    async def _compare(self) -> None:
        """Acknowledged: there, with its amount. Refused, or nothing done: absent. Nothing that nobody sent.

        Part of a long list is done where an answer was missed or said that the outcome is unknown, never where it said
        that nothing was done.
        """
        async with self._site.database() as connection:
            tenant = self._record.lender.tenant
            found = await connection.fetch("SELECT * FROM transactions.transfers WHERE tenant = $1", tenant)
            changes = await connection.fetch(
                "SELECT id FROM transactions.commands WHERE tenant = $1 AND reason IS NULL AND kind = ANY($2)",
                *(tenant, CHANGES),
            )
        rows = {row["id"]: row for row in found}
        done = rows.keys() | {row["id"] for row in changes}
        for sent in self._record.sent:
            for item, result in zip(sent.items, sent.results, strict=bool(sent.said)):
                if item.get("kind") not in CHANGES:
                    self._compare_item(item, result, rows.get(item["id"]))
                elif (result["status"] == CHANGED) != (item["id"] in done):
                    self._broken(f"{item} was answered {result}, and the ledger knows better")
            if sent.nothing_done and done & set(sent.ids):
                self._broken(f"{sent.ids} was done, but every answer said that nothing was")
        for id_ in self._record.never & rows.keys():
            self._broken(f"{id_} was done, but its request was malformed")
        strays = [id_ for id_, row in rows.items() if id_ not in self._asked and not self._is_expiry(row)]
        if strays:
            self._broken(f"nobody sent {strays}")

    def _compare_item(self, item: Item, result: Item, row: asyncpg.Record | None) -> None:
        kind = item.get("kind", "post")
        if result["status"] == "refused":
            if row is not None:
                self._broken(f"{item} was refused ({result['reason']}) and is there")
        elif result["status"] != DONE[kind]:
            self._broken(f"{item} was answered {result}")
        elif row is None:
            self._broken(f"{item} was acknowledged and is lost")
        elif (row["kind"], row["amount"], row["debit_account"], row["credit_account"]) != (
            MOVEMENTS[kind],
            result["amount"],
            *self._accounts_of(item),
        ):
            self._broken(f"{item} was answered {result} and is there as {dict(row)}")

    def _is_expiry(self, row: asyncpg.Record) -> bool:
        return row["kind"] == "expire" and "ttl_s" in self._asked.get(row["original"], {})

    def _accounts_of(self, item: Item) -> tuple[UUID, UUID]:
        if "debit_account" in item:
            return item["debit_account"], item["credit_account"]
        debit, credit = self._accounts_of(self._asked[item.get("hold") or item["reverses"]])
        return (debit, credit) if "hold" in item else (credit, debit)

    async def _compare_counters(self) -> None:
        """What is posted on each account is the sum of what the client was told, to the kobo."""
        debits: Counter[UUID] = Counter()
        credits: Counter[UUID] = Counter()
        for sent in self._record.sent:
            for item, result in zip(sent.items, sent.results, strict=True):
                if result["status"] == "posted":
                    debit, credit = self._accounts_of(item)
                    debits[debit] += result["amount"]
                    credits[credit] += result["amount"]
        town = self._town
        for account in (*town.tills, *town.incomes, *town.wallets, *town.cards):
            view = await self._record.lender.get(self._ledgers[0], f"/v1/accounts/{account}")
            found, expected = (view["debits_posted"], view["credits_posted"]), (debits[account], credits[account])
            if found != expected:
                self._broken(f"account {account} stands at {found}, and {expected} was acknowledged")

    # Sending again

    async def _each(self, work: Callable[[Ledger, Sent], Awaitable[None]], all_sent: Iterable[Sent]) -> None:
        gate = asyncio.Semaphore(AT_ONCE)

        async def gated(number: int, sent: Sent) -> None:
            async with gate:
                await work(self._ledgers[number % len(self._ledgers)], sent)

        await asyncio.gather(*(gated(number, sent) for number, sent in enumerate(all_sent)))

    async def _settle(self, ledger: Ledger, sent: Sent) -> None:
        for _ in range(TRIES_MAX):
            if await self._record.send(ledger, sent):
                return
            await asyncio.sleep(PAUSE_S)
        self._broken(f"{sent.ids} was never answered")

    async def _replay(self, ledger: Ledger, sent: Sent) -> None:
        """Whatever was answered is answered the same again."""
        before = sent.claimed_first.total()
        if not await self._record.send(ledger, sent):
            self._broken(f"{sent.ids} was not answered in quiet")
        elif sent.claimed_first.total() != before:
            self._broken(f"{sent.ids} was answered, and done again")
        self._record.counts["replays"] += 1

    # Whatever was told

    async def _reconcile(self) -> None:
        """Every check of `amana reconcile` inside the main database, and no bound ever broken in all of history."""
        async with self._site.database() as connection:
            await connection.execute(RECONCILE["make_sealed"])
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                for check in CHECKS:
                    rows = await connection.fetch(RECONCILE[check])
                    self._record.violations += [f"{check}: {dict(row)}" for row in rows]
                elastic = (self._town.elastic, ELASTIC_MAX)
                for (place,) in await connection.fetch(OVER_A_BOUND, self._record.lender.tenant, *elastic):
                    self._broken(f"account {place} went over its bound")


def _became(sent: Sent) -> str:
    """What sending it again showed of a request in doubt."""
    done = [result for result in sent.results if result["status"] != "refused"]
    if not done:
        return "refused"
    had = [result for result in done if result["replayed"]]
    if len(had) == len(done):
        return "had happened"
    return "had happened in part" if had else "happened when sent again"
