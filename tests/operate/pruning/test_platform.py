"""A platform whose outboxes were pruned: whoever reads events is told where the older ones are, and all goes on."""

import asyncio
import json
import zipfile
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from rich.console import Console
from tests.e2e.lenders import Lender, new_lender
from tests.relay.source import until
from typer.testing import CliRunner, Result

from amana.audit.announcing import HeldBack
from amana.audit.custody import Custody
from amana.audit.export import run_export
from amana.audit.leaf import STREAMS
from amana.cli import app
from amana.gateway.source import EventsPruned, Source, url_of
from amana.infra import clock
from amana.infra.http import HttpClient
from amana.infra.settings import to_environ
from amana.notifications import holds
from amana.operate.reconcile import reconcile
from amana.operate.replay.options import CannotReplay, Log, Options
from amana.operate.replay.run import replay
from amana.operate.replay.snapshot import MANIFEST, Manifest
from amana.operate.replay.telling import Telling
from amana.operate.stack import Stack
from amana.operate.streams.pruning import Part, prune

QUIET = Telling(Console(), quiet=True)
STREAM = "transactions"
WITHIN_S = 30


async def pruned(site: Stack) -> dict[str, Part]:
    """Prunes all that happened until now, as soon as everybody has taken it."""
    before = clock.now()
    async with asyncio.timeout(WITHIN_S):
        while True:
            try:
                return {part.stream: part for part in await prune(site.settings, before, "ada", clock.now())}
            except HeldBack as behind:
                assert "behind" in str(behind) or "no checkpoint" in str(behind), behind
                await asyncio.sleep(0.2)


async def asked(site: Stack, http: HttpClient, path: str) -> tuple[int, dict[str, Any]]:
    headers = {"Authorization": f"Bearer {site.settings.internal_key}", "Amana-Tenant": "0"}
    reply = await http.request("GET", site.urls[STREAM] + path, headers=headers, timeout_ms=10_000)
    return reply.status, msgspec.json.decode(reply.body)


@pytest.fixture(scope="package")
async def lender(site: Stack, http: HttpClient) -> Lender:
    """A lender with loans, somebody who read them, and all of that pruned."""
    made = await new_lender(site, http)
    for _ in range(3):
        customer = await made.customer()
        await made.loan(customer)
        await made.must("GET", "notifications", f"/v1/notifications?customer={customer}")
    parts = await pruned(site)
    assert all(part.events for part in parts.values()), parts
    return made


@pytest.fixture
def amana(site: Stack) -> Callable[..., Awaitable[Result]]:
    """Runs one command against the site, in a thread: it has an event loop of its own."""

    async def run(*words: object) -> Result:
        environ = to_environ(site.settings)
        return await asyncio.to_thread(CliRunner().invoke, app, [*map(str, words)], env=environ)

    return run


async def test_who_asks_for_what_was_pruned_is_told_where_the_stream_begins_and_who_has_the_rest(
    site: Stack, lender: Lender, http: HttpClient
) -> None:
    oldest = (await asked(site, http, "/v1/events/end"))[1]["oldest"]
    assert oldest > 10
    status, problem = await asked(site, http, "/v1/events?after=-1")
    assert (status, problem["code"], problem["retryable"]) == (410, "events_pruned", False)
    log = f"/v1/audit/log/{STREAM}/tile/entries"
    assert problem["figures"] == {"stream": STREAM, "oldest": oldest, "older_at": log}
    assert (await asked(site, http, f"/v1/events?after={oldest - 2}"))[0] == 410
    status, page = await asked(site, http, f"/v1/events?after={oldest - 1}&limit=1")
    assert (status, page["events"][0]["position"]) == (200, oldest)
    with pytest.raises(EventsPruned, match=f"before position {oldest} were pruned"):
        await Source(STREAM, url_of(site.settings, STREAM), site.settings.internal_key, http).page(0, 10)


async def test_rows_are_held_to_all_their_events_and_one_without_is_found(site: Stack, lender: Lender) -> None:
    result = await reconcile(site.settings)
    assert result.ok, result.differences
    assert result.pruned.keys() == {"eligibility", STREAM} and not result.forgotten
    assert result.events == result.leaves == result.sealed
    await lender.loan(await lender.customer())
    assert (await reconcile(site.settings)).ok


async def test_a_replay_reads_the_log_and_of_the_outboxes_says_what_it_needs(site: Stack, lender: Lender) -> None:
    assert (await replay(site.settings, Options(), QUIET)).differences == []
    with pytest.raises(CannotReplay, match=r"was pruned before position .*--from-audit, or --from-export"):
        await replay(site.settings, Options(log=Log.OUTBOX), QUIET)


async def test_a_replay_goes_on_from_a_snapshot_though_what_was_before_is_in_the_log_alone(
    site: Stack, lender: Lender, tmp_path: Path
) -> None:
    place = tmp_path / "now.snapshot"
    assert (await replay(site.settings, Options(write_snapshot=place), QUIET)).ok
    await lender.loan(await lender.customer())
    result = await replay(site.settings, Options(from_snapshot=place), QUIET)
    assert result.ok and result.events < 100


