"""Asks the ledger for the next step of a reversal: to close an offer, to undo its loan, or to leave that as it is."""

import msgspec

from amana.domain.decision_reversal import Moved, Step, StepState, Withdrawn
from amana.domain.reasons import REFUSALS, Reason
from amana.domain.transfer import Refused
from amana.eligibility.reversal_records import Saga
from amana.infra.http import HttpClient, UpstreamUnavailable
from amana.wire.loan_reversals import (
    LoanReversalAbandonmentRequest,
    LoanReversalRequest,
    OfferWithdrawalRequest,
)

TIMEOUT_MS = 3_000
REFUSED = (404, 409, 422)
"""Statuses of answers that are final. Anything else may be another answer the next time."""


class _Problem(msgspec.Struct):
    code: str = ""


class UndoingLedger:
    """The transactions service, as a reversal sees it. `key` is the internal API key."""

    def __init__(self, http: HttpClient, url: str, key: str) -> None:
        self._http, self._url, self._authorization = http, url, f"Bearer {key}"

    async def ask(self, saga: Saga, step: Step) -> Withdrawn | Moved | Refused:
        """What the ledger says to a step. The same step again gets the same answer. Raises `UpstreamUnavailable`."""
        path, body = _request(saga, step)
        reply = await self._http.request(
            "POST",
            self._url + path,
            body=msgspec.json.encode(body),
            headers={"Authorization": self._authorization, "Amana-Tenant": str(saga.tenant)},
            timeout_ms=TIMEOUT_MS,
        )
        if reply.status == 200:
            return msgspec.json.decode(reply.body, type=Withdrawn) if _withdraws(step) else Moved()
        if reply.status in REFUSED:
            code = msgspec.json.decode(reply.body, type=_Problem).code
            if code in REFUSALS and code != Reason.NOT_FOUND:  # no such route: an older ledger
                return Refused(Reason(code))
        raise UpstreamUnavailable(f"{path} answered {reply.status}", outcome_known=True)


def _withdraws(step: Step) -> bool:
    return step.state is StepState.WITHDRAWING


def _request(
    saga: Saga, step: Step
) -> tuple[str, OfferWithdrawalRequest | LoanReversalRequest | LoanReversalAbandonmentRequest]:
    id_, undo = step.command_id(saga.customer, saga.reversal_id), saga.undo
    match step.state:
        case StepState.WITHDRAWING:
            return f"/v1/offers/{step.offer}/withdrawals", OfferWithdrawalRequest(
                id=id_,
                customer=saga.customer,
                currency=saga.currency,
                reversal=saga.reversal_id,
                terms=undo.terms,
                kept_because=undo.kept,
            )
        case StepState.REVERSING:
            assert undo.terms is not None, "without terms every loan is kept"
            body = LoanReversalRequest(id=id_, reversal=saga.reversal_id, terms=undo.terms)
            return f"/v1/loans/{step.loan}/reversals", body
        case StepState.ABANDONING:
            path = f"/v1/loans/{step.loan}/reversal-abandonments"
            return path, LoanReversalAbandonmentRequest(id=id_, reversal=saga.reversal_id)
        case _:
            raise AssertionError(f"nothing is asked of a step that is {step.state}")
