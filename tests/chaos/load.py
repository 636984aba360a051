"""Callers that move money in every way, on unlimited and on limited accounts, and keep a record of what they heard."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from uuid import UUID

from tests.chaos.record import Item, Record, Sent
from tests.chaos.site import Ledger, Lender

from amana.domain.ids import BUCKET_MASK
from amana.transactions.flow import BATCH_MAX

CALLERS = 12
CARD_LIMIT = 5_000
LINKED_MAX = 4
LIST_MAX = 8
RACERS = 3
BULK = 2 * BATCH_MAX + 100
"""Items of a long list: committed in three parts, so that a crash may leave some of them."""
ELASTIC_MIN, ELASTIC_MAX = 1_000, 9_000
"""Kobo. Between these the limit of one card goes up and down."""
TRIES_MAX = 4
PAUSE_S = 0.05
"""After an answer that was none."""
THINK_MAX_S = 0.02
FROZEN_MAX_S = 0.2
KNOWN_MAX = 200
"""What a caller remembers to replay, reverse, capture."""


@dataclass(frozen=True)
class Town:
    """The accounts: tills and incomes without bounds, wallets that can't go below zero, cards that draw on credit."""

    tills: list[UUID]
    incomes: list[UUID]
    wallets: list[UUID]
    cards: list[UUID]

    @classmethod
    async def build(cls, lender: Lender, ledger: Ledger) -> "Town":
        """Opens them."""
        return cls(
            [await lender.account(ledger) for _ in range(2)],
            [await lender.account(ledger) for _ in range(2)],
            [await lender.account(ledger, normal_side="credit", floor=0) for _ in range(4)],
            [await lender.account(ledger, credit_limit=CARD_LIMIT) for _ in range(4)],
        )

    @property
    def elastic(self) -> UUID:
        """The card whose limit changes."""
        return self.cards[-1]

    @property
    def shaky(self) -> UUID:
        """The wallet that is frozen now and then."""
        return self.wallets[-1]


