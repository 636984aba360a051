"""What the prose points at exists: files, headings, `make` targets, `amana` commands, settings, reasons."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from tests.style.source import PROSE, ROOT, SRC
from typer.main import get_command

from amana.cli import app
from amana.domain.reasons import Reason
from amana.infra.settings import Settings
from amana.operate.late import LateCommand

DOCUMENTS = sorted({file for pattern in PROSE for file in ROOT.glob(pattern)})
EACH = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda file: str(file.relative_to(ROOT)))

_LINK = re.compile(r"(?<!!)\[[^\]\n]+\]\((?!https?://|mailto:)([^)\s]+)\)|!\[[^\]\n]*\]\((?!https?://)([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")
_FENCE = re.compile(r"^```(?:sh|bash|console|shell)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_SOURCE = re.compile(r"(?:src|tests|docs)/[\w./-]*\w")
_COMMAND = re.compile(r"(?:^|[\s$(])(?:\.venv/bin/)?amana ((?:[a-z]+(?:-[a-z]+)* ?)+)")
_MAKE = re.compile(r"(?:^|[\s$(])make ([a-z]+(?:-[a-z]+)*)")


def text(document: Path) -> str:
    """The text of a document."""
    return document.read_text(encoding="utf-8")


@cache
def anchors(document: Path) -> frozenset[str]:
    """The fragments that a document's headings can be linked by."""
    headings = re.findall(r"^#+ (.+)$", text(document), re.MULTILINE)
    return frozenset(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings)


def shell(document: Path) -> Iterator[str]:
    """The shell lines of a document: fenced blocks and inline code."""
    for block in _FENCE.findall(text(document)):
        yield from (line.removeprefix("$ ").strip() for line in block.splitlines())
    yield from _CODE.findall(text(document))


@EACH
def test_every_relative_link_resolves(document: Path) -> None:
    for link in (either for pair in _LINK.findall(text(document)) for either in pair if either):
        path, _, fragment = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), link
        assert not fragment or fragment in anchors(target), link


@EACH
def test_every_file_that_is_named_exists(document: Path) -> None:
    named = {found.rstrip(".") for code in _CODE.findall(text(document)) for found in _SOURCE.findall(code)}
    absent = {name for name in named if not list(ROOT.glob(name)) and "NNNN" not in name}
    assert not absent


@EACH
def test_every_make_target_that_is_named_exists(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", text(ROOT / "Makefile"), re.MULTILINE))
    assert {target for line in shell(document) for target in _MAKE.findall(line)} <= targets


@EACH
def test_every_command_that_is_named_exists(document: Path) -> None:
    known = set(commands())
    named = {match.strip() for line in shell(document) for match in _COMMAND.findall(line)}
    assert not {command for command in named if not known & set(prefixes(command))}


def commands() -> Iterator[str]:
    """`up`, `tape import`, ...: what `amana` can be told to do."""
    for name, command in getattr(get_command(app), "commands", {}).items():
        real = command.loaded() if isinstance(command, LateCommand) else command
        yield from (f"{name} {inner}" for inner in real.commands) if hasattr(real, "commands") else (name,)


def prefixes(command: str) -> Iterator[str]:
    """The command with fewer and fewer of its words: what follows its name are arguments."""
    words = command.split()
    return (" ".join(words[:count]) for count in range(len(words), 0, -1))


@EACH
def test_every_setting_that_is_named_exists(document: Path) -> None:
    known = {f"AMANA_{name.upper()}" for name in Settings.__struct_fields__}
    named = set(re.findall(r"\bAMANA_[A-Z_]*[A-Z]\b", text(document)))
    assert {name for name in named - known if not name.startswith("AMANA_TEST_")} == set()


def test_every_folder_of_the_source_is_explained() -> None:
    architecture = text(ROOT / "docs" / "ARCHITECTURE.md")
    folders = {path.parent.name for path in SRC.glob("*/__init__.py")}
    assert not {folder for folder in folders if f"`{folder}/`" not in architecture}


def test_every_decision_has_its_four_parts_and_is_listed() -> None:
    folder = ROOT / "docs" / "decisions"
    numbers = []
    for record in sorted(folder.glob("[0-9]*.md")):
        headings = re.findall(r"^## (.+)$", text(record), re.MULTILINE)
        assert headings == ["Context", "Decision", "Consequence", "What enforces it"], record.name
        assert re.search(r"^> \S", text(record), re.MULTILINE), f"{record.name} has no line to quote"
        assert text(record).startswith(f"# {record.name[:4]}. "), record.name
        numbers.append(int(record.name[:4]))
    assert numbers == list(range(1, len(numbers) + 1))


def test_every_word_of_the_glossary_is_told_once() -> None:
    words = re.findall(r"^- \*\*(.+?)\*\*", text(ROOT / "docs" / "GLOSSARY.md"), re.MULTILINE)
    assert words
    assert words == sorted(words, key=str.lower)
    assert len(words) == len({word.lower() for word in words})


def test_the_changelog_does_not_name_a_refusal_that_is_not_there() -> None:
    named = set(re.findall(r"reason `([a-z_]+)`", text(ROOT / "CHANGELOG.md")))
    assert named <= {reason.value for reason in Reason}
