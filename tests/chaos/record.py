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
ANSWERED, REFUSED = {200, 201}, {404, 409, 422}
CHANGES = ("limit", "freeze", "unfreeze")
"""Kinds of a command about an account. What it answers of the account is kept, under the status `changed`."""
CHANGED = "changed"
IN_THE_PATH = ("kind", "hold", "account")
"""Fields of a single command that its route says."""


@dataclass(eq=False)
class Sent:
    """One list of transfers, or one command with a route of its own; sent once or often, always in the same bytes."""

    items: list[Item]
    path: str = PATH
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
        (first, *_) = self.items
        alone = {name: value for name, value in first.items() if name not in IN_THE_PATH}
        self.body = msgspec.json.encode({"transfers": self.items} if self.is_list else alone)

    @property
    def is_list(self) -> bool:
        """Whether it has a result for each item; a single command has a problem for a refusal."""
        return self.path == PATH

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

    def add(self, *items: Item, path: str = PATH) -> Sent:
        """A request to send."""
        sent = Sent(list(items), path)
        self.sent.append(sent)
        return sent

    async def send(self, ledger: Ledger, sent: Sent) -> bool:
        """Sends it, once more or for the first time, and notes what came of it. True when it was answered."""
        try:
            reply = await self.lender.send(ledger, sent.path, sent.body)
        except UpstreamUnavailable as error:
            self._note_silence(sent, NO_CONNECTION if error.outcome_known else SILENCE)
            return False
        if reply.status in ANSWERED or (reply.status in REFUSED and not sent.is_list):
            self._hear(sent, reply.body if sent.is_list else _as_list(sent.items[0], reply.status, reply.body))
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


def _as_list(item: Item, status: int, body: bytes) -> bytes:
    """The answer to a single command as that to a list of one."""
    told = msgspec.json.decode(body)
    if status in REFUSED:
        # A problem does not say whether it is a replay.
        result = {"status": "refused", "reason": told["code"], "figures": told.get("figures", {}), "replayed": True}
    elif item["kind"] in CHANGES:
        result = told | {"status": CHANGED, "became": told["status"]}
    else:
        result = told
    return msgspec.json.encode({"results": [result | {"id": item["id"]}]})
