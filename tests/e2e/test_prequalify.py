"""`amana eligibility prequalify` on the running platform: each row is what a check says of its amount at that time."""

import asyncio
import csv
import os
import signal
import sys
from collections.abc import AsyncIterator
from io import StringIO
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
import polars as pl
import pytest
from rich.console import Console
from tests.commands import command
from tests.e2e.lenders import Lender, new_lender

from amana.domain.persons import LINKED_MAX
from amana.eligibility.policies import shipped
from amana.infra.http import HttpClient, UpstreamUnavailable
from amana.infra.settings import Settings, to_environ
from amana.operate.prequalify.options import CannotPrequalify, Options
from amana.operate.prequalify.run import run_prequalify
from amana.operate.stack import Stack

CUSTOMERS = 300
BORROWERS = 12
PAGE = 37
WAIT_S = 60
COUNT = "SELECT count(*) FROM eligibility.decisions WHERE tenant = $1"
PRICE = ("principal", "fee", "total_due", "rate_bps", "term_days")
Rows = list[dict[str, Any]]


def bvn(number: int) -> str:
    return f"{number:011}"


def somebody(draw: Random, at: int) -> dict[str, Any]:
    """A change that records somebody: some with little known, some blocked, some with the BVN of another."""
    record: dict[str, Any] = {"kyc_tier": draw.choice((1, 2, 2, 3)), "blocked": draw.random() < 0.05}
    maybe = {
        "birth_date": f"{draw.randint(1950, 2012)}-05-17",
        "employment": draw.choice(("permanent", "contract", "self_employed", "student", "unemployed", "retired")),
        "monthly_income": draw.randint(0, 60_000_000),
        "bank_code": "058",
        "bvn": bvn(at // 3 if at < 60 else 1_000 + at),
    }
    record |= {name: value for name, value in maybe.items() if draw.random() < 0.85}
    change: dict[str, Any] = {"customer": uuid4(), "record": record}
    if draw.random() < 0.4:
        report = {"as_of": "2026-01-05T10:00:00Z", "bureau_count": 2, "score": draw.randint(300, 850)}
        change["bureau"] = report | {"worst_days_past_due": draw.choice((0, 0, 12, 95))}
    return change


async def people(lender: Lender) -> None:
    """Some hundred customers of a lender, some of whom borrowed, and one BVN with more numbers than a person has."""
    draw = Random(7)
    changes = [somebody(draw, at) for at in range(CUSTOMERS)]
    changes += [{"customer": uuid4(), "record": {"kyc_tier": 2, "bvn": bvn(9_999)}} for _ in range(LINKED_MAX + 2)]
    answer = await lender.must("POST", "eligibility", "/v1/customers:batch", {"customers": changes})
    assert {one["status"] for one in answer["results"]} == {"recorded"}
    for at in range(BORROWERS):  # the last of them share a BVN with one who did not borrow
        more: dict[str, Any] = {"bvn": bvn(5_000 + at)} if at >= BORROWERS // 2 else {}
        customer = await lender.customer(monthly_income=30_000_000, **more)
        await lender.loan(customer)
        if more:
            await lender.customer(**more)
    blocked = await lender.customer()
    block = {"id": uuid4(), "code": "fraud_suspected", "reason": "Two names, one BVN."}
    await lender.must("POST", "eligibility", f"/v1/customers/{blocked}/blocks", block)


@pytest.fixture(scope="module")
async def crowd(platform: Stack) -> AsyncIterator[Lender]:
    """A lender with customers, beside another lender with one."""
    async with HttpClient() as http:
        lender = await new_lender(platform, http)
        await people(lender)
        await (await new_lender(platform, http)).customer()
        yield lender


async def prequalified(lender: Lender, out: Path, product: str = "nano", **more: Any) -> tuple[Rows, dict[str, Any]]:
    """The rows of the file, and the report."""
    page = more.pop("page", PAGE)
    settings = msgspec.structs.replace(lender.stack.settings, api_key=lender.key)
    options = Options(str(lender.tenant), product, out, **more)
    report, ok = await run_prequalify(Console(file=StringIO()), settings, options, page)
    assert ok
    assert [one.name for one in out.parent.iterdir() if one.name.startswith(out.name)] == [out.name]
    return read(out), report


def files_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def read(file: Path) -> Rows:
    if file.suffix == ".jsonl":
        return [msgspec.json.decode(line) for line in file.read_bytes().splitlines()]
    if file.suffix == ".parquet":
        return pl.read_parquet(file).to_dicts()
    with file.open(newline="", encoding="utf-8") as stream:
        return [_typed(row) for row in csv.DictReader(stream)]


def _typed(row: dict[str, str]) -> dict[str, Any]:
    texts = {"customer", "as_of", "product", "policy_hash", "currency", "network", "outcome", "band"}
    typed: dict[str, Any] = {name: int(row[name]) if row[name] else None for name in row.keys() - texts - {"reasons"}}
    return typed | {name: row[name] or None for name in texts} | {"reasons": row["reasons"].split()}


async def asked(lender: Lender, row: dict[str, Any]) -> None:
    """A check about the amount of the row says what the row says."""
    body = {"customer": row["customer"], "product": row["product"], "amount": row["amount"] or 100, "currency": "NGN"}
    if row["network"]:
        body["network"] = row["network"]
    status, answer = await lender.post("eligibility", "/v1/eligibility/checks", body)
    if row["outcome"] == "refused":
        assert (status, [answer["code"]]) == (422, row["reasons"]), answer
        return
    assert status == 200, answer
    price = {name: row[name] for name in PRICE} if row["principal"] is not None else None
    said = {"outcome": row["outcome"], "limit": row["limit"], "price": price, "exposure": row["exposure"]}
    said |= {"exposure_cap": row["exposure_cap"]}
    assert {name: answer[name] for name in said} == said, row
    assert [reason["code"] for reason in answer["reasons"]] == row["reasons"], row
    assert (answer["policy"]["version"], answer["policy"]["hash"]) == (row["policy_version"], row["policy_hash"])
    explained = await lender.must("GET", "eligibility", f"/v1/decisions/{answer['decision_id']}")
    assert (explained["score"], explained["band"]) == (row["score"], row["band"])


async def all_asked(lender: Lender, rows: Rows) -> None:
    for at in range(0, len(rows), 16):
        await asyncio.gather(*(asked(lender, row) for row in rows[at : at + 16]))


@pytest.mark.parametrize(("product", "suffix"), [("nano", "csv"), ("airtime", "parquet"), ("bnpl", "jsonl")])
async def test_every_row_says_what_a_check_says_of_its_amount(
    crowd: Lender, tmp_path: Path, product: str, suffix: str
) -> None:
    rows, report = await prequalified(crowd, tmp_path / f"offers.{suffix}", product)
    assert len(rows) == report["customers"] == CUSTOMERS + LINKED_MAX + 2 + BORROWERS + BORROWERS // 2 + 1
    outcomes = {row["outcome"] for row in rows}
    assert {"approve", "decline", "refused"} <= outcomes
    assert sum(row["exposure"] is not None and row["exposure"] > 0 for row in rows) == BORROWERS + BORROWERS // 2
    assert {reason for row in rows for reason in row["reasons"]} >= {"customer_blocked", "person_ambiguous"}
    for row in rows:
        assert row["amount"] == (row["limit"] or report["largest_amount"]) or row["outcome"] == "refused"
    await all_asked(crowd, rows)


async def test_pages_are_joined_without_a_gap_or_a_repetition(crowd: Lender, tmp_path: Path) -> None:
    whole, _ = await prequalified(crowd, tmp_path / "whole.jsonl", page=1_000)
    paged, _ = await prequalified(crowd, tmp_path / "paged.jsonl", page=7)
    exact, _ = await prequalified(crowd, tmp_path / "exact.jsonl", page=len(whole))
    for rows in (whole, paged, exact):
        for row in rows:
            row.pop("as_of")
    ids = [UUID(row["customer"]) for row in whole]
    assert ids == sorted(set(ids))
    assert whole == paged == exact
    some, report = await prequalified(crowd, tmp_path / "some.jsonl", page=7, limit=20)
    assert [row["customer"] for row in some] == [row["customer"] for row in whole[:20]]
    assert report["customers"] == report["limit"] == 20


async def test_the_formats_hold_the_same_rows(crowd: Lender, tmp_path: Path) -> None:
    files = [(await prequalified(crowd, tmp_path / f"o.{suffix}"))[0] for suffix in ("csv", "jsonl", "parquet")]
    for rows in files:
        for row in rows:
            assert row.pop("as_of") is not None
    assert files[0] == files[1] == files[2]


async def test_the_report_says_as_of_when_under_which_policy_and_counts_the_rows(crowd: Lender, tmp_path: Path) -> None:
    rows, report = await prequalified(crowd, tmp_path / "offers.jsonl")
    policy = await crowd.must("GET", "eligibility", "/v1/policies/nano")
    assert (report["policy"]["version"], report["policy"]["hash"]) == (policy["version"], policy["hash"])
    assert report["largest_amount"] == shipped("nano").amounts.maximum
    assert (report["as_of"]["first"], report["as_of"]["last"]) == (rows[0]["as_of"], rows[-1]["as_of"])
    assert report["outcomes"]["approve"] == sum(row["outcome"] == "approve" for row in rows)
    assert report["offered"] == sum(row["limit"] for row in rows if row["outcome"] == "approve")
    assert report["table"]["decisions"] == 2 * sum(row["outcome"] != "refused" for row in rows)


async def test_another_lenders_customers_are_not_in_the_file_and_a_lender_without_any_has_an_empty_one(
    crowd: Lender, platform: Stack, http: HttpClient, tmp_path: Path
) -> None:
    other = await new_lender(platform, http)
    for suffix in ("csv", "jsonl", "parquet"):
        rows, report = await prequalified(other, tmp_path / f"none.{suffix}")
        assert (rows, report["customers"], report["outcomes"]) == ([], 0, {})
    assert (tmp_path / "none.csv").read_text(encoding="utf-8").startswith("customer,as_of,product,")
    alone = await other.customer()
    rows, _ = await prequalified(other, tmp_path / "one.csv")
    assert [row["customer"] for row in rows] == [str(alone)]


async def test_a_policy_with_networks_is_decided_over_one_of_them(
    platform: Stack, http: HttpClient, tmp_path: Path
) -> None:
    lender = await new_lender(platform, http)
    document = msgspec.to_builtins(shipped("nano")) | {
        "networks": [{"id": "mtn", "lending": True}, {"id": "glo", "lending": False}],
    }
    document["reasons"] |= {"network_not_served": "Not on this network.", "lending_off": "Not at the moment."}
    drafted = await lender.must("POST", "eligibility", "/v1/policies", {"id": uuid4(), "document": document})
    path = f"/v1/policies/nano/versions/{drafted['version']}/approvals"
    await (await lender.with_another_key()).must("POST", "eligibility", path, {"id": uuid4()})
    customers = {str(await lender.customer(monthly_income=30_000_000)) for _ in range(3)}
    for network, outcome in (("mtn", "approve"), ("glo", "decline")):
        rows, _ = await prequalified(lender, tmp_path / "offers.csv", network=network)
        assert {(row["customer"], row["outcome"]) for row in rows} == {(one, outcome) for one in customers}
        await all_asked(lender, rows)
    with pytest.raises(CannotPrequalify, match="say which with --network: glo or mtn"):
        await prequalified(lender, tmp_path / "none.csv")
    with pytest.raises(CannotPrequalify, match="network airtel is not served"):
        await prequalified(lender, tmp_path / "none.csv", network="airtel")
    assert not (tmp_path / "none.csv").exists()


async def test_warming_asks_about_the_approved_as_any_client_would_and_records_nothing_else(
    crowd: Lender, platform: Stack, http: HttpClient, tmp_path: Path
) -> None:
    lender = await new_lender(platform, http)
    good = [await lender.customer(monthly_income=30_000_000) for _ in range(5)]
    await lender.customer(blocked=True)
    rows, report = await prequalified(lender, tmp_path / "cold.csv")
    assert report["warmed"] is None
    assert await decisions_of(lender) == 0
    rows, report = await prequalified(lender, tmp_path / "warm.csv", warm_per_second=2)
    assert report["warmed"]["outcomes"] == {"approve": 5} and report["warmed"]["refused"] == {}
    assert report["warmed"]["seconds"] >= 2.0  # two, two and one, two a second
    assert await decisions_of(lender) == len(good)
    last = max(rows, key=lambda row: (row["outcome"] == "approve", row["customer"]))
    body = {"customer": last["customer"], "product": "nano", "amount": last["amount"], "currency": "NGN"}
    answer = await lender.must("POST", "eligibility", "/v1/eligibility/checks", body)
    assert answer["source"] in ("memory", "cache")


async def decisions_of(lender: Lender) -> int:
    """How many decisions are recorded for the lender."""
    connection = await asyncpg.connect(lender.stack.settings.owner_database_url)
    try:
        return int(await connection.fetchval(COUNT, lender.tenant))
    finally:
        await connection.close()


async def test_a_foreign_key_warms_nothing(crowd: Lender, platform: Stack, http: HttpClient, tmp_path: Path) -> None:
    stranger = await new_lender(platform, http)
    stranger.tenant = crowd.tenant
    with pytest.raises(CannotPrequalify, match="--warm needs a live key of tenant"):
        await prequalified(stranger, tmp_path / "offers.csv", warm_per_second=10)
    assert files_in(tmp_path) == []


async def test_a_key_that_may_not_check_warms_nothing_and_the_file_is_whole(crowd: Lender, tmp_path: Path) -> None:
    reader = await crowd.with_another_key(("loans:read",))
    with pytest.raises(CannotPrequalify, match=r"the file is whole, and 0 of .* 403 scope_missing"):
        await prequalified(reader, tmp_path / "offers.jsonl", warm_per_second=10, limit=60)
    assert len(read(tmp_path / "offers.jsonl")) == 60


def environment(settings: Settings) -> dict[str, str]:
    bare = {name: value for name, value in os.environ.items() if not name.startswith("AMANA_")}
    return bare | to_environ(settings)


async def commanded(lender: Lender, folder: Path, *words: object, **changes: Any) -> tuple[int, str]:
    """(exit code, stderr) of the command run here, with settings that differ in `changes`."""
    environ = to_environ(msgspec.structs.replace(lender.stack.settings, **changes))
    done = await command("eligibility", "prequalify", *words, environ=environ, folder=folder)
    return done.exit_code, done.stderr


async def test_the_command_writes_the_file_and_the_report(crowd: Lender, tmp_path: Path) -> None:
    words = ("--tenant", str(crowd.tenant), "--product", "nano", "--report", "report.json")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "amana.cli", "eligibility", "prequalify", *words),
        env=environment(crowd.stack.settings),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, complained = await asyncio.wait_for(process.communicate(), WAIT_S)
    code, out, err = process.returncode, said.decode(), complained.decode()
    assert (code, err) == (0, ""), out
    assert "Deciding: 100 %" in out and "Advice and no offer" in out
    report = msgspec.json.decode((tmp_path / "report.json").read_bytes())
    assert len(read(tmp_path / "nano.offers.csv")) == report["customers"] > CUSTOMERS


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--product", "cars"), "has no live policy for the product cars"),
        (("--product", "nano", "--tenant", "nobody-here"), "there is no tenant nobody-here"),
        (("--product", "nano", "--tenant", "platform"), "tenant 0 is the platform itself"),
        (("--product", "nano", "--out", "offers.xlsx"), "must end in .csv, .jsonl or .parquet"),
        (("--product", "nano", "--network", "mtn"), "the network mtn is not served"),
    ],
)
async def test_what_cannot_be_done_is_said_in_a_line_and_leaves_no_file(
    crowd: Lender, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    code, err = await commanded(crowd, tmp_path, "--tenant", crowd.tenant, *words)
    assert code == 2 and said in err and len(err.splitlines()) == 1, err
    assert files_in(tmp_path) == []


async def test_without_the_ledger_the_command_says_so_and_an_older_file_stays(crowd: Lender, tmp_path: Path) -> None:
    old = tmp_path / "nano.offers.csv"
    old.write_text("of yesterday", encoding="utf-8")
    words = ("--tenant", crowd.tenant, "--product", "nano")
    code, err = await commanded(crowd, tmp_path, *words, transactions_url="http://127.0.0.1:9")
    assert code == 2 and "the ledger can't be asked" in err and "127.0.0.1:9" in err, err
    assert old.read_text(encoding="utf-8") == "of yesterday" and files_in(tmp_path) == [old]
    code, err = await commanded(crowd, tmp_path, *words, internal_key="")
    assert code == 2 and "AMANA_INTERNAL_KEY is not set" in err


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
async def test_an_interruption_or_a_failure_in_the_middle_leaves_nothing(
    crowd: Lender, tmp_path: Path, suffix: str
) -> None:
    out = tmp_path / f"offers.{suffix}"
    silent = await asyncio.start_server(lambda _, __: None, "127.0.0.1", 0)  # takes connections, never answers
    port = silent.sockets[0].getsockname()[1]
    settings = msgspec.structs.replace(crowd.stack.settings, transactions_url=f"http://127.0.0.1:{port}")
    async with silent:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "amana.cli", "eligibility", "prequalify"),
            *("--tenant", str(crowd.tenant), "--product", "nano", "--out", str(out)),
            env=environment(settings),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        while not files_in(tmp_path):  # it is under way once it writes beside the file
            await asyncio.sleep(0.02)
            assert process.returncode is None
        process.send_signal(signal.SIGINT)
        _, err = await asyncio.wait_for(process.communicate(), WAIT_S)
        assert (process.returncode, err) == (130, b"")
        assert files_in(tmp_path) == []


async def test_a_ledger_that_goes_away_after_some_pages_leaves_nothing(crowd: Lender, tmp_path: Path) -> None:
    ledger, served = crowd.stack.settings.transactions_url.rpartition(":")[2], 0  # counts the pages asked for
    tasks: set[asyncio.Task[None]] = set()

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        while data := await reader.read(65_536):
            served += data.startswith(b"POST ")
            if served > 4:
                break
            writer.write(data)
        writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if served > 4:
            writer.close()
            return
        there, back = await asyncio.open_connection("127.0.0.1", int(ledger))
        for task in (pipe(reader, back), pipe(there, writer)):
            tasks.add(asyncio.create_task(task))

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as door:
        url = f"http://127.0.0.1:{door.sockets[0].getsockname()[1]}"
        settings = msgspec.structs.replace(crowd.stack.settings, transactions_url=url)
        options = Options(str(crowd.tenant), "nano", tmp_path / "offers.jsonl")
        with pytest.raises(UpstreamUnavailable):
            await run_prequalify(Console(file=StringIO()), settings, options, PAGE)
        for task in tasks:
            task.cancel()
    assert served > 4
    assert files_in(tmp_path) == []