async def test_a_replay_of_pruned_outboxes_goes_on_from_a_snapshot_made_where_they_begin_or_later(
    site: Stack, lender: Lender, tmp_path: Path
) -> None:
    place = tmp_path / "now.snapshot"
    assert (await replay(site.settings, Options(write_snapshot=place), QUIET)).ok
    await lender.loan(await lender.customer())
    wanted = Options(log=Log.OUTBOX, from_snapshot=place)
    result = await replay(site.settings, wanted, QUIET)
    assert result.ok and 0 < result.events < 100
    assert result.roots == (await replay(site.settings, Options(), QUIET)).roots, "hashed on from the snapshot's tree"
    with pytest.raises(CannotReplay, match="do not come to its root: it was altered"):
        await replay(
            site.settings, wanted._replace(from_snapshot=altered(place, lambda peaks: ("00" * 32, *peaks[1:]))), QUIET
        )
    with pytest.raises(CannotReplay, match="a version that did not write what goes on there"):
        await replay(site.settings, wanted._replace(from_snapshot=altered(place, lambda _: ())), QUIET)
    await pruned(site)
    with pytest.raises(CannotReplay, match=r"in the audit log alone.*or begin with a snapshot made at"):
        await replay(site.settings, wanted, QUIET)
    assert (await replay(site.settings, Options(from_snapshot=place), QUIET)).ok, "the log has them"


def altered(place: Path, change: Callable[[tuple[str, ...]], tuple[str, ...]]) -> Path:
    """The snapshot with other subtrees in its manifest."""
    other = place.with_name("other.snapshot")
    with zipfile.ZipFile(place) as old, zipfile.ZipFile(other, "w") as new:
        for name in old.namelist():
            new.writestr(name, _with_peaks(old.read(name), change) if name == MANIFEST else old.read(name))
    return other


def _with_peaks(manifest: bytes, change: Callable[[tuple[str, ...]], tuple[str, ...]]) -> bytes:
    read = msgspec.json.decode(manifest, type=Manifest)
    streams = {name: msgspec.structs.replace(at, peaks=change(at.peaks)) for name, at in read.streams.items()}
    return msgspec.json.encode(msgspec.structs.replace(read, streams=streams))


async def test_an_export_that_ends_before_the_outboxes_begin_is_refused_and_a_later_one_is_gone_on_with(
    site: Stack, lender: Lender, tmp_path: Path
) -> None:
    keys = tuple(str(key) for name in STREAMS for key in Custody.of(site.settings).keys(name).keys)
    wanted = Options(from_export=tmp_path / "log", keys=keys)
    await run_export(site.settings, tmp_path / "log")
    for _ in range(2):
        await lender.loan(await lender.customer())
    assert (await replay(site.settings, wanted, QUIET)).differences == []
    await pruned(site)
    with pytest.raises(CannotReplay, match="--from-export with an export that reaches as far"):
        await replay(site.settings, wanted, QUIET)
    await run_export(site.settings, tmp_path / "log")
    assert (await replay(site.settings, wanted, QUIET)).differences == []


async def test_whoever_watches_begins_where_the_stream_does(
    lender: Lender, amana: Callable[..., Awaitable[Result]]
) -> None:
    seen = await amana("events", "tail", "--stream", STREAM, "--from", "start", "--count", 1, "--json")
    assert seen.exit_code == 0, seen.output
    first = json.loads(seen.stdout.splitlines()[-1])["position"]
    assert first > 10 and f"{STREAM} begins at position {first}: what was before was pruned" in seen.output
    gone = await amana("events", "tail", "--stream", STREAM, "--from", 0, "--count", 1)
    assert (gone.exit_code, f"before position {first} were pruned" in gone.output) == (2, True), gone.output
    assert (await amana("events", "lag")).exit_code == 0


async def test_what_comes_after_is_sealed_and_told_and_pruned_in_its_turn(site: Stack, lender: Lender) -> None:
    before = await pruned(site)
    customer = await lender.customer()
    await lender.loan(customer)

    async def told() -> bool:
        page = await lender.must("GET", "notifications", f"/v1/notifications?customer={customer}")
        return len(page["notifications"]) == 2

    await until(told)
    after = await pruned(site)
    assert after[STREAM].events >= 4 and after[STREAM].oldest == before[STREAM].below
    assert (await reconcile(site.settings)).ok


async def test_what_is_younger_than_asked_stays(site: Stack, lender: Lender) -> None:
    await lender.loan(await lender.customer())
    parts = await prune(site.settings, clock.now() - timedelta(hours=1), "ada", clock.now())
    assert [part.events for part in parts] == [0, 0, 0]


async def test_whom_a_legal_hold_keeps_is_known_to_who_deletes_what_was_settled_until_it_is_released(
    site: Stack, lender: Lender, http: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holds, "HELD_PAGE_MAX", 1)
    asked = holds.Holds(http, site.settings)
    customers = [await lender.customer() for _ in range(3)]
    placed = {customer: str(uuid4()) for customer in customers[:2]}
    for customer, hold in placed.items():
        body = {"id": hold, "reason": "dispute", "by": "ada"}
        await lender.must("POST", "eligibility", f"/v1/customers/{customer}/legal-holds", body)
    assert await asked.held() == {(lender.tenant, customer) for customer in placed}
    for customer, hold in placed.items():
        path = f"/v1/customers/{customer}/legal-holds/{hold}/releases"
        await lender.must("POST", "eligibility", path, {"reason": "matter_closed", "by": "ada"})
    assert await asked.held() == frozenset()
    status, _ = await lender.get("eligibility", "/v1/held-customers")
    assert status == 403, "a lender's key sees nobody else's customers"
