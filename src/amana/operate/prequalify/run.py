"""The run itself: the live policy, then page after page read, decided and written; at the end the file has its name.

The policy is the one that is live at the start, for every row. Nothing of the decisions is recorded: a lender may not
lend on an offer that was made ahead of a request, so whoever asks to borrow is decided afresh.
"""

import asyncio
import time
from contextlib import AsyncExitStack, aclosing
from typing import Any

import msgspec
from rich.console import Console

from amana.domain.decision import CompiledPolicy
from amana.domain.ids import TENANT_PLATFORM
from amana.eligibility.policies import Policies
from amana.eligibility.standings import Ledger
from amana.gateway import provision
from amana.gateway.keys import parse_key
from amana.infra.http import HttpClient
from amana.infra.postgres import Pool, open_pool, reading
from amana.infra.settings import Settings
from amana.operate.prequalify.deciding import Decider
from amana.operate.prequalify.offers_file import OffersFile
from amana.operate.prequalify.options import CannotPrequalify, Options, require_network
from amana.operate.prequalify.pages import PAGE, PAGES_IN_FLIGHT, Reader
from amana.operate.prequalify.telling import Bar, Tally, tell
from amana.operate.prequalify.warming import APPROVE, Spool, Warmed, warm
from amana.tape.client import Client, Urls
from amana.vault.vault import Vault

STATEMENT_TIMEOUT_MS = 60_000
"""Counting a lender's customers reads an index whole."""


async def run_prequalify(
    console: Console, settings: Settings, options: Options, page: int = PAGE
) -> tuple[dict[str, Any], bool]:
    """Writes the file. The report, and whether no check of `--warm` was refused.

    Raises `CannotPrequalify`, OSError, `UpstreamUnavailable` or `DatabaseUnavailable`; then there is no file.
    """
    file = OffersFile(options.out)
    tenant = await _tenant(settings, options)
    async with AsyncExitStack() as opened:
        url = settings.eligibility_database_url or settings.owner_database_url
        pool = await open_pool(url, "eligibility", PAGES_IN_FLIGHT + 1, STATEMENT_TIMEOUT_MS)
        opened.push_async_callback(pool.close)
        vault = Vault.of(settings)
        opened.push_async_callback(vault.close)
        http = await opened.enter_async_context(HttpClient())
        spool = opened.enter_context(Spool())
        policy = await _live_policy(pool, tenant, options.product)
        require_network(policy, options.network)
        decider, tally = Decider(policy, options.network), Tally()
        ledger = Ledger(http, settings.transactions_url, settings.internal_key)
        reader = Reader(pool, vault, ledger, tenant.tenant, policy.document.currency, page)
        begun = time.monotonic()
        with file:
            await _decide_all(console, reader, decider, options, file, tally, spool)
        seconds = time.monotonic() - begun
        warmed = await _warmed(console, http, settings, options, policy, spool)
    report = _report(options, tenant, policy, decider, tally, seconds, warmed)
    tell(console, report)
    return report, warmed is None or not warmed.refused


async def _tenant(settings: Settings, options: Options) -> provision.Tenant:
    """The lender, once what the run needs is there. With `--warm` the key must be one of its own."""
    if not settings.internal_key:
        raise CannotPrequalify("AMANA_INTERNAL_KEY is not set: the ledger is asked with it how customers stand")
    try:
        tenant = await provision.find_tenant(settings.owner_database_url, options.tenant)
    except ValueError as error:
        raise CannotPrequalify(str(error)) from error
    if tenant.tenant == TENANT_PLATFORM:
        raise CannotPrequalify("tenant 0 is the platform itself: it has no customers")
    if options.warm_per_second:
        key = parse_key(settings.api_key)
        keys = await provision.list_keys(settings.owner_database_url, tenant.tenant)
        if key is None or key.key_id not in {one.key_id for one in keys if one.revoked_at is None}:
            raise CannotPrequalify(f"--warm needs a live key of tenant {tenant.slug} in AMANA_API_KEY")
    return tenant


async def _live_policy(pool: Pool, tenant: provision.Tenant, product: str) -> CompiledPolicy:
    """The policy that a check would be decided with now. What ships is published at its first use, as by a check."""
    async with reading(pool) as connection:
        policy = (await Policies(pool).live(connection, [(tenant.tenant, product)])).get((tenant.tenant, product))
    if policy is None:
        raise CannotPrequalify(f"tenant {tenant.slug} has no live policy for the product {product}")
    return policy


async def _decide_all(
    console: Console, reader: Reader, decider: Decider, options: Options, file: OffersFile, tally: Tally, spool: Spool
) -> None:
    bar = Bar(console, "Deciding", await reader.count(options.limit))
    with bar.progress:
        async with aclosing(reader.pages(options.limit)) as pages:
            async for page in pages:
                rows = await asyncio.to_thread(decider.rows, page)  # while the next pages are read
                file.add(rows)
                tally.add(rows, page.as_of)
                if options.warm_per_second:
                    approved = rows.filter(rows["outcome"] == APPROVE)
                    spool.add(zip(approved["customer"], approved["amount"], strict=True))
                bar.at(tally.customers)


async def _warmed(
    console: Console, http: HttpClient, settings: Settings, options: Options, policy: CompiledPolicy, spool: Spool
) -> Warmed | None:
    if not options.warm_per_second:
        return None
    client = Client(http, Urls(settings.eligibility_url.rstrip("/"), settings.transactions_url), settings.api_key)
    same = {"product": options.product, "currency": policy.document.currency, "network": options.network}
    bar = Bar(console, "Warming", spool.count)
    with bar.progress:
        return await warm(client, spool, same, options.warm_per_second, bar.at)


def _report(
    options: Options,
    tenant: provision.Tenant,
    policy: CompiledPolicy,
    decider: Decider,
    tally: Tally,
    seconds: float,
    warmed: Warmed | None,
) -> dict[str, Any]:
    document = policy.document
    report: dict[str, Any] = {
        "tenant": {"tenant": tenant.tenant, "slug": tenant.slug},
        "policy": {
            "name": document.name,
            "product": document.product,
            "version": policy.version,
            "hash": policy.hash,
            "currency": str(document.currency),
        },
        "as_of": {"first": tally.first_as_of, "last": tally.last_as_of},
        "network": options.network,
        "limit": options.limit,
        "largest_amount": decider.largest,
        "term_days": document.price.default_term_days,
        "customers": tally.customers,
        "outcomes": dict(tally.outcomes.most_common()),
        "reasons": dict(tally.reasons.most_common()),
        "offered": tally.offered,
        "file": str(options.out),
        "seconds": round(seconds, 3),
        "customers_per_s": round(tally.customers / seconds),
        "table": {
            "decisions": decider.decisions,
            "seconds": round(decider.table_s, 3),
            "decisions_per_s": round(decider.decisions / decider.table_s),
        },
        "warmed": warmed,
    }
    found: dict[str, Any] = msgspec.to_builtins(report)
    return found
