"""`amana transfers import` against the running platform: every line accounted for, a kill without a second effect."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
from tests.commands import command
from tests.e2e.lenders import Lender
from tests.e2e.tills import NOBODY, Till, about

from amana.domain.ids import bucket_of

LINES = 12_000
WAIT_MAX, WAIT_S = 1_500, 0.02
COLUMNS = "debit_account,credit_account,amount,currency"


def settings_of(lender: Lender) -> dict[str, str]:
    """What the command is told by its environment."""
    return {"AMANA_API_KEY": lender.key, "AMANA_TRANSACTIONS_URL": lender.stack.urls["transactions"]}


async def importing(lender: Lender, *words: object, **more: Any) -> asyncio.subprocess.Process:
    """The command as a lender would run it, in a process of its own."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("AMANA_")}
    environ |= settings_of(lender)
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "amana.cli", "transfers", "import", *map(str, words)),
        env=environ,
        stdin=more.get("stdin", asyncio.subprocess.DEVNULL),
        cwd=more.get("cwd"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def piped(lender: Lender, *words: object, **more: Any) -> tuple[int | None, str, str]:
    """(exit code, stdout, stderr) of such a process that is left to end."""
    process = await importing(lender, *words, **more)
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def imported(lender: Lender, file: Path, *words: object) -> tuple[int, str, str]:
    """The same of an import that is run here."""
    done = await command("transfers", "import", file, *words, environ=settings_of(lender), folder=file.parent)
    return done.exit_code, done.stdout, done.stderr


def written(file: Path, lines: list[str]) -> Path:
    """The file with these lines."""
    file.write_text("\n".join([*lines, ""]), encoding="utf-8")
    return file


def state_of(file: Path) -> dict[str, Any]:
    """How far the import of a file is."""
    state = file.with_name(f"{file.name}.import.json")
    decoded: dict[str, Any] = msgspec.json.decode(state.read_bytes()) if state.exists() else {"mark": {"line": 0}}
    return decoded


def told(file: Path) -> list[dict[str, Any]]:
    """What is said of the lines that were not posted."""
    lines = file.with_name(f"{file.name}.refused.jsonl").read_bytes().splitlines()
    return [msgspec.json.decode(line) for line in lines]


async def killed(lender: Lender, file: Path) -> int:
    """Kills an import in its middle; the line that it had come to."""
    process = await importing(lender, file, "--in-flight", 4)
    for _ in range(WAIT_MAX):
        if state_of(file)["mark"]["line"] > 1:
            break
        await asyncio.sleep(WAIT_S)
    process.send_signal(signal.SIGKILL)
    await process.wait()
    line: int = state_of(file)["mark"]["line"]
    return line


async def test_a_kill_in_the_middle_changes_nothing_but_what_is_left_to_do(till: Till, tmp_path: Path) -> None:
    poor = await till.lender.account(normal_side="credit", floor=0)
    numbers = range(2, LINES + 2)  # of lines, and amounts: an amount that moved twice would show in the sum
    bad = {n for n in numbers if n % 997 == 0}
    refused = {n for n in numbers if n % 499 == 0} - bad
    expected = sum(numbers) - sum(bad | refused)
    rows = [f"{poor if n in refused else till.debit},{till.credit},{'12.5' if n in bad else n},NGN" for n in numbers]
    file = written(tmp_path / "big.csv", [COLUMNS, *rows])

    assert 1 < await killed(till.lender, file) < LINES
    code, out, err = await piped(till.lender, file)
    assert (code, err) == (1, "") and "insufficient_funds" in out
    done = state_of(file)
    posted = done["counts"]["posted"] + done["counts"].get("replayed", 0)
    assert (done["is_done"], done["counts"]["malformed"], posted) == (True, len(bad), LINES - len(bad | refused))
    assert done["refused"] == {"insufficient_funds": len(refused)}
    after = await till.account()
    assert (after["balance"], after["version"]) == (expected, posted)

    lines = told(file)
    assert [one["line"] for one in lines] == sorted(bad | refused)
    assert {one["errors"][0]["pointer"] for one in lines if not one["sent"]} == {"/amount"}
    assert {bucket_of(UUID(one["id"])) for one in lines if one["sent"]} == {bucket_of(poor)}

    assert "imported before" in (await imported(till.lender, file))[1]
    file.with_name(f"{file.name}.import.json").unlink()  # lost: the same file still has the same ids
    assert (await imported(till.lender, file))[0] == 1
    assert state_of(file)["counts"] == {"malformed": len(bad), "replayed": posted}
    assert told(file) == lines and (await till.account())["balance"] == expected


async def test_a_line_that_the_service_refuses_a_list_for_costs_itself_only_and_across_a_kill(
    till: Till, tmp_path: Path
) -> None:
    numbers = range(1, LINES + 1)
    dated = {n for n in numbers if n % 701 == 0}
    linked = {n - 1 for n in dated if n % 2}  # each goes with the line after it, whose date the key may not name
    items: dict[int, dict[str, Any]] = {n: till.item(amount=n) for n in numbers}
    for n in dated:
        items[n]["effective_on"] = "2020-01-01"
    for n in linked:
        items[n]["linked"] = True
    file = written(tmp_path / "past.jsonl", [msgspec.json.encode(items[n]).decode() for n in numbers])
    expected = sum(numbers) - sum(dated | linked)

    assert 1 < await killed(till.lender, file) < LINES
    code, out, err = await imported(till.lender, file)
    assert (code, err) == (1, "") and "scope_missing" in out
    done = state_of(file)
    assert (done["is_done"], done["mark"]["line"]) == (True, LINES)
    assert done["refused"] == {"scope_missing": len(dated), "linked_failed": len(linked)}
    assert sum(done["counts"].values()) == LINES - len(dated | linked)
    assert (await till.account())["balance"] == expected
    lines = told(file)
    assert [one["line"] for one in lines] == sorted(dated | linked)
    for one in lines:
        n = one["line"]
        assert (one["id"], one["sent"]) == (str(items[n]["id"]), False)
        if n in dated:
            assert one["reason"] == "scope_missing"
            assert [error["pointer"] for error in one["errors"]] == ["/effective_on"]
        else:
            assert (one["reason"], one["figures"], one["errors"]) == ("linked_failed", {"line": n + 1}, [])

    file.with_name(f"{file.name}.import.json").unlink()
    assert (await imported(till.lender, file))[0] == 1
    assert state_of(file)["counts"] == {"replayed": LINES - len(dated | linked)}
    assert told(file) == lines and (await till.account())["balance"] == expected


async def test_every_kind_of_line_is_done_in_the_order_of_the_file(till: Till, tmp_path: Path) -> None:
    hold, gone, item = till.hold(), till.hold(ttl_s=60), till.item(reference="March", metadata={"batch": "7"})
    items = [hold, about("capture", hold, amount=30), gone, about("void", gone), item, about("reverse", item, amount=1)]
    items += [till.item(linked=True), till.item(debit_account=NOBODY), about("void", {"id": NOBODY})]
    file = written(tmp_path / "mixed.jsonl", [msgspec.json.encode(one).decode() for one in items])
    report = tmp_path / "report.json"
    code, _, err = await imported(till.lender, file, "--in-flight", 3, "--report", report)
    assert (code, err) == (1, "")
    done = msgspec.json.decode(report.read_bytes())
    assert done["counts"] == {"held": 2, "posted": 3, "voided": 1}
    assert done["refused"] == {"account_not_found": 1, "hold_not_found": 1, "linked_failed": 1}
    assert [(one["line"], one["reason"], one["figures"]) for one in told(file)] == [
        (7, "linked_failed", {"failed": str(items[7]["id"]), "cause": "account_not_found"}),
        (8, "account_not_found", {"account": str(NOBODY)}),
        (9, "hold_not_found", {"hold": str(NOBODY)}),
    ]
    assert (await till.account())["debits_posted"] == 130


async def test_a_file_that_was_changed_is_not_gone_on_with(till: Till, tmp_path: Path) -> None:
    row = f"{till.debit},{till.credit},5,NGN"
    file = written(tmp_path / "changed.csv", [COLUMNS, row])
    assert (await imported(till.lender, file))[0] == 0
    code, _, err = await imported(till.lender, written(file, [COLUMNS, row, row]))
    assert code == 2 and "was changed" in err
    assert (await till.account())["balance"] == 5


async def test_strict_sends_nothing_of_a_file_with_a_malformed_line(till: Till, tmp_path: Path) -> None:
    row = f"{till.debit},{till.credit},5,NGN"
    file = written(tmp_path / "strict.csv", [COLUMNS, row, row.replace(",5,", ",1e3,")])
    code, out, err = await imported(till.lender, file, "--strict")
    assert code == 2 and "line 3: amount" in out and "nothing was sent" in err
    assert (await till.account())["version"] == 0


async def test_stdin_is_imported_under_a_name_and_again_without_effect(till: Till, tmp_path: Path) -> None:
    file = written(tmp_path / "stream", [COLUMNS, f"{till.debit},{till.credit},5,NGN"])
    words = ("-", "--format", "csv", "--import-id", uuid4())
    for outcome in ("posted", "replayed"):
        with file.open("rb") as stream:
            code, out, _ = await piped(till.lender, *words, stdin=stream, cwd=tmp_path)
        assert code == 0 and outcome in out
    unnamed = await command("transfers", "import", *words[:3], environ=settings_of(till.lender), folder=tmp_path)
    assert unnamed.exit_code == 2 and "--import-id" in unnamed.stderr
    assert (await till.account())["balance"] == 5


async def test_a_key_that_is_refused_and_a_file_that_is_not_there_are_said_in_one_line(
    till: Till, tmp_path: Path
) -> None:
    file = written(tmp_path / "some.csv", [COLUMNS, f"{till.debit},{till.credit},5,NGN"])
    stranger = Lender(till.lender.stack, till.lender.http, "amana_abcdefghijkl_" + "A" * 43)
    for lender, words, expected in (
        (stranger, (file,), "401 unauthenticated"),
        (till.lender, (tmp_path / "none.csv",), "there is no file"),
        (till.lender, (file, "--format", "xml"), "--format: csv or jsonl"),
    ):
        code, _, err = await imported(lender, *words)
        assert code == 2 and expected in err and err.count("\n") == 1, err
    assert (await imported(till.lender, file))[0] == 0
