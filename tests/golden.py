"""Files that a test compares with what the code makes, and how they are made anew."""

import os
from difflib import unified_diff
from itertools import islice
from pathlib import Path

REGENERATE = "AMANA_TEST_REGENERATE"
CHANGES_MAX = 40
"""Lines of difference in the message of a failed test."""


def check_golden(file: Path, made: str) -> None:
    """Fails when `file` does not hold `made`, saying how to write it; writes it when asked to."""
    if os.environ.get(REGENERATE):
        file.write_text(made, encoding="utf-8")
    kept = file.read_text(encoding="utf-8") if file.exists() else ""
    command = f"{REGENERATE}=1 .venv/bin/python -m pytest {_from_root(file.parent)}"
    changes = unified_diff(kept.splitlines(), made.splitlines(), "kept", "made", lineterm="", n=0)
    told = "\n".join(islice(changes, CHANGES_MAX))
    assert made == kept, f"{_from_root(file)} is out of date. If the change is meant, run\n    {command}\n{told}"


def _from_root(path: Path) -> Path:
    return path.relative_to(Path(__file__).parents[1])
