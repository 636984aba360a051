"""`amana privacy` at the keyboard, on the running platform."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from tests.e2e.lenders import Lender
from typer.testing import CliRunner, Result

from amana.cli import app
from amana.infra.settings import to_environ
from amana.operate.stack import Stack

Amana = Callable[..., Awaitable[Result]]


@pytest.fixture
def amana(platform: Stack, lender: Lender) -> Amana:
    """Runs one command with the lender's key, in a thread: it has an event loop of its own."""
    environ = to_environ(platform.settings) | {"AMANA_API_KEY": lender.key}

    async def run(*words: str, **more: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, app, ("privacy", *words), env=environ | more)

    return run


async def test_a_copy_is_written_and_a_customer_erased(lender: Lender, amana: Amana, tmp_path: Path) -> None:
    ada = await lender.customer(bvn="22212345678")
    out = tmp_path / "copies" / "ada.json"
    assert (await amana("export", str(ada), "--out", str(out))).exit_code == 0
    copy = json.loads(out.read_text())
    assert (copy["customer"], copy["record"]["bvn"], copy["loans"]) == (str(ada), "22212345678", [])
    done = await amana("erase", str(ada), "--reason", "customer_request")
    assert (done.exit_code, done.stdout) == (0, f"customer {ada} is erased\n")
    again = await amana("erase", str(ada), "--reason", "customer_request")
    assert (again.exit_code, again.stdout) == (0, f"customer {ada} is erased (asked for before)\n")
    gone = await amana("export", str(ada))
    assert (gone.exit_code, "customer_erased" in gone.stderr) == (2, True)


async def test_who_owes_is_said_to_be_kept(lender: Lender, amana: Amana) -> None:
    ada = await lender.customer()
    await lender.loan(ada)
    done = await amana("erase", str(ada), "--reason", "consent_withdrawn")
    assert done.stdout.splitlines() == [
        f"customer {ada} is restricted",
        "when to destroy is not known yet: something may be owed",
    ]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("erase", str(UUID(int=1)), "--reason", "Ada asked"), "Invalid value for '--reason'"),
        (("erase", "ada", "--reason", "unlawful"), "Invalid value for 'CUSTOMER'"),
        (("erase", str(UUID(int=1))), "Missing option '--reason'"),
    ],
)
async def test_what_was_typed_wrong_is_named(amana: Amana, words: tuple[str, ...], complaint: str) -> None:
    result = await amana(*words)
    assert result.exit_code == 2
    assert complaint in result.stderr


async def test_without_a_key_or_a_service_one_line_says_so(amana: Amana) -> None:
    for more, complaint in (
        ({"AMANA_API_KEY": ""}, "AMANA_API_KEY is not set"),
        ({"AMANA_ELIGIBILITY_URL": "http://127.0.0.1:1"}, "eligibility does not answer"),
    ):
        result = await amana("erase", str(uuid4()), "--reason", "unlawful", **more)
        assert result.exit_code == 2
        assert complaint in result.stderr
        assert len(result.stderr.splitlines()) == 1


async def test_keys_are_rotated_under_running_services(lender: Lender, amana: Amana) -> None:
    before = await lender.customer(bvn="22212345678")
    rotated = await amana("rotate-keys")
    assert rotated.exit_code == 0, rotated.output
    between = await lender.customer()
    rewrapped = await amana("rewrap-keys", "--drop-old")
    assert rewrapped.exit_code == 0, rewrapped.output
    assert "dropped: 1" in rewrapped.stdout
    after = await lender.customer()
    for customer in (before, between, after):
        await lender.must("GET", "eligibility", f"/v1/customers/{customer}")
        await lender.offer(customer)
    assert (await amana("encrypt")).stdout == "nothing personal is in clear\n"


async def test_without_the_key_file_one_line_says_so(amana: Amana, tmp_path: Path) -> None:
    result = await amana("rotate-keys", AMANA_PRIVACY_KEY_FILE=str(tmp_path / "keys.json"))
    assert result.exit_code == 2
    assert "can't be read: No such file" in result.stderr
