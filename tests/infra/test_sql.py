"""Named statements from `.sql` files."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from amana.infra.sql import load_queries

Load = Callable[[str], dict[str, str]]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Loads text as if it were a package's `queries.sql`."""
    package = tmp_path / "amana_sql_example"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, package.name, raising=False)

    def loaded(text: str) -> dict[str, str]:
        (package / "queries.sql").write_text(text, encoding="utf-8")
        return load_queries(package.name)

    return loaded


def test_a_block_runs_from_its_name_to_the_next(load: Load) -> None:
    text = """-- What this file is for.

-- name: first
-- Says one.
SELECT 1;

-- name: second
-- Says two,
-- over two lines.
SELECT 2
  AS two;
"""
    assert load(text) == {
        "first": "-- Says one.\nSELECT 1",
        "second": "-- Says two,\n-- over two lines.\nSELECT 2\n  AS two",
    }


def test_a_name_in_the_middle_of_a_line_begins_nothing(load: Load) -> None:
    text = "-- name: only\n-- Selects.\nSELECT '-- name: x';"
    assert load(text) == {"only": "-- Selects.\nSELECT '-- name: x'"}


def test_a_name_that_is_used_twice_is_a_bug(load: Load) -> None:
    with pytest.raises(AssertionError, match="a name is used twice"):
        load("-- name: same\nSELECT 1;\n-- name: same\nSELECT 2;\n")


def test_a_statement_without_a_name_is_a_bug(load: Load) -> None:
    with pytest.raises(AssertionError, match="text before a name"):
        load("SELECT 1;\n-- name: named\nSELECT 2;\n")


def test_the_services_statements_are_found_in_the_installed_package() -> None:
    assert "lock_accounts" in load_queries("amana.transactions")
    assert "events_after" in load_queries("amana.infra", "outbox.sql")