class Caller:
    """One client, sending one thing after the other; what it sends follows from the seed."""

    def __init__(self, record: Record, town: Town, ledgers: list[Ledger], random: Random) -> None:
        self._record = record
        self._town = town
        self._ledgers = ledgers
        self._random = random
        self._posts: list[Sent] = []
        self._holds: list[Sent] = []
        self._ways: list[tuple[float, Callable[[], Awaitable[None]]]] = [
            (30, self._post),
            (12, self._many),
            (12, self._linked),
            (14, self._hold),
            (14, self._settle),
            (8, self._reverse),
            (6, self._balance),
            (4, self._force),
            (2, self._limit),
            (1, self._freeze),
            (8, self._again),
            (8, self._race),
            (4, self._rivals),
            (2, self._conflict),
            (1, self._malformed),
            (0.3, self._bulk),
        ]

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`."""
        weights, ways = zip(*self._ways, strict=True)
        while not stop.is_set():
            await self._random.choices(ways, weights)[0]()
            await asyncio.sleep(self._random.uniform(0, THINK_MAX_S))

    # Ways to move money

    async def _post(self) -> None:
        sent = self._record.add(self._movement())
        if await self._send(sent) and sent.results[0]["status"] == "posted":
            self._remember(self._posts, sent)

    async def _many(self) -> None:
        await self._send(self._record.add(*(self._movement() for _ in range(self._random.randint(2, LIST_MAX)))))

    async def _bulk(self) -> None:
        """More than goes into one batch."""
        await self._send(self._record.add(*(self._movement() for _ in range(BULK))))

    async def _linked(self) -> None:
        items = [self._movement() | {"linked": True} for _ in range(self._random.randint(2, LINKED_MAX))]
        items[-1]["linked"] = False
        await self._send(self._record.add(*items))

    async def _hold(self) -> None:
        more = {"ttl_s": self._random.randint(1, 3)} if self._random.random() < 0.3 else {}
        sent = self._record.add(self._movement() | {"kind": "hold"} | more)
        if await self._send(sent) and sent.results[0]["status"] == "held":
            self._remember(self._holds, sent)

    async def _settle(self) -> None:
        if self._holds:
            await self._send(self._record.add(self._settlement(self._random.choice(self._holds))))

    async def _balance(self) -> None:
        """As much as there is, with more asked for than is likely."""
        item = self._movement()
        item |= {"amount": item["amount"] * 3, "balancing": self._random.choice(["debit", "credit", "both"])}
        sent = self._record.add(item)
        if await self._send(sent) and sent.results[0]["status"] == "posted":
            self._remember(self._posts, sent)

    async def _force(self) -> None:
        """A capture that neither an expiry nor a limit stops; only where there is no limit, so that none is passed."""
        holds = [hold for hold in self._holds if hold.items[0]["debit_account"] in self._town.tills]
        if holds:
            held = self._random.choice(holds).items[0]
            item: Item = {
                "id": self._id_beside(held["id"]),
                "kind": "capture",
                "hold": held["id"],
                "reason": "late_file",
            }
            if self._random.random() < 0.5:
                item["amount"] = self._random.randint(1, held["amount"])
            await self._send(self._record.add(item, path=f"/v1/transfers/{held['id']}/forced-captures"))

    async def _limit(self) -> None:
        limit = self._random.randint(ELASTIC_MIN, ELASTIC_MAX)
        await self._change("limit", self._town.elastic, credit_limit=limit)

    async def _freeze(self) -> None:
        await self._change("freeze", self._town.shaky, frozen_for=self._random.choice(["debits", "all"]))
        await asyncio.sleep(self._random.uniform(0, FROZEN_MAX_S))
        await self._change("unfreeze", self._town.shaky)

    async def _change(self, kind: str, account: UUID, **terms: object) -> None:
        item: Item = {"id": self._id_beside(account), "kind": kind, "account": account} | terms
        await self._send(self._record.add(item, path=f"/v1/accounts/{account}/{kind}s"))

    async def _reverse(self) -> None:
        if self._posts:
            original = self._random.choice(self._posts).items[0]
            item: Item = {"id": self._id_beside(original["id"]), "kind": "reverse", "reverses": original["id"]}
            if self._random.random() < 0.7:
                item["amount"] = self._random.randint(1, original["amount"])
            await self._send(self._record.add(item))

    async def _again(self) -> None:
        if self._posts:
            await self._send(self._random.choice(self._posts))

    async def _race(self) -> None:
        """The same request, several times at once."""
        sent = self._record.add(self._movement())
        await asyncio.gather(*(self._send(sent) for _ in range(RACERS)))

    async def _rivals(self) -> None:
        """Two different ways to settle all of one hold, at once."""
        if self._holds:
            hold = self._holds.pop()
            rivals = [self._record.add(self._settlement(hold, whole=True)) for _ in range(2)]
            await asyncio.gather(*(self._send(sent) for sent in rivals))

    async def _conflict(self) -> None:
        if self._posts:
            await self._record.expect_conflict(self._ledger(), self._random.choice(self._posts))

    async def _malformed(self) -> None:
        await self._record.expect_malformed(self._ledger(), self._movement())

    # What they are made of

    async def _send(self, sent: Sent) -> bool:
        """Until it is answered; or, half of the time, only once, so that much is left to be settled later."""
        for _ in range(TRIES_MAX if self._random.random() < 0.5 else 1):
            if await self._record.send(self._ledger(), sent):
                return True
            await asyncio.sleep(PAUSE_S)
        return False

    def _ledger(self) -> Ledger:
        return self._random.choice(self._ledgers)

    def _movement(self) -> Item:
        town, random = self._town, self._random
        giver, taker = random.sample(town.wallets, 2)
        ways: list[tuple[UUID, UUID, int]] = [
            (town.tills[0], random.choice(town.incomes), 100),
            (random.choice(town.tills), random.choice(town.incomes), 100),
            (random.choice(town.tills), random.choice(town.wallets), 300),
            (random.choice(town.wallets), random.choice(town.incomes), 400),
            (giver, taker, 300),
            (random.choice(town.cards), random.choice(town.incomes), 900),
            (random.choice(town.tills), random.choice(town.cards), 900),
        ]
        debit, credit, most = random.choice(ways)
        accounts = {"debit_account": debit, "credit_account": credit}
        return {"id": self._id_beside(debit), **accounts, "amount": random.randint(1, most), "currency": "NGN"}

    def _settlement(self, hold: Sent, *, whole: bool = False) -> Item:
        held = hold.items[0]
        kind = self._random.choice(["capture", "void"])
        item: Item = {"id": self._id_beside(held["id"]), "kind": kind, "hold": held["id"]}
        if kind == "capture" and not whole and self._random.random() < 0.7:
            item |= {"amount": self._random.randint(1, held["amount"]), "final": self._random.random() < 0.3}
        return item

    def _id(self) -> UUID:
        return UUID(int=self._random.getrandbits(128), version=4)

    def _id_beside(self, other: UUID) -> UUID:
        """In the same shard, however many there are."""
        return UUID(int=self._id().int & ~BUCKET_MASK | other.int & BUCKET_MASK)

    def _remember(self, known: list[Sent], sent: Sent) -> None:
        known.append(sent)
        del known[:-KNOWN_MAX]


async def run_load(record: Record, town: Town, ledgers: list[Ledger], seed: str, stop: asyncio.Event) -> None:
    """All callers, until `stop`."""
    callers = [Caller(record, town, ledgers, Random(f"{seed}/{number}")) for number in range(CALLERS)]
    await asyncio.gather(*(caller.run(stop) for caller in callers))
