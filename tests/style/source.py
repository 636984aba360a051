"""What the style tests read: the files of the repository, and their functions."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src" / "amana"
PROSE = ("*.md", "docs/**/*.md")

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Place(NamedTuple):
    """A line of a file, as a person would look it up."""

    file: Path
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line}: {self.what}"


@cache
def python_files(folder: str = "src/amana") -> tuple[Path, ...]:
    """The Python files under a folder of the repository."""
    return tuple(sorted((ROOT / folder).rglob("*.py")))


def sql_files() -> tuple[Path, ...]:
    """The files of named statements; migrations are not among them."""
    return tuple(sorted(file for file in SRC.rglob("*.sql") if "migrations" not in file.parts))


def text_files() -> Iterator[Path]:
    """Whatever people write here: code, SQL, Lua, JSON, prose."""
    for pattern in ("src/**/*", "tests/**/*", *PROSE):
        for file in sorted(ROOT.glob(pattern)):
            if file.suffix in {".py", ".sql", ".lua", ".json", ".md", ".txt"} and "__pycache__" not in file.parts:
                yield file


@cache
def tree(file: Path) -> ast.Module:
    """The syntax tree of a file, parsed once."""
    return ast.parse(file.read_text(encoding="utf-8"))


def functions() -> Iterator[tuple[Path, Function]]:
    """Every function and method of the source, nested ones too."""
    for file in python_files():
        for node in ast.walk(tree(file)):
            if isinstance(node, Function):
                yield file, node


def lines_of(function: Function) -> int:
    """From `def` to its last line, docstring included."""
    assert function.end_lineno is not None
    return function.end_lineno - function.lineno + 1


def matches(file: Path, pattern: re.Pattern[str]) -> list[Place]:
    """The lines of a file in which a pattern occurs."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return [Place(file, number, line.strip()) for number, line in enumerate(lines, 1) if pattern.search(line)]


def told(places: list[Place]) -> str:
    """One place a line, for the message of a failed test."""
    return "".join(f"\n  {place}" for place in places)
