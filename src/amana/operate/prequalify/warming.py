"""`--warm`: asks the service about the customers who were approved, as any client of the lender's would.

A plain check is decided, recorded and kept in Redis and the asked process' memory by the service itself: nothing of the
file is ever put there. So the answers are the service's own, and may differ from the file where things moved meanwhile.
"""

import asyncio
import struct
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import msgspec

from amana.operate.prequalify.options import CannotPrequalify
from amana.tape.client import CheckedList, Client, Refusal
from amana.wire.check_lists import CHECKS_MAX
from amana.wire.eligibility import CheckRequest

APPROVE = "approve"
_RECORD = struct.Struct(">16sq")


class Spool:
    """Customers and amounts on disk, in the order in which they were added: memory does not grow with them."""

    def __init__(self) -> None:
        self.count = 0
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  closed at the end of the block

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, offered: Iterable[tuple[str, int]]) -> None:
        """Adds customers with the amounts that they were approved for."""
        records = [_RECORD.pack(UUID(customer).bytes, amount) for customer, amount in offered]
        self.count += len(records)
        self._file.write(b"".join(records))

    def __iter__(self) -> Iterator[tuple[UUID, int]]:
        """What was added, from the first on."""
        self._file.seek(0)
        while record := self._file.read(_RECORD.size):
            customer, amount = _RECORD.unpack(record)
            yield UUID(bytes=customer), amount


class Warmed(msgspec.Struct):
    """What came of the checks: how many were asked, the outcomes, and the reasons of those that were refused."""

    asked: int = 0
    outcomes: Counter[str] = msgspec.field(default_factory=Counter)
    refused: Counter[str] = msgspec.field(default_factory=Counter)
    seconds: float = 0.0


async def warm(
    client: Client, spool: Spool, same: dict[str, Any], per_second: int, at: Callable[[int], None]
) -> Warmed:
    """Asks about each customer of `spool`, at most `per_second`; `same` are the fields that all checks share.

    `at` gets how many were asked so far. Raises `CannotPrequalify` where the service refuses a whole list.
    """
    done, offered, begun = Warmed(), iter(spool), time.monotonic()
    size = min(CHECKS_MAX, per_second)
    while some := list(islice(offered, size)):
        await asyncio.sleep(begun + done.asked / per_second - time.monotonic())
        answer = await client.check_list([CheckRequest(customer=one, amount=amount, **same) for one, amount in some])
        if isinstance(answer, Refusal):
            raise CannotPrequalify(
                f"the file is whole, and {done.asked:,} of {spool.count:,} checks were asked; then the service refused "
                f"to go on: {answer.status} {answer.code} {answer.body}"
            )
        _count(done, answer)
        at(done.asked)
    done.seconds = round(time.monotonic() - begun, 3)
    return done


def _count(done: Warmed, answer: CheckedList) -> None:
    done.asked += len(answer.results)
    done.outcomes.update(one.check.outcome for one in answer.results if one.check is not None)
    done.refused.update(one.refusal.reason for one in answer.results if one.refusal is not None)
