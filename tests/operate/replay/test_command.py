"""What `amana replay` says at the keyboard: a table, the differences, an exit code."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
import pytest
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
"""


@pytest.mark.parametrize("line", MISTAKES.strip().splitlines())
async def test_a_mistake_is_answered_in_one_line(amana: Amana, line: str) -> None:
    words, _, expected = (part.strip() for part in line.partition("|"))
    result = amana(*words.split())
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"amana: {expected}")
    assert result.stderr.count("\n") == 1
