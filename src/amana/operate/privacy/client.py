"""What `amana privacy` asks of running services about a customer, as a lender's program does."""

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import msgspec

from amana.domain.privacy import ErasureReason, HoldReason, ReleaseReason
from amana.infra.http import HttpClient, UpstreamUnavailable
from amana.infra.settings import Settings

TIMEOUT_MS = 15_000
PAGES_MAX = 10_000
"""Pages of one list: far more than anybody has."""
SAID = {"part": "transfers", "source": "The lender's own words about transfers, as the lender sent them."}


class PrivacyRefused(Exception):
    """A service said no, or did not answer. The message says why."""


class Services:
    """The services, and the key with which they are asked."""

    def __init__(self, http: HttpClient, settings: Settings) -> None:
        self._http = http
        self._urls = {"eligibility": settings.eligibility_url, "transactions": settings.transactions_url}
        self._headers = {"Authorization": f"Bearer {settings.api_key}"}
        self._has_key = bool(settings.api_key)

    async def send(self, method: str, service: str, path: str, body: object = None, **query: object) -> dict[str, Any]:
        """The answer where it is a success. Raises `PrivacyRefused`."""
        if not self._has_key:
            raise PrivacyRefused("AMANA_API_KEY is not set: the services are asked as a lender's program asks them")
        asked = {name: str(value) for name, value in query.items() if value is not None}
        url = f"{self._urls[service].rstrip('/')}{path}" + (f"?{urlencode(asked)}" if asked else "")
        sent = None if body is None else msgspec.json.encode(body)
        try:
            reply = await self._http.request(method, url, body=sent, headers=self._headers, timeout_ms=TIMEOUT_MS)
            answer: dict[str, Any] = msgspec.json.decode(reply.body, type=dict)
        except UpstreamUnavailable as error:
            raise PrivacyRefused(f"{service} does not answer: {error}; try again") from error
        except msgspec.DecodeError as error:
            raise PrivacyRefused(f"{url} answered, and not in JSON: is it Amana?") from error
        if reply.status != 200:
            raise PrivacyRefused(f"{answer.get('detail')} ({answer.get('code')})")
        return answer


async def export(settings: Settings, customer: UUID) -> dict[str, Any]:
    """All that both services know of a customer: eligibility's copy, every page of it, the loans with repayments, and
    the transfers about which something was said.

    Raises `PrivacyRefused`.
    """
    async with HttpClient() as http:
        services = Services(http, settings)
        path = f"/v1/customers/{customer}/export"
        whole = await services.send("GET", "eligibility", path)
        for _ in range(PAGES_MAX):
            if whole["next"] is None:
                break
            page = await services.send("GET", "eligibility", path, before=whole["next"])
            whole["decisions"] += page["decisions"]
            whole["disclosed_to"] = sorted({*whole["disclosed_to"], *page["disclosed_to"]})
            whole["next"] = page["next"]
        del whole["next"]
        loans = await _all(services, "transactions", "/v1/loans", "loans", customer=customer)
        for loan in loans:
            path = f"/v1/loans/{loan['id']}/repayments"
            loan["repayments"] = await _all(services, "transactions", path, "repayments")
        transfers = await _all(services, "transactions", "/v1/noted-transfers", "transfers", customer=customer)
        sources = [*whole["sources"], SAID]
        return {**whole, "sources": sources, "loans": loans, "transfers": transfers}


async def erase(settings: Settings, customer: UUID, id_: UUID, reason: ErasureReason) -> dict[str, Any]:
    """Asks for a customer to be erased. Raises `PrivacyRefused`."""
    async with HttpClient() as http:
        path = f"/v1/customers/{customer}/erasures"
        return await Services(http, settings).send("POST", "eligibility", path, {"id": id_, "reason": reason})


async def place_hold(settings: Settings, customer: UUID, id_: UUID, reason: HoldReason, by: str) -> dict[str, Any]:
    """Places a legal hold on a customer. Raises `PrivacyRefused`."""
    async with HttpClient() as http:
        path, body = f"/v1/customers/{customer}/legal-holds", {"id": id_, "reason": reason, "by": by}
        return await Services(http, settings).send("POST", "eligibility", path, body)


async def release_hold(
    settings: Settings, customer: UUID, hold: UUID, reason: ReleaseReason, by: str
) -> dict[str, Any]:
    """Releases a legal hold. Raises `PrivacyRefused`."""
    async with HttpClient() as http:
        path, body = f"/v1/customers/{customer}/legal-holds/{hold}/releases", {"reason": reason, "by": by}
        return await Services(http, settings).send("POST", "eligibility", path, body)


async def list_holds(settings: Settings, customer: UUID | None, *, released: bool) -> list[dict[str, Any]]:
    """The legal holds of a customer or of all, with those that were released or without. Raises `PrivacyRefused`."""
    async with HttpClient() as http:
        asked = {"customer": customer, "released": str(released).lower()}
        return await _all(Services(http, settings), "eligibility", "/v1/legal-holds", "legal_holds", **asked)


async def _all(services: Services, service: str, path: str, name: str, **query: object) -> list[dict[str, Any]]:
    """Every item of a list, page by page."""
    found: list[dict[str, Any]] = []
    after: str | None = None
    for _ in range(PAGES_MAX):
        page = await services.send("GET", service, path, after=after, **query)
        found += page[name]
        after = page.get("next")
        if after is None:
            break
    return found
