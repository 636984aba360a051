"""Mapping files: what ships loads, and what is wrong is named."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.tape.tapes import plain

from amana.tape.check import load_book
from amana.tape.generate import generate_book
from amana.tape.mapping import TapeError, detect_mapping, load_mapping, parse_mapping, shipped_mappings
from amana.tape.write import write_book

LOAN_FIELDS: dict[str, Any] = {
    "ref": {"type": "text", "column": "id"},
    "customer": {"type": "text", "column": "who"},
    "product": {"type": "constant", "value": "nano"},
    "principal": {"type": "money", "column": "lent", "unit": "naira"},
    "total_due": {"type": "money", "column": "due", "unit": "naira"},
    "term_days": {"type": "constant", "value": 30},
    "applied_at": {"type": "instant", "column": "at", "zone": "Africa/Lagos", "format": "%d/%m/%Y %H:%M"},
    "disbursed_at": {"type": "instant", "column": "at", "zone": "Africa/Lagos", "format": "%d/%m/%Y %H:%M"},
}


def mapping_of(**changes: Any) -> dict[str, Any]:
    """A small mapping with some loan fields changed (None takes a field away)."""
    fields = {name: reader for name, reader in (LOAN_FIELDS | changes).items() if reader is not None}
    files = {"loans": [{"path": "book.csv", "delimiter": ";", "fields": fields}]}
    return {"name": "small", "currency": "NGN", "credit_limits": {"nano": 100}, "files": files}


def test_the_shipped_mappings_load() -> None:
    assert {"amana", "superlender"} <= set(shipped_mappings())
    for name in shipped_mappings():
        assert load_mapping(name).name == name


def test_another_lenders_export_fits_by_a_mapping_file(tmp_path: Path) -> None:
    (tmp_path / "small.json").write_text(json.dumps(mapping_of()))
    (tmp_path / "book.csv").write_text('id;who;lent;due;at\n1;Ada;"10,000.00";11500.50;31/12/2023 10:30\n')
    book, report = load_book(tmp_path, tmp_path / "small.json")
    assert [(loan.ref, loan.product, loan.principal, loan.fee) for loan in book.loans] == [
        ("1", "nano", 1_000_000, 150_050)
    ]
    assert book.loans[0].applied_at.isoformat() == "2023-12-31T09:30:00+00:00"
    assert report.summaries()[0].accepted == 1


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        (mapping_of(principal=None), "'principal' is not mapped"),
        (mapping_of(colour={"type": "text", "column": "c"}), "no field 'colour'"),
        (mapping_of(principal={"type": "text", "column": "lent"}), "'principal' can't be read as text"),
        (mapping_of(ref={"type": "text", "column": "id", "optional": True}), "'ref' can't be optional"),
        (mapping_of(applied_at={"type": "instant", "column": "at", "zone": "Paris"}), "zone"),
        (mapping_of(ref={"type": "text", "column": "id", "nonsense": 1}), "nonsense"),
        (mapping_of() | {"currency": "EUR"}, "currency"),
        (mapping_of() | {"name": "Not a name"}, "name"),
        (mapping_of() | {"files": {"loans": []}}, "loans"),
        ({"name": "x"}, "currency"),
    ],
)
def test_a_wrong_mapping_is_refused_by_name(mapping: dict[str, Any], said: str) -> None:
    with pytest.raises(TapeError, match="mapping small") as raised:
        parse_mapping(json.dumps(mapping).encode(), "small")
    assert said in str(raised.value)


@pytest.mark.parametrize("document", [b"", b"{", b"[]", b"\xff\xfe", b'{"name": 1}'])
def test_what_is_no_mapping_is_refused(document: bytes) -> None:
    with pytest.raises(TapeError, match="mapping broken"):
        parse_mapping(document, "broken")


@pytest.mark.parametrize("path", ["/etc/passwd", "../other/book.csv"])
def test_a_path_outside_the_tapes_folder_is_refused(path: str) -> None:
    mapping = mapping_of()
    mapping["files"]["loans"][0]["path"] = path
    with pytest.raises(TapeError, match="below the tape's folder"):
        parse_mapping(json.dumps(mapping).encode(), "small")


def test_an_unknown_name_lists_those_that_ship(tmp_path: Path) -> None:
    with pytest.raises(TapeError, match="amana, superlender"):
        load_mapping("nobody")
    with pytest.raises(TapeError, match="no such file"):
        load_mapping(tmp_path / "missing.json")


def test_a_missing_file_or_column_is_named(tmp_path: Path) -> None:
    plain(tmp_path)
    (tmp_path / "loans.csv").write_text("loan,customer\n")
    with pytest.raises(TapeError, match=r"loans\.csv: there is no column 'product'"):
        load_book(tmp_path, "amana")
    (tmp_path / "loans.csv").unlink()
    with pytest.raises(TapeError, match=r"loans\.csv: there is no such file"):
        load_book(tmp_path, "amana")


@pytest.mark.parametrize(("header", "said"), [("", "empty"), ("loan,loan\n", "two columns"), ("\xff\n", "encoding")])
def test_an_unclear_header_is_refused(tmp_path: Path, header: str, said: str) -> None:
    plain(tmp_path)
    (tmp_path / "loans.csv").write_bytes(header.encode("latin-1"))
    with pytest.raises(TapeError, match=said):
        load_book(tmp_path, "amana")


def test_an_optional_file_may_be_absent(tmp_path: Path) -> None:
    plain(tmp_path)
    (tmp_path / "repayments.csv").unlink()
    book, report = load_book(tmp_path, "amana")
    assert not book.repayments
    assert [each.file for each in report.summaries()] == ["customers.csv", "loans.csv"]


def test_the_shipped_mapping_is_found_by_the_folders_files(tmp_path: Path) -> None:
    write_book(generate_book(1, 10), tmp_path)
    assert detect_mapping(tmp_path) == "amana"


def test_a_folder_that_no_shipped_mapping_fits_is_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(TapeError, match="say which with --mapping"):
        detect_mapping(tmp_path)
