"""Transfers as a load: which accounts, which ids, and the bytes of the request, rendered in about 2 µs a transfer.

Everything follows from the seed: two runs with one `Movements` send the same bytes. Ids are UUIDv7 in the order of
time, as a client's would be, and end in the bucket of the debit account, so that they are of its ledger shard.
"""

import re
from collections import Counter, deque
from collections.abc import Callable
from itertools import accumulate
from random import Random
from typing import Literal

import msgspec

CURRENCY = "NGN"
IDS_PER_MS = 16
STREAMS_MAX = 1 << 20
ACCOUNTS_MAX = 1 << 24
ID_BITS = 60
_MASK = (1 << ID_BITS) - 1
_ODD = 0x9E3779B97F4A7C15 & _MASK
"""Odd, so that multiplying by it modulo 2^60 never gives one number twice; Knuth's, so that neighbours look unalike."""
ZIPF_PICKS = 1 << 16
"""How finely the Zipf distribution is drawn; its exponent is 1."""
AMOUNT_FROM, AMOUNT_SPAN = 1_000, 9_000
"""Kobo, always of four digits: every request of a run has the same length."""

_POSTED = b'"status":"posted"'
_REASON = re.compile(rb'"reason":"(\w+)"')
_CODE = re.compile(rb'"code":"(\w+)"')

Pick = Literal["uniform", "zipf", "hot"]


class Movements(msgspec.Struct, frozen=True, kw_only=True, tag="transfers"):
    """Transfers between the accounts `first` (inclusive) to `last` (exclusive) of the `accounts` that `seed` gives.

    `stream` (below 2^20) tells the ids of one run from those of another. With `hot`, account 0 is on one side of every
    transfer, in turn the debit's and the credit's, and the other is uniform. With `reversed_after`, once so many were
    posted every other transfer reverses the one that was posted so many before; it must be more than there are
    connections, so that the original is there. Times are Unix milliseconds: that of the accounts' ids, and that from
    which on the transfers' ids go.
    """

    seed: int
    stream: int
    opened_ms: int
    began_ms: int
    accounts: int
    first: int
    last: int
    list_size: int = 1
    pick: Pick = "uniform"
    reversed_after: int = 0


def account_ids(seed: int, opened_ms: int, count: int) -> list[str]:
    """The ids of the bench's accounts, the hot one first. Spread over all buckets."""
    numbers = ((seed * ACCOUNTS_MAX + n) * _ODD & _MASK for n in range(count))
    return [_id(opened_ms, number, f"{number & 0xFFF:03x}") for number in numbers]


def seeded(seed: int) -> Random:
    """Draws that can be repeated."""
    return Random(seed)  # noqa: S311 - nothing here is a secret


class TransfersWork:
    """A `load.Work`: `POST /v1/transfers` with lists of `list_size`."""

    def __init__(self, movements: Movements, host: str, port: int, key: str) -> None:
        assert movements.stream < STREAMS_MAX
        assert movements.last <= movements.accounts <= ACCOUNTS_MAX
        assert movements.last - movements.first >= 2
        self.items = movements.list_size
        self._ids = account_ids(movements.seed, movements.opened_ms, movements.accounts)
        self._pair = _pairs(movements)
        self._count = 0
        self._stream = movements.stream
        self._seed = movements.seed
        self._began_ms = movements.began_ms
        self._reversed_after = movements.reversed_after
        self._posted: deque[str] = deque()
        """Ids that are still to be reversed, oldest first."""
        self._random = seeded(movements.seed ^ movements.stream).random
        self._head = (
            f"POST /v1/transfers HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {key}\r\n"
            "Content-Type: application/json\r\nContent-Length: "
        ).encode("ascii")

    def request(self) -> bytes:
        """The next request: `items` transfers that were never sent before."""
        if self.items == 1:
            body = f'{{"transfers":[{self.transfer()}]}}'.encode("ascii")
        else:
            body = f'{{"transfers":[{",".join([self.transfer() for _ in range(self.items)])}]}}'.encode("ascii")
        return b"%b%d\r\n\r\n%b" % (self._head, len(body), body)

    def transfer(self) -> str:
        """The next transfer as JSON."""
        if len(self._posted) > self._reversed_after:
            original = self._posted.popleft()
            return f'{{"id":"{self._next_id(original[33:])}","kind":"reverse","reverses":"{original}"}}'
        debit, credit = self._pair()
        ids = self._ids
        debited = ids[debit]
        id_ = self._next_id(debited[33:])
        if self._reversed_after:
            self._posted.append(id_)
        amount = AMOUNT_FROM + int(self._random() * AMOUNT_SPAN)
        return (
            f'{{"id":"{id_}","debit_account":"{debited}","credit_account":"{ids[credit]}",'
            f'"amount":{amount},"currency":"{CURRENCY}"}}'
        )

    def _next_id(self, tail: str) -> str:
        count = self._count
        self._count = count + 1
        number = ((self._stream << 40 | count) * _ODD + self._seed) & _MASK
        return _id(self._began_ms + count // IDS_PER_MS, number, tail)

    def judge(self, status: int, body: bytes, refused: Counter[str]) -> int:
        """See `load.Work`."""
        posted = body.count(_POSTED)
        if posted != self.items:
            self._explain(status, body, refused, posted)
        return posted

    def _explain(self, status: int, body: bytes, refused: Counter[str], posted: int) -> None:
        reasons = [found.decode() for found in _REASON.findall(body)] if status == 200 else []
        refused.update(reasons)
        if other := self.items - posted - len(reasons):
            code = _CODE.search(body)
            refused[f"{status} {code[1].decode() if code else body[:60].decode('utf-8', 'replace')}"] += other


def _id(unix_ms: int, number: int, tail: str) -> str:
    """The text of a UUIDv7 (RFC 9562, 5.7): time, 60 bits of `number`, and the last three digits as given."""
    time, digits = f"{unix_ms:012x}", f"{number:015x}"
    return f"{time[:8]}-{time[8:]}-7{digits[:3]}-8{digits[3:6]}-{digits[6:]}{tail}"


def _pairs(movements: Movements) -> Callable[[], tuple[int, int]]:
    """Draws (debit, credit), two different accounts."""
    draw = seeded(movements.seed * STREAMS_MAX + movements.stream).random
    first, count = movements.first, movements.last - movements.first
    turn = False

    def uniform() -> tuple[int, int]:
        debit, credit = int(draw() * count), int(draw() * (count - 1))
        return first + debit, first + credit + (credit >= debit)

    def zipf() -> tuple[int, int]:
        debit, credit = table[int(draw() * ZIPF_PICKS)], table[int(draw() * ZIPF_PICKS)]
        return (debit, credit) if debit != credit else (debit, first + (credit - first + 1) % count)

    def hot() -> tuple[int, int]:
        nonlocal turn
        turn = not turn
        other = max(first, 1) + int(draw() * (movements.last - max(first, 1)))
        return (0, other) if turn else (other, 0)

    if movements.pick == "zipf":
        weights = list(accumulate(1 / rank for rank in range(1, count + 1)))
        table = seeded(movements.seed).choices(range(first, movements.last), cum_weights=weights, k=ZIPF_PICKS)
    return {"uniform": uniform, "zipf": zipf, "hot": hot}[movements.pick]
