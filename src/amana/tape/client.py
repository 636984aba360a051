"""A thin typed client of Amana's API, as a lender's own program would have: just what a replay and an import send.

Trouble that may pass (no connection, 503, 504, 429) is retried with the same id, a bounded number of times: ids make
that safe. Whatever else is not a success comes back as a `Refusal` value with the problem's code.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from amana.infra.http import HttpClient, Reply, UpstreamUnavailable
from amana.wire.accounts import CreditLineRequest
from amana.wire.check_lists import CheckListRequest
from amana.wire.customers import CustomerFactsRequest
from amana.wire.eligibility import CheckRequest
from amana.wire.loans import LoanRequest, RepaymentRequest, RepaymentReversalRequest
from amana.wire.problems import FieldError

TIMEOUT_MS = 30_000
ATTEMPTS_MAX = 8
BACKOFF_FIRST_MS = 100
BACKOFF_MAX_MS = 5_000
SUCCESS_BEFORE = 300
NOBODY = 0
"""The status of an answer that never came."""
RETRY_STATUSES = frozenset({NOBODY, 408, 429, 503, 504})
BODY_SHOWN_MAX = 500
RETRY_AFTER_MAX_MS = 30_000
UNREACHABLE, UNREADABLE = "unreachable", "unreadable"
"""Codes of refusals that no service gave: nobody answered, or a body that is not what it should be."""


@dataclass(frozen=True, slots=True)
class Urls:
    """Where the services are, without a slash at the end."""

    eligibility: str
    transactions: str


class Price(msgspec.Struct):
    """The terms that were decided on; kobo and days."""

    principal: int
    fee: int
    term_days: int


class ReasonGiven(msgspec.Struct):
    """Why a customer may not borrow."""

    code: str


class Decided(msgspec.Struct):
    """The answer to a check, as far as a replay needs it. An approved request's offer has the decision's id."""

    decision_id: UUID
    outcome: str
    reasons: tuple[ReasonGiven, ...] = ()
    price: Price | None = None


class NotAnswered(msgspec.Struct):
    """Why one check of a list has no answer."""

    reason: str


class Checked(msgspec.Struct):
    """What came of one check of a list: exactly one of the two is there."""

    check: Decided | None = None
    refusal: NotAnswered | None = None


class CheckedList(msgspec.Struct):
    """One result for each check, in order."""

    results: list[Checked]


class Done(msgspec.Struct):
    """The answer to a command, as far as a replay needs it. `loan_outstanding` comes with repayments and reversals."""

    loan_outstanding: int = 0


class Moved(msgspec.Struct):
    """What came of one item of a list of transfers."""

    status: str
    reason: str | None = None
    figures: dict[str, Any] = {}
    replayed: bool = False


class MovedList(msgspec.Struct):
    """One result for each item, in order."""

    results: list[Moved]


class _Problem(msgspec.Struct):
    code: str = ""
    errors: tuple[FieldError, ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is not a success: HTTP status (0: nobody answered), the problem's code, the body's beginning.

    `errors` are what the problem names as wrong, by pointer into what was sent.
    """

    status: int
    code: str
    body: str
    errors: tuple[FieldError, ...] = ()


Answer = TypeVar("Answer")


