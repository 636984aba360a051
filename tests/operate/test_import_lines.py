"""A file of transfers, line by line: what is sent, what is malformed and by which field, and what is held back."""

import io
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from rich.console import Console

from amana.domain.ids import bucket_of
from amana.domain.lending import business_date
from amana.infra import clock
from amana.operate.imports.importer import check_file
from amana.operate.imports.lines import CannotImport, Source, read_lines
from amana.operate.imports.lists import LIST_LINES, TransferList, lists_of
from amana.operate.imports.options import Options

A, B = uuid4(), uuid4()
HEADER = "debit_account,credit_account,amount,currency"


def lists(
    content: str, format_: str = "csv", import_id: str = "test", begin: TransferList | None = None
) -> list[TransferList]:
    """The lists of a file with this content; those after the list `begin`."""
    source = Source(io.BytesIO(content.encode()))
    end = None if begin is None else begin.end
    lines = read_lines(source, format_, "test.csv", None if end is None else end.mark)
    return list(lists_of(lines, source, import_id, None if end is None else end.broken_at))


def item(**more: Any) -> dict[str, Any]:
    return {"debit_account": str(A), "credit_account": str(B), "amount": 5, "currency": "NGN"} | more


def json_lines(*items: Any) -> str:
    return "".join(f"{one if isinstance(one, str) else msgspec.json.encode(one).decode()}\n" for one in items)


def faults(content: str, format_: str = "csv") -> dict[int, list[str]]:
    """By line: the pointers of what is wrong, or the line that it waits for."""
    found = [fault for one in lists(content, format_) for fault in one.faults]
    return {fault.line: [error.pointer for error in fault.errors] or [f"line {fault.because_of}"] for fault in found}


@pytest.mark.parametrize(
    "amount", ["12.5", "1e3", "-5", "0", "1,000", "+5", "0x10", "٥", "007", "9" * 40, str(2**53), "₦5", "NaN"]
)
def test_an_amount_that_is_not_plain_minor_units_is_named(amount: str) -> None:
    assert faults(f'{HEADER}\n{A},{B},"{amount}",NGN\n{A},{B},5,NGN\n') == {2: ["/amount"]}


@pytest.mark.parametrize("amount", ["12.5", "1e3", "-5", "0", '"5"', "true", "null", "9" * 40, str(2**53), "5.0"])
def test_and_so_it_is_in_json(amount: str) -> None:
    bad = json_lines(item()).replace('"amount":5', f'"amount":{amount}')
    assert faults(bad + json_lines(item()), "jsonl") == {1: ["/amount"]}


MALFORMED: list[tuple[dict[str, Any], list[str]]] = [
    ({"debit_account": "x"}, ["/debit_account"]),
    ({"credit_account": None}, ["/credit_account"]),
    ({"currency": "naira"}, ["/currency"]),
    ({"kind": "swap"}, ["/kind"]),
    ({"kind": "hold", "ttl_s": 0}, ["/ttl_s"]),
    ({"kind": "void"}, ["/hold", "/debit_account", "/credit_account", "/amount", "/currency"]),
    ({"kind": "capture", "hold": str(A)}, ["/debit_account", "/credit_account", "/currency"]),
    ({"effective_on": "2999-01-01"}, ["/effective_on"]),
    ({"effective_on": "yesterday"}, ["/effective_on"]),
    ({"metadata": {"1": "x"}}, ["/metadata"]),
    ({"metadata": {"k": 5}}, ["/metadata/k"]),
    ({"id": "5"}, ["/id"]),
    ({"id": "00000000-0000-8000-8000-000000000000"}, ["/id"]),
    ({"amuont": 5, "reference": ""}, ["/reference", "/amuont"]),
    ({"linked": "yes"}, ["/linked"]),
]


@pytest.mark.parametrize(("change", "pointers"), MALFORMED, ids=str)
def test_what_is_malformed_is_named_and_its_neighbours_are_sent(change: dict[str, Any], pointers: list[str]) -> None:
    content = json_lines(item(), item(**change), item() | {"linked": False}, item())
    found = faults(content, "jsonl")
    held_back = {3: ["line 2"]} if "linked" in change else {}
    assert found == {2: pointers} | held_back
    assert [one.line for one in lists(content, "jsonl")[0].items] == [line for line in (1, 3, 4) if line not in found]


@pytest.mark.parametrize(
    "line", ["{", "[]", '"text"', '{"amount": 1, "amount": 2}', "{} {}", "\\", '{"a": "\\ud800"}', "null"]
)
def test_a_line_that_is_no_json_object_costs_itself_only(line: str) -> None:
    assert list(faults(json_lines(item(), line, item()), "jsonl")) == [2]


def test_a_row_that_is_no_csv_costs_itself_only() -> None:
    row = f"{A},{B},5,NGN"
    assert faults(f'{HEADER}\n{row}\n{row},more\n"a"b,{row}\n\n,,,\n{row}\n') == {3: [""], 4: [""]}


def test_a_row_in_another_encoding_costs_itself_only() -> None:
    source = Source(
        io.BytesIO(f"{HEADER},reference\n{A},{B},5,NGN,".encode() + b"caf\xe9\n" + f"{A},{B},5,NGN,x\n".encode())
    )
    (one,) = lists_of(read_lines(source, "csv", "test.csv", None), source, "test", None)
    assert [fault.line for fault in one.faults] == [2] and [sent.line for sent in one.items] == [3]


