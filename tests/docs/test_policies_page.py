"""The how-to about policies names every fault that checking a document finds."""

import re

from tests.style.source import ROOT, SRC

PAGE = (ROOT / "docs" / "how-to" / "policies.md").read_text(encoding="utf-8")
CODE = re.compile(r'PolicyFault\(\s*f?(?:"[^"]*"|\w+), "(\w+)"')


def test_every_code_of_a_fault_is_explained_and_no_other() -> None:
    sources = [SRC / "domain" / name for name in ("policy_checks.py", "rule_checks.py", "policy_fault.py")]
    found = {code for file in sources for code in CODE.findall(file.read_text(encoding="utf-8"))}
    rows = [line.split("|")[1] for line in PAGE.splitlines() if line.startswith("| `")]
    of_the_text = {code for row in rows[:2] for code in re.findall(r"`(\w+)`", row)}
    explained = {code for row in rows for code in re.findall(r"`(\w+)`", row)}
    assert explained - of_the_text == found
    assert "gap" in found
