"""What `amana` says at the keyboard: one line that helps, and an exit code, never a traceback."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from uuid import uuid4

import pytest
import typer
from typer.testing import CliRunner, Result

from amana.cli import LATER, app
from amana.gateway.provision import ALL_SCOPES
from amana.infra.settings import Settings
from amana.operate.late import Late, LateCommand
from amana.operate.terminal import finish

Amana = Callable[..., Result]
SECRET_LENGTH = 43


@pytest.fixture(scope="session")
def amana(settings: Settings) -> Amana:
    """Runs one command against the test's own database, in a thread: it has an event loop of its own."""
    environ = {"AMANA_OWNER_DATABASE_URL": settings.owner_database_url}

    def run(*words: str) -> Result:
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(CliRunner().invoke, app, words, env=environ).result()

    return run


@pytest.fixture(scope="session")
def lender(amana: Amana) -> str:
    """The slug of a new tenant."""
    slug = f"cli-{uuid4().hex[:8]}"
    assert amana("tenant", "create", slug, "Lender of the command line").exit_code == 0
    return slug


def number_of(amana: Amana, slug: str) -> str:
    said: str = amana("tenant", "create", slug, "Another name").stdout
    return said.split()[1]


def test_a_tenant_is_said_to_be_new_or_to_exist(amana: Amana) -> None:
    slug = f"cli-{uuid4().hex[:8]}"
    made = amana("tenant", "create", slug, "Lender").stdout.split(" ", 2)
    again = amana("tenant", "create", slug, "Lender").stdout.split(" ", 2)
    assert (made[0], made[2]) == ("tenant", f"({slug}) was made\n")
    assert again == ["tenant", made[1], f"({slug}) exists already\n"]


def test_tenants_are_listed_without_the_platform(amana: Amana, lender: str) -> None:
    rows = [line.split(maxsplit=2) for line in amana("tenant", "list").stdout.splitlines()]
    assert [number_of(amana, lender), lender, "Lender of the command line"] in rows
    assert "platform" not in [slug for _, slug, _ in rows]


def test_a_key_is_shown_whole_on_one_line_and_listed_without_its_secret(amana: Amana, lender: str) -> None:
    by_slug = amana("key", "create", lender, "--scope", "loans:read").stdout
    by_number = amana("key", "create", number_of(amana, lender), "--scope", "loans:write").stdout
    listed = amana("key", "list", lender).stdout
    for text, scope in ((by_slug, "loans:read"), (by_number, "loans:write")):
        _, key_id, secret = text.removesuffix("\n").split("_")
        assert len(secret) == SECRET_LENGTH and secret not in listed
        assert [line.split()[-1] for line in listed.splitlines() if line.startswith(key_id)] == [scope]


@pytest.mark.parametrize("whole", [True, False])
def test_a_key_is_revoked_by_its_id_or_its_text_and_only_once(amana: Amana, lender: str, whole: bool) -> None:
    text = amana("key", "create", lender, "--scope", "loans:read").stdout.strip()
    key_id = text.split("_")[1]
    named = text if whole else key_id
    assert amana("key", "revoke", named).exit_code == 0
    again = amana("key", "revoke", named)
    assert (again.exit_code, again.stderr) == (2, f"amana: the key {key_id} was revoked already\n")
    (line,) = [line for line in amana("key", "list", lender).stdout.splitlines() if line.startswith(key_id)]
    assert "  revoked 20" in line


def test_a_key_s_quota_is_given_with_it_changed_taken_away_and_shown(amana: Amana, lender: str) -> None:
    text = amana("key", "create", lender, "--scope", "loans:read", "--rate", "500", "--burst", "1000").stdout.strip()
    key_id = text.split("_")[1]

    def shown() -> str:
        (line,) = [line for line in amana("key", "list", lender).stdout.splitlines() if line.startswith(key_id)]
        return line.split("  ")[-2].strip()

    assert shown() == "a quota of 500/s, burst 1000"
    for words, expected in (
        (["--rate", "20"], "a quota of 20/s, burst 20"),
        (["--rate", "0"], "no quota"),
        ([], "the default quota"),
    ):
        said = amana("key", "quota", text if words else key_id, *words)
        assert said.stdout == f"the key {key_id} has {expected}; it holds everywhere within 5 s\n"
        assert shown() == expected


def test_a_tenant_s_quota_is_given_with_it_changed_taken_away_and_shown(amana: Amana) -> None:
    slug = f"shared-{uuid4().hex[:12]}"
    assert amana("tenant", "create", slug, "Lender", "--rate", "500", "--burst", "1000").exit_code == 0

    def shown() -> str:
        (line,) = [line for line in amana("tenant", "list").stdout.splitlines() if f" {slug} " in line]
        return line.partition("Lender")[2]

    assert shown() == "  (its keys share a quota of 500/s, burst 1000)"
    number = number_of(amana, slug)
    for words, expected in ((["--rate", "20"], "a quota of 20/s, burst 20"), (["--rate", "0"], ""), ([], "")):
        said = amana("tenant", "quota", slug, *words)
        told = expected or "no quota"
        assert said.stdout == f"the keys of tenant {number} ({slug}) share {told}; within 5 s everywhere\n"
        assert shown() == (expected and f"  (its keys share {expected})")


