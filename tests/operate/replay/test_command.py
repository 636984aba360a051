"""What `amana replay` says at the keyboard: a table, the differences, an exit code."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
import pytest
from tests.operate.replay.conftest import ReadingFrom
from tests.operate.replay.town import Town
from typer.testing import CliRunner, Result

from amana.cli import app
from amana.infra.settings import to_environ
from amana.operate.stack import Stack

Amana = Callable[..., Result]


@pytest.fixture
def amana(site: Stack, town: Town) -> Amana:
    """Runs the command against the site, in a thread: it has an event loop of its own."""

    def run(*words: str) -> Result:
        with ThreadPoolExecutor(1) as thread:
            environ = to_environ(site.settings)
            return thread.submit(CliRunner().invoke, app, ("replay", *words), env=environ).result()

    return run


async def test_what_agrees_is_said_with_the_log_that_it_was(amana: Amana, tmp_path: Path) -> None:
    result = amana("--report", str(tmp_path / "replay.json"))
    assert result.exit_code == 0, result.output
    assert "0 differences" in result.stdout
    report = json.loads((tmp_path / "replay.json").read_bytes())
    assert report["ok"]
    for stream, root in report["roots"].items():
        assert f"{stream}: up to position {report['positions'][stream]:,}" in result.stdout
        assert root in result.stdout


async def test_a_difference_is_a_line_and_an_exit_code(amana: Amana, site: Stack, town: Town) -> None:
    connection = await asyncpg.connect(site.settings.owner_database_url)
    change = "UPDATE transactions.loans SET principal_paid = principal_paid {} 1 WHERE id = $1"
    await connection.execute(change.format("-"), town.loan)
    try:
        result = amana("--only", "loans")
    finally:
        await connection.execute(change.format("+"), town.loan)
        await connection.close()
    assert result.exit_code == 1
    assert f"loans id {town.loan}, tenant {town.lender.tenant}: principal_paid is 949999, the log says 950000" in (
        result.stdout
    )
    assert "last touched at position" in result.stdout


async def test_a_story_is_told_and_nothing_is_an_exit_code(amana: Amana, town: Town) -> None:
    told = amana("--loan", str(town.loan))
    assert told.exit_code == 0
    assert "RepaymentReversed" in told.stdout
    nothing = amana("--account", str(town.nothing))
    assert (nothing.exit_code, nothing.stdout) == (1, "0 events\n")


async def test_an_auditor_needs_no_stack_only_an_export_a_key_and_a_database(
    reading_from: ReadingFrom, site: Stack, town: Town, tmp_path: Path
) -> None:
    options = await reading_from("export")
    keys = tmp_path / "keys"
    keys.write_text("\n".join(options["keys"]))
    words = ["replay", "--data-dir", str(tmp_path), "--from-export", str(options["from_export"]), "--keys", str(keys)]
    shards = {"AMANA_LEDGER_SHARDS": str(site.settings.ledger_shards)}

    def run(*more: str) -> Result:
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(CliRunner().invoke, app, [*words, *more], env=shards).result()

    built = run("--no-compare", "--scratch-url", site.settings.owner_audit_database_url, "--only", "loans,reversals")
    assert built.exit_code == 0, built.output
    assert "0 differences within the log, compared with nothing else" in built.stdout
    assert "What the log comes to" in built.stdout
    told = run("--loan", str(town.loan))
    assert "RepaymentReversed" in told.stdout, told.output
    for more, said in ((("--no-compare",), "no stack runs on"), ((), "no stack runs on")):
        missing = run(*more)
        assert missing.exit_code == 2
        assert said in missing.stderr


MISTAKES = """
--only loans,debts                       | --only: there is no table 'debts'; there are accounts, transfers,
--log kafka                              | --log is audit or outbox, not kafka
--until yesterday                        | --until is an instant such as 2026-11-27T09:30:00Z, not yesterday
--until 2026-01-01T00:00:00              | --until has no offset: 2026-01-01T00:00:00Z is UTC
--until 2999-01-01T00:00:00Z             | --until is later than now
--until 2026-01-01T00:00:00Z --from-snapshot x | --until replays from the first event: it goes with no snapshot
--write-snapshot x --only loans          | --write-snapshot holds every table: it does not go with --only
--from-snapshot nowhere.snapshot         | --from-snapshot: nowhere.snapshot does not exist
--write-snapshot no/such/folder          | --write-snapshot: no/such does not exist
--export no/such/folder                  | --export: no/such/folder is no folder
--from-export . | --from-export needs a verifier key that you trust: --key or --keys (`amana audit key show`)
--from-audit http://127.0.0.1:1 | --from-audit needs a verifier key that you trust: --key or --keys
--from-export nowhere --key k            | --from-export: nowhere is no folder
--from-export src --key k                | --from-export: src holds no whole stream eligibility: export again
--from-audit 127.0.0.1:7803 --key k      | --from-audit is an address such as http://127.0.0.1:7803, not 127.0.0.1
--from-audit http://[ --key k            | --from-audit is an address such as http://127.0.0.1:7803, not http://[
--from-audit http://127.0.0.1:1 --key k  | AMANA_API_KEY is not set: it is needed to read --from-audit
--from-export . --from-audit http://h --key k | --from-export and --from-audit are two logs: name one
--from-export . --key k --log audit      | --log audit is a log of its own: it does not go with --from-export
--key k                                  | --key, --keys and --checkpoints go with --from-export or --from-audit
--checkpoints README.md                  | --key, --keys and --checkpoints go with --from-export or --from-audit
--keys no/such/file                      | [Errno 2] No such file or directory: 'no/such/file'
"""


@pytest.mark.parametrize("line", MISTAKES.strip().splitlines())
async def test_a_mistake_is_answered_in_one_line(amana: Amana, line: str) -> None:
    words, _, expected = (part.strip() for part in line.partition("|"))
    result = amana(*words.split())
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"amana: {expected}")
    assert result.stderr.count("\n") == 1
