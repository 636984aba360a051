"""Whom a legal hold keeps: asked of eligibility, which asks where the holds are. A copy here would be behind."""

from typing import TypeAlias
from uuid import UUID

import msgspec

from amana.infra.http import HttpClient, UpstreamUnavailable
from amana.infra.settings import Settings
from amana.wire.legal_holds import HELD_PAGE_MAX, HeldPage

TIMEOUT_MS = 5_000
PAGES_MAX = 1_000
"""A million customers; where more are held it can't be known whom nothing keeps."""

Key: TypeAlias = tuple[int, UUID]
"""Tenant and customer."""
FIRST: Key = (0, UUID(int=0))


class Holds:
    """Asks, each time anew."""

    def __init__(self, client: HttpClient, settings: Settings) -> None:
        self._client = client
        self._url = f"{settings.eligibility_url.rstrip('/')}/v1/held-customers"
        self._headers = {"Authorization": f"Bearer {settings.internal_key}"}

    async def held(self) -> frozenset[Key]:
        """The customers whom a hold keeps now, of all lenders. Raises `UpstreamUnavailable`."""
        found: list[Key] = []
        after = FIRST
        for _ in range(PAGES_MAX):
            page = await self._page(after)
            found += [(one.tenant, one.customer) for one in page.held]
            if len(page.held) < HELD_PAGE_MAX:
                return frozenset(found)
            after = found[-1]
        raise UpstreamUnavailable(f"more than {len(found)} customers are held", outcome_known=True)

    async def _page(self, after: Key) -> HeldPage:
        url = f"{self._url}?tenant={after[0]}&after={after[1]}&limit={HELD_PAGE_MAX}"
        reply = await self._client.request("GET", url, headers=self._headers, timeout_ms=TIMEOUT_MS)
        if reply.status != 200:
            raise UpstreamUnavailable(f"GET {url}: status {reply.status}", outcome_known=True)
        try:
            return msgspec.json.decode(reply.body, type=HeldPage)
        except msgspec.MsgspecError as error:
            raise UpstreamUnavailable(f"GET {url}: {error}", outcome_known=True) from error