def test_every_field_can_be_a_column_and_a_blank_cell_is_not_named() -> None:
    columns = "id,kind,hold,amount,final,linked,reference,metadata.batch,metadata.note,ttl_s"
    id_, hold = uuid4(), uuid4()
    (one,) = lists(f"{columns}\n{id_},capture,{hold},5,TRUE,,March,7,,\n")
    assert msgspec.json.decode(one.items[0].encoded) == {
        "id": str(id_),
        "kind": "capture",
        "hold": str(hold),
        "amount": 5,
        "final": True,
        "reference": "March",
        "metadata": {"batch": "7"},
    }


@pytest.mark.parametrize("header", ["debit_account,amuont", "amount,amount", "metadata.", "metadata", '"', ""])
def test_a_header_that_can_not_be_meant_stops_the_import(header: str) -> None:
    with pytest.raises(CannotImport):
        lists(f"{header}\n" if header else "")


def test_an_id_follows_from_the_import_the_line_and_the_shard_of_what_it_moves() -> None:
    content = json_lines(item(), {"kind": "void", "hold": str(B)}, *[item()] * 3)
    ids = [sent.id for sent in lists(content, "jsonl")[0].items]
    assert ids == [sent.id for sent in lists(content, "jsonl")[0].items]
    assert len(set(ids) | {sent.id for sent in lists(content, "jsonl", "other")[0].items}) == 2 * len(ids)
    assert [bucket_of(id_) for id_ in ids[:2]] == [bucket_of(A), bucket_of(B)] and ids == sorted(ids)
    assert {id_.version for id_ in ids} == {7}


LINKED = item(linked=True)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([LINKED, item(amount=0), item()], {2: ["/amount"], 1: ["line 2"]}),
        ([LINKED, item(amount=0, linked=True), item(), item()], {2: ["/amount"], 1: ["line 2"], 3: ["line 2"]}),
        ([LINKED, '{"linked": true, oops', item(), item()], {2: [""], 1: ["line 2"], 3: ["line 2"]}),
        ([item(), LINKED], {2: ["/linked"]}),
        ([item(id=str(A), linked=True), item(id=str(A))], {2: ["/id"], 1: ["line 2"]}),
    ],
)
def test_a_linked_group_with_a_malformed_member_is_held_back_whole(
    lines: list[Any], expected: dict[int, list[str]]
) -> None:
    assert faults(json_lines(*lines), "jsonl") == expected


def test_a_group_that_straddles_two_lists_stays_together() -> None:
    rows = [item()] * (LIST_LINES - 1) + [LINKED] * 9 + [item()] * 2
    first, second = lists(json_lines(*rows), "jsonl")
    assert (len(first.items), len(second.items)) == (LIST_LINES + 9, 1)


def test_a_group_without_end_is_held_back_in_constant_memory_and_across_a_restart() -> None:
    content = json_lines(*[LINKED] * (LIST_LINES + 500), item(), item())
    first, second = lists(content, "jsonl")
    assert not first.items and len(first.faults) == LIST_LINES
    assert [sent.line for sent in second.items] == [LIST_LINES + 502]
    assert lists(content, "jsonl", begin=first) == [second]


def test_reading_goes_on_where_a_list_ended_unless_what_lies_before_was_changed() -> None:
    rows = [f"{A},{B},{n},NGN" for n in range(1, LIST_LINES + 11)]
    content = "\n".join([HEADER, *rows, ""])
    first, second = lists(content)
    assert lists(content, begin=first) == [second] and len(second.items) == 10
    for changed in (content.replace(",77,", ",78,"), content[:5000]):
        with pytest.raises(CannotImport, match="changed"):
            lists(changed, begin=first)


def test_the_day_is_that_of_each_line_also_in_a_file_that_runs_past_midnight(monkeypatch: pytest.MonkeyPatch) -> None:
    today = clock.now()
    tomorrow = today + timedelta(days=1)
    line = json_lines(item(effective_on=str(business_date(tomorrow))))
    source = Source(io.BytesIO(line.encode() * (LIST_LINES + 1)))
    going = lists_of(read_lines(source, "jsonl", "test.jsonl", None), source, "test", None)
    first = next(going)
    assert not first.items and {fault.errors[0].code for fault in first.faults} == {"future"}
    monkeypatch.setattr(clock, "now", lambda: tomorrow)
    second = next(going)
    assert [sent.line for sent in second.items] == [LIST_LINES + 1] and not second.faults


def test_a_dry_run_tells_which_business_dates_depend_on_the_key_and_the_day(tmp_path: Path) -> None:
    file = tmp_path / "pay.jsonl"
    today = business_date(clock.now())
    dates = [today, today - timedelta(days=1), today - timedelta(days=900)]
    file.write_text(json_lines(item(), *(item(effective_on=str(day)) for day in dates)))
    console = Console(record=True, width=200)
    report, ok = check_file(console, Options(str(file), "", ""))
    assert ok and (report["past_dates"], report["dated_today"]) == (2, 1)
    said = console.export_text()
    assert "2 lines name an effective_on that is over" in said and "1 lines name today" in said


def test_a_dry_run_says_what_every_line_is_and_leaves_a_report_beside_the_file(tmp_path: Path) -> None:
    file = tmp_path / "pay.csv"
    file.write_text(f"{HEADER}\n{A},{B},5,NGN\n{A},{B},12.5,NGN\n")
    report, ok = check_file(Console(quiet=True), Options(str(file), "", ""))
    assert (ok, report["counts"]) == (False, {"malformed": 1, "well-formed": 1})
    (told,) = (tmp_path / "pay.csv.checked.jsonl").read_bytes().splitlines()
    found = msgspec.json.decode(told)
    assert (found["line"], found["sent"], found["reason"]) == (3, False, "validation")
    assert found["errors"][0] == {
        "pointer": "/amount",
        "code": "wrong_type",
        "detail": "A whole number in plain digits, not '12.5'.",
    }
    assert UUID(found["id"])
