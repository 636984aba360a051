"""A key has one quota, whichever service it asks."""

import time
from uuid import uuid4

from tests.e2e.lenders import Lender

from amana.gateway import provision
from amana.gateway.keys import Quota
from amana.infra.http import HttpClient
from amana.operate.stack import Stack

RATE, BURST = 1, 4
PATHS = {
    "eligibility": "/v1/policies/nano",
    "transactions": "/v1/trial-balance",
    "audit": "/v1/audit/key",
}
ROUNDS = 15


async def test_the_services_spend_one_quota_together_and_other_keys_spend_none_of_it(
    platform: Stack, http: HttpClient, lender: Lender
) -> None:
    dsn = platform.settings.owner_database_url
    tenant = await provision.create_tenant(dsn, f"q{uuid4().hex[:12]}", "A lender with a small quota")
    scopes = ["policies:write", "accounts:read", "audit:read"]
    poor = Lender(platform, http, await provision.create_key(dsn, tenant, scopes, Quota(RATE, BURST)))
    began_s = time.monotonic()
    answers = [(service, (await poor.get(service, path))[0]) for _ in range(ROUNDS) for service, path in PATHS.items()]
    elapsed_s = time.monotonic() - began_s
    admitted = [status for _, status in answers if status != 429]
    assert BURST <= len(admitted) <= BURST + RATE * elapsed_s + 3 * 2, (answers, elapsed_s)
    assert {service for service, status in answers if status == 429} == set(PATHS)
    assert set(admitted) == {200}
    assert (await lender.get("transactions", PATHS["transactions"]))[0] == 200
    other = Lender(platform, http, await provision.create_key(dsn, tenant, scopes))
    assert (await other.get("transactions", PATHS["transactions"]))[0] == 200