class Client:
    """One key's view of the API, over one pooled HTTP client.

    A request is tried `attempts_max` times. `latency_ms` holds a sample for each answered check and booking, without
    the attempts before it.
    """

    def __init__(self, http: HttpClient, urls: Urls, key: str, attempts_max: int | None = None) -> None:
        self._http = http
        self._attempts_max = attempts_max or ATTEMPTS_MAX
        self._urls = urls
        self._headers = {"Authorization": f"Bearer {key}"}
        self._encode = msgspec.json.Encoder().encode
        self._decided = msgspec.json.Decoder(Decided)
        self._done = msgspec.json.Decoder(Done)
        self._moved = msgspec.json.Decoder(MovedList)
        self._checked = msgspec.json.Decoder(CheckedList)
        self.latency_ms: dict[str, list[float]] = {"check": [], "booking": []}
        self.retries = 0

    async def put_customer(self, customer: UUID, facts: CustomerFactsRequest) -> Done | Refusal:
        """Records what is known of a customer."""
        url = f"{self._urls.eligibility}/v1/customers/{customer}"
        return await self._send("PUT", url, facts, self._done)

    async def open_credit_line(self, line: CreditLineRequest) -> Done | Refusal:
        """Opens the customer's accounts with a credit limit."""
        return await self._send("POST", f"{self._urls.transactions}/v1/credit-lines", line, self._done)

    async def check(self, check: CheckRequest) -> Decided | Refusal:
        """Asks to borrow."""
        url = f"{self._urls.eligibility}/v1/eligibility/checks"
        return await self._send("POST", url, check, self._decided, "check")

    async def check_list(self, checks: Sequence[CheckRequest]) -> CheckedList | Refusal:
        """Asks a list of checks."""
        url = f"{self._urls.eligibility}/v1/eligibility/checks:batch"
        return await self._send("POST", url, CheckListRequest(checks=list(checks)), self._checked)

    async def book(self, booking: LoanRequest) -> Done | Refusal:
        """Books a loan."""
        return await self._send("POST", f"{self._urls.transactions}/v1/loans", booking, self._done, "booking")

    async def repay(self, loan: UUID, repayment: RepaymentRequest) -> Done | Refusal:
        """Records a repayment."""
        url = f"{self._urls.transactions}/v1/loans/{loan}/repayments"
        return await self._send("POST", url, repayment, self._done)

    async def reverse(self, loan: UUID, repayment: UUID, reversal: RepaymentReversalRequest) -> Done | Refusal:
        """Takes a repayment back."""
        url = f"{self._urls.transactions}/v1/loans/{loan}/repayments/{repayment}/reversals"
        return await self._send("POST", url, reversal, self._done)

    async def move(self, transfers: list[msgspec.Raw]) -> MovedList | Refusal:
        """Sends a list of transfers, each encoded already."""
        url = f"{self._urls.transactions}/v1/transfers"
        return await self._send("POST", url, {"transfers": transfers}, self._moved)

    async def _send(
        self, method: str, url: str, body: Any, decoder: msgspec.json.Decoder[Answer], timed: str = ""
    ) -> Answer | Refusal:
        encoded = self._encode(body)
        reply = Reply(NOBODY, {}, b"")
        for attempt in range(self._attempts_max):
            if attempt:
                self.retries += 1
                await asyncio.sleep(pause_ms(attempt - 1, reply.headers) / 1_000)
            begun = perf_counter()
            reply = await self._attempt(method, url, encoded)
            if reply.status not in RETRY_STATUSES:
                if timed:
                    self.latency_ms[timed].append((perf_counter() - begun) * 1_000)
                break
        return _decoded(reply, decoder)

    async def _attempt(self, method: str, url: str, body: bytes) -> Reply:
        try:
            return await self._http.request(method, url, body=body, headers=self._headers, timeout_ms=TIMEOUT_MS)
        except UpstreamUnavailable as error:
            return Reply(NOBODY, {}, str(error).encode())


def pause_ms(attempt: int, headers: Mapping[str, str]) -> int:
    """Doubling, bounded; longer where `Retry-After` asks for it in seconds, bounded too."""
    asked = headers.get("Retry-After", "")
    asked_ms = min(int(asked) * 1_000, RETRY_AFTER_MAX_MS) if asked.isdecimal() else 0
    return max(min(BACKOFF_FIRST_MS << attempt, BACKOFF_MAX_MS), asked_ms)


def _decoded(reply: Reply, decoder: msgspec.json.Decoder[Answer]) -> Answer | Refusal:
    if not reply.status or reply.status >= SUCCESS_BEFORE:
        return _refusal(reply)
    try:
        return decoder.decode(reply.body)
    except msgspec.DecodeError as error:
        return Refusal(reply.status, UNREADABLE, str(error))


def _refusal(reply: Reply) -> Refusal:
    try:
        problem = msgspec.json.decode(reply.body, type=_Problem)
    except msgspec.DecodeError:
        problem = _Problem(UNREADABLE if reply.status else UNREACHABLE)
    shown = reply.body[:BODY_SHOWN_MAX].decode("utf-8", "replace")
    return Refusal(reply.status, problem.code, shown, problem.errors)
