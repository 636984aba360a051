"""`amana eligibility validate`: what a service would answer from memory, compared with the source, now."""

from typing import Any

import msgspec
from rich.console import Console

from amana.gateway.caller import TENANT_HEADER
from amana.infra.http import HttpClient, UpstreamUnavailable
from amana.infra.settings import Settings
from amana.wire.eligibility import CacheValidation

TIMEOUT_MS = 10_000
ANY_TENANT = "0"
"""The route looks at every lender's answers; an internal key names some tenant."""


async def run_validate(console: Console, settings: Settings, sample: int) -> tuple[dict[str, Any], bool]:
    """Asks one process of the service to look at `sample` answers. Its report, and whether nothing differed.

    Raises `UpstreamUnavailable` where the service, the ledger or the database can't be asked.
    """
    async with HttpClient() as http:
        reply = await http.request(
            "POST",
            f"{settings.eligibility_url}/v1/cache-validations",
            body=msgspec.json.encode({"sample": sample}),
            headers={"Authorization": f"Bearer {settings.internal_key}", TENANT_HEADER: ANY_TENANT},
            timeout_ms=TIMEOUT_MS,
        )
    if reply.status != 200:
        raise UpstreamUnavailable(f"the service answered {reply.status}", outcome_known=True)
    found = msgspec.json.decode(reply.body, type=CacheValidation)
    console.print(f"{found.looked_at} cached answers looked at; {sum(found.divergent.values())} differed")
    for cause, count in sorted(found.divergent.items()):
        console.print(f"  {count:>6} by {cause}: forgotten, the next question finds the truth")
    return msgspec.to_builtins(found), not found.divergent
