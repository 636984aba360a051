"""The how-to says what the code does: every code with its meaning, every field, every reader."""

import json
import re
from pathlib import Path

from amana.tape.mapping import FIELDS, parse_mapping
from amana.tape.report import CODES

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "tape.md").read_text(encoding="utf-8")


def test_every_code_is_documented_with_its_meaning() -> None:
    for code, meaning in CODES.items():
        assert f"| `{code}` | {meaning} |" in PAGE


def test_every_field_is_documented() -> None:
    for kind, fields in FIELDS.items():
        [row] = [line for line in PAGE.splitlines() if line.startswith(f"| `{kind}` |")]
        _, _, needed, optional, _ = row.split("|")
        assert re.findall(r"`(\w+)`", needed) == [name for name, field in fields.items() if field.required]
        assert set(re.findall(r"`(\w+)`", optional)) == {name for name, field in fields.items() if not field.required}


def test_the_example_mapping_loads() -> None:
    [example] = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert json.loads(example)
    assert parse_mapping(example.encode(), "example").name == "my-book"
