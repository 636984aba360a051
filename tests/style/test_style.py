"""How the code reads, as a test. The numbers below are a ratchet: they may only go down.

Better than the number? Lower it in the same change. Worse? Change the code, not the number.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.style.source import (
    ROOT,
    SRC,
    Place,
    functions,
    lines_of,
    matches,
    python_files,
    sql_files,
    text_files,
    told,
    tree,
)

FUNCTION_LINES_MAX = 60
FILE_LINES_MAX = 400

# May only go down.
FUNCTIONS_OVER_40_LINES = 1
FILES_OVER_400_LINES = 1
FILES_OVER_250_LINES = 9
SUPPRESSIONS_WITHOUT_REASON = 7  # in src; in tests a code is enough
READERS_OF_THE_ENVIRONMENT = {"cli.py", "operate/stack.py"}

BANNED_NAMES_IN_DOMAIN = {"float", "print", "open", "input", "eval", "exec", "compile", "__import__"}
MAKES_CODE = {"policy_code.py": {"exec", "compile"}}
"""The one place that runs Python it made itself; `tests/domain/test_policy_code.py` proves what that consists of."""
BANNED_CALLS_IN_DOMAIN = {
    "date.today",
    "datetime.now",
    "datetime.today",
    "datetime.utcnow",
    "datetime.fromtimestamp",
    "uuid.uuid1",
    "uuid.uuid4",
    "uuid1",
    "uuid4",
}
BANNED_MODULES_IN_DOMAIN = {"time", "random", "secrets", "os", "io", "sys", "socket", "asyncio"}

_CODES = r"\[[a-z, -]+\]|: ?[A-Z]+[0-9]+(?:, ?[A-Z]+[0-9]+)*"
_SUPPRESSION = re.compile(rf"# (?:type: ignore|noqa)\b(?P<codes>{_CODES})?(?P<rest>.*)")
# In quotes the last one is a currency code of ISO 4217: none.
_UNFINISHED = re.compile(r"(?<!\")\b(?:" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X")) + r")\b")
_MACHINE_PATH = re.compile(r"(?<![\w.<{$])/(?:home|root|Users|work)/\w|/tmp/(?!\$)\w|[A-Z]:\\\\Users")
_MOCK = re.compile(r"\b(?:unittest\.mock|from unittest import mock|MagicMock|AsyncMock|mocker)\b")


def test_no_function_is_longer_than_its_bound() -> None:
    long = [_place(file, node) for file, node in functions() if lines_of(node) > FUNCTION_LINES_MAX]
    assert not long, told(long)


def test_few_functions_are_long() -> None:
    long = [_place(file, node) for file, node in functions() if lines_of(node) > 40]
    assert len(long) <= FUNCTIONS_OVER_40_LINES, told(long)


@pytest.mark.parametrize(("lines", "files_max"), [(400, FILES_OVER_400_LINES), (250, FILES_OVER_250_LINES)])
def test_few_files_are_long(lines: int, files_max: int) -> None:
    counted = {file: file.read_text(encoding="utf-8").count("\n") for file in python_files()}
    long = [Place(file, count, "last line") for file, count in counted.items() if count > lines]
    assert len(long) <= files_max, told(long)


def test_the_domain_reads_no_clock_draws_nothing_and_knows_no_float() -> None:
    found = [place for file in python_files("src/amana/domain") for place in _impure(file)]
    assert not found, told(found)


def _impure(file: Path) -> Iterator[Place]:
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Constant) and isinstance(node.value, float):
            yield Place(file, node.lineno, f"the float {node.value}")
        elif isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div):
            yield Place(file, node.lineno, "a division that gives a float")
        elif isinstance(node, ast.Call) and (name := ast.unparse(node.func)):
            head, _, _ = name.partition(".")
            banned = (BANNED_NAMES_IN_DOMAIN | BANNED_CALLS_IN_DOMAIN) - MAKES_CODE.get(file.name, set())
            if name in banned or head in BANNED_MODULES_IN_DOMAIN:
                yield Place(file, node.lineno, f"a call of {name}")


@pytest.mark.parametrize(
    "impure",
    [
        "RATE = 0.5",
        "half = amount / 2",
        "amount /= 2",
        "share = float(amount)",
        "now = datetime.now(UTC)",
        "today = date.today()",
        "begun = time.monotonic()",
        "id_ = uuid4()",
        "print(amount)",
    ],
)
def test_and_this_is_how_it_would_be_found(tmp_path: Path, impure: str) -> None:
    file = tmp_path / "rule.py"
    file.write_text(impure, encoding="utf-8")
    assert len(list(_impure(file))) == 1


def test_nothing_is_left_unfinished() -> None:
    found = [place for file in text_files() for place in matches(file, _UNFINISHED)]
    stubs = [place for file in python_files() for place in matches(file, re.compile(r"raise NotImplementedError"))]
    assert not found + stubs, told(found + stubs)


def test_no_file_knows_somebodys_machine() -> None:
    found = [place for file in text_files() for place in matches(file, _MACHINE_PATH)]
    assert not found, told(found)


def test_every_module_and_every_public_name_has_a_docstring() -> None:
    missing = [place for file in python_files() for place in _undocumented(file)]
    assert not missing, told(missing)


def _undocumented(file: Path) -> Iterator[Place]:
    module = tree(file)
    if module.body and not ast.get_docstring(module):
        yield Place(file, 1, "module without a docstring")
    for node in module.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        members = node.body if isinstance(node, ast.ClassDef) and not _may_inherit(node) else []
        named = [m for m in members if isinstance(m, ast.FunctionDef | ast.AsyncFunctionDef) and m.name[0] != "_"]
        yield from (_place(file, item) for item in [node, *named] if not ast.get_docstring(item))


def _may_inherit(node: ast.ClassDef) -> bool:
    """A method of a class with a base may be an override, which inherits its docstring."""
    return any(ast.unparse(base) not in {"StrEnum", "NamedTuple", "Generic", "Exception"} for base in node.bases)


@pytest.mark.parametrize("file", sql_files(), ids=lambda file: str(file.relative_to(SRC)))
def test_every_statement_says_its_one_purpose(file: Path) -> None:
    lines = file.read_text(encoding="utf-8").splitlines()
    silent = [
        Place(file, number + 1, line)
        for number, line in enumerate(lines)
        if line.startswith("-- name: ") and not re.match(r"-- \S", "".join(lines[number + 1 : number + 2]))
    ]
    assert not silent, told(silent)


def test_a_suppression_names_its_code_and_says_why() -> None:
    nameless, unexplained = [], []
    for file in (*python_files(), *python_files("tests")):
        for place in matches(file, _SUPPRESSION):
            found = _SUPPRESSION.search(place.what)
            if found is None or file == Path(__file__):
                continue
            if not found["codes"]:
                nameless.append(place)
            elif file.is_relative_to(SRC) and not found["rest"].strip(" -#"):
                unexplained.append(place)
    assert not nameless, told(nameless)
    assert len(unexplained) <= SUPPRESSIONS_WITHOUT_REASON, told(unexplained)


def test_no_test_uses_a_mock_library() -> None:
    found = [place for file in python_files("tests") for place in matches(file, _MOCK)]
    assert not [place for place in found if place.file != Path(__file__)], told(found)


def test_the_environment_is_read_in_two_places_only() -> None:
    reads = re.compile(r"\bos\.(?:environ|getenv)\b")
    readers = {str(file.relative_to(SRC)) for file in python_files() if matches(file, reads)}
    assert readers <= READERS_OF_THE_ENVIRONMENT


def test_the_bounds_here_are_those_that_contributors_read() -> None:
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert f"{FUNCTION_LINES_MAX} lines" in guide
    assert f"{FILE_LINES_MAX} lines" in guide


def _place(file: Path, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> Place:
    return Place(file, node.lineno, node.name)