MISTAKES = f"""
tenant quota LENDER --burst 5                | a burst needs a rate
tenant quota LENDER --rate 1000001           | a quota's rate is 1 to 1000000 requests a second, or 0
tenant quota nobody --rate 5                 | there is no tenant nobody
tenant quota platform --rate 5               | there is no lender 0
key create LENDER --scope loans:read --burst 5           | a burst needs a rate
key create LENDER --scope loans:read --rate 0 --burst 5  | a quota's rate is 1 to 1000000 requests a second, or 0
key create LENDER --scope loans:read --rate 9 --burst 0  | a quota's burst is 1 to 10000000 requests
key quota aaaaaaaaaaaa --rate 5              | there is no live key with the id aaaaaaaaaaaa
key create 999999999 --scope loans:read      | there is no tenant 999999999
key create nobody --scope loans:read         | there is no tenant nobody
key create 99999999999999 --scope loans:read | there is no tenant 99999999999999
key create platform --scope loans:read       | tenant 0 is the platform itself: keys are made for lenders
key create LENDER --scope internal           | the scope internal is reserved for Amana's own services
key create LENDER --scope all                | there is no scope all; the scopes are {", ".join(ALL_SCOPES)}
key list nobody                              | there is no tenant nobody
key revoke aaaaaaaaaaaa                      | there is no key with the id aaaaaaaaaaaa
tenant create A name                         | a slug is 2 to 63 of a-z, 0-9 and -, beginning with a letter
tenant create lender {"n" * 201} | a name has 1 to 200 characters and is not blank
"""


@pytest.mark.parametrize("line", MISTAKES.strip().splitlines())
def test_a_mistake_is_answered_in_one_line(amana: Amana, lender: str, line: str) -> None:
    words, _, expected = (part.strip() for part in line.partition("|"))
    result = amana(*words.replace("LENDER", lender).split())
    assert (result.exit_code, result.stderr, result.stdout) == (2, f"amana: {expected}\n", "")


@pytest.mark.parametrize("place", ["file/report.json", ".", "/dev/null/report.json"])
def test_a_report_that_can_not_be_written_is_refused_before_the_work(amana: Amana, tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    report = tmp_path / place
    result = amana("tape", "import", str(tmp_path), "--report", str(report))
    assert result.exit_code == 2
    assert result.stderr.startswith(f"amana: the report {report} can't be written: ")
    assert "mapping" not in result.stderr and result.stderr.count("\n") == 1


def test_a_report_s_folder_is_made_and_no_empty_report_is_left(amana: Amana, tmp_path: Path) -> None:
    report = tmp_path / "new" / "report.json"
    result = amana("tape", "import", str(tmp_path), "--report", str(report))
    assert result.exit_code == 2 and "mapping" in result.stderr  # there is no tape in the folder
    assert report.parent.is_dir() and not report.exists()


def test_a_tape_s_folder_must_exist(amana: Amana, tmp_path: Path) -> None:
    for words in (["import"], ["import", "--mapping", "reference"], ["replay"]):
        result = amana("tape", *words, str(tmp_path / "x"))
        assert (result.exit_code, result.stderr) == (2, f"amana: the folder {tmp_path / 'x'} does not exist\n")


def test_the_version_is_said(amana: Amana) -> None:
    assert amana("--version").stdout == f"amana {version('amana')}\n"


LIGHT = """
import sys
import amana.cli
print(sorted({"asyncio", "asyncpg", "aiohttp", "litestar", "polars", "rich", "amana.operate.stack"} & set(sys.modules)))
"""


def test_the_command_line_alone_loads_no_driver_no_loop_and_no_console() -> None:
    loaded = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True)
    assert loaded.stdout == "[]\n"


CLIENTS = """
import sys
import amana.operate.policy_client, amana.operate.privacy.client, amana.operate.metrics, amana.operate.imports.importer
print(sorted({"litestar", "uvicorn", "redis", "polars", "structlog"} & set(sys.modules)))
"""


def test_a_command_that_asks_a_service_loads_nothing_of_a_service() -> None:
    loaded = subprocess.run([sys.executable, "-c", CLIENTS], capture_output=True, text=True, check=True)
    assert loaded.stdout == "[]\n"


@pytest.mark.parametrize("late", LATER, ids=lambda late: late.name)
def test_what_is_said_of_a_command_before_it_is_loaded_is_what_it_says_of_itself(amana: Amana, late: Late) -> None:
    assert LateCommand(late).loaded().help.partition("\n\n")[0] == late.told
    assert amana(late.name, "--help").exit_code == 0


def test_a_report_on_a_full_disk_is_said_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as caught:
        finish(({"ok": True}, True), Path("/dev/full"))
    assert caught.value.exit_code == 2
    assert capsys.readouterr().err == f"amana: the report /dev/full can't be written: {os.strerror(errno.ENOSPC)}\n"
