"""What a client knows of what it sent: every acknowledgement, every refusal, and what nobody told it."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import msgspec
from tests.chaos.site import Ledger, Lender

from amana.infra.http import UpstreamUnavailable

PATH = "/v1/transfers"
Item = dict[str, Any]
NO_CONNECTION = "never connected"
SILENCE = "reset or time-out"
UNDONE = {NO_CONNECTION, "503 unavailable", "503 overloaded"}
"""After these nothing was done."""
UNKNOWN = {SILENCE, "504 outcome_unknown"}
"""After these nobody knows."""


@dataclass(eq=False)
class Sent:
    """One list of transfers, sent once or often, always in the same bytes."""

    items: list[Item]
    body: bytes = b""
    results: list[Item] = field(default_factory=list)
    """One for each item, once any answer came."""
    said: bytes = b""
    """The first answer, written as the replay of itself: what every later replay must be, byte by byte."""
    claimed_first: Counter[UUID] = field(default_factory=Counter)
    """How often an item was told to be no replay: once at the most."""
    silences: int = 0
    """Times that nobody knows what became of it: a reset, a time-out, a 504."""

    def __post_init__(self) -> None:
        self.body = msgspec.json.encode({"transfers": self.items})

    @property
    def ids(self) -> list[UUID]:
        """Of its items."""
        return [item["id"] for item in self.items]

    @property
    def nothing_done(self) -> bool:
        """Every answer so far said that nothing was done."""
        return not self.said and not self.silences


class Record:
    """All that one client sent, and every promise that was broken."""

    def __init__(self, lender: Lender) -> None:
        self.lender = lender
        self.sent: list[Sent] = []
        self.never: set[UUID] = set()
        """Ids of requests that were refused whole (4xx): they must be absent for ever."""
        self.counts: Counter[str] = Counter()
        self.violations: list[str] = []

    def add(self, *items: Item) -> Sent:
        """A request to send."""
        sent = Sent(list(items))
        self.sent.append(sent)
        return sent

    async def send(self, ledger: Ledger, sent: Sent) -> bool:
        """Sends it, once more or for the first time, and notes what came of it. True when it was answered."""
        try:
            reply = await self.lender.send(ledger, PATH, sent.body)
        except UpstreamUnavailable as error:
            self._note_silence(sent, NO_CONNECTION if error.outcome_known else SILENCE)
            return False
        if reply.status == 200:
            self._hear(sent, reply.body)
            return True
        code = msgspec.json.decode(reply.body)["code"]
        what = f"{reply.status} {code}"
        if what not in UNDONE | UNKNOWN:
            self.violations.append(f"{sent.ids} was answered {what}: {ledger.errors()[-1:]}")
        self._note_silence(sent, what)
        return False

    def _note_silence(self, sent: Sent, what: str) -> None:
        self.counts[what] += 1
        sent.silences += what not in UNDONE

    def _hear(self, sent: Sent, body: bytes) -> None:
        results = msgspec.json.decode(body)["results"]
        sent.claimed_first.update(UUID(result["id"]) for result in results if not result["replayed"])
        self.violations += [f"{id_} was done {n} times" for id_, n in sent.claimed_first.items() if n > 1]
        replay = body.replace(b'"replayed":false', b'"replayed":true')
        if not sent.said:
            sent.said, sent.results = replay, results
        elif sent.said != replay:
            self.violations.append(f"{sent.ids} was answered {sent.said!r}, then {replay!r}")

    async def expect_conflict(self, ledger: Ledger, sent: Sent) -> None:
        """An id that was acknowledged is sent with another amount: refused by name, and nothing is done."""
        changed = sent.items[0] | {"amount": sent.items[0]["amount"] + 1}
        probe = Sent([changed])
        if await self.send(ledger, probe):
            result = probe.results[0]
            if result["reason"] != "id_conflict" or result["figures"] != {"field": "amount"}:
                self.violations.append(f"{changed['id']} with another amount was answered {result}")
            self.counts["conflicts"] += 1

    async def expect_malformed(self, ledger: Ledger, item: Item) -> None:
        """An open chain is refused whole."""
        self.never.add(item["id"])
        try:
            reply = await self.lender.send(ledger, PATH, msgspec.json.encode({"transfers": [item | {"linked": True}]}))
        except UpstreamUnavailable:
            return
        if reply.status not in {400, 503}:
            self.violations.append(f"an open chain was answered {reply.status} {reply.body!r}")
        self.counts["malformed"] += 1
