"""`amana policy validate` and `amana policy schema`: what they say, and how they end."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.domain.policy_model import SHIPPED, shipped
from tests.domain.test_policy import document
from tests.style.source import ROOT, SRC
from typer.testing import CliRunner, Result

from amana.cli import app
from amana.domain.policy import policy_bytes, policy_hash


def validate(*words: str) -> Result:
    return CliRunner().invoke(app, ["policy", "validate", *words])


def written(folder: Path, content: Any) -> str:
    """A file with the content: bytes as they are, anything else as JSON."""
    file = folder / "policy.json"
    file.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return str(file)


def told(result: Result) -> list[tuple[str, str]]:
    """(pointer, code) of each line."""
    return [tuple(line.split("  ", 2)[:2]) for line in result.stdout.splitlines()]  # type: ignore[misc]  # two of them


@pytest.mark.parametrize("name", SHIPPED)
def test_a_clean_document_ends_with_0_and_says_its_hash(name: str) -> None:
    result = validate(str(SRC / "policies" / f"{name}.json"))
    assert result.exit_code == 0
    assert result.stdout.endswith(f"product {name}, hash {policy_hash(policy_bytes(shipped(name)))}\n")


def test_every_fault_is_said_with_pointer_code_and_sentence(tmp_path: Path) -> None:
    changed = document()
    changed["scorecard"]["attributes"][0]["bins"][1]["from"] = 2
    changed["rules"] += [changed["rules"][1] | {"id": f"adult_{n}"} for n in range(30)]
    result = validate(written(tmp_path, changed))
    assert result.exit_code == 1
    assert told(result) == [
        *((f"/rules/{8 + n}", "unreachable") for n in range(30)),
        ("/scorecard/attributes/0/bins/1", "gap"),
    ]
    assert "Says the same as /rules/1." in result.stdout


def test_every_fault_of_shape_is_said_too(tmp_path: Path) -> None:
    changed = document()
    changed["surprise"] = 1
    changed["caps"]["product"] = "7500000"
    changed["rules"][0].pop("reason")
    changed["rules"][1]["precedence"] = -1
    changed["scorecard"]["bands"][0]["cap"] = 0.5
    changed["price"]["terms"][0]["steps"][2]["rounding"] = "up"
    result = validate(written(tmp_path, changed))
    assert result.exit_code == 1
    assert told(result) == [
        ("/rules/0/reason", "missing"),
        ("/rules/1/precedence", "out_of_range"),
        ("/scorecard/bands/0/cap", "wrong_type"),
        ("/caps/product", "wrong_type"),
        ("/price/terms/0/steps/2/rounding", "invalid"),
        ("/surprise", "unknown_field"),
    ]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", ("(document)", "not_json")),
        (b"{", ("(document)", "not_json")),
        (b"[]", ("(document)", "wrong_type")),
        (b"\xff", ("(document)", "not_utf8")),
        (b'{"name": "a", "name": "b"}', ("/name", "duplicate_field")),
        (b'{"caps": {"product": 1e999}}', ("/caps/product", "not_a_number")),
        (b" " * (2 << 20), ("(document)", "too_large")),
    ],
)
def test_what_is_no_document_is_said_to_be_none(tmp_path: Path, content: bytes, fault: tuple[str, str]) -> None:
    result = validate(written(tmp_path, content))
    assert (result.exit_code, told(result)) == (1, [fault])


@pytest.mark.parametrize("place", ["absent.json", "."])
def test_what_cannot_be_read_ends_with_2_in_one_line(tmp_path: Path, place: str) -> None:
    result = validate(str(tmp_path / place))
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"amana: the policy {tmp_path / place} can't be read: ")
    assert result.stderr.count("\n") == 1


def test_json_says_the_same_for_programs(tmp_path: Path) -> None:
    clean = json.loads(validate(written(tmp_path, document()), "--json").stdout)
    assert clean == {"ok": True, "faults": [], "product": "nano", "hash": policy_hash(policy_bytes(shipped("nano")))}
    changed = document()
    del changed["reasons"]["loan_open"]
    result = validate(written(tmp_path, changed), "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["ok"], found["product"]) == (1, False, "nano")
    assert found["faults"] == [
        {"pointer": "/reasons", "code": "unworded", "detail": "The reason loan_open has no wording."}
    ]
    nothing = json.loads(validate(written(tmp_path, b"1"), "--json").stdout)
    assert (nothing["ok"], nothing["product"], nothing["hash"]) == (False, None, None)


def test_the_schema_that_is_printed_is_the_published_one() -> None:
    printed = CliRunner().invoke(app, ["policy", "schema"])
    assert printed.exit_code == 0
    kept = (ROOT / "docs" / "reference" / "policy.schema.json").read_text(encoding="utf-8")
    assert printed.stdout == kept
