"""Checks as a load: one question about each customer in turn, all of one length, rendered before the run."""

import re
from collections import Counter
from typing import Literal

import msgspec

from amana.bench.movements import CURRENCY, account_ids

PATH = "/v1/eligibility/checks"
PRODUCT, AMOUNT = "nano", 1_000_000
SAMPLE_EVERY, SAMPLES_MAX = 997, 32
"""A reply of so many is kept, so that it can be held against what was recorded; a prime, to be out of step."""

_SOURCE = re.compile(rb'"source":"(\w+)"')
_CODE = re.compile(rb'"code":"(\w+)"')

Source = Literal["memory", "cache", "fresh"]


class Checks(msgspec.Struct, frozen=True, kw_only=True, tag="checks"):
    """Plain checks of the customers `first` (inclusive) to `last` (exclusive), again and again in this order.

    A reply is accepted when it comes from `source`; with `any_source` from wherever. Ids follow from `seed` and
    `opened_ms`, Unix milliseconds, as those of accounts do.
    """

    seed: int
    opened_ms: int
    first: int
    last: int
    source: Source
    any_source: bool = False

    def ids(self) -> list[str]:
        """The ids of the customers that are asked about."""
        return account_ids(self.seed, self.opened_ms, self.last)[self.first :]


class ChecksWork:
    """A `load.Work`: `POST /v1/eligibility/checks`. `sources` counts the good replies; `samples` are some of them."""

    items = 1

    def __init__(self, checks: Checks, host: str, port: int, key: str) -> None:
        before, after = request_around(host, port, key)
        self._requests = [before + id_.encode("ascii") + after for id_ in checks.ids()]
        self._next = 0
        self._wanted = f'"source":"{checks.source}"'.encode("ascii")
        self._source = checks.source
        self._any_source = checks.any_source
        self._as_wanted = 0
        self._others: Counter[str] = Counter()
        self.samples: list[str] = []

    @property
    def sources(self) -> dict[str, int]:
        """How many replies came from each source."""
        return {**self._others, self._source: self._as_wanted}

    def request(self) -> bytes:
        """The question about the next customer."""
        at = self._next
        self._next = at + 1 if at + 1 < len(self._requests) else 0
        return self._requests[at]

    def judge(self, status: int, body: bytes, refused: Counter[str]) -> int:
        """See `load.Work`. A good reply from another source than the wanted is not refused: it is in `sources`."""
        if status == 200 and self._wanted in body:
            self._as_wanted += 1
            if self._as_wanted % SAMPLE_EVERY == 1 and len(self.samples) < SAMPLES_MAX:
                self.samples.append(body.decode())
            return 1
        source = _SOURCE.search(body) if status == 200 else None
        if source is None:
            code = _CODE.search(body)
            refused[f"{status} {code[1].decode() if code else body[:60].decode('utf-8', 'replace')}"] += 1
            return 0
        self._others[source[1].decode()] += 1
        return int(self._any_source)


def request_around(host: str, port: int, key: str) -> tuple[bytes, bytes]:
    """The bytes of a request before and after the customer's id."""
    before = '{"customer":"'
    after = f'","product":"{PRODUCT}","amount":{AMOUNT},"currency":"{CURRENCY}"}}'
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(before) + 36 + len(after)}\r\n\r\n"
    )
    return (head + before).encode("ascii"), after.encode("ascii")
