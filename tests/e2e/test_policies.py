"""How to write, release and roll back a policy, word for word as the page says it, on the running platform."""

import asyncio
import os
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import uuid4

import pytest
from tests.commands import command
from tests.e2e.lenders import Lender
from tests.style.source import ROOT

from amana.gateway import provision
from amana.infra.http import HttpClient
from amana.operate.stack import Stack

PAGE = (ROOT / "docs" / "how-to" / "policies.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)

Bash = Callable[..., Awaitable[tuple[int, str]]]
Amana = Bash


@pytest.fixture
async def tenant(platform: Stack) -> int:
    name = f"policies-{uuid4().hex[:6]}"
    return await provision.create_tenant(platform.settings.owner_database_url, name, "A lender with a product team")


@pytest.fixture
async def keys(platform: Stack, tenant: int) -> dict[str, str]:
    """Of an author and of an approver, as the page calls them."""
    dsn = platform.settings.owner_database_url
    return {
        "AUTHOR": await provision.create_key(dsn, tenant, ["policies:write"]),
        "APPROVER": await provision.create_key(dsn, tenant, ["policies:approve"]),
    }


@pytest.fixture
def bash(platform: Stack, keys: dict[str, str], tmp_path: Path) -> Bash:
    """Runs a script, with those keys: (exit code, what it says)."""
    variables = keys | {
        "PATH": f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}",
        "AMANA_ELIGIBILITY_URL": platform.urls["eligibility"],
    }
    environ = {name: value for name, value in os.environ.items() if not name.startswith("AMANA_")}

    async def run(script: str, **more: str) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            *("bash", "-euo", "pipefail", "-c", script),
            cwd=tmp_path,
            env=environ | variables | more,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await asyncio.wait_for(process.communicate(), 240)
        assert process.returncode is not None
        return process.returncode, said.decode()

    return run


@pytest.fixture
def amana(platform: Stack, tmp_path: Path) -> Amana:
    """Runs `amana policy` in this process: (exit code, what it says)."""

    async def run(*words: object, **more: str) -> tuple[int, str]:
        environ = {"AMANA_ELIGIBILITY_URL": platform.urls["eligibility"]} | more
        done = await command("policy", *words, environ=environ, folder=tmp_path)
        return done.exit_code, done.output

    return run


async def test_the_commands_of_the_page_release_a_policy_and_roll_it_back(
    platform: Stack, http: HttpClient, tenant: int, bash: Bash
) -> None:
    code, said = await bash("\n".join(BLOCKS))
    assert code == 0, said
    assert "nano-600.json has no fault: product nano, hash " in said
    assert "~ /offer_ttl_s  900 -> 600\n" in said
    assert "nano version 2 is live from " in said
    assert "nano version 3 is scheduled from " in said
    assert "nano version 4 (restores version 1) is live from " in said
    key = await provision.create_key(platform.settings.owner_database_url, tenant, provision.ALL_SCOPES)
    lender = Lender(platform, http, key)
    _, listed = await lender.send("GET", "eligibility", "/v1/policies/nano/versions")
    told = [(version["version"], version["state"], version["restores"]) for version in listed["versions"]]
    assert told == [(4, "live", 1), (3, "withdrawn", None), (2, "retired", None), (1, "retired", None)]


REFUSED = """
show mortgage                             | 1 | product_not_found
approve nano 7                            | 1 | not_found
approve nano 1 --from tomorrow            | 1 | /valid_from  invalid
rollback nano abc                         | 1 | /hash  invalid
draft absent.json                         | 2 | No such file or directory
draft broken.json                         | 1 | malformed_json
draft faulty.json                         | 1 | /document/name  missing
"""


@pytest.mark.parametrize("line", REFUSED.strip().splitlines())
async def test_a_refusal_is_said_by_its_code_and_its_pointers(
    amana: Amana, keys: dict[str, str], tmp_path: Path, line: str
) -> None:
    words, code, expected = (part.strip() for part in line.split("|"))
    (tmp_path / "faulty.json").write_text("{}\n", encoding="utf-8")
    (tmp_path / "broken.json").write_text("}\n", encoding="utf-8")
    key = keys["APPROVER" if words.startswith("approve") else "AUTHOR"]
    exited, said = await amana(*words.split(), AMANA_API_KEY=key)
    assert (exited, expected in said) == (int(code), True), said


async def test_the_author_is_told_that_another_key_approves(bash: Bash, platform: Stack, tenant: int) -> None:
    dsn = platform.settings.owner_database_url
    both = await provision.create_key(dsn, tenant, ["policies:write", "policies:approve"])
    script = "amana policy show nano > nano.json; amana policy draft nano.json; amana policy approve nano 2"
    code, said = await bash(script, AMANA_API_KEY=both)
    assert (code, said.splitlines()[-1]) == (
        1,
        "amana: A policy is approved by another key than the one that drafted it. (approver_is_author)",
    )


async def test_a_step_without_an_answer_says_how_to_send_it_again(
    amana: Amana, keys: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "nano.json").write_text("{}\n", encoding="utf-8")
    words = ("draft", "nano.json", "--id", f"0190c7a2-1111-7000-8000-1{'0' * 11}")
    code, said = await amana(*words, AMANA_API_KEY=keys["AUTHOR"], AMANA_ELIGIBILITY_URL="http://127.0.0.1:1")
    assert code == 2
    assert "send it again with --id 0190c7a2-1111-7000-8000-100000000000: it has one effect" in said


async def test_without_a_key_nothing_is_asked(amana: Amana) -> None:
    code, said = await amana("list", "nano")
    assert (code, said) == (2, "amana: AMANA_API_KEY is not set: it is the key that this command acts with\n")
