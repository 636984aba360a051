"""What the metrics routes answer. Each row is of one bucket, which begins at `bucket`; days are days of Lagos.

Rows come in order of their buckets. `next`, when there is more, is the `from` of the next question: what is shown
before it is whole.
"""

from datetime import datetime

from amana.wire.common import Response


class DecisionCount(Response):
    """Decisions of one product, policy and outcome.

    `kind`: `asked` (a plain question, computed), `requested` (to borrow), `replayed` (of a past time), `overridden`,
    `reversed`. What a review does not say is null.
    """

    bucket: datetime
    kind: str
    product: str
    policy: str | None
    policy_version: int | None
    outcome: str | None
    decisions: int


class DecisionCounts(Response):
    """Decisions over time."""

    rows: list[DecisionCount]
    next: datetime | None


class TransferCount(Response):
    """Transfers of one product, currency and band of amounts.

    `kind`: `posted`, `returned` (it reverses another), `captured`, `held`, `voided`, `expired`. `product` and `code`
    are those of a loan's legs, and null for other transfers. The band begins at `amount_from`, in minor units, and
    ends before the next of 1, 2 and 5 times a power of ten. `amount` is the sum, in minor units, as a decimal text:
    sums have no bound.
    """

    bucket: datetime
    kind: str
    product: str | None
    code: str | None
    currency: str
    amount_from: int
    transfers: int
    amount: str


class TransferCounts(Response):
    """Transfers over time."""

    rows: list[TransferCount]
    next: datetime | None


class Latency(Response):
    """How long requests of one route took, in microseconds, as the service measured it.

    A percentile is the upper bound of the bucket that it falls in: never too low, and at most 28 % too high (or 0.1 ms,
    where that is more). It is null above 10 s. `failed` are the requests answered with a 5xx.
    """

    bucket: datetime
    service: str
    method: str
    route: str
    requests: int
    failed: int
    mean_us: int
    p50_us: int | None
    p90_us: int | None
    p95_us: int | None
    p99_us: int | None
    p999_us: int | None


class Latencies(Response):
    """Latencies over time."""

    rows: list[Latency]
    next: datetime | None
