"""Asks eligibility, just before a booking, whether an offer still stands: a fresh decision, at most 5 s old.

This happens before BEGIN. No remote call is ever made while a database transaction is open.
"""

from datetime import datetime
from uuid import UUID

import msgspec

from amana.domain.reasons import Reason
from amana.domain.transfer import Refused
from amana.gateway.caller import Caller
from amana.infra.http import HttpClient, UpstreamUnavailable
from amana.wire.loans import OfferTerms

TIMEOUT_MS = 3_000

OFFER_REASONS = frozenset(
    {
        Reason.OFFER_NOT_FOUND,
        Reason.OFFER_EXPIRED,
        Reason.CUSTOMER_RESTRICTED,
        Reason.DECISION_CHANGED,
        Reason.DECISION_OVERRIDDEN,
        Reason.DECISION_REVERSED,
    }
)


class _Problem(msgspec.Struct):
    code: str = ""


class Offers:
    """The other side of `POST /v1/offers/{id}/confirmations`."""

    def __init__(self, client: HttpClient, base_url: str, internal_key: str) -> None:
        self._client = client
        self._base_url = base_url
        self._authorization = f"Bearer {internal_key}"

    async def confirm(self, caller: Caller, offer_id: UUID, as_of: datetime | None) -> OfferTerms | Refused:
        """The terms to book, or why they no longer stand. Raises `UpstreamUnavailable`."""
        reply = await self._client.request(
            "POST",
            f"{self._base_url}/v1/offers/{offer_id}/confirmations",
            body=msgspec.json.encode({} if as_of is None else {"as_of": as_of}),
            headers={
                "Authorization": self._authorization,
                "Amana-Tenant": str(caller.tenant),
                "Content-Type": "application/json",
                "X-Request-Id": caller.request_id,
            },
            timeout_ms=TIMEOUT_MS,
        )
        if reply.status == 200:
            return msgspec.json.decode(reply.body, type=OfferTerms)
        if reply.status in (404, 409):
            code = msgspec.json.decode(reply.body, type=_Problem).code
            if code in OFFER_REASONS:
                return Refused(Reason(code), {"offer": str(offer_id)})
        raise UpstreamUnavailable(f"eligibility answered {reply.status} to a confirmation", outcome_known=True)
